"""Runs compared with the first of them: computed from stored runs alone, as a document.

Reads no artifact and measures nothing. What cannot be compared is a reason in words, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from typing import Any

from ..portable import amounts, intervals, timing_warnings
from ..portable.amounts import EnergyAmount, RateAmount
from ..portable.frozen import OMIT, dataclass
from ..portable.probabilities import Estimate
from ..portable.result import TOP1, AnyAccuracy, Measured, Word
from ..portable.tasks.task import task_of
from ..portable.times import Latency
from ..runs import Run
from . import changes, summary
from .changes import RunChanges
from .factors import BASELINES, AmountDifference, Factor, amount_difference, change, factor

_FIRST = "A"


@dataclass(frozen=True)
class ComparedRun:
    """A run under its short name: A, B, …"""

    name: str
    id: str
    title: str
    verdict: Word
    recipe_digest: str
    ended_early: str | None


@dataclass(frozen=True)
class MeasuredVariant:
    """What one run measured of one variant."""

    target: str
    variant: str
    run: str
    images: int
    top1_pct: float | None
    sqnr_db: float | None
    p50_ms: float | None
    p99_ms: float | None
    times_half: Factor | None  # over variants that were timed in turn with it
    times_fp32: Factor | None
    size_mb: float
    energy: EnergyAmount | str  # a text: why it was not measured
    throughput: tuple[RateAmount, ...] | str
    mean_change: Estimate | None = field(default=None, metadata=OMIT)  # of the top probability, against FP32
    p99_change: Estimate | None = field(default=None, metadata=OMIT)
    threshold: float | None = field(default=None, metadata=OMIT)
    crossed: int | None = field(default=None, metadata=OMIT)  # images on the other side of it than in FP32
    calibration_error: float | None = field(default=None, metadata=OMIT)  # the expected one
    miou_pct: float | None = field(default=None, metadata=OMIT)  # where classes are those of pixels
    map_pct: float | None = field(default=None, metadata=OMIT)  # where classes are those of boxes
    metric: str = field(default=TOP1.short, metadata=OMIT)

    @property
    def score_pct(self) -> float | None:
        """The score under whichever name; None without labels."""
        return next((each for each in (self.top1_pct, self.miou_pct, self.map_pct) if each is not None), None)


@dataclass(frozen=True)
class AbsentTarget:
    """A target that a run did not measure."""

    run: str
    target: str
    reason: str


@dataclass(frozen=True)
class AccuracyDifference:
    """Points lost since the first run: image by image, or from two proportions where images are not the same."""

    paired: bool
    why_not_paired: str
    db_more: float | None
    images: int | None = field(default=None, metadata=OMIT)
    agree: int | None = field(default=None, metadata=OMIT)
    top1: int | None = field(default=None, metadata=OMIT)
    lost: int | None = field(default=None, metadata={"key": "flips_lost", **OMIT})
    won: int | None = field(default=None, metadata={"key": "flips_won", **OMIT})
    drop_pp: float | None = field(default=None, metadata=OMIT)
    low_pp: float | None = field(default=None, metadata=OMIT)
    high_pp: float | None = field(default=None, metadata=OMIT)


@dataclass(frozen=True)
class LatencyDifference:
    """How many times as fast as in the first run; and how its gain over a baseline changed."""

    why_not: str
    than_first: Factor | None = field(default=None, metadata=OMIT)
    baseline: str = field(default="", metadata={"key": "rival", **OMIT})
    gain: Factor | None = field(default=None, metadata={"key": "rival_ratio", **OMIT})


@dataclass(frozen=True)
class Difference:
    """One variant in one run, compared with the first run."""

    run: str
    target: str
    variant: str
    mb_more: float
    same_measurement: bool  # both runs hold one and the same: nothing else is compared then
    accuracy: AccuracyDifference | None = field(default=None, metadata=OMIT)
    latency: LatencyDifference | None = field(default=None, metadata=OMIT)
    energy: AmountDifference | None = field(default=None, metadata=OMIT)  # only where one of both was measured
    throughput: AmountDifference | None = field(default=None, metadata=OMIT)


@dataclass(frozen=True, kw_only=True)
class ChangedRun(RunChanges):
    """What changed from the first run to this one."""

    run: str


@dataclass(frozen=True)
class Comparison:
    """Runs compared with the first of them: the document of `edgeresnet compare`."""

    runs: tuple[ComparedRun, ...]
    measured: tuple[MeasuredVariant, ...]
    absent: tuple[AbsentTarget, ...]
    differences: tuple[Difference, ...]
    changed: tuple[ChangedRun, ...]


def of(runs: Sequence[Run]) -> Comparison:
    """Compare two runs or more with the first of them."""
    named = {_short_name(number): run for number, run in enumerate(runs)}
    first, pairs = runs[0], _pairs(runs)
    others = {name: run for name, run in named.items() if name != _FIRST}
    return Comparison(
        runs=tuple(_compared_run(name, run) for name, run in named.items()),
        measured=tuple(row for pair in pairs for name, run in named.items() for row in _measured(name, run, *pair)),
        absent=tuple(
            AbsentTarget(name, target, summary.reason(result))
            for name, run in named.items()
            for target, result in run.results.items()
            if not isinstance(result, Measured)
        ),
        differences=tuple(
            one for pair in pairs for name, run in others.items() for one in _differences(name, first, run, *pair)
        ),
        changed=tuple(ChangedRun(**vars(changes.between(first, run)), run=name) for name, run in others.items()),
    )


def _short_name(number: int) -> str:
    """Return A to Z, then AA."""
    return (_short_name(number // 26 - 1) if number >= 26 else "") + chr(ord(_FIRST) + number % 26)


def _compared_run(name: str, run: Run) -> ComparedRun:
    title = summary.title(run.recipe, run.measured)
    ended_early = run.problem.ended_early if run.problem else None
    return ComparedRun(name, run.id, title, run.verdict, run.recipe_digest, ended_early)


def _pairs(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return (target, variant) of all runs, target by target."""
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for target, result in run.results.items():
            variants = result.variants if isinstance(result, Measured) else ()
            found.setdefault(target, {}).update(dict.fromkeys(variants))
    return [(target, variant) for target, variants in found.items() for variant in variants]


