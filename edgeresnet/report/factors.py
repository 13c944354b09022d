"""How many times as much one run has of something as another: factors with intervals; those of energy and throughput.

What cannot be compared is a reason in words, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field

from ..portable import amounts, intervals
from ..portable.amounts import Kind
from ..portable.energy import Energy
from ..portable.frozen import OMIT, dataclass
from ..portable.result import Measured
from ..portable.times import Latency, Rate, Ratio
from . import changes

BASELINES = ("half", "fp32")  # the one to compare a gain over, and its substitute


@dataclass(frozen=True)
class Factor:
    """A `Ratio` in JSON: `high` is None without an interval."""

    value: float
    low: float
    high: float | None


@dataclass(frozen=True)
class AmountDifference:
    """How many times as much as in the first run; and how its ratio to a baseline changed, measured in turn with it."""

    why_not: str
    than_first: Factor | None = field(default=None, metadata=OMIT)
    baseline: str = field(default="", metadata=OMIT)
    ratio: Factor | None = field(default=None, metadata=OMIT)


def factor(ratio: Ratio) -> Factor:
    """Return a ratio as JSON has it."""
    return Factor(ratio.value, ratio.low, ratio.json_high)


def change(before: Sequence[float], now: Sequence[float], drift: float = 0.0) -> Factor:
    """Return by what factor logs of two measurements grew.

    The interval knows how processes of each measurement differ and, of ratios, what is known to drift between hours.
    How much times themselves drift is not known.
    """
    value, (low, high) = intervals.change_interval(before, now, drift=drift)
    return factor(Ratio(value, low, high))


def amount_difference(before: Measured, now: Measured, variant: str, kind: Kind) -> AmountDifference | None:
    """Compare energy or throughput, as times are compared; None where neither run measured it."""
    one, other = before.latency_of(variant), now.latency_of(variant)
    read = amounts.energy if kind == "energy" else amounts.rate
    was, is_now = read(one), read(other)
    if isinstance(was, str) or isinstance(is_now, str) or one is None or other is None:
        both = isinstance(was, str) and isinstance(is_now, str)
        return None if both else AmountDifference(f"in run A {was}" if isinstance(was, str) else str(is_now))
    if why_not := changes.other_conditions(one, other) or _otherwise(was, is_now) or _other_batch(one, other, kind):
        return AmountDifference(why_not)
    than_first = change([math.log(each) for each in was.each], [math.log(each) for each in is_now.each])
    for baseline in BASELINES:
        were, are = (_amount_logs(each, baseline, variant, kind) for each in (before, now))
        if were and are:
            return AmountDifference("", than_first, baseline, change(were, are, amounts.DRIFT))
    return AmountDifference("", than_first)


def _otherwise(was: Energy | Rate, now: Energy | Rate) -> str:
    """Return in which other way one of two amounts was measured; empty where both were measured alike."""
    before, after = (each.sensor if isinstance(each, Energy) else each.setting for each in (was, now))
    return "" if before == after else f"it was measured with {after}, in run A with {before}"


def _other_batch(one: Latency, other: Latency, kind: Kind) -> str:
    """Return that an inference has another number of images; throughput has a batch of its own."""
    if kind == "throughput" or one.batch == other.batch:
        return ""
    return f"it is of batches of {other.batch}, in run A of {one.batch}"


def _amount_logs(result: Measured, baseline: str, variant: str, kind: Kind) -> list[float]:
    """Return the log of each process's ratio to a baseline; empty where they cannot be compared."""
    if baseline == variant:
        return []
    found = amounts.log_ratios(result.latency_of(variant), result.latency_of(baseline), kind)
    return [] if isinstance(found, str) else found
