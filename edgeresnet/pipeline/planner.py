"""A recipe as steps, parents first. Lists and hashes what the user gave; decodes, trains and measures nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from .. import images, targets
from ..errors import RecipeError
from ..images import choose
from ..portable import evaluation as trial
from ..portable import machine, yardstick
from ..portable.session import Dialect
from ..recipe import Recipe
from ..stages.export import write
from ..stages.table import ELSEWHERE, PRUNE_TIMED, STAGES
from ..store import Given, Store
from . import network
from .step import Step

REFERENCE = "onnxruntime"  # the runtime whose FP32 answers all others are held against
SLOTS = ("training", "evaluation", "calibration")
WHOLE = "trace:dense"  # the network before it was pruned
_PARITY_IMAGES = 16

Parents = dict[str, str | Given]


def steps(recipe: Recipe, store: Store) -> list[Step]:
    """Refuses whatever can be known to be wrong before anything runs."""
    samples = _samples(recipe, store)
    arch, warnings = network.about(recipe, samples)
    given, candidate = network.files(recipe, arch["classes"])
    found = list(_learning_steps(recipe, arch, given, samples))
    last = found[-1].id if found else given
    if not samples:  # nothing can be traced or measured: weights are cut, and that is all
        return _warned(found, warnings)
    if recipe.prune:  # all is held against the network before
        before = "train" if recipe.train else given
        found.append(_trace_step(recipe, arch, WHOLE, before, samples))
    found.append(_trace_step(recipe, arch, "trace", last, samples))
    found = _warned(found, warnings)
    if recipe.quantize:
        found += _quantize_steps(recipe, samples["calibration"])
    if recipe.targets and "evaluation" in samples:
        found += _target_steps(recipe, samples["evaluation"], candidate)
    elif "evaluation" in samples:  # how good it is can be told without a target
        found += _reference_steps(recipe, samples["evaluation"])
    elif any(recipe.delivery(name).where == "bundle" for name in recipe.targets):
        found += _unjudged_steps(recipe, _some(recipe, samples), candidate)
    return found


def _warned(found: list[Step], warnings: tuple[str, ...]) -> list[Step]:
    """The first step reads the given weights: it reports the warnings about them."""
    return [replace(found[0], warnings=warnings), *found[1:]]


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


def _learning_steps(
    recipe: Recipe, arch: dict[str, Any], weights: Given | None, samples: dict[str, Given]
) -> Iterator[Step]:
    """What changes the weights: train, prune, recover."""
    given: Parents = {"checkpoint": weights} if weights else {}
    if recipe.train:
        spec = {**arch, "train": recipe.train.model_dump(mode="json"), "seed": recipe.seed}
        yield Step("train", STAGES["train"], spec, {**given, "training": samples["training"]})
    if recipe.prune is None:
        return
    before: str | Given | None = "train" if recipe.train else weights
    assert before is not None  # the recipe has a checkpoint or a training
    multiple = recipe.prune.multiple or max(
        (_dialect(recipe, name).channel_multiple for name in recipe.targets), default=8
    )
    plan = {"prune": recipe.prune.model_dump(mode="json"), "multiple": multiple, "size": recipe.preprocessing.size}
    plan |= {"preprocessing": recipe.preprocessing.to_json()}  # a checkpoint says how its images are prepared
    parents: Parents = {"network": before}
    if recipe.prune.importance == "taylor":
        parents["training"] = samples["training"]
    stage = STAGES["prune"]
    if recipe.prune.speedup:
        stage = PRUNE_TIMED
        plan |= {"timed": _timed(recipe), "verify": recipe.verify.plan(), "batch": recipe.trace.batch}
        seen = next((slot for slot in ("evaluation", "training") if slot in samples), None)
        parents |= {seen: samples[seen]} if seen else {}
    yield Step("prune", stage, {**arch, **plan, "seed": recipe.seed}, parents)
    if recipe.recover:
        spec = {**arch, "recover": recipe.recover.model_dump(mode="json"), "seed": recipe.seed}
        both: Parents = {"network": "prune", "dense": before, "training": samples["training"]}
        yield Step("recover", STAGES["recover"], spec, both)


def _timed(recipe: Recipe) -> dict[str, Any]:
    """target → what would ship to it, as it is compiled and as INT8 is written for it."""
    assert recipe.prune is not None
    found: dict[str, Any] = {}
    for name in recipe.prune.speedup or ():
        ships, choice = recipe.ships(name), _shipped(recipe, name)
        found[name] = {"target": name, "options": asdict(choice), "ships": ships, **_inside(recipe, name)}
        if ships == "int8":
            assert recipe.quantize is not None
            found[name] |= {"dialect": asdict(_dialect(recipe, name)), "exclude": list(recipe.quantize.exclude)}
            found[name] |= {"images": recipe.preprocessing.to_json()}
    return found


def _shipped(recipe: Recipe, name: str) -> Any:
    """The options that what would ship to a target is compiled with."""
    target, options, ships = targets.get(name), recipe.target_options(name), recipe.ships(name)
    half = target.half(options)
    if ships == "half" and half is None:
        raise RecipeError(
            f"targets.{name}.precision is fp16, and {target.title} has no half-precision twin on this machine",
            hint="`precision: fp32` or INT8; where a device has one, hand it a bundle: `where: bundle`",
        )
    return {"half": half, "int8": options}.get(ships, target.full(options))


def _trace_step(
    recipe: Recipe, arch: dict[str, Any], step: str, weights: str | Given | None, samples: dict[str, Given]
) -> Step:
    assert weights is not None  # the recipe has a checkpoint or a training
    spec = {**arch, "trace": recipe.trace.model_dump(mode="json")}
    if recipe.model.candidate and network.answers_probabilities(recipe.model.candidate):
        spec["as_probabilities"] = True  # what is judged against it answers so, and is left as it is
    return Step(step, STAGES["trace"], spec, {"network": weights, "images": _some(recipe, samples)})


def _whole(recipe: Recipe) -> str:
    """The step that traces what all is held against."""
    return WHOLE if recipe.prune else "trace"


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
    yield from _reference_steps(recipe, few)
    for name in recipe.targets:
        if recipe.delivery(name).where == "bundle":
            yield from _bundle_steps(recipe, name, few, int8.get(name), candidate)


def _reference_steps(recipe: Recipe, evaluation: Given) -> Iterator[Step]:
    reference = targets.get(REFERENCE)
    yield _compile_step("compile:reference", reference, reference.options(), _whole(recipe), None)
    spec: dict[str, Any] = {"target": REFERENCE, "latency": None, "candidate": "fp32"}
    yield Step("verify:reference", STAGES["verify"], spec, {"fp32": "compile:reference", "evaluation": evaluation})
    if recipe.prune:
        yield _compile_step("compile:reference:pruned", reference, reference.options(), "trace", None)
        spec = {**spec, "candidate": "pruned"}
        yield Step("verify:reference:pruned", STAGES["verify"], spec, _in_reference(recipe, evaluation))


def _in_reference(recipe: Recipe, evaluation: Given) -> Parents:
    """What the reference runtime is asked again for whatever is held against the network as it was."""
    asked: Parents = {"fp32": "compile:reference", "evaluation": evaluation, "reference": "verify:reference"}
    return {**asked, "pruned": "compile:reference:pruned"} if recipe.prune else asked


def _target_steps(recipe: Recipe, evaluation: Given, candidate: Given | None) -> Iterator[Step]:
    int8 = int8_of(recipe)
    reference = targets.get(REFERENCE)
    yield from _reference_steps(recipe, evaluation)
    for step in dict.fromkeys(int8.values()):  # what Q/DQ alone cost, whatever a compiler makes of it
        word = step.removeprefix("quantize:")
        saturates = _dialect(recipe, word).weights == "full" and not machine.has_int8()  # here, not where it will run
        options = reference.options(fused=not saturates)
        yield _compile_step(f"compile:reference:{word}", reference, options, step, None)
        spec = {"target": REFERENCE, "latency": None, "candidate": "int8"}
        asked = {**_in_reference(recipe, evaluation), "int8": f"compile:reference:{word}"}
        yield Step(_as_written(step), STAGES["verify"], spec, asked)
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
    _shipped(recipe, name)  # or it is refused
    choices: dict[str, tuple[Any, str | Given | None]] = {
        "fp32": (target.full(options), _whole(recipe)),
        "pruned": (target.full(options), "trace" if recipe.prune else None),
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
    unit = f"compile:{name}:{yardstick.NAME}"
    yield _compile_step(unit, target, target.full(target.options()), Given(yardstick.SHA256, yardstick.file()), name)
    spec = {"target": name, "latency": recipe.verify.plan(), "candidate": ships}
    parents: Parents = {**compiled, yardstick.NAME: unit, "evaluation": evaluation, "reference": "verify:reference"}
    optional = frozenset({"half", yardstick.NAME} - {ships})
    yield Step(f"verify:{name}", STAGES["verify"], spec, parents, name, optional=optional)


def _bundle_steps(
    recipe: Recipe, name: str, evaluation: Given, int8: str | None, candidate: Given | None
) -> Iterator[Step]:
    """What a device gets, and what it is to bring home."""
    parents: Parents = {"fp32": _whole(recipe), "evaluation": evaluation, "reference": "verify:reference"}
    parents |= {"pruned": "trace"} if recipe.prune else {}
    parents |= {"int8": int8} if int8 else {}
    parents |= {"candidate": candidate} if candidate else {}
    spec = {
        "on": name,  # not here: neither its runtime nor its version has a part in the bundle
        "options": asdict(recipe.target_options(name)),
        "candidate": recipe.ships(name),
        "float32": _wanted_in_float32(recipe, name),
        **_inside(recipe, name),
        "carried": write.carried_digest(name),
        "verify": recipe.verify.plan(),
        "rebuilds": recipe.verify.rebuilds,
        "network": recipe.model.title,
        "judged": recipe.images.evaluation is not None,  # else what stands for them has no labels to judge by
    }
    yield Step(f"export:{name}", STAGES["export"], spec, parents, name)
    yield elsewhere(name)


def _wanted_in_float32(recipe: Recipe, name: str) -> list[str]:
    """What ships, and what a promise or a cut is told by: multiplications are told beside FP32's milliseconds, and
    INT8's loss beside the pruned network's answers.
    """
    if recipe.prune:
        return ["fp32", "pruned"]
    return [recipe.ships(name)] + ["fp32"] * ("min_speedup_fp32" in recipe.promises.limits())


def elsewhere(target: str) -> Step:
    """What a bundle's device is to bring home."""
    return Step(f"verify:{target}", ELSEWHERE, {"on": target}, {"bundle": f"export:{target}"}, target)


def _inside(recipe: Recipe, name: str) -> dict[str, Any]:
    """What moves into a network that is to take pixels as they are decoded."""
    if recipe.delivery(name).input == "float32":
        return {}
    return {"preprocessing": recipe.preprocessing.to_json()}


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
