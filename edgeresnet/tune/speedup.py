"""The goal `speedup`: how many times as fast a pruned network is, measured in turn with the unpruned one, both as they
would ship.

A rung is what the goal `macs` would give, each with a twentieth fewer multiplications than the one before: what lies
closer together no clock can tell apart. Knows no target and no compiler: the runner provides `ctx.measure`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import nn

from ..context import Context
from ..errors import ModelError, TargetError
from ..notes import TOP1, CutPoint, CutTimes, SpeedupSearch
from ..portable import timing_warnings
from ..portable.measure import TimingPlan
from ..portable.result import RunWarning
from ..portable.times import Latency, Ratio
from ..pruning.choose import Choice, Chooser
from ..pruning.cut import cut
from . import ladder as ladders
from .journal import Journal

UNPRUNED = "unpruned"  # its name in measurements
_PART = 0.95  # of the rung before
_QUICK = 3  # times fewer seconds for a look than for a check, and three processes at most


class Rung(NamedTuple):
    part: float  # the value of the goal `macs`
    choice: Choice


@dataclass(frozen=True)
class Goal:
    """What a search must reach: on each target, how many times as fast. `verify` is how carefully the end is measured.

    `top1_of` returns how good a network's answers to some images are, by `metric`.
    """

    speedups: Mapping[str, float]
    ships: Mapping[str, str]
    verify: TimingPlan
    top1_of: Callable[[nn.Module], float] | None = None
    images: int = 0
    metric: str = TOP1


@dataclass(frozen=True)
class Pair:
    """A pruned network and the unpruned one, timed in turn on one target: the median of each window."""

    unpruned: Latency
    pruned: Latency

    @property
    def speedup(self) -> Ratio:
        return self.pruned.speedup_over(self.unpruned)

    def times(self) -> CutTimes:
        """Return the speed-up and both times, as notes hold them."""
        speedup, unpruned, pruned = self.speedup, self.unpruned.p50, self.pruned.p50
        assert unpruned is not None
        assert pruned is not None
        high = speedup.high if speedup.has_interval else None
        return CutTimes(speedup.value, speedup.low, high, unpruned, pruned, len(self.pruned.processes))


Evidence = Mapping[str, Pair]  # by target


@dataclass(frozen=True)
class Answer:
    """Some rungs that were measured together, and the accuracy of those that were evaluated for the first time."""

    numbers: tuple[int, ...]
    found: tuple[Evidence, ...]
    top1: tuple[tuple[int, float], ...]
    warnings: tuple[RunWarning, ...]

    def of(self, number: int) -> list[Evidence]:
        """Return what was measured of a rung: nothing, or one piece of evidence."""
        return [found for other, found in zip(self.numbers, self.found, strict=True) if other == number]


def ladder(chooser: Chooser) -> list[Rung]:
    """Return the unpruned network, and one rung after the other down to the narrowest; no two alike."""
    most, dense = chooser.at(1.0).macs, chooser.dense.macs
    parts = [round(_PART**power, 4) for power in range(1, 200)]
    parts = [part for part in parts if most <= part * dense]
    found = [Rung(1.0, chooser.dense)]
    for part in [*parts, math.ceil(1e4 * most / dense) / 1e4]:
        choice = chooser.for_goal("macs", part)
        if choice.macs < found[-1].choice.macs:
            found.append(Rung(part, choice))
    return found


def fastest(network: nn.Module, chooser: Chooser, goal: Goal, ctx: Context) -> tuple[Choice, SpeedupSearch]:
    """Return the mildest choice that reaches every target's goal, and the curve that led to it."""
    curve = _Curve(network, ladder(chooser), goal, ctx)
    if len(curve.rungs) == 1:
        raise ModelError(
            "prune.speedup",
            "cannot be reached: every layer already has its smallest width",
            hint="; ".join(chooser.cuttable.tied()) or "prune the original network instead",
        )
    found = ladders.mildest(len(curve.rungs) - 1, curve.look, curve.check)
    if found is None:
        raise _out_of_reach(curve, chooser)
    if not found.sure:
        ctx.warn(
            "unsure",
            "times vary too much to show that no milder pruning reaches prune.speedup: use a quiet machine, or "
            "measure longer (`verify.seconds`)",
        )
    for text in dict.fromkeys(warning.text for warning in curve.warnings):
        ctx.warn("disturbed", f"timing of the chosen network: {text}")
    return curve.rungs[found.rung].choice, curve.notes(found)


