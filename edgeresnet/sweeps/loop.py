"""The loop of a sweep: ask for a point, run it, tell what became of it. Knows no database, and not where trials run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import Protocol

from ..deadline import Deadline
from ..errors import RecipeError, TargetError
from ..portable.frozen import dataclass
from ..recipe import Recipe
from .document import Outcome, Point
from .loading import Params, Sweep
from .study import Asked, Study

_ALIKE = 3  # failures for one reason, and nothing else, after which no other trial is run


@dataclass(frozen=True)
class Trial:
    """A point to run: its number, its values, and its recipe, which is valid."""

    number: int
    params: Params
    recipe: Recipe


class Runner(Protocol):
    """Runs trials: in this process, or on other machines."""

    @property
    def slots(self) -> int:
        """How many trials it runs at once."""

    def submit(self, trial: Trial) -> Future[Outcome]:
        """Begin a trial. A failure of the trial is an outcome; the machine's is raised and ends the sweep."""

    def wait(self, running: Collection[Future[Outcome]]) -> Collection[Future[Outcome]]:
        """Return those of these trials that have ended, one at least: this process has nothing else to do."""


class Shown:
    """Receives what happens. Override what is to be shown."""

    def opens(self, done: int, interrupted: int, failed: int) -> None:
        """Receive how many trials are done already, and how many of earlier calls are tried again."""

    def begins(self, trial: Trial) -> None: ...

    def works(self, trial: Trial, doing: str) -> None:
        """Receive what a trial that runs on another machine does now, and where."""

    def warns(self, sentence: str) -> None:
        """Receive what happened to a machine."""

    def ends(self, point: Point) -> None: ...


def search(sweep: Sweep, study: Study, runner: Runner, shown: Shown) -> str:
    """Run trials until there are enough; return why no more were run. What is done stays, however it ends."""
    until = Deadline(60 * sweep.minutes) if sweep.minutes else None
    running: dict[Future[Outcome], tuple[Asked, Trial]] = {}
    ended = ""
    while not ended or running:
        while not ended and len(running) < runner.slots:
            ended = _ended(sweep, len(study.points) + len(running), until)
            asked = None if ended else study.ask()
            if asked is None:
                ended = ended or "every point of the space was tried"
                continue
            try:
                trial = Trial(asked.number, asked.params, sweep.recipe(asked.params))
            except RecipeError as problem:  # values that contradict one another
                _finish(study, asked, Outcome("failed", reason="; ".join(problem.problems), hint=problem.hint), shown)
                continue
            shown.begins(trial)
            running[runner.submit(trial)] = asked, trial
        if not running:
            continue
        for future in runner.wait(running):
            asked, _ = running.pop(future)
            _finish(study, asked, future.result(), shown)
        _check_hopeless(sweep, study.points)
    return ended


def _finish(study: Study, asked: Asked, outcome: Outcome, shown: Shown) -> None:
    study.tell(asked, outcome)
    shown.ends(Point(asked.number, asked.params, outcome))


def _ended(sweep: Sweep, count: int, until: Deadline | None) -> str:
    if count >= sweep.trials:
        return "all trials are done"
    if until is not None and until.left <= 0:
        return f"the {sweep.minutes:g} minutes are over"
    return ""


def _check_hopeless(sweep: Sweep, points: Sequence[Point]) -> None:
    """End a sweep in which nothing can be measured: hours of the same failure help no one."""
    failed = [point.outcome for point in points if point.outcome.state == "failed"]
    if len(failed) < len(points):
        return
    first = failed[0]
    if first.unmeasured:
        raise TargetError(
            f"the objective `{first.unmeasured}`", f"cannot be measured: {first.reason}", hint=_unmeasured_hint(first)
        )
    if len(failed) >= _ALIKE and len({each.reason for each in failed}) == 1 and len(failed) < sweep.trials:
        hint = first.hint or "run the recipe itself with `edgeresnet run` to see where"
        raise TargetError(f"the first {len(failed)} trials", f"failed alike: {first.reason}", hint=hint)


def _unmeasured_hint(outcome: Outcome) -> str:
    return outcome.hint or "remove it from `objectives`, or measure where it can be"
