"""A recipe as steps, parents first. Lists and hashes what the user gave; decodes, trains and measures nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import export, images, models, targets
from ..artifact import Given, Store
from ..device import manifest, onnx_file, trial
from ..device.session import Dialect
from ..errors import ModelError, RecipeError
from ..graph import lint
from ..images import choose
from ..models import recognise, shapes
from ..recipe import Recipe, is_onnx
from .stages import ELSEWHERE, STAGES, Step

REFERENCE = "onnxruntime"  # the runtime whose FP32 answers all others are held against
SLOTS = ("training", "evaluation", "calibration")
_PARITY_IMAGES = 16

Parents = dict[str, str | Given]


def steps(recipe: Recipe, store: Store) -> list[Step]:
    """Refuses whatever can be known to be wrong before anything runs."""
    samples = _samples(recipe, store)
    arch = _arch(recipe, samples)
    network, candidate = _networks(recipe, arch["classes"])
    found: list[Step] = []
    if recipe.train:
        spec = {**arch, "train": recipe.train.model_dump(mode="json"), "seed": recipe.seed}
        parents: Parents = {"training": samples["training"]}
        if network:
            parents["checkpoint"] = network
        found.append(Step("train", STAGES["train"], spec, parents))
    found.append(_trace_step(recipe, arch, "train" if recipe.train else network, samples))
    if recipe.quantize:
        found += _quantize_steps(recipe, samples["calibration"])
    if recipe.targets and "evaluation" in samples:
        found += _target_steps(recipe, samples["evaluation"], candidate)
    elif any(recipe.delivery(name).where == "bundle" for name in recipe.targets):
        found += _unjudged_steps(recipe, _some(recipe, samples), candidate)
    return found


def int8_of(recipe: Recipe) -> dict[str, str]:
    """target → the step that writes its INT8 network: one step for all that speak one dialect."""
    if recipe.quantize is None:
        return {}
    first: dict[Dialect, str] = {}
    wanted = [name for name in recipe.targets if recipe.ships(name) == "int8"]
    return {name: f"quantize:{first.setdefault(_dialect(recipe, name), name)}" for name in wanted}


def as_written_of(recipe: Recipe) -> dict[str, str]:
    """target → the step that runs its INT8 network as it is written, before the target's compiler."""
    return {name: _as_written(step) for name, step in int8_of(recipe).items()}


def _as_written(quantized: str) -> str:
    return f"verify:reference:{quantized.removeprefix('quantize:')}"


def samples_of(found: Sequence[Step]) -> dict[str, images.Samples]:
    """The image sets that these steps read, by slot."""
    given = {name: parent for step in found for name, parent in step.parents.items()}
    return {name: given[name].value for name in SLOTS if isinstance(given.get(name), Given)}  # type: ignore[union-attr]


def _arch(recipe: Recipe, samples: dict[str, Given]) -> dict[str, Any]:
    if not samples:
        raise RecipeError("the recipe names no images", hint="tracing compares its answers on real images: give some")
    found = _recognised(recipe)
    arch = found.archs[0] if found else recipe.model.arch
    about: dict[str, Any] = {
        "arch": arch,
        "classes": recipe.model.classes or _classes(recipe, samples, found),
        "channels": recipe.preprocessing.channels,
    }
    if arch is None:  # an ONNX file is its own
        return about
    if found and len(found.archs) > 1:
        about["fits_too"] = list(found.archs[1:])
    if found and about["classes"] != found.classes:
        raise ModelError(
            f"{recipe.model.checkpoint} knows {found.classes} classes, and there are {about['classes']}",
            hint="give the images that it was trained for, or the weights of these classes",
        )
    models.check_arch(arch)
    sources = models.sources_of(arch)
    if sources:  # user code: another text may be another network
        about["sources_sha256"] = [manifest.sha256_of(source) for source in sources]
    return about


def _recognised(recipe: Recipe) -> recognise.Recognised | None:
    """What the weights themselves say, where nobody named their architecture."""
    given = recipe.model.checkpoint
    if recipe.model.arch is not None or is_onnx(given):
        return None
    found = recognise.recognise(shapes.read(_path(given)))
    name = "name it: `model.arch` or --arch, by a word of ours or as my.module:make"
    if found is None:
        raise ModelError(f"{given} holds no network that is recognised by its tensors", hint=name)
    if not found.archs:
        raise ModelError(f"{given} holds {found.words}", hint=name)
    if found.channels != recipe.preprocessing.channels:
        raise ModelError(
            f"{given} takes {found.channels} channels, and preprocessing makes {recipe.preprocessing.channels}",
            hint="one mean and one std for each channel",
        )
    return found


def _classes(recipe: Recipe, samples: dict[str, Given], found: recognise.Recognised | None) -> int:
    """By the images; by the weights or an ONNX file itself where these have no labels."""
    known = [len(given.value.classes) for given in samples.values() if given.value.classes]
    if known or found:
        return known[0] if known else found.classes  # type: ignore[union-attr]
    logits = onnx_file.read(_path(recipe.model.checkpoint)).outputs if is_onnx(recipe.model.checkpoint) else []
    last = logits[0].shape[-1] if logits and logits[0].shape else None
    if last is None:
        raise RecipeError("nothing says how many classes there are", hint="give `model.classes`, or class folders")
    return last


