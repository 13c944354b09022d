"""Which points none beats, where the measurements show it.

A point beats another if no objective's measured value is worse, and the intervals of one objective at least lie apart.
Two points whose intervals overlap in all objectives may be equally good: neither beats the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .document import Objective, Point, Value


def shown_better(one: Value, other: Value, objective: Objective) -> bool:
    """Return whether the interval of one value lies on the better side of all of the other's."""
    if objective.direction == "max":
        return _low(one) > _high(other)
    return _high(one) < _low(other)


def beats(one: Sequence[Value], other: Sequence[Value], objectives: Sequence[Objective]) -> bool:
    """Return whether one point is shown to be better than another, and has no value that is worse."""
    rows = list(zip(one, other, objectives, strict=True))
    if any(_worse(a, b, objective) for a, b, objective in rows):
        return False
    return any(shown_better(a, b, objective) for a, b, objective in rows)


def front(points: Sequence[Point], objectives: Sequence[Objective]) -> tuple[int, ...]:
    """Return the numbers of the feasible points that no other feasible one beats."""
    known = [point for point in points if point.outcome.state == "feasible"]
    return tuple(
        point.number
        for point in known
        if not any(beats(other.outcome.values, point.outcome.values, objectives) for other in known)
    )


def _worse(one: Value, other: Value, objective: Objective) -> bool:
    return one.value < other.value if objective.direction == "max" else one.value > other.value


def _low(value: Value) -> float:
    return -math.inf if value.low is None else value.low


def _high(value: Value) -> float:
    return math.inf if value.high is None else value.high
