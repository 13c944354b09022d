"""What `edgeresnet diagnose` needs for an INT8 network: where it comes from, its diagnosis, and what to type next."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import _help, _options, _output

if TYPE_CHECKING:
    import numpy as np

    from ..noise.diagnosis import NoiseDiagnosis
    from ..pipeline import Listener
    from ..pipeline.diagnosing import Networks
    from ..recipe import Recipe
    from ..store import Store

Advice = tuple[str, ...]  # a sentence, and the lines to type
_BUILT_IN = ("digits", "cifar10")  # image sets that have labels of their own
_SLOTS = ("training", "evaluation")  # words of a recipe, that a folder may have as its name
_CHANGEABLE = ("images.evaluation", "images.calibration", "images.unreadable")
_NETWORKS = (".onnx", ".pth", ".pt", ".safetensors")
_FILES = "`edgeresnet diagnose int8.onnx --reference fp32.onnx`"


@dataclass(frozen=True)
class NoiseOptions:
    """What is asked about an INT8 network; None or False where nothing was given."""

    reference: str | None
    int8: bool
    target: str | None
    calibration: str | None
    output: Path | None

    @property
    def wanted(self) -> bool:
        """Whether INT8 is diagnosed, and not preprocessing."""
        return self.int8 or self.reference is not None

    def given(self) -> list[str]:
        """List the options that concern INT8 alone, as they are spelled."""
        others = {"--target": self.target, "--calibration": self.calibration, "--output": self.output}
        return [name for name, value in others.items() if value is not None]


@dataclass(frozen=True)
class Asked:
    """A command as it was given."""

    model: str | None
    about: _options.ModelOptions
    noise: NoiseOptions
    count: int | None
    seed: int | None
    how: _options.RunOptions


@dataclass(frozen=True)
class _Subject:
    """What is diagnosed, and how a layer of it is left in float: by an expression, next to those of layers that are."""

    networks: Networks
    images: np.ndarray
    calibration: np.ndarray | None
    left_in_float: Callable[[str, list[str]], list[Advice]]


def diagnose_int8(asked: Asked) -> int:
    """Find which layers of an INT8 network lose accuracy, and why; print the result, and return the exit code."""
    from .. import report
    from ..pipeline import diagnosing
    from . import _progress

    _check(asked)
    how, output, store = asked.how, asked.noise.output, _options.open_store(asked.how.store_root)
    find = _of_files if asked.noise.reference else _of_recipe if _is_recipe(asked.model) else _of_run
    with store.used():
        with _progress.listener(quiet=how.quiet, verbose=how.verbose) as listener:
            subject = find(asked, store, listener)
        if subject.networks.others and not asked.noise.target and not how.quiet:
            others = ", ".join(subject.networks.others)
            _output.echo(f"{subject.networks.target} has the most noise; `--target` chooses {others}", err=True)
        shown = _progress.uncounted() if how.quiet else _progress.counted("diagnose")
        with shown as progress:
            found = diagnosing.diagnosed(
                subject.networks, subject.images, subject.calibration, seed=asked.seed or 0, progress=progress
            )
    advice = _advice(found, subject)
    if output:
        from ..report.html import noise_page

        _output.write_output(output, noise_page.render(found, advice))
    if how.as_json:
        _output.print_json(found)
    else:
        _output.echo(report.noise_text.render(found, advice, _output.look()), nl=False)
    return 0


def _check(asked: Asked) -> None:
    """Refuse what has no effect or cannot be done, before anything is computed."""
    from ..errors import EdgeresnetError
    from ..pipeline import diagnosing

    _check_named(asked.model, asked.noise.reference, asked.about.evaluation)
    odd, why = _without_effect(asked)
    if odd:
        raise EdgeresnetError(", ".join(odd), f"has no effect here: {why}", hint="leave it out")
    diagnosing.check_count(asked.count)
    output = asked.noise.output
    if output:
        if output.suffix.lower() != ".html":
            hint = "the page is for a browser: --output noise.html"
            raise EdgeresnetError(str(output), "is not an .html file", hint=hint)
        _output.check_folder(output)


def _check_named(model: str | None, reference: str | None, evaluation: str | None) -> None:
    """Refuse a file without its reference or its images."""
    from ..errors import EdgeresnetError

    if reference is not None and model is None:
        raise EdgeresnetError("--reference", "needs the INT8 file too", hint=f"name it first: {_FILES}")
    if reference is not None and evaluation is None:
        raise EdgeresnetError(str(model), "needs --evaluation too", hint="name a folder of images: they need no labels")
    if reference is None and model and model.lower().endswith(_NETWORKS):
        hint = f"name the FP32 network that it was made of: {_FILES}"
        raise EdgeresnetError(model, "needs --reference too", hint=hint)


def _without_effect(asked: Asked) -> tuple[list[str], str]:
    """Return the options that would have no effect, and why."""
    noise = asked.noise
    if noise.reference is not None:
        return [f"--{kind}" for kind in asked.about.labels], "INT8 is diagnosed without labels"
    odd = [*asked.about.given(), *(["--calibration"] if noise.calibration else [])]
    if not _is_recipe(asked.model):
        odd += [f"--set {change}" for change in asked.how.changes if not change.startswith(_CHANGEABLE)]
    return odd, "a run or a recipe names its network and its images"


def _is_recipe(model: str | None) -> bool:
    return model is not None and model.lower().endswith((".yaml", ".yml"))


def refuse_int8(model: str) -> None:
    """Refuse an INT8 file whose preprocessing would be searched: its reference is missing."""
    from .. import recipe
    from ..errors import ModelError
    from ..portable import onnx_file

    if recipe.is_onnx(model) and "DequantizeLinear" in onnx_file.read(Path(os.path.expanduser(model))).operators:
        raise ModelError(model, "is INT8, and needs --reference", hint=f"name the FP32 network too: {_FILES}")


def _of_files(asked: Asked, store: Store, listener: Listener) -> _Subject:
    """Read an INT8 file and its FP32 network. Nothing but the traced FP32 network is stored."""
    from .. import images, targets
    from ..pipeline import diagnosing
    from . import _one_shot

    reference, about, evaluation = asked.noise.reference, asked.about, asked.about.evaluation
    assert asked.model
    assert reference
    assert evaluation
    int8 = Path(os.path.expanduser(asked.model))
    diagnosing.check_files(int8, reference)
    raw, taken = _one_shot.recipe_of(
        asked.model,
        replace(about, evaluation=None),
        reference=reference,
        images={},
        seed=asked.seed,
        sections={},
        targets={},
    )
    if taken and not asked.how.quiet:
        _output.echo(taken, err=True)
    wanted, slot = _with_images(raw, evaluation, asked)
    target = asked.noise.target
    compiler = diagnosing.compiler_of(targets.require(target).name) if target else None
    networks = diagnosing.of_files(wanted, int8, store, listener, compiler)
    samples = images.open_samples(wanted, slot, store)
    calibration = asked.noise.calibration
    ranges = diagnosing.calibrated(_with_images(raw, calibration, asked)[0], store) if calibration else None
    words = ["edgeresnet", "quantize", reference, "--calibration", calibration or "DIR", *_spelled(about)]
    words += ["--target", target] if target else []
    return _Subject(
        networks,
        diagnosing.taken(samples, asked.count, wanted.seed),
        ranges,
        lambda layer, _: [
            _typed(
                "Quantize FP32 again with the worst layer in float:",
                [*words, "--exclude", layer, "--output", "new.onnx" if target else "int8"],
            ),
            *_searched("--exclude auto --max-drop-pp 1", networks),
        ],
    )


def _with_images(raw: dict[str, object], folder: str, asked: Asked) -> tuple[Recipe, str]:
    """Return a recipe of these images alone, and the slot that they are in: the one that needs no labels."""
    from . import _one_shot

    given = deepcopy(raw)
    assert isinstance(given["model"], dict)
    assert isinstance(given["images"], dict)
    given["model"].pop("candidate", None)
    slot = "evaluation" if folder in _BUILT_IN else "calibration"
    given["images"][slot] = {"from": f"./{folder}" if folder in _SLOTS else folder}
    return _one_shot.parsed(given, asked.how.changes, None, "diagnose"), slot


def _spelled(about: _options.ModelOptions) -> list[str]:
    """Return the options that describe a network, as they were given."""
    single = {name: getattr(about, name) for name in ("arch", "classes", "size", "resize", "mean", "std", "bits")}
    words = [word for name, value in single.items() if value is not None for word in (f"--{name}", str(value))]
    return words + [word for value in about.arch_args for word in ("--arch-arg", value)]


def _of_run(asked: Asked, store: Store, listener: Listener) -> _Subject:
    """Read what the store has of a run, by default the newest."""
    from ..pipeline import diagnosing
    from . import _one_shot

    run = store.load_run(asked.model)
    recipe = _one_shot.parsed(dict(run.recipe), asked.how.changes, None, "diagnose")
    networks = diagnosing.of_run(run, recipe, store, asked.noise.target, listener)
    is_newest = bool(store.runs()) and store.runs()[-1].stem == run.id

    def left_in_float(layer: str, floats: list[str]) -> list[Advice]:
        if recipe.quantize is None:
            return [_of_candidate(layer)]
        value = _expressions(recipe, layer, floats)
        if not is_newest:
            return [(f"Leave the worst layer in float, in the recipe: `quantize: {{exclude: {value}}}`",)]
        words = ["edgeresnet", "verify", "--set", f"quantize.exclude={value}"]
        return [_typed("Repeat the run with the worst layer in float:", words), *_searched_by(recipe, networks)]

    return _Subject(networks, *_images_of(recipe, asked, store), left_in_float)


def _of_recipe(asked: Asked, store: Store, listener: Listener) -> _Subject:
    """Find or make the INT8 network of a recipe."""
    from .. import recipe
    from ..pipeline import diagnosing

    name = str(asked.model)
    wanted = recipe.load(Path(name), asked.how.changes)
    networks = diagnosing.of_recipe(wanted, store, asked.noise.target, listener, name)
    changes = [word for change in asked.how.changes for word in ("--set", change)]

    def left_in_float(layer: str, floats: list[str]) -> list[Advice]:
        if wanted.quantize is None:
            return [_of_candidate(layer)]
        value = _expressions(wanted, layer, floats)
        words = ["edgeresnet", "run", name, *changes, "--set", f"quantize.exclude={value}"]
        return [_typed("Run it with the worst layer in float:", words), *_searched_by(wanted, networks)]

    return _Subject(networks, *_images_of(wanted, asked, store), left_in_float)


def _images_of(recipe: Recipe, asked: Asked, store: Store) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the images of a recipe to diagnose on, and its calibration images."""
    from ..pipeline import diagnosing

    return diagnosing.images_of(recipe, store, asked.count, recipe.seed if asked.seed is None else asked.seed)


