"""Steps are found in the store or made, in order; what fails on one target leaves the others running."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .. import targets
from ..context import Context, Progress, Workers
from ..devices.book import Device
from ..errors import EdgeresnetError, RecipeError, TargetError, closed, machine_error
from ..images import Samples
from ..notes import RecogniseNotes
from ..portable.result import RunWarning
from ..recipe import Recipe
from ..runs import Part, Run, StepId
from ..stages.export.write import FOLDER
from ..stages.specs import DeviceInputs
from ..stages.table import ON_DEVICE
from ..store import Artifact, Given, Making, Parent, Store
from . import choice, remote, rounds, suitability
from .document import part, run_of
from .measuring import Measuring
from .network import GIVEN_WEIGHTS
from .planner import CALIBRATE, RECOGNISE, is_of_reference, plan, samples_of
from .resolving import Resolved, resolve
from .step import Outcome, Step

Outcomes = dict[StepId, Outcome]


class Listener:
    """Receives what happens. Override what is to be shown."""

    def begins(self, step: Step) -> Progress:
        return lambda done, total, word: None

    def records(self, step: Step, line: Mapping[str, object]) -> None: ...

    def ends(self, outcome: Outcome) -> None: ...

    def waits(self, step: Step) -> None: ...

    def warns(self, sentence: str) -> None: ...

    def remarks(self, step: Step, sentence: str, detail: bool) -> None:
        """Receive what a device reports while it measures; a detail is a line of its output."""


def preview(recipe: Recipe, store: Store) -> list[Outcome]:
    """Return what a run would find done and what it would make, without making any of it."""
    work = _begun(recipe, store)
    while work.goes_on():
        for step in work.each():
            parents = _parents_of(step, work.outcomes)
            if parents is None:
                work.outcomes[step.id] = Outcome(step, "todo", reason="after its parents")
                continue
            artifact, problem = store.find(step.stage.name, step.key(_digests(parents)))
            work.outcomes[step.id] = Outcome(step, "done" if artifact else "todo", artifact, problem)
    return list(work.outcomes.values())


def planned(recipe: Recipe, store: Store) -> tuple[Step, ...]:
    """Return the steps of a recipe as they are once its network is recognised: what that takes is done first."""
    work = _begun(recipe, store)
    for step in work.each():
        if step.id != RECOGNISE:
            break
        work.take(step)
    return tuple(work.steps)


def make(
    recipe: Recipe,
    store: Store,
    wanted: str | Callable[[Step], bool],
    listener: Listener,
    *,
    at_chance: bool = False,
    workers: Workers | None = None,
) -> Part:
    """Make what leads to the wanted steps and no other, and save no run. `wanted` may be the name of a stage.

    `at_chance`: also with a network that was recognised and is no better than chance. `workers` evaluate and calibrate.
    """
    resolved = resolve(recipe, store)
    every = {step.id: step for step in plan(resolved)}
    needed = (
        _of_stage(wanted, every) if isinstance(wanted, str) else [each.id for each in every.values() if wanted(each)]
    )
    for name in needed:  # grows meanwhile: parents' parents too
        needed += [before for before in every[name].before if before not in needed]
    wanted_steps = _warned([step for step in every.values() if step.id in needed], resolved, listener)
    work = _Work(wanted_steps, resolved, store, listener, at_chance=at_chance, workers=workers)
    for step in work.each():
        work.take(step)
    return part(resolved, work.outcomes)


def run(
    recipe: Recipe,
    store: Store,
    *,
    again: frozenset[str] = frozenset(),
    listener: Listener | None = None,
    on_failure: Callable[[Run], None] = lambda run: None,
    devices: Mapping[str, Device] | None = None,
    workers: Workers | None = None,
) -> Run:
    """Make what is not done, judge, and return the run as it was saved.

    `devices` are those that the recipe may name; None: those of devices.yaml in this folder, or the user's own.
    `workers` evaluate and calibrate, a shard of the images each; None: this process does.
    One that fails halfway is saved too: `on_failure` receives it before the problem is raised.
    """
    began, known = time.time(), remote.of_recipe(recipe, store, devices)
    resolved = resolve(recipe, store)  # a recipe that cannot even be planned leaves no run
    shown = listener or Listener()
    steps = _warned(plan(resolved), resolved, shown)
    work = _Work(steps, resolved, store, shown, at_chance=False, devices=known, workers=workers)
    repeated = _again(again, work.steps)
    where: StepId | None = None
    try:
        while work.goes_on():
            for step in work.each():
                where = step.id
                work.take(step, again=step.id in repeated)
            where = None
            work.measure_on_devices()
    except BaseException as problem:
        with contextlib.suppress(EdgeresnetError, OSError):
            ended = run_of(work.resolved, work.outcomes, began, problem, where)
            store.save_run(ended)
            on_failure(ended)
        raise
    finished = run_of(work.resolved, work.outcomes, began)
    store.save_run(finished)
    return finished


def look_at(sets: Mapping[str, Samples], progress: Progress) -> None:
    """Decode every image once, and keep none in memory."""
    for slot, samples in sets.items():
        done = 0
        for batch in samples.batches(64):
            done += len(batch.indices)
            progress(done, len(samples), f"{slot} images")


def _warned(steps: Sequence[Step], resolved: Resolved, listener: Listener) -> list[Step]:
    """Report doubtful calibration images at once, before hours are spent, and with the step that reads them."""
    if all(step.id != CALIBRATE for step in steps):
        return list(steps)
    warnings = suitability.warnings_of(resolved)
    for warning in warnings:
        listener.warns(str(warning))
    return [replace(step, warnings=(*step.warnings, *warnings)) if step.id == CALIBRATE else step for step in steps]


def _begun(recipe: Recipe, store: Store) -> _Work:
    resolved = resolve(recipe, store)
    return _Work(plan(resolved), resolved, store, Listener())


def _of_stage(stage: str, steps: Mapping[StepId, Step]) -> list[StepId]:
    """Return the steps of a stage; refuse a stage that the recipe does not have."""
    found = [step for step in steps if step.stage == stage]
    if not found:
        there = ", ".join(dict.fromkeys(step.stage for step in steps))
        raise RecipeError("this recipe", f"has no stage {stage!r}", hint=f"its stages: {there}")
    return found


def _again(words: frozenset[str], steps: Sequence[Step]) -> set[StepId]:
    """Return the steps to make again: those of these names and stages; refuse a word that is neither.

    `verify` is what is measured on targets. The reference's answers are the same at any hour: its steps are made again
    where they are named, or where nothing else is verified.
    """
    _check_again(words, steps)
    verified = [step.id for step in steps if step.stage.name == "verify"]
    answers = {step for step in verified if is_of_reference(step)}
    kept = answers if len(answers) < len(verified) else set()
    of_stages = {step.id for step in steps if step.stage.name in words} - kept
    return of_stages | {step.id for step in steps if str(step.id) in words}


def _check_again(again: frozenset[str], steps: Sequence[Step]) -> None:
    known = {step.stage.name for step in steps} | {str(step.id) for step in steps}
    for word in sorted(again - known):
        names = ", ".join(dict.fromkeys(step.stage.name for step in steps))
        raise RecipeError(
            "this recipe",
            f"has no stage {word!r}",
            hint=f"its stages: {names}; `edgeresnet plan` prints the names of single steps",
        )


@dataclass
class _Work:
    """Steps, and what became of those that were taken so far."""

    steps: Sequence[Step]
    resolved: Resolved
    store: Store
    listener: Listener
    outcomes: Outcomes = field(default_factory=dict)
    rounds: rounds.Rounds = field(default_factory=rounds.Rounds)
    devices: remote.Devices | None = None
    workers: Workers | None = None
    place: int = 0  # of the next step
    repeated: set[str] = field(default_factory=set)  # keys of what was made again
    at_chance: bool = True  # whether steps follow where the network that was recognised is no better than chance

    def each(self) -> Iterator[Step]:
        """Yield the steps in order. Which network was recognised decides what the steps after that are.

        A target whose layers in float are searched is made again after a verdict that is not KEPT.
        """
        while self.place < len(self.steps):
            step = self.steps[self.place]
            yield step
            outcome = self.outcomes.get(step.id)
            if outcome and outcome.artifact:
                if isinstance(notes := outcome.artifact.notes, RecogniseNotes):
                    self._recognised(notes, is_last=self.place + 1 == len(self.steps))
                if wanted := self.rounds.next_after(outcome, self.outcomes, self.resolved):
                    self._search_on(step.id.target, *wanted)
            self.place += 1

    def goes_on(self) -> bool:
        """Return whether steps are left, after another round of each search whose devices' verdicts are not KEPT."""
        if self.place == len(self.steps):
            for target, wanted in self.rounds.next_on_devices(self.outcomes, self.resolved).items():
                self._search_on(target, *wanted)
        return self.place < len(self.steps)

    def _search_on(self, target: str, number: int, spent_s: float) -> None:
        """Append the steps of another round of a target's search for float layers."""
        self.resolved = self.resolved.with_round(target, number, spent_s)
        self.steps = [*self.steps, *rounds.steps_of(plan(self.resolved), target)]

    def _recognised(self, notes: RecogniseNotes, *, is_last: bool) -> None:
        if not (self.at_chance or is_last or self.resolved.recipe.train):  # a training may begin at chance
            choice.check(notes, str(self.resolved.recipe.model.checkpoint))
        self.resolved = self.resolved.recognised(notes.arch)
        known = {step.id: step for step in plan(self.resolved)}
        self.steps = [replace(known[step.id], warnings=step.warnings) for step in self.steps]

    def take(self, step: Step, *, again: bool = False) -> None:
        """Find or make one of the steps, after those before it."""
        outcome = self.outcomes[step.id] = self._outcome(step, again)
        if outcome.state != "todo":  # what a device is to do ends later
            self.listener.ends(outcome)

    def measure_on_devices(self) -> None:
        """Let all devices measure what waits for them, at once."""
        if self.devices is None or not self.devices.errands:
            return
        counts = {each.step.id: self.listener.begins(each.step) for each in self.devices.errands}
        shown = remote.Shown(lambda step, *count: counts[step.id](*count), self.listener.remarks)
        for outcome in self.devices.measure(shown):
            self.outcomes[outcome.step.id] = outcome
            self.listener.ends(outcome)
        self.devices.errands.clear()

    def _outcome(self, step: Step, again: bool) -> Outcome:
        parents = _parents_of(step, self.outcomes)
        if parents is None:
            needed = [parent for name, parent in step.parents.items() if name not in step.optional]
            failed = next(o for o in self.outcomes.values() if o.step.id in needed and o.artifact is None)
            return Outcome(step, "skipped", reason=failed.reason, hint=failed.hint)
        key = step.key(_digests(parents))
        again = again and key not in self.repeated  # two rounds may need the same
        self.repeated |= {key} if again else set()
        artifact, problem = self.store.find(step.stage.name, key)
        if artifact and not again and (self.devices is None or self.devices.is_of(step, artifact)):
            self.store.tidy(step.stage.name, key)
            return _found(step, artifact)
        if step.stage is ON_DEVICE:
            bundle = DeviceInputs.from_parents(parents).bundle
            is_reached = self.devices is not None and self.devices.takes(step)
            before = artifact.digest if again and artifact else ""
            return self.devices.wait(step, bundle, before) if self.devices and is_reached else _deferred(step, bundle)
        if step.stage.long and artifact is None:  # an unreadable file must not end a training after hours
            look_at(samples_of(self.steps), self.listener.begins(step))
        warnings = [RunWarning("made-again", f"{problem}: edgeresnet makes it again")] if problem else []
        for warning in warnings:
            self.listener.warns(str(warning))
        absent = _absent(step)
        if absent:
            return _failed(step, absent)
        try:
            with self.store.making(step.stage.name, key, lambda: self.listener.waits(step)) as making:
                made = _made_meanwhile(step, making, artifact) or self._make(step, making, parents, again)
                made.warnings = [*warnings, *made.warnings]
                return made
        except TargetError as failure:
            sole = step.spec.sole_target
            if step.target is None and sole:
                raise failure.within(targets.get(sole).title) from failure
            return _failed(step, failure)
        except (OSError, MemoryError) as caught:
            raise machine_error(caught) or closed(caught) or caught from caught

    def _make(self, step: Step, making: Making, parents: Mapping[str, Parent], again: bool) -> Outcome:
        if again:  # from the start, not from where an interrupted attempt was
            making.clear_scratch()
        began = time.perf_counter()
        record = functools.partial(self.listener.records, step)
        ctx = Context(step.spec.seed, making.scratch, self.listener.begins(step), record, making.store.cache)
        ctx.workers, ctx.shared = self.workers, self.store.shared
        if step.spec.timed:
            ctx.measure = Measuring(step.spec.timed, ctx)
        notes = step.stage.run(parents, step.spec, making.out, ctx)
        seconds = time.perf_counter() - began
        origin = step.origin(_digests(parents))
        artifact = making.commit(notes, origin, seconds=round(seconds, 3), warnings=ctx.warnings)
        return Outcome(step, "made", artifact, seconds=seconds, warnings=[*step.warnings, *ctx.warnings])


