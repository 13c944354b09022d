"""What a promise reads off a result: a value, its interval, and what would narrow that. Judges nothing: `judging` does.

Values are in points, percent, milliseconds and megabytes, as recipes promise them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

from . import amounts, confidence, timing_warnings
from .frozen import dataclass
from .intervals import (
    Interval,
    finest_mean,
    quantile_interval,
    tail_interval,
    unit_mean,
    z_for,
)
from .result import Measured, Promise
from .tasks.task import Scored, Task, task_of

_MORE_PROCESSES = "a quieter machine or more processes would decide it"
_CHANCE = (
    "these images do not show that the FP32 reference is better than chance: use more images, or check the "
    "architecture, the preprocessing and the labels"
)
_NO_PROBABILITIES = (
    "an older edgeresnet measured it, without probabilities: measure again with `edgeresnet run RECIPE --again verify`"
)


@dataclass(frozen=True)
class Reading:
    """What a promise reads off a result. `times` is the interval that a multiple of these images would give."""

    value: float
    interval: Interval
    images: int = 0
    times: Callable[[float], Interval] | None = None
    like: str = "images like these"  # of which more would decide
    rest: str = ""  # after the unit: how it was measured
    more: str = ""  # what else would, where images would not


class Reach(NamedTuple):
    """The finest limit that images can decide if all goes well: in words, and by numbers of images and promises."""

    words: str
    limit: Callable[[int, int, Task], float]
    places: int = 2  # decimals of it


@dataclass(frozen=True)
class Kind:
    """A kind of promise: how it is read, whether its limit is a ceiling, its unit, what it needs, and its reach."""

    read: Callable[[Measured, Promise, int], Reading | str]  # the last: how many promises of this kind there are
    ceiling: bool
    unit: str
    needs: Literal["labels", "answers", "times", ""] = ""  # answers: with or without labels
    reach: Reach | None = None
    rest: str = ""  # after the unit
    below: str = ""  # the unit of a value below 0

    @property
    def is_factor(self) -> bool:
        """Whether values are a factor apart, as speed-ups and times are, and not an amount."""
        return self.needs == "times"


def _drop(measured: Measured, promise: Promise, looks: int) -> Reading | str:
    if task_of(measured.task).no_better_than_chance(measured):
        return _CHANCE
    found, z = measured.shipped.accuracy, z_for(looks)
    return Reading(found.drop_pp, found.drop_interval_pp(z), found.images, lambda k: found.drop_interval_pp(z, k))


def _score(measured: Measured, promise: Promise, looks: int) -> Reading:
    return _scored(measured.shipped.accuracy, z_for(looks))


def _flips(measured: Measured, promise: Promise, looks: int) -> Reading | str:
    found, z = measured.shipped.accuracy, z_for(looks)
    if found.uncompared:
        return found.uncompared
    return Reading(found.flips_pct, found.flips_interval_pct(z), found.images, lambda k: found.flips_interval_pct(z, k))


def _scored(found: Scored, z: float) -> Reading:
    return Reading(found.score_pct, found.score_interval_pct(z), found.images, lambda k: found.score_interval_pct(z, k))


def _confidence_change(measured: Measured, promise: Promise, looks: int) -> Reading | str:
    found, z = confidence.changes(measured, measured.shipped), z_for(looks)
    if found is None:
        return _NO_PROBABILITIES

    def times(k: float) -> Interval:
        return unit_mean(found, z, k)

    return Reading(float(found.mean()), times(1), len(found), times)


def _of_class(measured: Measured, promise: Promise, looks: int) -> Reading | str:
    label = promise.subject
    found = next((each.of for each in task_of(measured.task).classes(measured) if each.label == label), None)
    if found is None or found.images == 0:
        return f"no evaluation image has the class {label}"
    return replace(_scored(found, z_for(looks)), like=f"images of {label}")


def _p99(measured: Measured, promise: Promise, looks: int) -> Reading | str:
    latency = measured.shipped.latency
    if problem := timing_warnings.untimed([latency]):
        return problem
    assert latency is not None
    assert latency.host is not None
    interval, values = tail_interval(latency.windows(), 0.99, looks), latency.values().tolist()
    more = would_decide(interval, len(latency.processes))
    if quantile_interval(values, 0.99, looks).high == math.inf:
        more = f"{len(values)} inferences are too few: a longer measurement would decide it (`verify.seconds`)"
    return Reading(latency.host.p99, interval, more=more)


def would_decide(interval: Interval, processes: int) -> str:
    """Return what would decide a promise about times that the interval of these processes does not decide."""
    if not interval.is_open:
        return _MORE_PROCESSES
    words = timing_warnings.no_interval(processes), timing_warnings.more_processes(processes)
    return f"{': '.join(words)} (`verify.processes`)"


def _energy(measured: Measured, promise: Promise, looks: int) -> Reading | str:
    latency = measured.shipped.latency
    found = amounts.energy(latency)
    if isinstance(found, str) or latency is None:
        return str(found)
    idle = "" if found.idle_w is None else f", {found.idle_w:.3g} W idle"
    more = would_decide(found.interval, len(latency.processes))
    return Reading(found.mj, found.interval, more=more, rest=f"({found.watts:.3g} W{idle}, by {found.sensor})")


def _throughput(measured: Measured, promise: Promise, looks: int) -> Reading | str:
    latency = measured.shipped.latency
    found = amounts.rate(latency)
    if isinstance(found, str) or latency is None:
        return str(found)
    more = would_decide(found.interval, len(latency.processes))
    return Reading(found.images_per_s, found.interval, more=more, rest=f"({found.setting})")


def _size(measured: Measured, promise: Promise, looks: int) -> Reading:
    return _exactly(measured.shipped.size_mb)


def _peak_memory(measured: Measured, promise: Promise, looks: int) -> Reading | str:
    """Read the largest of all processes: a device that runs out of memory once has run out of it."""
    latency = measured.shipped.latency
    if latency and latency.is_emulated:
        return "an emulator ran it (QEMU or the like), and its own memory is in the peak"
    known = [each.peak_memory_mb for each in latency.processes if each.peak_memory_mb is not None] if latency else []
    return _exactly(max(known)) if known else "this system does not report the peak memory of a process"


def _speedup(baseline: str, called: str) -> Callable[[Measured, Promise, int], Reading | str]:
    def read(measured: Measured, promise: Promise, looks: int) -> Reading | str:
        if measured.ships == "fp32":
            return "only the FP32 network was built, so there is no speed-up to measure"
        if baseline not in measured.variants:
            return f"this target has no {called} on this machine"
        latency = measured.shipped.latency
        found = timing_warnings.speedup(measured.latency_of(baseline), latency, looks)
        if isinstance(found, str) or latency is None:
            return str(found)
        interval = Interval(found.low, found.high)
        return Reading(found.value, interval, more=would_decide(interval, len(latency.processes)))

    return read


def _exactly(value: float) -> Reading:
    return Reading(value, Interval(value, value))


def _in_percent(interval: Interval) -> Interval:
    return Interval(100 * interval.low, 100 * interval.high)


_FEWEST_LOST = Reach("the smallest drop that they can rule out is", lambda images, _, task: 100 * task.finest(images))
_FEWEST_CHANGED = Reach(
    "the smallest share of flips that they can rule out is", lambda images, _, task: 100 * task.finest(images)
)
_LEAST_CHANGE = Reach(
    "the smallest mean change that they can rule out is",
    lambda images, looks, _: finest_mean(images, z_for(looks)),
    places=4,
)
_MOST_CORRECT = Reach(
    "the highest value that they can show is",
    lambda images, looks, task: 100 * (1 - task.finest(images, z_for(looks))),
)

KINDS: dict[str, Kind] = {
    "max_drop_pp": Kind(
        _drop, True, "points lost", "labels", _FEWEST_LOST, rest="compared with FP32", below="points gained"
    ),
    "min_top1_pct": Kind(_score, False, "% top-1", "labels", _MOST_CORRECT),
    "max_flips_pct": Kind(_flips, True, "% of {flipped} changed", "labels", _FEWEST_CHANGED),
    "max_confidence_change": Kind(
        _confidence_change, True, "mean change of the top probability", "answers", _LEAST_CHANGE
    ),
    "min_speedup_fp32": Kind(_speedup("fp32", "FP32 variant"), False, "× as fast as FP32", "times"),
    "min_speedup_half": Kind(
        _speedup("half", "half-precision variant"), False, "× as fast as the half-precision variant", "times"
    ),
    "max_latency_p99_ms": Kind(_p99, True, "ms at p99", "times"),
    "min_throughput_ips": Kind(_throughput, False, "images/s", "times"),
    "max_energy_mj": Kind(_energy, True, "mJ per inference", "times"),
    "max_size_mb": Kind(_size, True, "MB"),
    "max_peak_memory_mb": Kind(_peak_memory, True, "MB of peak memory"),
    "min_miou_pct": Kind(_score, False, "% mIoU", "labels", _MOST_CORRECT),
    "min_iou_pct": Kind(_of_class, False, "% IoU of {subject}", "labels", _MOST_CORRECT),
    "min_map_pct": Kind(_score, False, "% mAP", "labels", _MOST_CORRECT),
    "min_ap_pct": Kind(_of_class, False, "% AP of {subject}", "labels", _MOST_CORRECT),
    "min_recall_pct": Kind(_of_class, False, "% recall of {subject}", "labels", _MOST_CORRECT),
}
