"""Numbers in, verdicts out: intervals, and what they say of a promise.

Measures nothing and prints nothing. A proportion here is a fraction of one;
promises are in points or percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from . import measure

KEPT, UNDECIDED, DEFERRED, NOT_MEASURED, BROKEN = "KEPT", "UNDECIDED", "DEFERRED", "NOT_MEASURED", "BROKEN"
WORST_LAST = (KEPT, DEFERRED, UNDECIDED, NOT_MEASURED, BROKEN)
_Z95 = 1.959963984540054


class Interval(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """One promise on one target: what was promised, what was found, and one sentence of reason."""

    target: str
    promise: str
    verdict: str
    limit: float
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def worst(verdicts: Sequence[str]) -> str:
    """A run without promises has nothing to break: it is KEPT."""
    return max(verdicts, key=WORST_LAST.index, default=KEPT)


def drop_interval(reference_correct: Sequence[bool], candidate_correct: Sequence[bool]) -> Interval:
    """95 % score interval (Tango 1998) of the accuracy lost from reference to candidate on the same images.

    A positive drop is a loss. Tango, "Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design", Statistics in Medicine 17: paired, so images that both get right cost no certainty.
    """
    before, now = np.asarray(reference_correct, bool), np.asarray(candidate_correct, bool)
    if before.shape != now.shape or before.ndim != 1:
        raise ValueError(f"two records of the same images are needed, not {before.shape} and {now.shape}")
    if len(before) == 0:
        return Interval(-1.0, 1.0)
    return tango(int((before & ~now).sum()), int((~before & now).sum()), len(before))


def tango(lost: int, won: int, images: int) -> Interval:
    """The interval of (lost - won) / images, from the two counts of discordant pairs."""
    drop = (lost - won) / images
    return Interval(
        _root(lambda d: _tango_score(lost, won, images, d) - _Z95, -1.0, drop),
        _root(lambda d: _tango_score(lost, won, images, d) + _Z95, drop, 1.0),
    )


def finest_drop(images: int) -> float:
    """The smallest drop that so many images can rule out: the interval's upper end when not one answer changes."""
    return tango(0, 0, images).high


def wilson(hits: int, images: int) -> Interval:
    """95 % score interval of one proportion."""
    if images == 0:
        return Interval(0.0, 1.0)
    p, z2 = hits / images, _Z95**2
    middle = (p + z2 / (2 * images)) / (1 + z2 / images)
    half = _Z95 / (1 + z2 / images) * math.sqrt(p * (1 - p) / images + z2 / (4 * images**2))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def quantile_interval(values: Sequence[float], q: float) -> Interval:
    """Distribution-free 95 % interval of a quantile, from order statistics; open above for too few values."""
    ordered, n = sorted(values), len(values)
    half = _Z95 * math.sqrt(n * q * (1 - q))
    low, high = math.floor(n * q - half) - 1, math.ceil(n * q + half)
    return Interval(ordered[low] if low >= 0 else 0.0, ordered[high] if high < n else math.inf)


def ratio_interval(slower: list[list[float]], faster: list[list[float]]) -> tuple[float, Interval]:
    """How many times faster, from windows in turn: one ratio of medians a round, t-interval of their logs."""
    logs = [math.log(np.median(a) / np.median(b)) for a, b in zip(slower, faster, strict=True)]
    n, mean = len(logs), sum(logs) / len(logs)
    if n < 2:
        return math.exp(mean), Interval(0.0, math.inf)
    spread = math.sqrt(sum((value - mean) ** 2 for value in logs) / (n - 1) / n)
    reach = _T95[min(n - 1, len(_T95)) - 1] * spread
    return math.exp(mean), Interval(math.exp(mean - reach), math.exp(mean + reach))


def judge(promises: Mapping[str, float], target: str, result: Mapping[str, Any]) -> list[Verdict]:
    """Every promise on one target's result: the measurements of `verify`, or the reason why there are none."""
    return [_judge_one(name, limit, target, result) for name, limit in promises.items()]


# What a promise reads off a result: the value and its interval, or why there is none.
_NO_CLOCK = "the clock did not move while it was timed"
_Reading = Callable[[Mapping[str, Any]], "tuple[float, Interval] | str"]


