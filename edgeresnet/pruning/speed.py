"""The goal in milliseconds: how many times as fast a cut is, measured against the whole network as both would ship.

A rung is what the goal `macs` would cut, each with a twentieth fewer multiplications than the one before: what lies
closer together no clock tells apart. Knows no target and no compiler: who times is handed in by the conductor.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from ..context import Context
from ..errors import ModelError, TargetError
from ..portable import intervals, machine, timing_warnings, timings
from ..store import write_bytes
from . import search
from .choose import Choice, Chooser
from .cut import cut

WHOLE = "whole"
_PART = 0.95  # of the rung before
_QUICK = 3  # times fewer seconds for a look than for a check, and three processes at most

# target → side, `whole` or `cut` → process by process, the median of each window in milliseconds
Evidence = dict[str, dict[str, list[list[float]]]]


class Rung(NamedTuple):
    part: float  # as `macs` would be told it
    choice: Choice


@dataclass(frozen=True)
class Asked:
    """`goals`: target → times as fast. `verify` is how carefully the end is measured, `right` tells the part of some
    images that is answered right.
    """

    goals: Mapping[str, float]
    ships: Mapping[str, str]
    verify: Mapping[str, Any]
    right: Callable[[nn.Module], float] | None = None
    images: int = 0


def ladder(chooser: Chooser) -> list[Rung]:
    """The whole network, and one rung after the other down to the most that can be cut; no two alike."""
    most, dense = chooser.at(1.0).macs, chooser.dense.macs
    parts = [round(_PART**power, 4) for power in range(1, 200)]
    parts = [part for part in parts if most <= part * dense]
    found = [Rung(1.0, chooser.dense)]
    for part in [*parts, math.ceil(1e4 * most / dense) / 1e4]:
        choice = chooser.for_goal("macs", part)
        if choice.macs < found[-1].choice.macs:
            found.append(Rung(part, choice))
    return found


def fastest(network: nn.Module, chooser: Chooser, asked: Asked, ctx: Context) -> tuple[Choice, dict[str, Any]]:
    """The mildest cut that reaches every target's goal, and the curve that led there."""
    curve = _Curve(network, ladder(chooser), asked, ctx)
    if len(curve.rungs) == 1:
        raise ModelError(
            "prune.speedup cannot be reached: every width that may be cut is at its least",
            hint="; ".join(chooser.cuttable.tied()) or "cut the network that it was made from",
        )
    found = search.mildest(len(curve.rungs) - 1, curve.look, curve.check)
    if found is None:
        raise _out_of_reach(curve, chooser)
    if not found.sure:
        ctx.warn(
            "unsure",
            "times waver too much here to say that no milder cut reaches prune.speedup: measure on a quiet machine, "
            "or longer (`verify.seconds`)",
        )
    for sentence in dict.fromkeys(curve.troubles):
        ctx.warn("disturbed", f"while the chosen cut was timed, {sentence}")
    return curve.rungs[found.rung].choice, curve.notes(found)


