"""Which of several INT8 networks ships, where a device measured them: by their verdicts, then by their times.

Pure: results in, results out. All of them are judged at once, each at its part of the 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..portable import judging, timing_warnings
from ..portable.result import INT8, PLAIN, SAFE, Judged, Measured, Promise

_FASTEST = (PLAIN, "int8", SAFE)  # the fewer layers in float the faster, where times cannot be compared


def chosen(result: Measured, promises: Sequence[Promise], rounds: int = 1) -> Measured:
    """Return the result with the best of its INT8 networks as the one that ships, and what became of each.

    The fastest one that keeps every promise. Where none does: the one that is closest to it.
    """
    if result.choice is None:
        return result
    names = sorted((result.choice.taken, *result.choice.others), key=INT8.index)
    distances = {name: _distances(result.taking(name), promises, rounds) for name in names}
    judged = {name: _judged(found) for name, found in distances.items()}
    kept = [name for name in names if judged[name].verdict == judging.KEPT]
    taken = _fastest(result, kept) if kept else min(names, key=lambda name: _far(distances[name]))
    found = result.taking(taken)
    assert found.choice is not None
    return replace(found, choice=replace(found.choice, judged=judged))


Distances = list[tuple[judging.Verdict, float]]


def _distances(result: Measured, promises: Sequence[Promise], rounds: int) -> Distances:
    found = judging.judge(promises, result.target, result, rounds)
    return [(verdict, judging.distance(verdict)) for verdict in found]


def _judged(found: Distances) -> Judged:
    if not found:
        return Judged(judging.KEPT, distance=0.0)
    word = judging.worst([verdict.verdict for verdict, _ in found])
    verdict, distance = max(found, key=lambda one: one[1])
    promise = "" if word == judging.KEPT else verdict.promise.name
    return Judged(word, promise, distance if math.isfinite(distance) else None)


def _far(found: Distances) -> tuple[int, float]:
    """Return how many promises were not measured, and how far the furthest other one is. Then likelier ones win."""
    known = [distance for _, distance in found if math.isfinite(distance)]
    return len(found) - len(known), max(known, default=0.0)


def _fastest(result: Measured, names: Sequence[str]) -> str:
    """Return the one that takes the least time, measured in turn."""
    found = {name: _speed(result, names[0], name) for name in names}
    if all(found.values()):
        return max(names, key=lambda name: found[name] or 0.0)
    return next(name for name in _FASTEST if name in names)


def _speed(result: Measured, first: str, name: str) -> float | None:
    """Return how many times as fast one is as the first; None where times cannot be compared."""
    if name == first:
        return 1.0
    one, other = result.taking(first).shipped.latency, result.taking(name).shipped.latency
    found = timing_warnings.speedup(one, other)
    return None if isinstance(found, str) else found.value
