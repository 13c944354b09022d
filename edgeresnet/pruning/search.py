"""Where on a ladder of cuts a goal is reached first, when each look costs a measurement and no look is exact.

Rung 0 is the whole network, each further one is cut harder. Scores are what was measured over what is wanted: 1 and
more is reached. Knows no networks and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

_STRIDE = 4  # rungs at a time, on the way down
_CLOSE = 0.8  # of the goal: a stride cannot bring more than what is missing then
_CHECKS = 8

Look = Callable[[int], float]
Check = Callable[[Sequence[int]], Mapping[int, float]]


class Found(NamedTuple):
    rung: int
    sure: bool  # the next milder one was measured as carefully, and does not reach it


def mildest(rungs: int, look: Look, check: Check) -> Found | None:
    """The mildest of those looked at that reaches the goal, when it is measured again; None where none does.

    Nothing says that a narrower network is a faster one, so the way goes down from the whole network, and no rung is
    taken that a milder one outruns: of those that reach the goal the mildest wins. `check` measures some anew and gives
    their scores over all that it ever measured of them.
    """
    below, above = _bracket(rungs, look)
    if above is None:
        return None
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (below, middle) if look(middle) >= 1 else (middle, above)
    return _checked(above, rungs, check)


def _bracket(rungs: int, look: Look) -> tuple[int, int | None]:
    """(the last that does not reach it, the first that does), in strides; one stride more for who reads the curve.

    Where the curve falls back close to the goal, the rungs of that stride are looked at one by one.
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
    """A look that was lucky is found out here: the goal must be reached again, and by no milder rung."""
    scores: dict[int, float] = {}
    for _ in range(_CHECKS):
        milder = rung - 1
        scores |= check([milder, rung] if milder else [rung])
        if scores.get(milder, 0.0) >= 1:  # whatever the other one is
            rung = milder
        elif scores[rung] >= 1:
            return Found(rung, sure=True)
        elif rung == rungs:
            break
        else:
            rung += 1
    reached = [one for one, score in scores.items() if score >= 1]
    return Found(min(reached), sure=False) if reached else None
