"""Steps are found in the store or made, in order; what fails on one target leaves the others running."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

from .. import targets
from ..context import Context, Progress
from ..errors import EdgeresnetError, RecipeError, TargetError, closed, machine_error
from ..images import Samples
from ..recipe import Recipe
from ..stages.export.write import FOLDER
from ..stages.table import ELSEWHERE
from ..store import Artifact, Given, Making, Parent, Store
from .document import document, part
from .measuring import Measuring
from .planner import samples_of, steps
from .step import Outcome, Step


class Listener:
    """Told what happens; a door overrides what it shows."""

    def begins(self, step: Step) -> Progress:
        return lambda done, total, word: None

    def records(self, step: Step, line: Mapping[str, Any]) -> None: ...

    def ends(self, outcome: Outcome) -> None: ...

    def waits(self, step: Step) -> None: ...

    def warns(self, sentence: str) -> None: ...


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


def make(recipe: Recipe, store: Store, wanted: Callable[[Step], bool], listener: Listener) -> dict[str, Any]:
    """Does what leads to the steps that are wanted and no other, and saves no run: for a door to a part of a recipe."""
    every = {step.id: step for step in steps(recipe, store)}
    needed = [step.id for step in every.values() if wanted(step)]
    for name in needed:  # grows while it is walked: parents' parents too
        needed += [parent for parent in every[name].parents.values() if isinstance(parent, str)]
    outcomes: dict[str, Outcome] = {}
    done = [step for step in every.values() if step.id in needed]
    for step in done:
        _take(step, done, outcomes, store, listener, again=False)
    return part(recipe, outcomes)


def run(
    recipe: Recipe, store: Store, *, again: frozenset[str] = frozenset(), listener: Listener | None = None
) -> dict[str, Any]:
    """Does what is not done, judges, and returns the run as it was saved; one that fails halfway is saved too."""
    listener = listener or Listener()
    began, outcomes = time.time(), dict[str, Outcome]()
    wanted = steps(recipe, store)  # a recipe that cannot even be planned leaves no run
    _check_again(again, wanted)
    where = ""
    try:
        for step in wanted:
            where = step.id
            _take(step, wanted, outcomes, store, listener, again=not again.isdisjoint({step.id, step.stage.name}))
    except BaseException as problem:
        with contextlib.suppress(EdgeresnetError, OSError):
            ended = document(recipe, outcomes, began, problem, where)
            store.save_run(ended)
            if isinstance(problem, EdgeresnetError):
                problem.run = ended
        raise
    finished = document(recipe, outcomes, began)
    store.save_run(finished)
    return finished


def _take(
    step: Step, wanted: list[Step], outcomes: dict[str, Outcome], store: Store, listener: Listener, *, again: bool
) -> None:
    """One of the steps that are wanted, after those before it."""
    if step.stage.long:
        _look_at_images(step, wanted, outcomes, store, listener)
    outcomes[step.id] = _do(step, outcomes, store, again, listener)
    listener.ends(outcomes[step.id])


def _look_at_images(
    step: Step, wanted: list[Step], outcomes: Mapping[str, Outcome], store: Store, listener: Listener
) -> None:
    """An unreadable file must not be found after hours of training. What is decoded here is in the cache afterwards."""
    parents = _resolved(step, outcomes)
    if parents is None or store.find(step.stage.name, step.key(_digests(parents)))[0]:
        return
    look_at(samples_of(wanted), listener.begins(step))


def look_at(sets: Mapping[str, Samples], progress: Progress) -> None:
    """Decodes every image once, and keeps none in memory."""
    for slot, samples in sets.items():
        done = 0
        for batch in samples.batches(64):
            done += len(batch.indices)
            progress(done, len(samples), f"{slot} images")


def _check_again(again: frozenset[str], wanted: list[Step]) -> None:
    known = {step.stage.name for step in wanted} | {step.id for step in wanted}
    for word in sorted(again - known):
        names = ", ".join(dict.fromkeys(step.stage.name for step in wanted))
        raise RecipeError(
            f"this recipe has no stage {word!r}", hint=f"it has {names}; a single step is named as `plan` prints it"
        )


def _do(step: Step, outcomes: Mapping[str, Outcome], store: Store, again: bool, listener: Listener) -> Outcome:
    parents = _resolved(step, outcomes)
    if parents is None:
        needed = [parent for name, parent in step.parents.items() if name not in step.optional]
        failed = next(o for o in outcomes.values() if o.step.id in needed and o.artifact is None)
        return Outcome(step, "skipped", reason=failed.reason, hint=failed.hint)
    key = step.key(_digests(parents))
    artifact, problem = store.find(step.stage.name, key)
    if artifact and not again:
        store.tidy(step.stage.name, key)
        return Outcome(step, "done", artifact, warnings=list(artifact.manifest["warnings"]))
    if step.stage is ELSEWHERE:
        bundle = parents["bundle"]
        where = f" {bundle.path / FOLDER}" if isinstance(bundle, Artifact) else ""
        hint = f"carry{where} there, run deploy.py in it, then `edgeresnet verify --from result.json` here"
        return Outcome(step, "deferred", reason="its bundle is to be measured on the device", hint=hint)
    warnings = [f"{problem}: it is made anew"] if problem else []
    for sentence in warnings:
        listener.warns(sentence)
    try:
        _refuse_absent(step)
        with store.making(step.stage.name, key, lambda: listener.waits(step)) as making:
            outcome = _made_meanwhile(step, making, artifact) or _make(step, making, parents, listener, again)
            outcome.warnings = [*warnings, *outcome.warnings]
            return outcome
    except TargetError as failure:
        if step.target is None:
            title = f"{targets.get(step.spec['target']).title} " if "target" in step.spec else ""
            raise TargetError(f"{title}{failure.message}", hint=failure.hint) from failure
        return Outcome(step, "failed", reason=failure.message, hint=failure.hint)
    except (OSError, MemoryError) as caught:
        raise machine_error(caught) or closed(caught) or caught from caught


def _made_meanwhile(step: Step, making: Making, before: Artifact | None) -> Outcome | None:
    """By another run, while this one waited for it."""
    artifact, _ = making.store.find(making.stage, making.key)
    is_new = artifact is not None and (before is None or artifact.digest != before.digest)
    return Outcome(step, "done", artifact) if is_new else None


def _make(step: Step, making: Making, parents: Mapping[str, Parent], listener: Listener, again: bool) -> Outcome:
    if again:  # anew is anew: not on from where an interrupted attempt was
        making.clear_scratch()
    began = time.perf_counter()
    seed, record = step.spec.get("seed", 0), functools.partial(listener.records, step)
    ctx = Context(seed, making.scratch, listener.begins(step), record, making.store.cache)
    for sentence in step.warnings:
        ctx.warn("given-weights", sentence)
    if "timed" in step.spec:
        ctx.measure = Measuring(step.spec, ctx)
    notes = step.stage.run(parents, step.spec, making.out, ctx)
    seconds = time.perf_counter() - began
    artifact = making.commit(
        stage_version=step.stage.version,
        spec=step.spec,
        parents=_digests(parents),
        libraries=step.versions(),
        machine=step.machine(),
        notes=notes,
        seconds=round(seconds, 3),
        warnings=ctx.warnings,
    )
    return Outcome(step, "made", artifact, seconds=seconds, warnings=ctx.warnings)


def _refuse_absent(step: Step) -> None:
    for name in step.runs_on():
        found = targets.get(name).available()
        whose = "" if "target" in step.spec else f"prune.speedup.{name} cannot be measured: {targets.get(name).title} "
        if not (found.ok or (found.builds and step.stage.name == "compile")):
            raise TargetError(f"{whose}is not here: {found.reason}", hint=found.hint)


def _resolved(step: Step, outcomes: Mapping[str, Outcome]) -> dict[str, Parent] | None:
    """The parents themselves, or None where one of them is not there (yet)."""
    found: dict[str, Parent] = {}
    for name, parent in step.parents.items():
        artifact = parent if isinstance(parent, Given) else outcomes[parent].artifact
        if artifact is None and name in step.optional and outcomes[parent].state in ("failed", "skipped"):  # type: ignore[index]
            continue
        if artifact is None:
            return None
        found[name] = artifact
    return found


def _digests(parents: Mapping[str, Parent]) -> dict[str, str]:
    return {name: parent.digest for name, parent in parents.items()}