def _expressions(recipe: Recipe, layer: str, floats: list[str]) -> str:
    """Return `quantize.exclude` with one more expression, as YAML that needs no quotes where possible.

    `floats` are the layers that a search left in float: without them it would be another network.
    """
    assert recipe.quantize is not None
    every = [*(floats if recipe.quantize.is_searched else recipe.quantize.patterns), layer]
    plain = all(re.fullmatch(r"[\w^][\w^$./\\-]*", each) for each in every)
    return f"[{', '.join(every)}]" if plain else json.dumps(every, ensure_ascii=False)


def _searched_by(recipe: Recipe, networks: Networks) -> list[Advice]:
    """Return how a recipe searches the layers; nothing where it did."""
    assert recipe.quantize is not None
    promised = recipe.promises.max_drop_pp is not None or recipe.promises.max_flips_pct is not None
    options = "--set quantize.exclude=auto" + ("" if promised else " --set promises.max_drop_pp=1")
    return [] if recipe.quantize.is_searched else _searched(options, networks)


def _searched(options: str, networks: Networks) -> list[Advice]:
    """Return how the layers are searched; nothing where that is refused."""
    return [(f"Or let `{options}` search the layers to leave.",)] if networks.searchable else []


def _of_candidate(layer: str) -> Advice:
    return (f"Quantize its FP32 network with `--exclude {shlex.quote(layer)}`: the worst layer stays in float.",)


def _typed(sentence: str, words: list[str]) -> Advice:
    return sentence, *_help.wrapped(shlex.join(words))


def _advice(found: NoiseDiagnosis, subject: _Subject) -> list[Advice]:
    """Return what to do about the worst of the layers that a network may leave in float."""
    from ..pipeline import diagnosing
    from ..report import noise_text

    def expression(layer: str) -> str:
        """Name a layer, or the one before an addition or an output: with that in float, this is in float too."""
        before = re.sub(r" \(\d+\)$", "", layer).rpartition(" after ")[2]
        return next((found for each in (layer, before) if (found := diagnosing.exclusion(exact, each))), "")

    exact = subject.networks.exact
    floats = [named for named in map(expression, found.float_layers) if named]
    worst = next((named for layer in noise_text.worst(found) if (named := expression(layer.name))), "")
    return subject.left_in_float(worst, floats) if worst else []
