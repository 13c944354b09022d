"""Steps are found in the store or made, in order; what fails on one target leaves the others running."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..context import Workers
from ..devices.book import Device
from ..errors import EdgeresnetError, RecipeError
from ..notes import RecogniseNotes
from ..recipe import Recipe
from ..runs import Part, Run, StepId
from ..store import Given, Parent, Store
from . import choice, remote, rounds, suitability
from .document import part, run_of
from .listener import Listener
from .making import Maker, digests_of
from .planner import CALIBRATE, RECOGNISE, is_of_reference, plan
from .resolving import Resolved, resolve
from .step import Outcome, Step

Outcomes = dict[StepId, Outcome]


def preview(recipe: Recipe, store: Store) -> list[Outcome]:
    """Return what a run would find done and what it would make, without making any of it."""
    work = _begun(recipe, store)
    while work.goes_on():
        for step in work.each():
            parents = _parents_of(step, work.outcomes)
            if parents is None:
                work.outcomes[step.id] = Outcome(step, "todo", reason="after its parents")
                continue
            artifact, problem = store.find(step.stage.name, step.key(digests_of(parents)))
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
    work = _Work(wanted_steps, resolved, Maker(store, listener, workers=workers), at_chance=at_chance)
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
    work = _Work(steps, resolved, Maker(store, shown, known, workers), at_chance=False)
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


def _warned(steps: Sequence[Step], resolved: Resolved, listener: Listener) -> list[Step]:
    """Report doubtful images at once, before hours are spent: calibration with the step that reads it, labels with the
    first.
    """
    found = {step.id: suitability.of_calibration(resolved) for step in steps if step.id == CALIBRATE}
    for step in steps[:1]:
        found[step.id] = (*suitability.of_labels(resolved), *found.get(step.id, ()))
    for warning in itertools.chain.from_iterable(found.values()):
        listener.warns(str(warning))
    return [replace(step, warnings=(*step.warnings, *found.get(step.id, ()))) for step in steps]


def _begun(recipe: Recipe, store: Store) -> _Work:
    resolved = resolve(recipe, store)
    return _Work(plan(resolved), resolved, Maker(store, Listener()))


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
    maker: Maker
    outcomes: Outcomes = field(default_factory=dict)
    rounds: rounds.Rounds = field(default_factory=rounds.Rounds)
    place: int = 0  # of the next step
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
            self.maker.listener.ends(outcome)

    def measure_on_devices(self) -> None:
        """Let all devices measure what waits for them, at once."""
        devices, listener = self.maker.devices, self.maker.listener
        if devices is None or not devices.errands:
            return
        counts = {each.step.id: listener.begins(each.step) for each in devices.errands}
        shown = remote.Shown(lambda step, *count: counts[step.id](*count), listener.remarks)
        for outcome in devices.measure(shown):
            self.outcomes[outcome.step.id] = outcome
            listener.ends(outcome)
        devices.errands.clear()

    def _outcome(self, step: Step, again: bool) -> Outcome:
        parents = _parents_of(step, self.outcomes)
        if parents is None:
            needed = [parent for name, parent in step.parents.items() if name not in step.optional]
            failed = next(o for o in self.outcomes.values() if o.step.id in needed and o.artifact is None)
            return Outcome(step, "skipped", reason=failed.reason, hint=failed.hint)
        return self.maker.outcome(step, parents, again=again, steps=self.steps)


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