class _Curve:
    """What was measured, rung by rung, kept as soon as it is there: an interrupted search measures none of it again."""

    def __init__(self, network: nn.Module, rungs: Sequence[Rung], asked: Asked, ctx: Context):
        self.network, self.rungs, self.asked, self.ctx = network, rungs, asked, ctx
        self.looks: dict[int, Evidence] = {}
        self.checks: list[tuple[list[int], dict[int, Evidence]]] = []
        self.right: dict[int, float] = {}
        self.troubles: list[str] = []
        self.stored: list[tuple[list[int], dict[int, Evidence]]] = []  # checks of before, not yet asked for again
        self._kept = ctx.scratch / "curve.json"
        self._about = [machine.identity(), [rung.choice.macs for rung in rungs]]
        self._load()

    def look(self, number: int) -> float:
        if number not in self.looks:
            plan = self.asked.verify
            processes, seconds = min(_QUICK, plan["processes"]), plan["seconds"] / _QUICK
            self.looks[number] = self._timed([number], processes, seconds)[number]
            self._ask([0, number])
            self._keep()
        return self._score(self.looks[number])

    def check(self, numbers: Sequence[int]) -> dict[int, float]:
        """Those of before an interruption in their order, each with what was known then and no more."""
        if self.stored and self.stored[0][0] == list(numbers):
            self.checks.append(self.stored.pop(0))
        else:
            self.stored.clear()
            self.checks.append((list(numbers), self._timed(numbers, **self.asked.verify)))
            self._ask(numbers)
            self._keep()
        return {number: self._score(self._checked(number)) for number in numbers}

    def _ask(self, numbers: Sequence[int]) -> None:
        """How right they are, and the whole network, before anything is recovered."""
        for number in numbers if self.asked.right else ():
            if number not in self.right:
                self.right[number] = self.asked.right(self._network(number))  # type: ignore[misc]

    def row(self, number: int) -> dict[str, Any]:
        """Of the curve: what it was measured as with most care."""
        rung, again = self.rungs[number], any(number in numbers for numbers, _ in self.checks)
        evidence = self._checked(number) if again else self.looks[number]
        return {
            "part": rung.part,
            **_size(rung.choice),
            "top1": self._top1(number),
            "again": again,
            "targets": {target: _told(evidence[target]) for target in self.asked.goals},
        }

    def numbers(self) -> list[int]:
        return sorted({*self.looks, *(number for numbers, _ in self.checks for number in numbers)})

    def notes(self, found: search.Found) -> dict[str, Any]:
        numbers = self.numbers()
        return {
            "goals": dict(self.asked.goals),
            "ships": dict(self.asked.ships),
            "images": self.asked.images,
            "top1": self._top1(0),
            "curve": [self.row(number) for number in numbers],
            "chosen": numbers.index(found.rung),
            "milder": numbers.index(found.rung - 1) if found.rung - 1 in numbers else None,
            "sure": found.sure,
        }

    def _top1(self, number: int) -> float | None:
        return self.right.get(number)

    def _network(self, number: int) -> nn.Module:
        return cut(self.network, self.rungs[number].choice) if number else self.network

    def _timed(self, numbers: Sequence[int], processes: int, seconds: float) -> dict[int, Evidence]:
        """Against the whole network, in turn with it."""
        assert self.ctx.measure is not None
        done = len(self.looks) + len(self.checks)
        self.ctx.progress(done, max(done, len(self.rungs) // 4) + 3, "measurements of cuts")
        networks = {WHOLE: self.network} | {f"rung-{number}": self._network(number) for number in numbers}
        raw = self.ctx.measure(networks, processes=processes, seconds=seconds)
        found: dict[int, Evidence] = {number: {} for number in numbers}
        for target, each in raw.items():
            if trouble := timing_warnings.untimed(list(each.values())):
                raise TargetError(f"{target} cannot be held to prune.speedup: {trouble}", hint="prune to `macs`")
            for number in numbers:
                sides = {"whole": each[WHOLE], "cut": each[f"rung-{number}"]}
                found[number][target] = {side: _medians(values) for side, values in sides.items()}
        self.troubles = [said for each in raw.values() for said in _of_the_machine(each)]  # the last decides
        return found

    def _checked(self, number: int) -> Evidence:
        """Over all checks: more processes, and a narrower interval."""
        every = [found[number] for _, found in self.checks if number in found]
        return {
            target: {side: [process for one in every for process in one[target][side]] for side in ("whole", "cut")}
            for target in self.asked.goals
        }

    def _score(self, evidence: Evidence) -> float:
        return min(_ratio(evidence[target])[0] / goal for target, goal in self.asked.goals.items())

    def _keep(self) -> None:
        checks = [[numbers, list(found.items())] for numbers, found in (*self.checks, *self.stored)]
        stored = {"about": self._about, "looks": list(self.looks.items()), "checks": checks}
        stored |= {"right": list(self.right.items()), "troubles": self.troubles}
        write_bytes(self._kept, json.dumps(stored).encode())

    def _load(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            stored = json.loads(self._kept.read_text())
            if stored["about"] == self._about:
                self.right = dict(stored["right"])
                self.stored = [(numbers, dict(found)) for numbers, found in stored["checks"]]
                self.troubles = stored["troubles"]
                self.looks = dict(stored["looks"])
                self.ctx.warn("continued", f"{len(self.looks)} cuts were timed before an interruption")


def _of_the_machine(raw: Mapping[str, Any]) -> list[str]:
    """Without what is said of single networks: the interval over processes has that in it."""
    return [said for said in timing_warnings.troubles(raw) if said.split(":")[0] not in raw]


def _size(choice: Choice) -> dict[str, Any]:
    return {"macs": choice.macs, "params": choice.params, "ratio": choice.ratio}


def _medians(raw: Mapping[str, Any]) -> list[list[float]]:
    return [[float(np.median(window)) for window in windows] for windows in timings.windows(raw)]


def _ratio(sides: Mapping[str, list[list[float]]]) -> tuple[float, intervals.Interval]:
    whole, narrow = ([[[median] for median in process] for process in sides[side]] for side in ("whole", "cut"))
    return intervals.ratio_interval(whole, narrow)


def _told(sides: Mapping[str, list[list[float]]]) -> dict[str, Any]:
    times, (low, high) = _ratio(sides)
    return {
        "times": times,
        "low": low,
        "high": high if math.isfinite(high) else None,
        "whole_ms": float(np.median(np.concatenate(sides["whole"]))),
        "ms": float(np.median(np.concatenate(sides["cut"]))),
        "processes": len(sides["cut"]),
    }


def _out_of_reach(curve: _Curve, chooser: Chooser) -> ModelError:
    dense = chooser.dense.macs
    rows = [curve.row(number) for number in curve.numbers()]
    said = []
    for target, goal in curve.asked.goals.items():
        best = max(rows, key=lambda row: row["targets"][target]["times"])
        said.append(
            f"prune.speedup {target} {goal:g} cannot be reached: {best['targets'][target]['times']:.2f} times as fast "
            f"is the most, with {best['macs'] / dense:.2f} of the multiplications"
        )
    hint = [*_in_words(rows, curve.asked.goals, dense), *chooser.cuttable.tied()]
    return ModelError("; ".join(said), hint="; ".join(hint))


def _in_words(rows: Sequence[Mapping[str, Any]], goals: Mapping[str, float], dense: int) -> Iterator[str]:
    """The curve in a line."""
    for target in goals:
        points = [f"{row['macs'] / dense:.2f}: {row['targets'][target]['times']:.2f}" for row in rows]
        yield f"{target}, times as fast by multiplications that stay: {', '.join(points)}"
