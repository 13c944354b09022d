"""Energy and throughput of a network as documents and reports have them: with an interval, or the reason for none.

Computed from what was timed. Judges nothing: `judging` does, and reads the same numbers. It stays on the host.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from . import intervals, timing_warnings
from .energy import Energy
from .frozen import dataclass
from .intervals import Interval
from .times import NO_RATE, UNANSWERED, Latency, Rate, SweepCell

Kind = Literal["energy", "throughput"]
# Standard deviation of a ratio's log from hour to hour: three times that of times. It was not measured.
DRIFT = 0.03


@dataclass(frozen=True)
class EnergyAmount:
    """Energy of an inference with its 95 % interval over processes, and mean power."""

    mj: float  # of one inference: one batch
    low_mj: float
    high_mj: float | None  # null: these processes give no interval
    watts: float  # while windows were timed
    idle_w: float | None  # before each group of processes
    sensor: str


@dataclass(frozen=True)
class RateAmount:
    """Images per second with their 95 % interval over processes, with one number of streams and one batch size."""

    images_per_s: float
    low: float
    high: float | None  # null: these processes give no interval
    streams: int
    batch: int


@dataclass(frozen=True)
class Amounts:
    """Energy and throughput of one network. A text says why one of them was not measured."""

    energy: EnergyAmount | str
    throughput: tuple[RateAmount, ...] | str


def of(latency: Latency | None) -> Amounts:
    """Return what an inference takes, and how many images a second are answered."""
    found = energy(latency)
    return Amounts(found if isinstance(found, str) else _energy_amount(found), _rates(latency))


def energy(latency: Latency | None) -> Energy | str:
    """Return the energy per inference; or why it is not known."""
    return _why_not(latency) if latency is None else _why_not(latency) or latency.energy


def rate(latency: Latency | None) -> Rate | str:
    """Return the throughput of the one setting that was measured; or why there is none."""
    return _why_not(latency) if latency is None else _why_not(latency) or latency.rate


def log_ratios(one: Latency | None, other: Latency | None, kind: Kind) -> list[float] | str:
    """Return, process by process, the log of how many times as much one network takes as another, measured in turn."""
    if (problem := timing_warnings.untimed([one, other])) or one is None or other is None:
        return problem
    each = []
    for latency in (one, other):
        found = latency.energy if kind == "energy" else latency.rate
        if isinstance(found, str):
            return found
        each.append(found.each)
    return [math.log(now / before) for now, before in zip(*each, strict=True)]


def json_high(interval: Interval) -> float | None:
    """Return an upper end as JSON has it, which knows no infinity."""
    return None if interval.is_open else interval.high


def _why_not(latency: Latency | None) -> str:
    return timing_warnings.untimed([latency])


def _energy_amount(found: Energy) -> EnergyAmount:
    low, high = found.interval.low, json_high(found.interval)
    return EnergyAmount(found.mj, low, high, found.watts, found.idle_w, found.sensor)


def _rates(latency: Latency | None) -> tuple[RateAmount, ...] | str:
    """Return the throughput of each setting, of the processes that came so far."""
    if latency is None:
        return _why_not(latency)
    if problem := next((each.sweep_problem for each in latency.processes if each.sweep_problem), ""):
        return problem
    found = sweep(latency)
    if not found:
        return NO_RATE
    if problem := _why_not(latency):
        return problem
    if any(not cell.images_per_s > 0 for cells in found.values() for cell in cells):
        return UNANSWERED
    return tuple(map(_rate, found.values()))


def sweep(latency: Latency) -> Mapping[tuple[int, int], list[SweepCell]]:
    """Return what processes measured with each batch size and number of streams."""
    found: dict[tuple[int, int], list[SweepCell]] = {}
    for process in latency.processes:
        for cell in process.sweep:
            found.setdefault((cell.batch, cell.streams), []).append(cell)
    return found


def _rate(cells: list[SweepCell]) -> RateAmount:
    value, interval = intervals.mean_interval([each.images_per_s for each in cells])
    return RateAmount(value, interval.low, json_high(interval), cells[0].streams, cells[0].batch)
