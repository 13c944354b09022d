"""What became of a sweep, as its file holds it and as reports read it: every point, what it gave, and the front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from ..portable.frozen import OMIT, dataclass
from ..portable.intervals import Interval
from ..portable.result import Word

FORMAT = 1
State = Literal["feasible", "infeasible", "failed"]
Direction = Literal["max", "min"]


@dataclass(frozen=True)
class Objective:
    """What is to be as large or as small as possible, on which target. `subject` is the class of a recall."""

    direction: Direction
    metric: str
    target: str
    subject: str = field(default="", metadata=OMIT)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.direction, self.metric, self.subject, self.target)))


@dataclass(frozen=True)
class Value:
    """What an objective read, with its 95 % interval. Both ends are the value where it is exact, None where unknown."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float, interval: Interval) -> Value:
        """Return a value with an interval, which may rule nothing out."""
        if interval.is_open:
            return cls(value, None, None)
        return cls(value, interval.low, None if interval.high == float("inf") else interval.high)

    @property
    def is_exact(self) -> bool:
        return self.low == self.high == self.value


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: the objectives' values in their order, or why there are none."""

    state: State
    values: tuple[Value, ...] = ()
    verdict: Word | None = None
    distance: float = 0.0  # from keeping its promises, in parts of their limits: 0 is feasible
    reason: str = ""  # of what failed, or of the promise that is not kept
    hint: str = ""
    unmeasured: str = ""  # the objective that could not be read, though the run ended
    run: str = ""
    seconds: float = 0.0
    made: int = 0  # stages
    reused: int = 0


@dataclass(frozen=True)
class Point:
    """One point of the space: its values, what became of it, and the file of its recipe."""

    number: int
    values: Mapping[str, object]
    outcome: Outcome
    recipe: str = ""


@dataclass(frozen=True)
class SweepReport:
    """A sweep: what was wanted, every point that was tried, and the numbers of those on the front."""

    digest: str
    title: str
    objectives: tuple[Objective, ...]
    space: Mapping[str, object]
    trials: int  # wanted
    ended: str  # why no more trials were run
    points: tuple[Point, ...]
    front: tuple[int, ...]
    format: Literal[1] = 1

    def of_state(self, state: State) -> list[Point]:
        """Return the points of this state."""
        return [point for point in self.points if point.outcome.state == state]

    @property
    def best(self) -> list[Point]:
        """The points of the front, best by the first objective first."""
        sign = -1 if self.objectives[0].direction == "max" else 1
        found = [point for point in self.points if point.number in self.front]
        return sorted(found, key=lambda point: (sign * point.outcome.values[0].value, point.number))
