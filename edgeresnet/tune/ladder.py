"""Where on a ladder of pruned networks a goal is reached first, when each look costs a measurement and none is exact.

Rung 0 is the unpruned network, each further one is pruned harder. A score is the measured speed-up over the wanted
one: from 1 on the goal is reached. Knows no networks and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

_STRIDE = 4  # rungs at a time, on the way down
_CLOSE = 0.8  # of the goal: one stride cannot gain more than what is missing then
_CHECKS = 8

Look = Callable[[int], float]
Check = Callable[[Sequence[int]], Mapping[int, float]]


class Found(NamedTuple):
    """The rung that the search chose."""

    rung: int
    sure: bool  # the next milder one was measured as carefully, and does not reach it


def mildest(rungs: int, look: Look, check: Check) -> Found | None:
    """Return the mildest rung that reaches the goal when it is measured again; None where none does.

    A narrower network need not be a faster one. So the search goes down from the unpruned network, and of the rungs
    that reach the goal the mildest wins. `check` measures some again, and returns their scores over all measurements.
    """
    below, above = _bracket(rungs, look)
    if above is None:
        return None
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if look(middle) >= 1 else (middle, above)
    return _checked(above, rungs, check)


def _bracket(rungs: int, look: Look) -> tuple[int, int | None]:
    """Return (the last rung that does not reach the goal, the first that does), in strides. One stride more is measured
    for readers of the curve.

    Where the curve falls back close to the goal, the rungs of that stride are measured one by one.
    """
    below, before = 0, 0.0
    for rung in [*range(_STRIDE, rungs, _STRIDE), rungs]:
        score = look(rung)
        if score >= 1:
            look(min(rung + _STRIDE, rungs))
            return below, rung
        if before > max(score, _CLOSE):
            for between in range(below + 1, rung):
                if look(between) >= 1:
                    return between - 1, between
        below, before = rung, score
    return below, None


def _checked(rung: int, rungs: int, check: Check) -> Found | None:
    """Check the first result, which may be luck: the goal must be reached again, and by no milder rung."""
    scores: dict[int, float] = {}
    for _ in range(_CHECKS):
        milder = rung - 1
        scores |= check([milder, rung] if milder else [rung])
        if scores.get(milder, 0.0) >= 1:  # whatever the other's score is
            rung = milder
        elif scores[rung] >= 1:
            return Found(rung, sure=True)
        elif rung == rungs:
            break
        else:
            rung += 1
    reached = [one for one, score in scores.items() if score >= 1]
    return Found(min(reached), sure=False) if reached else None