def _deferred(step: Step, bundle: Artifact) -> Outcome:
    folder = bundle.path / FOLDER
    hint = f"copy {folder} to the device, run deploy.py in it, then run `edgeresnet collect result.json` here"
    return Outcome(step, "deferred", reason="the device must measure its bundle", hint=hint)


def _made_meanwhile(step: Step, making: Making, before: Artifact | None) -> Outcome | None:
    """Return what another run made while this one waited for it."""
    artifact, _ = making.store.find(making.stage, making.key)
    is_new = artifact is not None and (before is None or artifact.digest != before.digest)
    return _found(step, artifact) if artifact is not None and is_new else None


def _found(step: Step, artifact: Artifact) -> Outcome:
    """Return an artifact of the store as the outcome of a step.

    Warnings about the given weights are those of this recipe: an older store kept those of the recipe that made it.
    """
    stored = [each for each in artifact.manifest.warnings if each.code != GIVEN_WEIGHTS]
    return Outcome(step, "done", artifact, warnings=[*step.warnings, *stored])


def _absent(step: Step) -> TargetError | None:
    """Return why a target that the step needs does not work here."""
    for target in map(targets.get, step.spec.targets):
        found = target.available(getattr(step.spec, "options", None))
        if not (found.ok or (found.builds and step.stage.only_builds)):
            absent = TargetError(target.title, f"is not available: {found.reason}", hint=found.hint)
            section = step.spec.section
            return absent.within(f"{section}.{target.name}") if section else absent
    return None


def _failed(step: Step, failure: TargetError) -> Outcome:
    """Record a target's failure, which leaves the other targets running; raise any other, which ends the run."""
    if step.target is None:
        raise failure
    return Outcome(step, "failed", reason=failure.message, hint=failure.hint)


def _parents_of(step: Step, outcomes: Outcomes) -> dict[str, Parent] | None:
    """Return the parents themselves, or None where one of them, or what decides the step, does not exist (yet)."""
    found: dict[str, Parent] = {}
    if step.after and outcomes[step.after].artifact is None:
        return None
    for name, parent in step.parents.items():
        if isinstance(parent, Given):
            found[name] = parent
            continue
        outcome = outcomes[parent]
        if outcome.artifact is not None:
            found[name] = outcome.artifact
        elif not (name in step.optional and outcome.state in ("failed", "skipped")):
            return None
    return found


def _digests(parents: Mapping[str, Parent]) -> dict[str, str]:
    return {name: parent.digest for name, parent in parents.items()}
