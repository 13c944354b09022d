"""A resolved recipe as steps, parents first. Pure and fast: opens no file, and asks no machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import targets
from ..errors import RecipeError
from ..images import Samples
from ..portable import yardstick
from ..portable.evaluation import REBUILT, builds
from ..portable.preprocessing import Preprocessing
from ..portable.session import Dialect
from ..portable.tasks.two_stage import TwoStage
from ..recipe import Recipe
from ..runs import StepId
from ..stages import candidates, specs
from ..stages import int8 as int8_specs
from ..stages.specs import NetworkFile
from ..stages.table import ON_DEVICE, PRUNE_TIMED, QUANTIZE_TIMED, STAGES
from ..store import Given
from .resolving import SLOTS, Resolved, ResolvedTarget
from .step import Parent, Parents, Step

if TYPE_CHECKING:
    from ..portable.measure import TimingPlan

REFERENCE = "onnxruntime"  # the runtime whose FP32 answers all others are compared with
RECOGNISE = StepId("recognise")
TRAIN, PRUNE, RECOVER = StepId("train"), StepId("prune"), StepId("recover")
TRACE, TRACE_DENSE = StepId("trace"), StepId("trace", variant="dense")  # dense: before it was pruned
CALIBRATE = StepId("calibrate")
_EVALUATED = 1000  # images, where it is not known how many a network will be evaluated on
COMPILED, ANSWERED = StepId("compile", "reference"), StepId("verify", "reference")
COMPILED_PRUNED, ANSWERED_PRUNED = StepId("compile", "reference", "pruned"), StepId("verify", "reference", "pruned")


def plan(resolved: Resolved) -> tuple[Step, ...]:
    """Return the steps of a recipe, parents first. Where a network is still to be recognised, those that build it come
    after that, and are those of the likeliest.
    """
    found, choice, weights = _steps(resolved), resolved.network.choice, resolved.network.weights
    if choice is None:
        return found
    assert weights is not None  # they are recognised
    first, *others = (replace(step, after=RECOGNISE) if _reads(step, weights) else step for step in found)
    spec = candidates.RecogniseSpec(choice.candidates, resolved.recipe.seed)
    parents: Parents = {"network": weights, "images": choice.images}
    step = Step(RECOGNISE, STAGES["recognise"], spec, parents, warnings=first.warnings)
    return (step, replace(first, warnings=()), *others)


def _reads(step: Step, weights: NetworkFile) -> bool:
    return any(parent is weights for parent in step.parents.values())


def _steps(resolved: Resolved) -> tuple[Step, ...]:
    found = list(_learning_steps(resolved))
    samples, recipe = resolved.samples, resolved.recipe
    last: Parent | None = found[-1].id if found else resolved.network.weights
    if resolved.few is None:  # without images weights are pruned, and that is all
        return _with_warnings(found, resolved)
    if recipe.prune:  # all is compared with the network before
        found.append(_trace_step(resolved, TRACE_DENSE, _unpruned(resolved), resolved.few))
    found.append(_trace_step(resolved, TRACE, last, resolved.few))
    found = list(_with_warnings(found, resolved))
    if recipe.quantize:
        found += _quantize_steps(resolved, samples["calibration"])
    if recipe.targets and "evaluation" in samples:
        found += _target_steps(resolved, samples["evaluation"])
    elif "evaluation" in samples:  # the reference runtime needs no target
        found += _reference_steps(resolved, samples["evaluation"])
    elif any(target.is_bundle for target in resolved.targets.values()):
        found += _unjudged_steps(resolved, resolved.few)
    return tuple(found)


def int8_of(recipe: Recipe, known: Mapping[str, ResolvedTarget]) -> dict[str, StepId]:
    """Return the step that writes each target's INT8 network: one step for all targets of one dialect.

    Where milliseconds decide, each target has its own: a search for the layers that stay in float, or for a placement.
    """
    if recipe.quantize is None:
        return {}
    first: dict[Dialect, str] = {}
    wanted = [target for target in known.values() if target.ships == "int8"]
    own = [each for each in wanted if recipe.quantize.is_searched or each.is_placed]
    shared = [each for each in wanted if each not in own]
    found = {each.name: StepId("quantize", first.setdefault(each.dialect, each.name)) for each in shared}
    found |= {each.name: StepId("quantize", each.name) for each in own}
    return {each.name: found[each.name] for each in wanted}


def as_written_of(recipe: Recipe, known: Mapping[str, ResolvedTarget]) -> dict[str, StepId]:
    """Return the step that runs each target's INT8 network as it is written, before the target's compiler."""
    return {name: _as_written(step) for name, step in int8_of(recipe, known).items()}


def is_of_reference(step: StepId) -> bool:
    """Return whether a step belongs to the reference runtime, which answers and is not timed."""
    return step.target == "reference"


def device_step(target: str, device: str = "") -> Step:
    """Return the step whose result a device measures: one of devices.yaml, or any that gets the bundle by hand."""
    bundle, place = StepId("export", target), f"{target}@{device}" if device else target
    return Step(StepId("verify", place), ON_DEVICE, specs.DeviceSpec(target, device), {"bundle": bundle}, place)


def samples_of(steps: Sequence[Step]) -> dict[str, Samples]:
    """Return the image sets that these steps read, by slot."""
    found: dict[str, Samples] = {}
    for step in steps:
        for name, parent in step.parents.items():
            if name in SLOTS and isinstance(parent, Given) and isinstance(parent.value, Samples):
                found[name] = parent.value
    return {name: found[name] for name in SLOTS if name in found}


def _with_warnings(found: list[Step], resolved: Resolved) -> tuple[Step, ...]:
    """Give the first step the warnings about the given weights: it reads them."""
    return (replace(found[0], warnings=resolved.network.warnings), *found[1:])


def _unpruned(resolved: Resolved) -> Parent:
    """Return what makes the weights before pruning."""
    found = TRAIN if resolved.recipe.train else resolved.network.weights
    assert found is not None  # the recipe has a checkpoint or a training
    return found


def _as_written(quantized: StepId) -> StepId:
    return StepId("verify", "reference", quantized.target)


def _learning_steps(resolved: Resolved) -> Iterator[Step]:
    """Yield what changes the weights: train, prune, recover."""
    recipe, samples, network = resolved.recipe, resolved.samples, resolved.network
    if recipe.train:
        given: Parents = {"checkpoint": network.weights} if network.weights else {}
        learned = specs.TrainSpec(network.architecture, recipe.train, recipe.seed)
        yield Step(TRAIN, STAGES["train"], learned, {**given, "training": samples["training"]})
    if recipe.prune is None:
        return
    before = _unpruned(resolved)
    yield _prune_step(resolved, before)
    if recipe.recover:
        recovered = specs.RecoverSpec(network.architecture, recipe.recover, recipe.seed)
        both: Parents = {"network": PRUNE, "dense": before, "training": samples["training"]}
        yield Step(RECOVER, STAGES["recover"], recovered, both)


def _prune_step(resolved: Resolved, before: Parent) -> Step:
    recipe, samples = resolved.recipe, resolved.samples
    assert recipe.prune is not None
    best = max((target.dialect.channel_multiple for target in resolved.targets.values()), default=8)
    parents: Parents = {"network": before}
    if recipe.prune.importance == "taylor":
        parents["training"] = samples["training"]
    timed = None
    if recipe.prune.speedup:
        timed = specs.TimedSearch(_timed(resolved), recipe.verify.plan(), recipe.trace.batch, recipe.preprocessing)
        slot = next((slot for slot in ("evaluation", "training") if slot in samples), None)
        parents |= {slot: samples[slot]} if slot else {}
    multiple, stage = recipe.prune.multiple or best, PRUNE_TIMED if timed else STAGES["prune"]
    spec = specs.PruneSpec(
        resolved.network.architecture, recipe.prune, multiple, recipe.preprocessing, recipe.seed, timed=timed
    )
    return Step(PRUNE, stage, spec, parents)


def _timed(resolved: Resolved) -> dict[str, specs.TimedTarget]:
    """Return what would ship to each target of a speed-up, as it is compiled and as its INT8 is written."""
    recipe, found = resolved.recipe, {}
    assert recipe.prune is not None
    for name in recipe.prune.speedup or ():
        target, int8 = resolved.targets[name], None
        if target.ships == "int8":
            assert recipe.quantize is not None
            int8 = specs.Int8Form(target.dialect, recipe.quantize.patterns, recipe.preprocessing)
        inside = _inside(resolved, target)
        found[name] = specs.TimedTarget(name, _shipped_options(target), target.ships, inside, int8)
    return found


def _shipped_options(target: ResolvedTarget) -> Any:
    """Return the options that what would ship is compiled with; refuse a half-precision variant that is not here."""
    if target.ships == "half" and target.half is None:
        raise RecipeError(
            f"targets.{target.name}.precision",
            f"is fp16, but {target.target.title} has no half-precision variant on this machine",
            hint="use `precision: fp32` or INT8; for a device that has half precision, make a bundle: `where: bundle`",
        )
    return {"half": target.half, "int8": target.options}.get(target.ships, target.full)


def _trace_step(resolved: Resolved, step: StepId, weights: Parent | None, few: Given[Samples]) -> Step:
    assert weights is not None  # the recipe has a checkpoint or a training
    # A candidate that answers probabilities is left as it is: what it is compared with must do so, too.
    as_probabilities = resolved.network.candidate_answers_probabilities
    spec = specs.TraceSpec(resolved.network.architecture, resolved.recipe.trace, as_probabilities)
    return Step(step, STAGES["trace"], spec, {"network": weights, "images": few})


def _dense(recipe: Recipe) -> StepId:
    """Return the step that traces the network that all others are compared with."""
    return TRACE_DENSE if recipe.prune else TRACE


def _quantize_steps(resolved: Resolved, calibration: Given[Samples]) -> Iterator[Step]:
    """Yield one calibration, and one INT8 network per dialect."""
    recipe = resolved.recipe
    assert recipe.quantize is not None
    given: Parents = {"network": TRACE, "calibration": calibration}
    yield Step(CALIBRATE, STAGES["calibrate"], int8_specs.CalibrateSpec(recipe.seed), given)
    for step in dict.fromkeys(int8_of(recipe, resolved.targets).values()):
        target = resolved.targets[step.target]
        control = _control(resolved, target) if recipe.quantize.is_searched else None
        placing = _placing(resolved, target) if target.is_placed else None
        spec = int8_specs.QuantizeSpec(recipe.quantize, target.dialect, recipe.seed, control, placing)
        stage = QUANTIZE_TIMED if spec.timed else STAGES["quantize"]
        yield Step(step, stage, spec, {**given, "ranges": CALIBRATE}, target.name if spec.timed else None)


def _placing(resolved: Resolved, target: ResolvedTarget) -> specs.TimedSearch:
    """Return how the placements of a target are timed; refuse a target that is not here."""
    if target.is_bundle:
        raise RecipeError(
            f"targets.{target.name}.residual",
            "is auto, which times networks on this machine, but this target is a bundle",
            hint="leave it out, or write `shortcut` or `both`",
        )
    return _timed_search(resolved, target)


def _timed_search(resolved: Resolved, target: ResolvedTarget) -> specs.TimedSearch:
    recipe, one = resolved.recipe, specs.TimedTarget(target.name, target.options, "int8", _inside(resolved, target))
    return specs.TimedSearch({target.name: one}, recipe.verify.plan(), recipe.trace.batch, recipe.preprocessing)


def _control(resolved: Resolved, target: ResolvedTarget) -> int8_specs.Control:
    """Return what the search for layers that stay in float aims at, and how it times them."""
    recipe, evaluation = resolved.recipe, resolved.samples.get("evaluation")
    timed = _timed_search(resolved, target) if target.name in resolved.timed else None
    limits = recipe.promises.forecast()
    return int8_specs.Control(
        limits.get("max_drop_pp"),
        limits.get("max_flips_pct"),
        limits.get("max_confidence_change"),
        len(evaluation.value) if evaluation else _EVALUATED,
        timed,
        *resolved.rounds.get(target.name, (1, 0.0)),
        several=target.is_bundle,
    )


def _unjudged_steps(resolved: Resolved, few: Given[Samples]) -> Iterator[Step]:
    """Yield bundles where no image has a label to judge by: a device can still show whether it answers the same."""
    int8 = int8_of(resolved.recipe, resolved.targets)
    yield from _reference_steps(resolved, few)
    for name, target in resolved.targets.items():
        if target.is_bundle:
            yield from _bundle_steps(resolved, target, few, int8.get(name))


def _reference_steps(resolved: Resolved, evaluation: Given[Samples]) -> Iterator[Step]:
    """Yield the answers of the reference runtime, which all others are compared with."""
    options = targets.get(REFERENCE).options()
    yield _compile_step(COMPILED, specs.CompileSpec(REFERENCE, options), _dense(resolved.recipe))
    parents: Parents = {"fp32": COMPILED, "evaluation": evaluation, **_second(resolved)}
    yield Step(ANSWERED, STAGES["verify"], _verify_spec(resolved, REFERENCE, "fp32"), parents)
    if resolved.recipe.prune:
        yield _compile_step(COMPILED_PRUNED, specs.CompileSpec(REFERENCE, options), TRACE)
        spec = _verify_spec(resolved, REFERENCE, "pruned")
        yield Step(ANSWERED_PRUNED, STAGES["verify"], spec, _in_reference(resolved, evaluation))


def _in_reference(resolved: Resolved, evaluation: Given[Samples]) -> Parents:
    """Return what else the reference runtime answers where a variant is compared with the network as it was."""
    found: Parents = {"fp32": COMPILED, "evaluation": evaluation, "reference": ANSWERED, **_second(resolved)}
    return {**found, "pruned": COMPILED_PRUNED} if resolved.recipe.prune else found


def _target_steps(resolved: Resolved, evaluation: Given[Samples]) -> Iterator[Step]:
    int8 = int8_of(resolved.recipe, resolved.targets)
    yield from _reference_steps(resolved, evaluation)
    for step in dict.fromkeys(int8.values()):  # what Q/DQ alone cost, whatever a compiler makes of it
        yield from _as_written_steps(resolved, step, evaluation)
    for name, target in resolved.targets.items():
        steps_of = _bundle_steps if target.is_bundle else _steps_here
        yield from steps_of(resolved, target, evaluation, int8.get(name))


def _second(resolved: Resolved) -> Parents:
    """Return what has the weights of the second stage, where a detector has two."""
    return {specs.SECOND: TRACE} if isinstance(resolved.network.detector, TwoStage) else {}


def _verify_spec(resolved: Resolved, target: str, ships: str, timing: TimingPlan | None = None) -> specs.VerifySpec:
    return specs.VerifySpec(target, timing, ships, resolved.recipe.task, resolved.network.detector)


def _as_written_steps(resolved: Resolved, quantized: StepId, evaluation: Given[Samples]) -> Iterator[Step]:
    """Yield an INT8 network in the reference runtime, before its target's compiler."""
    compiled = StepId("compile", "reference", quantized.target)
    # on this CPU, not on the one where it will run
    saturates = resolved.targets[quantized.target].dialect.weights == "full" and resolved.int8_saturates
    options = targets.get(REFERENCE).options(fused=not saturates)
    yield _compile_step(compiled, specs.CompileSpec(REFERENCE, options), quantized)
    parents = {**_in_reference(resolved, evaluation), "int8": compiled}
    spec = _verify_spec(resolved, REFERENCE, "int8")
    yield Step(_as_written(quantized), STAGES["verify"], spec, parents)