def _result(run: Run, target: str, variant: str) -> Measured | None:
    """Return the result of a target where this variant was measured."""
    result = run.results.get(target)
    return result if isinstance(result, Measured) and variant in result.variants else None


def _measured(name: str, run: Run, target: str, variant: str) -> Iterator[MeasuredVariant]:
    result = _result(run, target, variant)
    if result is None:
        return
    found = result.variants[variant]
    accuracy, host = found.accuracy, found.latency.host if found.latency else None
    known = amounts.of(found.latency)
    half, fp32 = (_speedup(result, baseline, variant) for baseline in BASELINES)
    sure = result.confidence.get(variant)
    crossings, calibration = (sure.crossings, sure.calibration) if sure else (None, None)
    yield MeasuredVariant(
        target=target,
        variant=variant,
        run=name,
        images=accuracy.images,
        sqnr_db=accuracy.sqnr_db,
        p50_ms=host.p50 if host else None,
        p99_ms=host.p99 if host else None,
        times_half=half,
        times_fp32=fp32,
        size_mb=found.size_mb,
        energy=known.energy,
        throughput=known.throughput,
        mean_change=sure.mean_change if sure else None,
        p99_change=sure.p99_change if sure else None,
        threshold=crossings.threshold if crossings else None,
        crossed=crossings.crossed if crossings else None,
        calibration_error=calibration.now if calibration else None,
        **_score(accuracy),
    )


def _score(accuracy: AnyAccuracy) -> dict[str, Any]:
    """Return the score under its key, and its name; `top1_pct` is there for every task."""
    known = {f"{accuracy.name.key}_pct": accuracy.score_pct} if accuracy.has_labels else {}
    return {"top1_pct": None, **known, "metric": accuracy.name.short}


def _speedup(result: Measured, baseline: str, variant: str) -> Factor | None:
    found = timing_warnings.ratio(result, baseline, variant)
    return factor(found) if found else None


