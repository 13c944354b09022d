"""Compares energy and throughput with a baseline, as ratios to what was measured in turn with them.

Only what the baseline has is compared: where its machine had no sensor, or its recipe no throughput, nothing is gated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..portable import intervals, judging, readings, yardstick
from ..portable.amounts import DRIFT, Kind
from ..portable.intervals import Interval
from ..portable.judging import Reading, Words
from ..portable.result import Measured, Promise, Verdict
from ..runs import Margins
from . import record
from .record import TargetRecord

ENERGY, THROUGHPUT = "max_energy_growth_pct", "max_throughput_loss_pct"
KINDS: dict[str, Kind] = {ENERGY: "energy", THROUGHPUT: "throughput"}
_FEW = 3  # processes: fewer cannot show how noisy times are


def gated(before: TargetRecord, margins: Margins) -> Iterator[Promise]:
    """Yield one promise per comparison that the baseline has."""
    if margins.max_energy_growth_pct is not None:
        yield from (Promise(ENERGY, margins.max_energy_growth_pct, name) for name in before.energy)
    if margins.max_throughput_loss_pct is not None:
        yield from (Promise(THROUGHPUT, margins.max_throughput_loss_pct, name) for name in before.throughput)


def verdict(
    target: str, before: TargetRecord, result: Measured, promise: Promise, alpha: float, why_not: str
) -> Verdict:
    """Judge one comparison. BROKEN needs more than 95 %, as of times."""
    kind = KINDS[promise.kind]
    now = why_not or record.amount_log_ratios(result, promise.subject, kind)
    if isinstance(now, str):
        return Verdict(target, promise, judging.NOT_MEASURED, now)
    recorded = (before.energy if kind == "energy" else before.throughput)[promise.subject].logs
    if few := too_few(now, recorded):
        return Verdict(target, promise, judging.NOT_MEASURED, few)
    if kind == "throughput":  # fewer images are the loss
        now, recorded = [-each for each in now], [-each for each in recorded]
    change, found = intervals.change_interval(recorded, now, drift=DRIFT)
    sure = intervals.surely_grew(recorded, now, drift=DRIFT, alpha=alpha)
    shown = percent if kind == "energy" else _lost
    value = shown(change)
    reach = found if found.is_open else Interval(shown(found.low), shown(found.high))
    return judging.decided(
        target,
        promise,
        Reading(value, reach, more=would_decide(found, len(recorded))),
        ceiling=True,
        words=_words(kind, promise.subject),
        broken=lambda _: value > promise.limit and sure,
    )


def _words(kind: Kind, comparison: str) -> Words:
    other = "the yardstick" if comparison == yardstick.NAME else f"its {comparison} variant"
    rest = f"than in the baseline, relative to {other}"
    if kind == "energy":
        return Words("% more energy", rest, below="% less energy", is_margin=True)
    return Words("% fewer images per second", rest, below="% more images per second", is_margin=True)


def _lost(times: float) -> float:
    """Return which part of the images is lost, in percent, where each takes this many times as long."""
    return -percent(1 / times)


def too_few(now: Sequence[float], before: Sequence[float]) -> str:
    """Return why these processes are too few to compare; empty where they are enough."""
    if min(len(now), len(before)) < 2:
        side = "the run" if len(now) < 2 else "the baseline"
        return f"{side} has times of only one process, so noise is unknown: raise `verify.processes`"
    if len(now) < len(before):
        return f"measured in {len(now)} processes, but the baseline in {len(before)}: raise `verify.processes`"
    return ""


def percent(times: float) -> float:
    return round(100 * (times - 1), 9) + 0.0  # no -0.00


def would_decide(found: Interval, processes: int) -> str:
    """Return what would decide about times. The baseline has this number of processes, the run no fewer."""
    both = " of both the baseline and the run" if found.is_open and processes < _FEW else ""
    return f"{readings.would_decide(found, processes)}{both}"