def _steps_here(
    resolved: Resolved, target: ResolvedTarget, evaluation: Given[Samples], int8: StepId | None
) -> Iterator[Step]:
    """Yield every variant compiled, what would ship as often as it is to be built, and all of them verified."""
    recipe, name, inside = resolved.recipe, target.name, _inside(resolved, target)
    _shipped_options(target)  # or it is refused
    choices: dict[str, tuple[Any, Parent | None]] = {
        "fp32": (target.full, _dense(recipe)),
        "pruned": (target.full, TRACE if recipe.prune else None),
        "half": (target.half, TRACE),
        "candidate": (target.full, resolved.network.candidate),  # judged as it was given, whatever types it has
        "int8": (target.options, int8),
    }
    is_reference = name == REFERENCE and target.full == target.target.options() and not inside
    compiled: Parents = {"fp32": COMPILED} if is_reference else {}
    for variant, (options, source) in choices.items():
        for build in builds(variant, recipe.verify.rebuilds if variant == target.ships else 1):
            if options is not None and source is not None and build not in compiled:
                step = StepId("compile", name, build)
                compiled[build] = step
                # a rebuild has a key of its own: the store would take the first build for it
                joins = resolved.network.detector if variant == "candidate" else None
                spec = specs.CompileSpec(name, options, inside, build if REBUILT in build else "", joins)
                yield _compile_step(step, spec, source, name)
    unit = StepId("compile", name, yardstick.NAME)
    yield _compile_step(unit, specs.CompileSpec(name, target.unit), resolved.yardstick, name)
    parents: Parents = {**compiled, yardstick.NAME: unit, "evaluation": evaluation, "reference": ANSWERED}
    parents |= _second(resolved)
    spec_of_all = _verify_spec(resolved, name, target.ships, recipe.timing())
    optional = frozenset({"half", yardstick.NAME} - {target.ships})
    yield Step(StepId("verify", name), STAGES["verify"], spec_of_all, parents, name, optional=optional)