def _networks(recipe: Recipe, classes: int) -> tuple[Given | None, Given | None]:
    """The checkpoint and the candidate. Of an ONNX file all is said that can be said against it without running it."""
    network = candidate = None
    batch = None if recipe.trace.batch == "dynamic" else recipe.trace.batch
    if is_onnx(recipe.model.checkpoint):
        file = onnx_file.read(_path(recipe.model.checkpoint))
        batch = lint.reference(file, recipe.preprocessing, classes, batch)
        network = Given(file.digest, file.path)
    elif recipe.model.checkpoint:
        path = _path(recipe.model.checkpoint)
        network = Given(manifest.sha256_of(path), path)
    if recipe.model.candidate:
        file = onnx_file.read(_path(recipe.model.candidate))
        lint.candidate(file, recipe.preprocessing, classes, batch)
        candidate = Given(file.digest, file.path)
    return network, candidate


def _path(given: str | None) -> Path:
    path = Path(given or "").expanduser()
    if not path.is_file():
        raise ModelError(f"there is no checkpoint {path}", hint="`model` names files from the current folder on")
    return path


def _samples(recipe: Recipe, store: Store) -> dict[str, Given]:
    found = {slot: images.open_samples(recipe, slot, store) for slot in SLOTS if getattr(recipe.images, slot)}
    for slot, samples in found.items():
        if recipe.model.classes:
            images.check_classes(samples, recipe.model.classes, f"the {slot} set")
    images.same_classes(found.items())
    _check_promised_classes(recipe, found)
    for slot in ("training", "calibration"):
        if slot in found and "evaluation" in found:
            images.check_disjoint(found[slot], found["evaluation"], (slot, "evaluation"))
    return {slot: Given(samples.digest, samples) for slot, samples in found.items()}


def _check_promised_classes(recipe: Recipe, found: dict[str, images.Samples]) -> None:
    for label in recipe.promises.min_recall_pct or {}:
        known = found["evaluation"].classes
        if label not in known:
            near = difflib.get_close_matches(label, known, 1)
            raise RecipeError(
                f"promises.min_recall_pct names {label!r}, which is no class of the evaluation images",
                hint=f"did you mean {near[0]}?" if near else f"classes are {', '.join(known[:10])}",
            )


def _some(recipe: Recipe, samples: dict[str, Given]) -> Given:
    """A few images, chosen by the seed, of whichever there are."""
    seen = next(samples[slot] for slot in ("evaluation", "training", "calibration") if slot in samples)
    few = seen.value.subset(choose.balanced(seen.value, min(_PARITY_IMAGES, len(seen.value)), recipe.seed))
    return Given(few.digest, few)


def _trace_step(recipe: Recipe, arch: dict[str, Any], network: str | Given | None, samples: dict[str, Given]) -> Step:
    assert network is not None  # the recipe has a checkpoint or a training
    spec = {**arch, "trace": recipe.trace.model_dump(mode="json")}
    if recipe.model.candidate and onnx_file.read(_path(recipe.model.candidate)).last in lint.PROBABILITIES:
        spec["as_probabilities"] = True  # what is judged against it answers so, and is left as it is
    return Step("trace", STAGES["trace"], spec, {"network": network, "images": _some(recipe, samples)})


def _dialect(recipe: Recipe, target: str) -> Dialect:
    return targets.get(target).speaks(recipe.target_options(target))


def _quantize_steps(recipe: Recipe, calibration: Given) -> Iterator[Step]:
    """One calibration, and one INT8 network per dialect."""
    assert recipe.quantize is not None
    given: Parents = {"network": "trace", "calibration": calibration}
    yield Step("calibrate", STAGES["calibrate"], {"seed": recipe.seed}, given)
    for step in dict.fromkeys(int8_of(recipe).values()):
        dialect = asdict(_dialect(recipe, step.removeprefix("quantize:")))
        spec = {**recipe.quantize.model_dump(mode="json"), "dialect": dialect, "seed": recipe.seed}
        yield Step(step, STAGES["quantize"], spec, {**given, "ranges": "calibrate"})


def _unjudged_steps(recipe: Recipe, few: Given, candidate: Given | None) -> Iterator[Step]:
    """Bundles where no image has a label to judge by: a device can still tell whether it answers as home does."""
    int8 = int8_of(recipe)
    yield from _reference_steps(few)
    for name in recipe.targets:
        if recipe.delivery(name).where == "bundle":
            yield from _bundle_steps(recipe, name, few, int8.get(name), candidate)


def _reference_steps(evaluation: Given) -> Iterator[Step]:
    reference = targets.get(REFERENCE)
    yield _compile_step("compile:reference", reference, reference.options(), "trace", None)
    spec: dict[str, Any] = {"target": REFERENCE, "latency": None, "candidate": "fp32"}
    yield Step("verify:reference", STAGES["verify"], spec, {"fp32": "compile:reference", "evaluation": evaluation})


