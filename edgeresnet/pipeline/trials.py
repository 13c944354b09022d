"""A sweep: each trial is a run of its recipe, whose stages the store shares. Here it runs in this process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeAlias

from .. import targets
from ..devices.book import Device
from ..errors import EdgeresnetError, MachineError, TargetError, foreign, machine_error
from ..portable import judging
from ..portable.result import Measured, NotMeasured, Verdict
from ..recipe import Recipe
from ..runs import Run
from ..store import Store
from ..sweeps import loop, objectives, results, study
from ..sweeps.document import Objective, Outcome, SweepReport, Value
from ..sweeps.loading import Sweep
from ..sweeps.loop import Trial
from . import lookup
from .listener import Listener
from .runner import run

_FURTHEST = 1e6  # stands for a promise that was not measured
Cluster: TypeAlias = Callable[[Mapping[str, Device]], contextlib.AbstractContextManager[loop.Runner]]


def sweep(
    wanted: Sweep,
    store: Store,
    listener: Listener,
    shown: loop.Shown,
    *,
    retry_failed: bool = False,
    cluster: Cluster | None = None,
) -> SweepReport:
    """Run the trials that a sweep still needs, and return what came of all of them as it was saved.

    `cluster` opens what runs them instead of this process, with the devices that the recipe may name.
    """
    devices = lookup.found_for(wanted.recipe(wanted.first), wanted.folder)[1]
    with study.opened(store, wanted) as tried:
        again = tried.forget_failed() if retry_failed else 0
        shown.opens(len(tried.points), tried.interrupted - again, again)
        if len(tried.points) < wanted.trials:
            _check_targets(wanted)
        here = contextlib.nullcontext(InProcess(wanted.objectives, store, listener, devices))
        with cluster(devices) if cluster else here as runner:
            ended = loop.search(wanted, tried, runner, shown)
        points = tried.points
    return results.report_of(wanted, points, ended, study.folder_of(store, wanted))


def _check_targets(wanted: Sweep) -> None:
    """Refuse a sweep whose objectives are of a target that is not here, before hours are spent on training."""
    recipe = wanted.recipe(wanted.first)
    for name in dict.fromkeys(recipe.places()[goal.target] for goal in wanted.objectives):
        found = targets.get(name).available(recipe.target_options(name))
        if recipe.delivery(name).where == "here" and not found.ok:
            raise TargetError(targets.get(name).title, f"is not available: {found.reason}", hint=found.hint)


class InProcess:
    """One trial at a time, here: what is timed has this machine for itself."""

    slots = 1

    def __init__(
        self, goals: Sequence[Objective], store: Store, listener: Listener, devices: Mapping[str, Device] | None = None
    ) -> None:
        self._goals, self._store, self._listener, self._devices = goals, store, listener, devices

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Run a trial before this returns."""
        future: Future[Outcome] = Future()
        future.set_result(self.outcome(trial.recipe))
        return future

    def wait(self, running: Collection[Future[Outcome]]) -> Collection[Future[Outcome]]:
        """Return all trials: they have ended."""
        return list(running)

    def outcome(self, recipe: Recipe) -> Outcome:
        """Return what the run of a recipe gives; raise what the machine fails at."""
        began = time.monotonic()
        try:
            with foreign(failed):
                done = run(recipe, self._store, listener=self._listener, devices=self._devices)
        except EdgeresnetError as problem:
            if isinstance(machine_error(problem), MachineError):
                raise
            return Outcome("failed", reason=problem.message, hint=problem.hint, seconds=time.monotonic() - began)
        return outcome_of(done, self._goals)


def failed(why: str) -> EdgeresnetError:
    """Return the error for what another library raised in a trial."""
    return EdgeresnetError("the run", f"failed: {why}", hint="`edgeresnet run` shows where")


def outcome_of(done: Run, goals: Sequence[Objective]) -> Outcome:
    """Return what a run means for a sweep: the objectives' values, and whether its promises are kept.

    A promise that is UNDECIDED counts as the recipe's `undecided` says: `warn` leaves the point feasible.
    """
    states = [step.state for step in done.steps]
    about = Outcome(
        "feasible", (), done.verdict, run=done.id, seconds=done.seconds, made=states.count("made"),
        reused=states.count("done"),
    )  # fmt: skip
    values: list[Value] = []
    for goal in goals:
        result = done.results[goal.target]
        if not isinstance(result, Measured):
            hint = result.hint if isinstance(result, NotMeasured) else ""
            return replace(about, state="failed", reason=f"{goal.target}: {result.reason}", hint=hint)
        found = objectives.read(result, goal)
        if isinstance(found, str):
            return replace(about, state="failed", reason=found, unmeasured=str(goal))
        values.append(found)
    broken = [verdict for verdict in done.verdicts if _is_broken(verdict, done)]
    absent = [result for result in done.results.values() if isinstance(result, NotMeasured)]
    if not (broken or absent):
        return replace(about, values=tuple(values))
    distance = sum(min(judging.distance(verdict), _FURTHEST) for verdict in broken) + _FURTHEST * len(absent)
    reasons = [f"{each.promise} on {each.target} is {each.verdict}: {each.reason}" for each in broken]
    reasons += [f"{each.target} was not measured: {each.reason}" for each in absent]
    return replace(about, state="infeasible", values=tuple(values), distance=distance, reason=reasons[0])


def _is_broken(verdict: Verdict, done: Run) -> bool:
    return verdict.verdict in ("BROKEN", "NOT_MEASURED") or (
        verdict.verdict == "UNDECIDED" and done.undecided == "fail"
    )