def _bundle_steps(
    resolved: Resolved, target: ResolvedTarget, evaluation: Given[Samples], int8: StepId | None
) -> Iterator[Step]:
    """Yield a bundle for devices, and what each of them measures."""
    recipe, name = resolved.recipe, target.name
    parents: Parents = {"fp32": _dense(recipe), "evaluation": evaluation, "reference": ANSWERED}
    parents |= {"pruned": TRACE} if recipe.prune else {}
    parents |= {"int8": int8} if int8 else {}
    parents |= {"candidate": resolved.network.candidate} if resolved.network.candidate else {}
    spec = specs.ExportSpec(
        target=name,
        options=target.options,
        ships=target.ships,
        float32=_wanted_in_float32(recipe, target),
        carried=resolved.carried[name],
        timing=recipe.timing(),
        rebuilds=recipe.verify.rebuilds,
        network=recipe.model.title,
        judged=recipe.images.evaluation is not None,  # else the images that stand for them have no labels to judge by
        preprocessing=_inside(resolved, target),
        task=recipe.task,
        detector=resolved.network.detector,
    )
    yield Step(StepId("export", name), STAGES["export"], spec, parents, name)
    for device in target.delivery.devices or ("",):
        yield device_step(name, device)


def _wanted_in_float32(recipe: Recipe, target: ResolvedTarget) -> tuple[str, ...]:
    """Return what ships, and what a promise or a report compares it with.

    A pruned network's multiplications are compared with FP32's milliseconds, INT8's loss with the pruned network's.
    """
    if recipe.prune:
        return ("fp32", "pruned")
    kinds = {promise.kind for promise in recipe.promises.promises()}
    return (target.ships, "fp32") if "min_speedup_fp32" in kinds else (target.ships,)


def _inside(resolved: Resolved, target: ResolvedTarget) -> Preprocessing | None:
    """Return what moves into a network that takes pixels as they are decoded."""
    return None if target.delivery.input == "float32" else resolved.recipe.preprocessing


def _compile_step(step: StepId, spec: specs.CompileSpec, network: Parent, target: str | None = None) -> Step:
    """Return a step that compiles. `target` is whose failure it is: None ends the run."""
    return Step(step, STAGES["compile"], spec, {"network": network}, target)
