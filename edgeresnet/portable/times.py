"""Times as they were measured: process by process and window by window, and how they compare.

Frozen values that travel as JSON (`codec`). What follows from them (percentiles, speed-ups) is a method, so that each
is computed in one place. Judges nothing: `judging` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from functools import cached_property
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np

from . import energy as energies
from . import intervals, limits
from .codec import CodecError
from .energy import Energy, ProcessEnergy
from .frozen import OMIT, dataclass
from .machine import MachineState, TimedMachine

NO_RATE = "throughput was not measured: set `verify.streams`, and run the recipe again"
UNANSWERED = "no image was answered while throughput was measured"
Windows = tuple[tuple[float, ...], ...]  # the windows of one process, each with its times in milliseconds


class Ratio(NamedTuple):
    """How many times as fast one network is as another, with its 95 % interval over fresh processes."""

    value: float
    low: float
    high: float  # infinite for one process, which does not show how much processes differ

    @property
    def has_interval(self) -> bool:
        return math.isfinite(self.high)

    @property
    def is_faster(self) -> bool:
        """Whether it is shown to be faster."""
        return self.low > 1

    @property
    def is_slower(self) -> bool:
        """Whether it is shown to be slower."""
        return self.high < 1

    @property
    def differs(self) -> bool:
        return self.is_faster or self.is_slower

    @property
    def json_high(self) -> float | None:
        """Its upper end as JSON has it, which knows no infinity: None without an interval."""
        return self.high if self.has_interval else None

    @classmethod
    def from_json(cls, value: float, low: float, high: float | None) -> Ratio:
        """Return a ratio whose upper end is `json_high`."""
        return cls(value, low, math.inf if high is None else high)


@dataclass(frozen=True)
class SweepCell:
    """Throughput with one batch size and one number of parallel requests; `ms` is one request alone."""

    batch: int
    streams: int
    images_per_s: float
    ms: tuple[float, ...]

    def check_read(self) -> None:
        limits.check(self, 1, limits.MANY, "batch", "streams")
        limits.check(self, 0, limits.MANY, "images_per_s")
        limits.check_all(self, 0, limits.LONGEST_MS, "ms", self.ms)


@dataclass(frozen=True)
class ProcessTimes:
    """What one fresh process measured of one network, and under which conditions. Times are milliseconds."""

    began: float
    machine: TimedMachine
    load_ms: float
    first_ms: float
    clock_ms: float = 0.0  # the smallest step of its clock
    warmup_ms: tuple[float, ...] = ()
    host_ms: Windows = ()
    stable: bool = False
    # the CPU's speed in each window: how long a fixed piece of work in plain Python takes
    cpu_work_ms: tuple[float, ...] = field(default=(), metadata={"key": "pace_ms"})
    cpu_mhz: tuple[float | None, ...] = ()
    others_cpus: tuple[float | None, ...] = ()
    stolen_cpus: tuple[float | None, ...] = ()
    before: MachineState | None = field(default=None, metadata=OMIT)
    after: MachineState | None = field(default=None, metadata=OMIT)
    peak_memory_mb: float | None = field(default=None, metadata=OMIT)
    device_ms: Windows | None = field(default=None, metadata=OMIT)
    file_ms: Windows | None = field(default=None, metadata=OMIT)
    sweep: tuple[SweepCell, ...] = field(default=(), metadata=OMIT)
    sweep_problem: str = field(default="", metadata=OMIT)  # why throughput was not measured
    energy: ProcessEnergy | str | None = field(default=None, metadata=OMIT)  # a text: why it was not measured
    cut: bool = field(default=False, metadata=OMIT)  # it was interrupted, and ends early

    def check_read(self) -> None:
        limits.check_moment(self, "began")
        limits.check(self, 0, limits.LONGEST_MS, "load_ms", "first_ms", "clock_ms")
        limits.check(self, 0, limits.MANY, "peak_memory_mb")
        for name in ("host_ms", "device_ms", "file_ms"):
            for window in getattr(self, name) or ():
                if not window:
                    raise CodecError(name, "has a window without times")
                limits.check_all(self, 0, limits.LONGEST_MS, name, window)
        limits.check_all(self, 0, limits.LONGEST_MS, "cpu_work_ms", self.cpu_work_ms)
        for name in ("cpu_mhz", "others_cpus", "stolen_cpus"):
            limits.check_all(self, 0, limits.MANY, name, [each for each in getattr(self, name) if each is not None])
        for name in ("cpu_work_ms", "cpu_mhz", "others_cpus", "stolen_cpus"):
            found = getattr(self, name)
            if found and len(found) != len(self.host_ms):
                raise CodecError(name, f"has {len(found)} values for {len(self.host_ms)} windows")
        if isinstance(self.energy, ProcessEnergy) and len(self.energy.watts) != len(self.host_ms):
            raise CodecError("energy", f"has {len(self.energy.watts)} values for {len(self.host_ms)} windows")

    @cached_property
    def medians(self) -> Windows:
        """The median of each window from and to the host, each as a window of its own: what ratios are made of."""
        return tuple((intervals.median(window),) for window in self.host_ms)

    def windows(self, kind: str = "host") -> Windows:
        """Return the windows of one kind (host, device or file); empty where it was not measured."""
        return {"host": self.host_ms, "device": self.device_ms, "file": self.file_ms}[kind] or ()


class Rate(NamedTuple):
    """Images per second of parallel requests, with the 95 % interval over processes."""

    batch: int
    streams: int
    images_per_s: float
    interval: intervals.Interval
    each: tuple[float, ...]  # process by process

    @property
    def setting(self) -> str:
        """With which batch size and how many requests at once: "batch 8, 4 streams"."""
        return f"batch {self.batch}, {self.streams} stream{'' if self.streams == 1 else 's'}"


class Percentiles(NamedTuple):
    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Latency:
    """How long one network takes, process by process and window by window. What follows is computed when it is read."""

    batch: int
    processes: tuple[ProcessTimes, ...]

    def check_read(self) -> None:
        limits.check(self, 1, limits.MANY, "batch")
        if not self.processes:
            raise CodecError("processes", "is empty")

    def windows(self, kind: str = "host") -> list[Windows]:
        """Return the windows of each process that measured this kind."""
        return [process.windows(kind) for process in self.processes if process.windows(kind)]

    def medians(self) -> list[Windows]:
        """Return the medians of the windows of each process that was timed from and to the host."""
        return [process.medians for process in self.processes if process.host_ms]

    def values(self, kind: str = "host") -> np.ndarray:
        """Return every time of one kind."""
        every = chain.from_iterable(chain.from_iterable(self.windows(kind)))
        return np.fromiter(every, np.float64)

    def percentiles(self, kind: str = "host") -> Percentiles | None:
        """Return p50, p90 and p99 of one kind, or None where it was not measured."""
        found = self.values(kind)
        if not len(found):
            return None
        p50, p90, p99 = np.percentile(found, [50, 90, 99])
        return Percentiles(float(p50), float(p90), float(p99))

    @property
    def is_emulated(self) -> bool:
        """Whether an emulator ran it: its times are shown with that word, and never judged."""
        return any(process.machine.emulated for process in self.processes)

    @cached_property
    def host(self) -> Percentiles | None:
        return self.percentiles()

    @property
    def p50(self) -> float | None:
        return self.host.p50 if self.host else None

    def middle(self, name: Literal["load_ms", "first_ms", "peak_memory_mb"]) -> float | None:
        """Return the median over processes of what each measures once."""
        found = [value for process in self.processes if (value := getattr(process, name)) is not None]
        return intervals.median(found) if found else None

    @cached_property
    def energy(self) -> Energy | str:
        """The energy per inference, or why it was not measured."""
        return energies.of([(each.energy, sum(map(len, each.host_ms))) for each in self.processes])

    @cached_property
    def rate(self) -> Rate | str:
        """The throughput of the one setting that was measured, or why there is none."""
        if problem := next((each.sweep_problem for each in self.processes if each.sweep_problem), ""):
            return problem
        cells = [cell for process in self.processes for cell in process.sweep]
        settings = {(cell.batch, cell.streams) for cell in cells}
        if len(settings) != 1 or len(cells) != len(self.processes):
            return "more than one batch size or number of streams was measured" if cells else NO_RATE
        found = [cell.images_per_s for cell in cells]
        if min(found) <= 0 or not all(map(math.isfinite, found)):
            return UNANSWERED
        return Rate(*settings.pop(), *intervals.mean_interval(found), each=tuple(found))

    def speedup_over(self, slower: Latency, looks: int = 1) -> Ratio:
        """Return how many times as fast this is as `slower`, timed in turn with it: speed-ups come from here alone.

        `timing_warnings.speedup` asks first whether the two can be compared. Its interval is wider for several looks.
        """
        value, (low, high) = intervals.ratio_interval(slower.medians(), self.medians(), looks)
        return Ratio(value, low, high)


def spread(parts: Sequence[Sequence[float]]) -> float:
    """Return by how much the largest median exceeds the smallest, as a part of it."""
    medians = [intervals.median(part) for part in parts if part]
    return max(medians) / min(medians) - 1 if medians and min(medians) > 0 else 0.0