def _differences(name: str, first: Run, run: Run, target: str, variant: str) -> Iterator[Difference]:
    before, now = _result(first, target, variant), _result(run, target, variant)
    if before is None or now is None:
        return
    mb_more = now.variants[variant].size_mb - before.variants[variant].size_mb
    same = changes.same_measurement(first, run, target)
    difference = Difference(name, target, variant, mb_more, same)
    if not same:
        accuracy, latency = _accuracy_difference(before, now, variant), _latency_difference(before, now, variant)
        difference = replace(
            difference,
            accuracy=accuracy,
            latency=latency,
            energy=amount_difference(before, now, variant, "energy"),
            throughput=amount_difference(before, now, variant, "throughput"),
        )
    yield difference


def _accuracy_difference(before: Measured, now: Measured, variant: str) -> AccuracyDifference:
    """Return the points lost, paired where both evaluated the very same images."""
    why_not, one, other = _why_not_paired(before, now), before.variants[variant], now.variants[variant]
    decibels = one.accuracy.sqnr_db, other.accuracy.sqnr_db
    db_more = None if decibels[0] is None or decibels[1] is None else decibels[1] - decibels[0]
    found = AccuracyDifference(not why_not, why_not, db_more)
    if not why_not:
        change = task_of(before.task).change(before, now, variant)
        return replace(
            found,
            images=change.images,
            agree=change.agree,
            top1=change.correct,
            lost=change.lost,
            won=change.won,
            drop_pp=change.drop_pp,
            low_pp=change.interval.low if change.interval else None,
            high_pp=change.interval.high if change.interval else None,
        )
    same = before.classes == now.classes and before.task == now.task
    if not before.has_labels or not now.has_labels or not same:
        return found
    low, high = one.accuracy.independent_drop_pp(other.accuracy)
    drop = one.accuracy.score_pct - other.accuracy.score_pct
    return replace(found, drop_pp=drop, low_pp=low, high_pp=high)


def _why_not_paired(before: Measured, now: Measured) -> str:
    """Return why two results cannot be compared image by image; empty where they can."""
    if before.task != now.task:
        return "their tasks are not the same"
    if before.classes != now.classes:
        return "their classes are not the same"
    if not before.images or not now.images:
        return "an older run does not record which images it evaluated"
    if before.images != now.images:
        return f"their images are not the same (digest {before.images[:12]}, here {now.images[:12]})"
    if before.skipped != now.skipped:
        return "the runs could not read the same images"
    return ""


def _latency_difference(before: Measured, now: Measured, variant: str) -> LatencyDifference:
    """Compare times of one machine in one state with each other, and the gains over a baseline in each run."""
    one, other = before.variants[variant].latency, now.variants[variant].latency
    for where, latency in (("in run A ", one), ("", other)):
        if why_not := timing_warnings.untimed([latency]):
            return LatencyDifference(f"{where}{why_not}")
    assert one is not None
    assert other is not None
    if why_not := changes.other_conditions(one, other):
        return LatencyDifference(why_not)
    if one.batch != other.batch:
        return LatencyDifference(f"they were timed with batch {other.batch}, in run A with batch {one.batch}")
    than_first = change(_time_logs(other), _time_logs(one))
    for baseline in BASELINES:
        were, are = (_ratio_logs(each, baseline, variant) for each in (before, now))
        if were and are:
            gain = change(were, are, intervals.DRIFT)
            return LatencyDifference("", than_first, baseline, gain)
    return LatencyDifference("", than_first)


def _ratio_logs(result: Measured, baseline: str, variant: str) -> list[float]:
    """Return the log of each process's speed-up over a baseline; empty where they cannot be compared."""
    slower, faster = result.latency_of(baseline), result.latency_of(variant)
    if baseline == variant or slower is None or faster is None or timing_warnings.untimed([slower, faster]):
        return []
    return intervals.log_ratios(slower.medians(), faster.medians())


def _time_logs(latency: Latency) -> list[float]:
    """Return the log time of each process."""
    return [
        sum(math.log(intervals.median(window)) for window in windows) / len(windows) for windows in latency.windows()
    ]
