"""The nouns: what a target answered and how long it took, as it is stored and as every reader of a run reads it.

Frozen values that travel as JSON (`codec`). Numbers that follow from them (proportions, percentiles, speed-ups) are
methods, so that each is computed in one place. Judges nothing: `judging` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

from . import intervals
from .frozen import dataclass
from .intervals import Interval
from .machine import Machine, MachineState, TimedMachine
from .session import CompileNotes, Layer

OMIT: Mapping[str, Any] = {"omit": True}  # its key is left out while it has its default

Windows = tuple[tuple[float, ...], ...]  # the windows of one process, each with its times in milliseconds


@dataclass(frozen=True)
class RunWarning:
    """Something that a person should know. `code` is data, `text` is for people: it is never parsed, and in no key."""

    code: str
    text: str
    subject: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}" if self.subject else self.text


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
class Accuracy:
    """The answers to all images compared with the reference's, as counts. Without labels, only how many agree."""

    images: int
    agree: int
    top1: int | None = field(default=None, metadata=OMIT)
    lost: int | None = field(default=None, metadata={"key": "flips_lost", **OMIT})  # correct before, and no longer
    won: int | None = field(default=None, metadata={"key": "flips_won", **OMIT})
    sqnr_db: float | None = None  # None: no difference at all
    top5: int | None = field(default=None, metadata=OMIT)

    @property
    def has_labels(self) -> bool:
        return self.top1 is not None

    @property
    def agree_pct(self) -> float:
        return 100 * self.agree / max(self.images, 1)

    @property
    def top1_pct(self) -> float:
        """Top-1 in percent. Only with labels."""
        assert self.top1 is not None
        return 100 * self.top1 / max(self.images, 1)

    @property
    def drop_pp(self) -> float:
        """Points of top-1 lost against the reference. Only with labels."""
        assert self.lost is not None
        assert self.won is not None
        return 100 * (self.lost - self.won) / max(self.images, 1)

    def drop_interval_pp(self, z: float = intervals.Z95) -> Interval:
        """Return the score interval of the drop, in points. The answers are paired: same images before and after."""
        assert self.lost is not None
        assert self.won is not None
        low, high = intervals.tango(self.lost, self.won, self.images, z)
        return Interval(100 * low, 100 * high)

    def top1_interval_pct(self) -> Interval:
        """Return the 95 % interval of top-1, in percent."""
        assert self.top1 is not None
        low, high = intervals.wilson(self.top1, self.images)
        return Interval(100 * low, 100 * high)


@dataclass(frozen=True)
class SweepCell:
    """Throughput with one batch size and one number of parallel requests; `ms` is one request alone."""

    batch: int
    streams: int
    images_per_s: float
    ms: tuple[float, ...]


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
    cut: bool = field(default=False, metadata=OMIT)  # it was interrupted, and ends early

    @cached_property
    def medians(self) -> Windows:
        """The median of each window from and to the host, each as a window of its own: what ratios are made of."""
        return tuple((intervals.median(window),) for window in self.host_ms)

    def windows(self, kind: str = "host") -> Windows:
        """Return the windows of one kind (host, device or file); empty where it was not measured."""
        return {"host": self.host_ms, "device": self.device_ms, "file": self.file_ms}[kind] or ()


class Percentiles(NamedTuple):
    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Latency:
    """How long one network takes, process by process and window by window. What follows is computed when it is read."""

    batch: int
    processes: tuple[ProcessTimes, ...]

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

    def speedup_over(self, slower: Latency) -> Ratio:
        """Return how many times as fast this is as `slower`, timed in turn with it: speed-ups come from here alone.

        `timing_warnings.speedup` asks first whether the two can be compared.
        """
        value, (low, high) = intervals.ratio_interval(slower.medians(), self.medians())
        return Ratio(value, low, high)


