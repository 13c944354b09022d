"""What `edgeresnet diagnose` needs: a recipe as far as its reference, which is run on images prepared otherwise."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import _options, _output

if TYPE_CHECKING:
    from ..context import Progress
    from ..diagnose import Diagnosis
    from ..notes import RecogniseNotes
    from ..recipe import Recipe
    from ..store import Store

_RUNTIME = "onnxruntime"
_CHANGEABLE = ("preprocessing", "images.evaluation", "images.unreadable")
_MOST_OTHERS = 8  # networks that are diagnosed in turn


def recipe_of_model(
    model: str, about: _options.ModelOptions, changes: tuple[str, ...]
) -> tuple[dict[str, object], str, bool]:
    """Return the recipe of a network's reference; what was taken from its file; whether mean and std are given."""
    from .. import recipe
    from . import _one_shot

    about = replace(about, targets=(_RUNTIME,))
    images = {"evaluation": about.evaluation}
    raw, taken = _one_shot.recipe_of(model, about, images=images, sections={}, open_keys=("size", "mean", "std"))
    recipe.change(raw, changes)
    return raw, taken, _complete_preprocessing(raw, model, about)


def recipe_of_run(raw: Mapping[str, object], changes: tuple[str, ...]) -> dict[str, object]:
    """Return a run's recipe as far as its reference. The network stays; images and preprocessing may be changed."""
    from ..errors import EdgeresnetError

    for change in changes:
        if not change.startswith(_CHANGEABLE):
            raise EdgeresnetError(
                f"--set {change}",
                "has no effect: the network of the newest run is diagnosed as it is",
                hint="preprocessing and images.evaluation can be set; name a MODEL for the rest",
            )
    model = raw["model"]
    assert isinstance(model, Mapping)
    reference = {**model, "candidate": None}
    return {**raw, "model": reference, "targets": {_RUNTIME: {}}, "promises": {}, "quantize": None}


def diagnose_reference(
    made: Recipe,
    evaluated: Recipe,
    store: Store,
    how: _options.RunOptions,
    *,
    mean_given: bool,
    count: int | None,
    seed: int | None,
    only: tuple[str, ...] = (),
    loss: str = "",
) -> int:
    """Print the diagnosis of the network that one recipe makes, on the images of the other, prepared as that describes.

    Return the exit code. Without `mean_given`, mean and std are only stand-ins. Where the weights fit several networks
    and none is better than chance as the recipe is, they are diagnosed in turn, until one is. `loss` is what INT8 lost:
    it is printed if FP32 answers as it should.
    """
    from .. import diagnose, images, targets

    with store.used():
        samples = images.open_samples(evaluated, "evaluation", store)
        diagnose.check_labels(samples)

        def diagnosed(compiled: Path, arch: str) -> Diagnosis:
            title = f"{evaluated.model.title} as {arch}" if arch else evaluated.model.title
            with targets.require(_RUNTIME).load(compiled) as session, _Shown(quiet=how.quiet) as shown:
                return diagnose.diagnose(
                    session,
                    samples,
                    network=title,
                    mean_given=mean_given,
                    count=count or diagnose.COUNT,
                    seed=evaluated.seed if seed is None else seed,
                    only=only,
                    progress=shown.begins,
                )

        compiled, notes = _compiled(made, store, how)
        found = diagnosed(compiled, notes.arch if notes else "")
        others = _others(made, notes) if found.best.low <= found.chance else []
        found = _better(found, others, lambda other: diagnosed(_compiled(_as(made, other), store, how)[0], other), how)
    return _printed(found, how, loss)


def _better(
    found: Diagnosis, others: Sequence[str], diagnosed: Callable[[str], Diagnosis], how: _options.RunOptions
) -> Diagnosis:
    """Return the first diagnosis of another network that is better than chance; the given one if there is none."""
    for other in others:
        if not how.quiet:
            _output.echo(f"{found.network}: nothing is better than chance. Next, as {other}", err=True)
        again = diagnosed(other)
        if again.best.low > again.chance:
            return again
    return replace(found, network=f"{found.network} (as {' or '.join(others)} it is no better)") if others else found