def _drop(result: Mapping[str, Any]) -> tuple[float, Interval] | str:
    found = candidate(result)
    lost, won, images = found["accuracy"]["flips_lost"], found["accuracy"]["flips_won"], found["accuracy"]["images"]
    if wilson(found["accuracy"]["top1"] + lost - won, images).low <= result["chance"]:
        return (
            "the FP32 reference itself is no better than chance: architecture, preprocessing or labels are not its own"
        )
    low, high = tango(lost, won, images)
    return 100 * (lost - won) / images, Interval(100 * low, 100 * high)


def _top1(result: Mapping[str, Any]) -> tuple[float, Interval] | str:
    counts = candidate(result)["accuracy"]
    return _percent(counts["top1"], counts["images"])


def _flips(result: Mapping[str, Any]) -> tuple[float, Interval] | str:
    counts = candidate(result)["accuracy"]
    return _percent(counts["images"] - counts["agree"], counts["images"])


def _p99(result: Mapping[str, Any]) -> tuple[float, Interval] | str:
    windows = candidate(result)["latency"]["latency_ms"]
    values = [value for window in windows for value in window]
    if not max(values) > 0:
        return _NO_CLOCK
    return measure.percentiles(windows)["p99"], quantile_interval(values, 0.99)


def _size(result: Mapping[str, Any]) -> tuple[float, Interval] | str:
    size = candidate(result)["size_mb"]
    return size, Interval(size, size)


def _speedup(rival: str) -> _Reading:
    def read(result: Mapping[str, Any]) -> tuple[float, Interval] | str:
        if result["candidate"] == "fp32":
            return "only the FP32 network was built: nothing is there that could be faster than it"
        if rival not in result["variants"]:
            return f"this target has no {rival} twin on this machine"
        slower = result["variants"][rival]["latency"]["latency_ms"]
        if not all(max(window) > 0 for window in (*slower, *candidate(result)["latency"]["latency_ms"])):
            return _NO_CLOCK
        return ratio_interval(slower, candidate(result)["latency"]["latency_ms"])

    return read


_PROMISES: dict[str, tuple[_Reading, bool, str]] = {
    "max_drop_pp": (_drop, True, "points lost against the FP32 reference"),
    "min_top1_pct": (_top1, False, "% top-1"),
    "max_flips_pct": (_flips, True, "% of answers changed"),
    "min_speedup_fp32": (_speedup("fp32"), False, "× as fast as FP32"),
    "min_speedup_half": (_speedup("half"), False, "× as fast as the half-precision twin"),
    "max_latency_p99_ms": (_p99, True, "ms at p99"),
    "max_size_mb": (_size, True, "MB"),
}
PROMISES = tuple(_PROMISES)


def candidate(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The variant that would ship."""
    return result["variants"][result["candidate"]]


def _judge_one(name: str, limit: float, target: str, result: Mapping[str, Any]) -> Verdict:
    read, ceiling, unit = _PROMISES[name]
    if "variants" not in result:
        return Verdict(target, name, NOT_MEASURED, limit, result["reason"])
    reading = read(result)
    if isinstance(reading, str):
        return Verdict(target, name, NOT_MEASURED, limit, reading)
    value, (low, high) = reading
    if not math.isfinite(value):
        return Verdict(target, name, NOT_MEASURED, limit, f"the measured value is {value}")
    kept, broken = (high <= limit, low > limit) if ceiling else (low >= limit, high < limit)
    verdict = KEPT if kept else BROKEN if broken else UNDECIDED
    bound = "at most" if ceiling else "at least"
    span = "" if low == high else f", 95 % interval {low:.2f} to {high:.2f}"
    reason = f"{value:.2f} {unit}{span}; promised {bound} {limit:g}"
    return Verdict(target, name, verdict, limit, reason, value, low, high if math.isfinite(high) else None)


def _percent(hits: int, images: int) -> tuple[float, Interval]:
    low, high = wilson(hits, images)
    return 100 * hits / max(images, 1), Interval(100 * low, 100 * high)


def _tango_score(lost: int, won: int, images: int, drop: float) -> float:
    """The score statistic of a hypothetical drop; falls as the drop grows."""
    top = lost - won - images * drop
    a = 2.0 * images
    b = -lost - won + (2 * images - lost + won) * drop
    c = -won * drop * (1 - drop)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = images * (2 * q + drop * (1 - drop))
    if variance <= 0:
        return 0.0 if abs(top) < 1e-12 else math.copysign(math.inf, top)
    return top / math.sqrt(variance)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


# Two-sided 95 % points of Student's t for 1, 2, 3 … degrees of freedom; the last serves all beyond.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