class _Curve:
    """What was measured, rung by rung. It is stored at once, so that an interrupted search measures nothing again."""

    def __init__(self, network: nn.Module, rungs: Sequence[Rung], goal: Goal, ctx: Context):
        self.network, self.rungs, self.goal, self.ctx = network, rungs, goal, ctx
        self.looks: dict[int, Evidence] = {}
        self.checks: list[Answer] = []
        self.top1: dict[int, float] = {}
        self.warnings: tuple[RunWarning, ...] = ()
        macs = ",".join(str(rung.choice.macs) for rung in rungs)
        self._journal = Journal(ctx.scratch / "curve.json", Answer, macs)
        looks = sum(name.startswith("look") for name in self._journal.answers)
        if self._journal.continued:
            text = f"the search continues after an interruption: {looks} pruned networks were already timed"
            ctx.warn("continued", text)

    def look(self, number: int) -> float:
        """Return the score of a rung, measured quickly."""
        if number not in self.looks:
            plan = self.goal.verify
            processes, seconds = min(_QUICK, plan.processes), plan.seconds / _QUICK
            answer = self._answered(f"look {number}", [number], [0, number], processes, seconds)
            (self.looks[number],) = answer.found
        return self._score(self.looks[number])

    def check(self, numbers: Sequence[int]) -> dict[int, float]:
        """Return the scores of some rungs, measured with full care. The name of a check has its place among them, so
        that each decision sees what was known then and no more.
        """
        plan = self.goal.verify
        name = f"check {len(self.checks)} of {numbers}"
        self.checks.append(self._answered(name, numbers, numbers, plan.processes, plan.seconds))
        return {number: self._score(self._checked(number)) for number in numbers}

    def _answered(
        self, name: str, numbers: Sequence[int], evaluated: Sequence[int], processes: int, seconds: float
    ) -> Answer:
        """Return what is stored under a name, or measure and store it."""

        def measured() -> Answer:
            found, warnings = self._timed(numbers, processes, seconds)
            return Answer(tuple(numbers), tuple(found), tuple(self._evaluated(evaluated)), tuple(warnings))

        answer = self._journal.of(name, measured)
        self.top1.update(answer.top1)
        self.warnings = answer.warnings  # the last measurement counts
        return answer

    def point(self, number: int) -> CutPoint:
        """Return a rung as notes hold it, from its most careful measurements."""
        rung, again = self.rungs[number], any(number in check.numbers for check in self.checks)
        evidence = self._checked(number) if again else self.looks[number]
        targets = {target: evidence[target].times() for target in self.goal.speedups}
        choice = rung.choice
        return CutPoint(rung.part, choice.macs, choice.params, choice.ratio, self.top1.get(number), again, targets)

    def numbers(self) -> list[int]:
        """Return the rungs that were measured, in order."""
        return sorted({*self.looks, *(number for check in self.checks for number in check.numbers)})

    def notes(self, found: ladders.Found) -> SpeedupSearch:
        """Return the complete search."""
        numbers = self.numbers()
        return SpeedupSearch(
            goals=dict(self.goal.speedups),
            ships=dict(self.goal.ships),
            images=self.goal.images,
            top1=self.top1.get(0),
            curve=tuple(map(self.point, numbers)),
            chosen=numbers.index(found.rung),
            milder=numbers.index(found.rung - 1) if found.rung - 1 in numbers else None,
            sure=found.sure,
            metric=self.goal.metric,
        )

    def _evaluated(self, numbers: Sequence[int]) -> Iterator[tuple[int, float]]:
        """Yield the accuracy of rungs that were not evaluated yet, before anything is recovered."""
        if self.goal.top1_of is not None:
            for number in numbers:
                if number not in self.top1:
                    yield number, self.goal.top1_of(self._network(number))

    def _network(self, number: int) -> nn.Module:
        return cut(self.network, self.rungs[number].choice) if number else self.network

    def _timed(self, numbers: Sequence[int], processes: int, seconds: float) -> tuple[list[Evidence], list[RunWarning]]:
        """Time some rungs in turn with the unpruned network."""
        assert self.ctx.measure is not None
        done = len(self.looks) + len(self.checks)
        self.ctx.progress(done, max(done, len(self.rungs) // 4) + 3, "measurements")
        networks = {UNPRUNED: self.network} | {f"rung-{number}": self._network(number) for number in numbers}
        measured = self.ctx.measure(networks, processes=processes, seconds=seconds)
        for target, timed in measured.items():
            if problem := timing_warnings.untimed(list(timed.values())):
                raise TargetError(
                    target, f"cannot be used for prune.speedup: {problem}", hint="use `prune.macs` instead"
                )
        # Not those of single networks: the interval over processes covers them.
        warnings = [each for timed in measured.values() for each in timing_warnings.of_machine(timed)]
        found: list[Evidence] = [
            {
                target: Pair(_condensed(timed[UNPRUNED]), _condensed(timed[f"rung-{number}"]))
                for target, timed in measured.items()
            }
            for number in numbers
        ]
        return found, warnings

    def _checked(self, number: int) -> Evidence:
        """Return the evidence of all checks of a rung: more processes, and a narrower interval."""
        every = [found for check in self.checks for found in check.of(number)]
        return {target: _together([found[target] for found in every]) for target in self.goal.speedups}

    def _score(self, evidence: Evidence) -> float:
        return min(evidence[target].speedup.value / wanted for target, wanted in self.goal.speedups.items())


def _condensed(latency: Latency) -> Latency:
    """Reduce each window to its median, which is all that a speed-up needs."""
    return replace(
        latency,
        processes=tuple(
            replace(
                process,
                host_ms=process.medians,
                warmup_ms=(),
                cpu_work_ms=(),
                cpu_mhz=(),
                others_cpus=(),
                stolen_cpus=(),
            )
            for process in latency.processes
        ),
    )


def _together(pairs: Sequence[Pair]) -> Pair:
    """Join several measurements of the same two networks."""
    unpruned = tuple(process for pair in pairs for process in pair.unpruned.processes)
    pruned = tuple(process for pair in pairs for process in pair.pruned.processes)
    return Pair(replace(pairs[0].unpruned, processes=unpruned), replace(pairs[0].pruned, processes=pruned))


def _out_of_reach(curve: _Curve, chooser: Chooser) -> ModelError:
    dense = chooser.dense.macs
    points = [curve.point(number) for number in curve.numbers()]
    sentences = []
    for target, wanted in curve.goal.speedups.items():
        best = max(points, key=lambda point: point.targets[target].times)
        problem = (
            f"cannot be reached: the fastest pruned network is {best.targets[target].times:.2f} times as fast, with "
            f"{best.macs / dense:.2f} of the MACs"
        )
        sentences.append((f"prune.speedup {target} {wanted:g}", problem))
    (subject, first), *others = sentences
    hint = [*_in_words(points, curve.goal.speedups, dense), *chooser.cuttable.tied()]
    return ModelError(subject, "; ".join([first, *map(" ".join, others)]), hint="; ".join(hint))


def _in_words(points: Sequence[CutPoint], goals: Mapping[str, float], dense: int) -> Iterator[str]:
    """Yield the curve of each target in a line."""
    for target in goals:
        pairs = [f"{point.macs / dense:.2f}: {point.targets[target].times:.2f}" for point in points]
        yield f"{target}, remaining MACs and how many times as fast: {', '.join(pairs)}"
