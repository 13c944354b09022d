"""The conductor: a recipe becomes steps, each step is found in the store or made, and the verdicts are collected.

The table of stages is here, and so is `compile`, one call to the target. Knows no deed from inside.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import images, models, recipe as recipes, targets
from .artifact import FORMAT, Artifact, Given, Parent, Store
from .context import Context, Progress
from .device import judge, machine, manifest
from .errors import EdgeresnetError, ModelError, RecipeError, TargetError, machine_error
from .recipe import Recipe

REFERENCE = "onnxruntime"  # the runtime whose FP32 answers all others are held against
_PARITY_IMAGES = 16


@dataclass(frozen=True)
class Stage:
    name: str
    function: str  # module:function, imported when it runs: planning needs no torch
    version: int  # raised by hand when the meaning of what it writes changes
    libraries: tuple[str, ...]  # whose versions enter the key
    machine: bool = False  # whether this machine enters the key

    def run(self, *arguments: Any) -> dict[str, Any]:
        module, function = self.function.split(":")
        return getattr(importlib.import_module(module), function)(*arguments)


STAGES = {
    stage.name: stage
    for stage in (
        Stage("train", "edgeresnet.train:train", 1, ("torch",)),
        Stage("trace", "edgeresnet.trace:trace", 1, ("torch", "torchvision", "onnx", "onnxscript")),
        Stage("compile", "edgeresnet.pipeline:compile_for", 1, (), machine=True),
        Stage("verify", "edgeresnet.verify:verify", 1, ("numpy",), machine=True),
    )
}


@dataclass(frozen=True)
class Step:
    """One stage with what it reads: other steps by id, or what the user gave."""

    id: str
    stage: Stage
    spec: Mapping[str, Any]
    parents: Mapping[str, str | Given]
    target: str | None = None
    libraries: tuple[str, ...] = ()

    def key(self, digests: Mapping[str, str]) -> str:
        return manifest.digest_of(
            {
                "format": FORMAT,
                "stage": self.stage.name,
                "version": self.stage.version,
                "spec": self.spec,
                "parents": digests,
                "libraries": machine.versions(*self.stage.libraries, *self.libraries),
                "machine": machine.fingerprint() if self.stage.machine else None,
            }
        )


@dataclass
class Outcome:
    """What became of a step: `done` before, `made` now, `failed`, or `skipped` because a parent failed; `todo` in a plan."""

    step: Step
    state: str
    artifact: Artifact | None = None
    reason: str = ""
    hint: str = ""
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)


class Listener:
    """Told what happens; a door overrides what it shows."""

    def begins(self, step: Step) -> Progress:
        return lambda done, total, word: None

    def ends(self, outcome: Outcome) -> None: ...

    def warns(self, sentence: str) -> None: ...


def steps(recipe: Recipe, store: Store) -> list[Step]:
    """The recipe as steps, parents first. Lists and hashes images, and refuses sets that do not fit; decodes none."""
    network, arch = _given_network(recipe), _arch(recipe)
    found: list[Step] = []
    samples = _samples(recipe, store)
    if recipe.train:
        spec = {**arch, "train": recipe.train.model_dump(mode="json"), "seed": recipe.seed}
        parents = {"training": Given(samples["training"].digest, samples["training"])}
        found.append(Step("train", STAGES["train"], spec, {**parents, **network}))
        network = {"network": "train"}
    elif network:
        network = {"network": network["checkpoint"]}
    seen = samples.get("evaluation") or samples.get("training")
    if seen is None:
        raise RecipeError("the recipe names no images", hint="tracing compares its answers on real images: give some")
    few = seen.subset(images.choose.balanced(seen, min(_PARITY_IMAGES, len(seen)), recipe.seed))
    spec = {**arch, "trace": recipe.trace.model_dump(mode="json")}
    found.append(Step("trace", STAGES["trace"], spec, {**network, "images": Given(few.digest, few)}))
    if recipe.targets:
        found += _target_steps(recipe, Given(samples["evaluation"].digest, samples["evaluation"]))
    return found


def plan(recipe: Recipe, store: Store) -> list[Outcome]:
    """What a run would find done and what it would do, without doing any of it."""
    outcomes: dict[str, Outcome] = {}
    for step in steps(recipe, store):
        parents = _resolved(step, outcomes)
        if parents is None:
            outcomes[step.id] = Outcome(step, "todo", reason="after its parents")
            continue
        artifact, problem = store.find(step.stage.name, step.key(_digests(parents)))
        outcomes[step.id] = Outcome(step, "done" if artifact else "todo", artifact, problem)
    return list(outcomes.values())


def run(
    recipe: Recipe, store: Store, *, again: frozenset[str] = frozenset(), listener: Listener | None = None
) -> dict[str, Any]:
    """Does what is not done, judges, and returns the run as it was saved: also one that failed halfway."""
    listener = listener or Listener()
    began = time.time()
    outcomes: dict[str, Outcome] = {}
    problem: BaseException | None = None
    try:
        for step in steps(recipe, store):
            outcomes[step.id] = _do(step, outcomes, store, step.stage.name in again, listener)
            listener.ends(outcomes[step.id])
    except BaseException as caught:
        problem = caught
        raise
    finally:
        # A recipe that could not even be planned leaves no run; one that failed halfway does.
        if outcomes or problem is None:
            document = _document(recipe, outcomes, began, problem)
            with contextlib.suppress(EdgeresnetError, OSError) if problem else contextlib.nullcontext():
                store.save_run(document)
    return document


def compile_for(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """The stage `compile`: the network as ONNX in, what the target runs out."""
    target = targets.get(spec["target"])
    model = parents["network"]
    assert isinstance(model, Artifact)
    return target.compile(model.path / "model.onnx", target.options(**spec["options"]), out)


def _arch(recipe: Recipe) -> dict[str, Any]:
    about: dict[str, Any] = {
        "arch": recipe.model.arch,
        "classes": recipe.model.classes,
        "channels": recipe.preprocessing.channels,
    }
    source = models.source_of(recipe.model.arch)
    if source:  # user code: another text may be another network
        about["source_sha256"] = manifest.sha256_of(source)
    return about


def _given_network(recipe: Recipe) -> dict[str, Any]:
    if not recipe.model.checkpoint:
        return {}
    path = Path(recipe.model.checkpoint).expanduser()
    if not path.is_file():
        raise ModelError(f"there is no checkpoint {path}", hint="`model.checkpoint` is read from the current folder")
    return {"checkpoint": Given(manifest.sha256_of(path), path)}


def _samples(recipe: Recipe, store: Store) -> dict[str, images.Samples]:
    slots = [slot for slot in ("training", "evaluation", "calibration") if getattr(recipe.images, slot)]
    found = {slot: images.open_samples(recipe, slot, store) for slot in slots}
    for slot, samples in found.items():
        images.check_classes(samples, recipe.model.classes, f"the {slot} set")
    if found:
        images.same_classes(found.items())
    for slot in ("training", "calibration"):
        if slot in found and "evaluation" in found:
            images.check_disjoint(found[slot], found["evaluation"], (slot, "evaluation"))
    return found


def _target_steps(recipe: Recipe, evaluation: Given) -> Iterator[Step]:
    reference = targets.get(REFERENCE)
    yield _compile_step("compile:reference", reference, reference.options())
    spec = {"target": REFERENCE, "latency": False, "candidate": "fp32"}
    parents: dict[str, str | Given] = {"fp32": "compile:reference", "evaluation": evaluation}
    yield Step("verify:reference", STAGES["verify"], spec, parents, None, reference.libraries)
    for name in recipe.targets:
        target, options = targets.get(name), recipe.target_options(name)
        variants = {"fp32": options, "half": target.half(options)}
        compiled: dict[str, str | Given] = {}
        for variant, choice in variants.items():
            if choice is not None:
                compiled[variant] = f"compile:{name}:{variant}"
                yield _compile_step(compiled[variant], target, choice)
        spec = {"target": name, "latency": True, "candidate": "fp32"}
        parents = {**compiled, "evaluation": evaluation, "reference": "verify:reference"}
        yield Step(f"verify:{name}", STAGES["verify"], spec, parents, name, target.libraries)


def _compile_step(step: str, target: Any, options: Any) -> Step:
    spec = {"target": target.name, "options": dict(vars(options))}
    mine = None if step == "compile:reference" else target.name
    return Step(step, STAGES["compile"], spec, {"network": "trace"}, mine, target.libraries)


def _do(step: Step, outcomes: Mapping[str, Outcome], store: Store, again: bool, listener: Listener) -> Outcome:
    parents = _resolved(step, outcomes)
    if parents is None:
        failed = next(o for o in outcomes.values() if o.step.id in step.parents.values() and o.artifact is None)
        return Outcome(step, "skipped", reason=failed.reason, hint=failed.hint)
    key = step.key(_digests(parents))
    artifact, problem = store.find(step.stage.name, key)
    if artifact and not again:
        return Outcome(step, "done", artifact)
    if problem:
        listener.warns(f"{problem}: it is made anew")
    try:
        return _make(step, key, parents, store, again, listener)
    except TargetError as failure:
        if step.target is None:
            raise
        return Outcome(step, "failed", reason=failure.message, hint=failure.hint)


def _make(
    step: Step, key: str, parents: Mapping[str, Parent], store: Store, again: bool, listener: Listener
) -> Outcome:
    began = time.perf_counter()
    _refuse_absent(step)
    progress = listener.begins(step)
    try:
        with store.making(step.stage.name, key) as making:
            artifact, _ = store.find(step.stage.name, key)
            if artifact and not again:  # made by another run while this one waited
                return Outcome(step, "done", artifact)
            ctx = Context(step.spec.get("seed", 0), making.scratch, progress)
            notes = step.stage.run(parents, step.spec, making.out, ctx)
            seconds = time.perf_counter() - began
            artifact = making.commit(
                stage_version=step.stage.version,
                spec=step.spec,
                parents=_digests(parents),
                libraries=machine.versions(*step.stage.libraries, *step.libraries),
                machine=machine.fingerprint() if step.stage.machine else None,
                notes=notes,
                seconds=round(seconds, 3),
                warnings=ctx.warnings,
            )
            return Outcome(step, "made", artifact, seconds=seconds, warnings=ctx.warnings)
    except (OSError, MemoryError) as caught:
        raise machine_error(caught) or caught from caught


def _refuse_absent(step: Step) -> None:
    name = step.spec.get("target")
    if name:
        found = targets.get(name).available()
        if not found.ok:
            raise TargetError(f"{name} is not here: {found.reason}", hint=found.hint)


def _resolved(step: Step, outcomes: Mapping[str, Outcome]) -> dict[str, Parent] | None:
    """The parents themselves, or None where one of them is not there (yet)."""
    found: dict[str, Parent] = {}
    for name, parent in step.parents.items():
        artifact = parent if isinstance(parent, Given) else outcomes[parent].artifact
        if artifact is None:
            return None
        found[name] = artifact
    return found


def _digests(parents: Mapping[str, Parent]) -> dict[str, str]:
    return {name: parent.digest for name, parent in parents.items()}


def _document(
    recipe: Recipe, outcomes: Mapping[str, Outcome], began: float, problem: BaseException | None
) -> dict[str, Any]:
    """The run: everything a report needs, so that reports read nothing else."""
    results = {name: _result(name, outcomes) for name in recipe.targets}
    verdicts = [
        verdict for name, result in results.items() for verdict in judge.judge(recipe.promises.limits(), name, result)
    ]
    words = [verdict.verdict for verdict in verdicts]
    words += [judge.NOT_MEASURED for result in results.values() if "variants" not in result]
    if problem is not None:
        words.append(judge.NOT_MEASURED)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(began))
    return {
        "format": FORMAT,
        "id": f"{stamp}-{int(began * 1e6) % 1_000_000:06d}-{recipe.digest[:6]}",
        "recipe": recipe.to_json(),
        "recipe_digest": recipe.digest,
        "seconds": round(time.time() - began, 3),
        "steps": [_step_document(outcome) for outcome in outcomes.values()],
        "results": results,
        "verdicts": [verdict.to_json() for verdict in verdicts],
        "verdict": judge.worst(words),
        "undecided": recipe.promises.undecided,
        "problem": None if problem is None else _problem_document(problem),
        "machine": machine.describe(),
    }


def _step_document(outcome: Outcome) -> dict[str, Any]:
    artifact = outcome.artifact
    return {
        "id": outcome.step.id,
        "stage": outcome.step.stage.name,
        "state": outcome.state,
        "seconds": round(outcome.seconds, 3),
        "key": artifact.key if artifact else None,
        "digest": artifact.digest if artifact else None,
        "path": str(artifact.path) if artifact else None,
        "notes": artifact.notes if artifact else None,
        "reason": outcome.reason,
        "hint": outcome.hint,
        "warnings": outcome.warnings,
    }


def _result(target: str, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    outcome = outcomes.get(f"verify:{target}")
    if outcome is None or outcome.artifact is None:
        reason = outcome.reason if outcome else "the run ended before it"
        return {"target": target, "reason": reason, "hint": outcome.hint if outcome else ""}
    from .verify import read_result

    return read_result(outcome.artifact)


def _problem_document(problem: BaseException) -> dict[str, str]:
    if isinstance(problem, KeyboardInterrupt):
        return {"message": "interrupted", "hint": "run it again: finished stages are kept"}
    hint = getattr(problem, "hint", "this is a bug of edgeresnet")
    return {"message": str(problem) or type(problem).__name__, "hint": hint}