def _target_steps(recipe: Recipe, evaluation: Given, candidate: Given | None) -> Iterator[Step]:
    int8 = int8_of(recipe)
    reference = targets.get(REFERENCE)
    yield from _reference_steps(evaluation)
    for step in dict.fromkeys(int8.values()):  # what Q/DQ alone cost, whatever a compiler makes of it
        word = step.removeprefix("quantize:")
        yield _compile_step(f"compile:reference:{word}", reference, reference.options(), step, None)
        both: Parents = {"fp32": "compile:reference", "int8": f"compile:reference:{word}", "evaluation": evaluation}
        spec = {"target": REFERENCE, "latency": None, "candidate": "int8"}
        yield Step(_as_written(step), STAGES["verify"], spec, {**both, "reference": "verify:reference"})
    for name in recipe.targets:
        steps_of = _bundle_steps if recipe.delivery(name).where == "bundle" else _steps_here
        yield from steps_of(recipe, name, evaluation, int8.get(name), candidate)


def _steps_here(
    recipe: Recipe, name: str, evaluation: Given, int8: str | None, candidate: Given | None
) -> Iterator[Step]:
    """Every variant compiled, what would ship as often as it is to be built, and all of them verified."""
    target, options, ships, inside = (
        targets.get(name),
        recipe.target_options(name),
        recipe.ships(name),
        _inside(recipe, name),
    )
    if ships == "half" and target.half(options) is None:
        raise RecipeError(
            f"targets.{name}.precision is fp16, and {target.title} has no half-precision twin on this machine",
            hint="`precision: fp32` or INT8; where a device has one, hand it a bundle: `where: bundle`",
        )
    choices: dict[str, tuple[Any, str | Given | None]] = {
        "fp32": (target.full(options), "trace"),
        "half": (target.half(options), "trace"),
        "candidate": (target.full(options), candidate),  # made elsewhere, and judged as it came, whatever types it has
        "int8": (options, int8),
    }
    is_reference = name == REFERENCE and target.full(options) == target.options() and not inside
    compiled: Parents = {"fp32": "compile:reference"} if is_reference else {}
    for variant, (choice, source) in choices.items():
        for build in trial.builds(variant, recipe.verify.rebuilds if variant == ships else 1):
            if choice is not None and source is not None and build not in compiled:
                step = f"compile:{name}:{build}"
                compiled[build] = step
                yield _compile_step(step, target, choice, source, name, inside, build)
    spec = {"target": name, "latency": recipe.verify.plan(), "candidate": ships}
    parents: Parents = {**compiled, "evaluation": evaluation, "reference": "verify:reference"}
    optional = frozenset({"half"} - {ships})
    yield Step(f"verify:{name}", STAGES["verify"], spec, parents, name, optional=optional)


def _bundle_steps(
    recipe: Recipe, name: str, evaluation: Given, int8: str | None, candidate: Given | None
) -> Iterator[Step]:
    """What a device gets, and what it is to bring home."""
    parents: Parents = {"fp32": "trace", "evaluation": evaluation, "reference": "verify:reference"}
    parents |= {"int8": int8} if int8 else {}
    parents |= {"candidate": candidate} if candidate else {}
    spec = {
        "on": name,  # not here: neither its runtime nor its version has a part in the bundle
        "options": asdict(recipe.target_options(name)),
        "candidate": recipe.ships(name),
        "fp32": recipe.ships(name) == "fp32" or "min_speedup_fp32" in recipe.promises.limits(),
        **_inside(recipe, name),
        "carried": export.carried_digest(name),
        "verify": recipe.verify.plan(),
        "rebuilds": recipe.verify.rebuilds,
        "network": recipe.model.title,
        "judged": recipe.images.evaluation is not None,  # else what stands for them has no labels to judge by
    }
    yield Step(f"export:{name}", STAGES["export"], spec, parents, name)
    yield elsewhere(name)


def elsewhere(target: str) -> Step:
    """What a bundle's device is to bring home."""
    return Step(f"verify:{target}", ELSEWHERE, {"on": target}, {"bundle": f"export:{target}"}, target)


def _inside(recipe: Recipe, name: str) -> dict[str, Any]:
    """What moves into a network that is to take pixels as they are decoded."""
    if recipe.delivery(name).input == "float32":
        return {}
    return {"preprocessing": asdict(recipe.preprocessing)}


def _compile_step(
    step: str,
    target: targets.Target,
    options: Any,
    network: str | Given,
    blamed: str | None,
    inside: dict[str, Any] | None = None,
    build: str = "",
) -> Step:
    spec = {"target": target.name, "options": asdict(options), **(inside or {})}
    if trial.REBUILT in build:  # or the store would take the first build for the second
        spec["build"] = build
    return Step(step, STAGES["compile"], spec, {"network": network}, blamed)