def _printed(found: Diagnosis, how: _options.RunOptions, loss: str) -> int:
    from .. import report, text

    if how.as_json:
        _output.print_json(found)
    else:
        _output.echo(report.diagnose_text.render(found, repeated(sys.argv[1:])), nl=False)
        if loss and found.outcome in ("nothing", "fits") and found.best.low > found.chance:
            _output.echo(f"\n{text.wrapped(loss)}")
    return 0


def _compiled(made: Recipe, store: Store, how: _options.RunOptions) -> tuple[Path, RecogniseNotes | None]:
    """Return the reference, compiled, and how its network was recognised where its weights fit several."""
    from .. import pipeline
    from ..notes import RecogniseNotes
    from ..runs import StepId
    from . import _progress

    wanted = StepId("compile", "reference")  # a run has it too, and finds it done afterwards
    with _progress.listener(quiet=how.quiet, verbose=how.verbose) as listener:
        done = pipeline.make(made, store, lambda step: step.id == wanted, listener, at_chance=True)
    path = done.steps[str(wanted)].path
    assert path is not None
    notes = [step.notes for step in done.steps.values() if isinstance(step.notes, RecogniseNotes)]
    return Path(path), notes[0] if notes else None


def _others(made: Recipe, notes: RecogniseNotes | None) -> list[str]:
    """Return what the weights may be, too, where no images showed a network that is better than chance.

    What learned from images after that is not made again with another network.
    """
    if notes is None or notes.better_than_chance or made.train or made.prune:
        return []
    return [each.arch for each in notes.candidates if each.arch != notes.arch and not each.problem][:_MOST_OTHERS]


def _as(made: Recipe, arch: str) -> Recipe:
    """Return a recipe with an architecture."""
    return made.model_copy(update={"model": made.model.model_copy(update={"arch": arch})})


def repeated(arguments: Sequence[str]) -> str:
    """Return the command that was given, without `--count` and `--only`: what a person adds others to."""
    left, skips = [], False
    for word in arguments[1:]:
        if (
            not skips
            and not word.startswith(("--count=", "--only="))
            and word not in ("--count", "--only", "--explain")
        ):
            left.append(word)
        skips = not skips and word in ("--count", "--only")
    return shlex.join(["edgeresnet", "diagnose", *left])


class _Shown:
    """Shows what begins as a line, and then how much of it is done."""

    def __init__(self, *, quiet: bool):
        self.quiet, self._open = quiet, contextlib.ExitStack()

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *problem: object) -> None:
        self._open.close()

    def begins(self, words: str) -> Progress:
        """Show a line, and return what counts."""
        from . import _progress

        self._open.close()
        if self.quiet:
            return lambda done, total, word: None
        _output.echo(words, err=True)
        return self._open.enter_context(_progress.counted("diagnose"))


def _complete_preprocessing(raw: Mapping[str, object], model: str, about: _options.ModelOptions) -> bool:
    """Fill in what was not given, so that the network can be traced; return whether mean and std were given."""
    from .. import diagnose
    from . import _one_shot

    preprocessing = raw["preprocessing"]
    assert isinstance(preprocessing, dict)
    channels, size = _input_of(model)
    given = {f"--{key}": preprocessing.get(key) for key in ("mean", "std")}
    if size and "size" not in preprocessing:
        preprocessing["size"] = size
    needed = {"--size": preprocessing.get("size")}
    if channels is None or any(value is not None for value in given.values()):
        needed |= given
    hint = "the file does not hold it; --mean and --std may be left out together"
    _one_shot.refuse_missing(needed, model, hint)
    if given["--mean"] is not None:
        return True
    numbers = diagnose.stand_in(channels or 3)
    preprocessing |= {"mean": list(numbers.mean), "std": list(numbers.std)}
    return False


def _input_of(model: str) -> tuple[int | None, int | None]:
    """Return the channels and the size of the images that a file is fixed to, as far as that is known."""
    from .. import recipe
    from ..models import recognise, shapes
    from ..portable import onnx_file

    path = Path(os.path.expanduser(model))
    if not recipe.is_onnx(model):
        found = recognise.recognise(shapes.read(path))
        return (found.channels, None) if found else (None, None)
    inputs = onnx_file.read(path).inputs
    shape = inputs[0].shape if len(inputs) == 1 else None
    return (shape[1], shape[2]) if shape and len(shape) == 4 else (None, None)