@dataclass(frozen=True)
class Variant:
    """One form of the network on one target: its answers, its times, its size."""

    accuracy: Accuracy
    predicted: tuple[int, ...]
    latency: Latency | None
    size_mb: float
    digest: str
    notes: CompileNotes
    precisions: Mapping[str, int] = field(default_factory=dict)  # how many layers ran in which precision
    float_layers: tuple[Layer, ...] = field(default=(), metadata=OMIT)  # of an INT8 network, those that ran in float
    against_pruned: Accuracy | None = field(default=None, metadata=OMIT)  # quantization's loss without pruning's

    @property
    def quantization(self) -> Accuracy:
        """What quantizing alone changed: compared with the network that was quantized."""
        return self.against_pruned or self.accuracy


@dataclass(frozen=True)
class Yardstick:
    """A small pinned network that is timed with all others."""

    sha256: str
    latency: Latency | None


@dataclass(frozen=True)
class DecodingDifference:
    """How far a device's pixels are from the host's for the same files, and how many answers that changes."""

    images: int
    mean_levels: float
    largest_levels: int
    answers_changed: int


@dataclass(frozen=True)
class Measured:
    """What was measured on one target."""

    target: str
    ships: str = field(metadata={"key": "candidate"})  # the variant that would ship
    classes: tuple[str, ...]
    labels: tuple[int, ...] | None
    skipped: tuple[str, ...]
    variants: Mapping[str, Variant]
    machine: Machine
    versions: Mapping[str, str]
    reference_predicted: tuple[int, ...]
    images: str | None = None  # digest of the evaluation images: another run's answers to them can be compared
    rebuilds: tuple[Variant, ...] = field(default=(), metadata=OMIT)  # what would ship, built again
    yardstick: Yardstick | None = None
    as_written: Accuracy | None = field(default=None, metadata=OMIT)  # the INT8 file in onnxruntime, before a compiler
    decoding: Mapping[str, DecodingDifference | None] = field(default_factory=dict, metadata=OMIT)  # by library
    state: Literal["measured"] = "measured"

    @property
    def shipped(self) -> Variant:
        """The variant that would ship."""
        return self.variants[self.ships]

    @property
    def has_labels(self) -> bool:
        return self.labels is not None

    def builds(self) -> list[Measured]:
        """Return the result once for each time that what would ship was built."""
        return [self, *(replace(self, variants={**self.variants, self.ships: each}) for each in self.rebuilds)]

    def latency_of(self, variant: str) -> Latency | None:
        """Return the times of a variant; None where it was not built or not timed."""
        return self.variants[variant].latency if variant in self.variants else None

    def timed(self) -> dict[str, Latency]:
        """Return the variants whose latency was measured."""
        return {name: each.latency for name, each in self.variants.items() if each.latency}


@dataclass(frozen=True)
class Deferred:
    """A target that a device will measure: its bundle waits."""

    target: str
    reason: str
    hint: str = ""
    unlabelled: bool = False  # no image has a label: accuracy will not be known either
    state: Literal["deferred"] = "deferred"


@dataclass(frozen=True)
class NotMeasured:
    """A target without a result, and why."""

    target: str
    reason: str
    hint: str = ""
    state: Literal["not_measured"] = "not_measured"


Result = Measured | Deferred | NotMeasured


@dataclass(frozen=True)
class Promise:
    """What a recipe or a gate promises. `subject` is the class or the baseline variant that it is about, if any."""

    kind: str
    limit: float
    subject: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} {self.subject}" if self.subject else self.kind

    def __str__(self) -> str:
        return self.name


Word = Literal["KEPT", "DEFERRED", "UNDECIDED", "NOT_MEASURED", "BROKEN"]


@dataclass(frozen=True)
class Verdict:
    """One promise on one target: what was promised, what was found, and one sentence of reason."""

    target: str
    promise: Promise
    verdict: Word
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    more_images: int | None = None  # as many more images like these would decide
    by: Literal["recipe", "baseline"] = field(default="recipe", metadata=OMIT)


def spread(parts: Sequence[Sequence[float]]) -> float:
    """Return by how much the largest median exceeds the smallest, as a part of it."""
    medians = [intervals.median(part) for part in parts if part]
    return max(medians) / min(medians) - 1 if medians and min(medians) > 0 else 0.0
