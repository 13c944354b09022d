"""`edgeresnet verify --explain`: the network traced as a run would, then asked under other preprocessings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _options, _output

if TYPE_CHECKING:
    from ..recipe import Recipe
    from ..store import Store

_RUNTIME = "onnxruntime"
_STEP = "compile:reference"  # a run has it too, and finds it done afterwards


def of_model(model: str, about: _options.ModelOptions, changes: tuple[str, ...]) -> tuple[dict[str, Any], str, bool]:
    """A recipe as far as its reference; what was taken from the file itself; whether mean and std are given."""
    from .. import recipe
    from . import _one_shot

    about = replace(about, targets=(_RUNTIME,))
    images = {"evaluation": about.evaluation}
    raw, taken = _one_shot.recipe_of(model, about, images=images, sections={}, open_keys=("size", "mean", "std"))
    recipe.change(raw, changes)
    return raw, taken, _completed(raw["preprocessing"], model, about)


def of_run(raw: Mapping[str, Any], changes: tuple[str, ...]) -> dict[str, Any]:
    """A run's recipe as far as its reference. Its network is what it is: images and preprocessing can be others."""
    from ..errors import EdgeresnetError

    for change in changes:
        if not change.startswith(("preprocessing", "images.evaluation", "images.unreadable")):
            raise EdgeresnetError(
                f"--set {change} says nothing: the network of the newest run is explained as it is",
                hint="preprocessing and images.evaluation can be set; name a MODEL for the rest",
            )
    return {
        **raw,
        "model": {**raw["model"], "candidate": None},
        "targets": {_RUNTIME: {}},
        "promises": {},
        "quantize": None,
    }


def explained(
    made: Recipe,
    asked: Recipe,
    store: Store,
    how: _options.RunOptions,
    *,
    said: bool,
    count: int | None,
    seed: int | None,
) -> int:
    """The network that one recipe makes, on the images of the other and with its preprocessing."""
    from .. import diagnose, images, pipeline, report, targets
    from . import _progress

    with store.used():
        samples = images.open_samples(asked, "evaluation", store)
        with _progress.listener(quiet=how.quiet, verbose=how.verbose) as listener:
            done = pipeline.make(made, store, lambda step: step.id == _STEP, listener)
        with targets.require(_RUNTIME).load(Path(done["steps"][_STEP]["path"])) as session:
            found = diagnose.explain(
                session,
                samples,
                said=said,
                count=count or diagnose.COUNT,
                seed=asked.seed if seed is None else seed,
                tell=lambda words: None if how.quiet else _output.echo(words, err=True),
            )
    found = {"network": asked.model.title, **found}
    _output.print_json(found) if how.as_json else _output.echo(report.diagnose_text.render(found), nl=False)
    return 0


def _completed(preprocessing: dict[str, Any], model: str, about: _options.ModelOptions) -> bool:
    """What was not said is filled in so that the network can be traced; gives whether mean and std were said."""
    from .. import diagnose
    from . import _one_shot

    channels, size = _takes(model)
    said = {f"--{key}": preprocessing.get(key) for key in ("mean", "std")}
    if size and "size" not in preprocessing:
        preprocessing["size"] = size
    needed = {"--size": preprocessing.get("size")}
    if channels is None or any(value is not None for value in said.values()):
        needed |= said
    _one_shot.refuse_missing(needed, model, "the file does not say it; --mean and --std may be left out together")
    if said["--mean"] is not None:
        return True
    numbers = diagnose.stand_in(channels or 3)
    preprocessing |= {"mean": list(numbers.mean), "std": list(numbers.std)}
    return False


def _takes(model: str) -> tuple[int | None, int | None]:
    """(channels, size) of the images that a file is fixed to, as far as it says so."""
    from .. import recipe
    from ..models import recognise, shapes
    from ..portable import onnx_file

    path = Path(model).expanduser()
    if not recipe.is_onnx(model):
        found = recognise.recognise(shapes.read(path))
        return (found.channels, None) if found else (None, None)
    inputs = onnx_file.read(path).inputs
    shape = inputs[0].shape if len(inputs) == 1 else None
    return (shape[1], shape[2]) if shape and len(shape) == 4 else (None, None)
