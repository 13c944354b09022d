"""Numbers in, verdicts out: what the measurements of a target say of each promise.

Measures nothing and prints nothing. Promises are in points, percent, milliseconds and megabytes, as recipes say them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from . import timing_warnings, timings
from .intervals import Interval, drop_interval, finest_drop, ratio_interval, tail_interval, tango, wilson, z_for

__all__ = [
    "PROMISES",
    "Verdict",
    "candidate",
    "decided",
    "drop_interval",
    "each_build",
    "finest_drop",
    "flips",
    "judge",
    "out_of_reach",
    "recalls",
    "unlabelled",
    "worst",
]

KEPT, UNDECIDED, DEFERRED, NOT_MEASURED, BROKEN = "KEPT", "UNDECIDED", "DEFERRED", "NOT_MEASURED", "BROKEN"
WORST_LAST = (KEPT, DEFERRED, UNDECIDED, NOT_MEASURED, BROKEN)
_PROCESSES = "a quieter machine or more processes would decide"
_CHANCE = (
    "these images do not show the FP32 reference to be better than chance: they are too few or too much alike, or "
    "architecture, preprocessing or labels are not its own"
)
_NO_LABELS = "no evaluation images were given, and without labels no answer is right or wrong: `--evaluation DIR`"
_MOST_IMAGES = 1e9


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
    more_images: int | None = None  # so many more like these would decide

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Reading:
    """What a promise reads off a result. `times` is the interval that so many times these images would give."""

    value: float
    interval: Interval
    images: int = 0
    times: Callable[[float], Interval] | None = None
    like: str = "images like these"  # of which more would decide
    more: str = ""  # what else would, where images would not


class Recall(NamedTuple):
    """One class: its images, and how many of them were answered right before and now."""

    label: str
    images: int
    before: int
    now: int


def worst(verdicts: Sequence[str]) -> str:
    """A run without promises has nothing to break: it is KEPT."""
    return max(verdicts, key=WORST_LAST.index, default=KEPT)


def judge(promises: Mapping[str, Any], target: str, result: Mapping[str, Any]) -> list[Verdict]:
    """Every promise on one target's result: the measurements of `verify`, or the reason why there are none."""
    return [verdict for name, limit in promises.items() for verdict in _judged(name, limit, target, result)]


def each_build(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The result once for each time that what would ship was built."""
    name, variants = result.get("candidate"), result.get("variants", {})
    again = [{**result, "variants": {**variants, name: build}} for build in result.get("rebuilds", ())]
    return [result, *again]


def out_of_reach(promises: Mapping[str, Any], images: Mapping[str, int], processes: int) -> list[str]:
    """Which promises so many images per class, and processes, could not show to be kept whatever comes out."""
    count = sum(images.values())
    best: dict[str, tuple[str, float, float]] = {
        "max_drop_pp": ("the smallest drop that can be ruled out is", 100 * finest_drop(count), -1),
        "max_flips_pct": ("the fewest flips that can be ruled out are", 100 * wilson(0, count).high, -1),
        "min_top1_pct": ("the most that can be shown is", 100 * wilson(count, count).low, 1),
    }
    found = []
    for name, (words, reach, sign) in best.items():
        if name in promises and sign * promises[name] > sign * reach:
            found.append(f"{name} {promises[name]:g} is finer than {count} images can decide: {words} {reach:.2f}")
    for label, least in promises.get("min_recall_pct", {}).items():
        there = images.get(label, 0)
        reach = 100 * wilson(there, there, z_for(len(promises["min_recall_pct"]))).low
        if least > reach:
            found.append(
                f"min_recall_pct {label} {least:g} is finer than its {there} images can decide: "
                f"the most that can be shown is {reach:.2f}"
            )
    timed = [name for name in ("min_speedup_fp32", "min_speedup_half", "max_latency_p99_ms") if name in promises]
    if processes < 2 and timed:
        found.append(f"{', '.join(timed)}: one process does not show how much processes differ")
    return found


def candidate(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The variant that would ship."""
    return result["variants"][result["candidate"]]


def of_quantizing(variant: Mapping[str, Any]) -> Mapping[str, Any]:
    """What INT8 answers, held against the network that was quantized: the pruned one where there is one."""
    return variant.get("against_pruned", variant["accuracy"])


def unlabelled(result: Mapping[str, Any]) -> bool:
    """Whether no image that this target was or will be asked about has a label."""
    return bool(result.get("unlabelled")) or ("labels" in result and result["labels"] is None)


def recalls(result: Mapping[str, Any], variant: str | None = None) -> list[Recall]:
    """Per class, in order; computed when read, from the answers to every image."""
    labels, before, now = _right(result, variant)
    counts = (_per_class(result, labels), _per_class(result, labels[before]), _per_class(result, labels[now]))
    return [Recall(label, *numbers) for label, *numbers in zip(result["classes"], *counts, strict=True)]


def flips(result: Mapping[str, Any], variant: str | None = None) -> list[tuple[int, int]]:
    """(lost, won) per class, in order."""
    labels, before, now = _right(result, variant)
    lost, won = _per_class(result, labels[before & ~now]), _per_class(result, labels[now & ~before])
    return list(zip(lost, won, strict=True))


def _right(result: Mapping[str, Any], variant: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(labels, whether the reference was right, whether the variant is), image by image."""
    labels = np.asarray(result["labels"], dtype=np.int64)
    predicted = np.asarray(result["variants"][variant or result["candidate"]]["predicted"])
    return labels, np.asarray(result["reference_predicted"]) == labels, predicted == labels


def _per_class(result: Mapping[str, Any], labels: np.ndarray) -> list[int]:
    return np.bincount(labels, minlength=len(result["classes"])).tolist()


def _judged(name: str, limit: Any, target: str, result: Mapping[str, Any]) -> Iterator[Verdict]:
    if name == "min_recall_pct":
        for label, least in limit.items():
            read = _recall(label, looks=len(limit))
            yield _worst_build(f"{name} {label}", least, target, result, (read, False, f"% of {label} found"))
        return
    yield _worst_build(name, limit, target, result, _PROMISES[name])


def _worst_build(
    name: str, limit: float, target: str, result: Mapping[str, Any], about: tuple[_Reader, bool, str]
) -> Verdict:
    """One network built twice may be two engines: what ships is one of them, and nobody knows which."""
    read, ceiling, unit = about
    builds = each_build(result)
    found = [_verdict(name, limit, target, build, read, ceiling=ceiling, unit=unit) for build in builds]
    sign = 1 if ceiling else -1
    worst_one = max(found, key=lambda one: (WORST_LAST.index(one.verdict), sign * (one.value or 0.0)))
    return (
        worst_one if len(found) == 1 else replace(worst_one, reason=f"{worst_one.reason}; worst of {len(found)} builds")
    )


def _verdict(
    name: str, limit: float, target: str, result: Mapping[str, Any], read: _Reader, *, ceiling: bool, unit: str
) -> Verdict:
    if name.split(" ")[0] in _OF_ANSWERS and unlabelled(result):
        return Verdict(target, name, NOT_MEASURED, limit, _NO_LABELS)
    if "variants" not in result:
        verdict = DEFERRED if result.get("deferred") else NOT_MEASURED
        return Verdict(target, name, verdict, limit, result["reason"])
    found = decided(target, name, limit, read(result), ceiling=ceiling, unit=unit)
    if found.verdict != BROKEN and name.split(" ")[0] in _OF_ANSWERS and (same := _one_answer(result)):
        return Verdict(target, name, NOT_MEASURED, limit, same)
    return found


def decided(
    target: str,
    name: str,
    limit: float,
    reading: Reading | str,
    *,
    ceiling: bool,
    unit: str,
    broken: Callable[[float], bool] | None = None,
) -> Verdict:
    """A reading held against its limit: its 95 % interval decides. `broken` decides instead what is beyond the limit,
    with so many times as many images.
    """
    if isinstance(reading, str):
        return Verdict(target, name, NOT_MEASURED, limit, reading)
    value, (low, high) = reading.value, reading.interval
    if not math.isfinite(value):
        return Verdict(target, name, NOT_MEASURED, limit, f"the measured value is {value}")

    def side(interval: Interval, times: float) -> str:
        found = _side(interval, limit, ceiling)
        return found if broken is None or found == KEPT else BROKEN if broken(times) else UNDECIDED

    verdict = side(reading.interval, 1)
    shown = _spelling(value, unit)
    span = "" if low == high else f", 95 % interval {shown(low)} to {shown(high)}"
    reason = f"{shown(value)} {unit}{span}; promised {'at most' if ceiling else 'at least'} {limit:g}"
    if verdict == UNDECIDED and _side(reading.interval, limit, ceiling) == BROKEN:
        reason += "; to be red for it a gate asks for more than 95 %"
    if verdict == BROKEN and _side(reading.interval, limit, ceiling) == UNDECIDED:
        reason += "; worse beyond doubt, and by more than that as far as was measured"
    more = _further_images(reading, side) if verdict == UNDECIDED else None
    if more:
        reason += f"; about {_round(more):,} more {reading.like} would decide"
    elif verdict == UNDECIDED and reading.more:
        reason += f"; {reading.more}"
    return Verdict(target, name, verdict, limit, reason, value, low, high if math.isfinite(high) else None, more)


def _spelling(value: float, unit: str) -> Callable[[float], str]:
    """Two decimals for points and percent; three digits for milliseconds, which may be few or many."""
    places = 2
    if unit.startswith(("ms", "×", "MB")) and 0 < abs(value) < 1:
        places = 2 - math.floor(math.log10(abs(value)))
    return lambda number: f"{number:.{places}f}" if math.isfinite(number) else "beyond what so few values tell"


def _side(interval: Interval, limit: float, ceiling: bool) -> str:
    kept, broken = (interval.high <= limit, interval.low > limit) if ceiling else (
        interval.low >= limit, interval.high < limit
    )  # fmt: skip
    return KEPT if kept else BROKEN if broken else UNDECIDED


def _one_answer(result: Mapping[str, Any]) -> str:
    """A network that says the same of every image may be right often enough, and has still not been seen to work."""
    given = candidate(result).get("predicted", ())
    if len(given) < 2 or len(set(given)) > 1:
        return ""
    return f"every image is answered {result['classes'][given[0]]}: nothing shows that the network looks at them"


def _further_images(reading: Reading, side: Callable[[Interval, float], str]) -> int | None:
    """How many more images in the same proportions would decide; None where no number would, or images are no help."""
    if reading.times is None or reading.images == 0:
        return None
    low, high = 1.0, 2.0
    while side(reading.times(high), high) == UNDECIDED:
        low, high = high, 2 * high
        if high * reading.images > _MOST_IMAGES:
            return None
    for _ in range(20):
        middle = (low + high) / 2
        if side(reading.times(middle), middle) == UNDECIDED:
            low = middle
        else:
            high = middle
    return math.ceil(reading.images * (high - 1))


def _round(count: int) -> int:
    """Upwards to two digits: more would pretend."""
    unit = 10 ** max(len(str(count)) - 2, 0)
    return -(-count // unit) * unit


_Reader = Callable[[Mapping[str, Any]], "Reading | str"]


def _proportion(hits: int, images: int, z: float | None = None) -> Reading:
    def times(k: float) -> Interval:
        return _in_percent(wilson(k * hits, k * images, z) if z else wilson(k * hits, k * images))

    return Reading(100 * hits / max(images, 1), times(1), images, times)


def _drop(result: Mapping[str, Any]) -> Reading | str:
    counts = candidate(result)["accuracy"]
    lost, won, images = counts["flips_lost"], counts["flips_won"], counts["images"]
    if wilson(counts["top1"] + lost - won, images).low <= _chance(result):
        return _CHANCE

    def times(k: float) -> Interval:
        return _in_percent(tango(k * lost, k * won, k * images))

    return Reading(100 * (lost - won) / images, times(1), images, times)


def _chance(result: Mapping[str, Any]) -> float:
    """How often the reference would be right if its answers had nothing to do with the images, only as frequent."""
    count = len(result["classes"])
    labels, answers = (np.bincount(result[key], minlength=count) for key in ("labels", "reference_predicted"))
    return float((labels / labels.sum()) @ (answers / answers.sum()))


def _top1(result: Mapping[str, Any]) -> Reading:
    counts = candidate(result)["accuracy"]
    return _proportion(counts["top1"], counts["images"])


def _flips(result: Mapping[str, Any]) -> Reading:
    counts = candidate(result)["accuracy"]
    return _proportion(counts["images"] - counts["agree"], counts["images"])


def _recall(label: str, looks: int) -> _Reader:
    def read(result: Mapping[str, Any]) -> Reading | str:
        found = next((recall for recall in recalls(result) if recall.label == label), None)
        if found is None or found.images == 0:
            return f"there is no evaluation image of {label}"
        return replace(_proportion(found.now, found.images, z_for(looks)), like=f"images of {label}")

    return read


def _p99(result: Mapping[str, Any]) -> Reading | str:
    latency = candidate(result)["latency"]
    if trouble := timing_warnings.untimed([latency]):
        return trouble
    interval, count = tail_interval(timings.windows(latency), 0.99), len(timings.values(latency))
    few = f"{count} inferences are few: more seconds would decide" if interval.high == math.inf else _PROCESSES
    return Reading(timings.percentiles(latency)["p99"], interval, more=few)


def _size(result: Mapping[str, Any]) -> Reading:
    return _exactly(candidate(result)["size_mb"])


def _peak_memory(result: Mapping[str, Any]) -> Reading | str:
    """The largest of all processes: a box that runs out of memory once has run out of it."""
    latency = candidate(result)["latency"] or {"processes": ()}
    found = [process.get("peak_memory_mb") for process in latency["processes"]]
    known = [value for value in found if value is not None]
    return _exactly(max(known)) if known else "this system does not tell a process's peak memory"


def _speedup(rival: str) -> _Reader:
    def read(result: Mapping[str, Any]) -> Reading | str:
        if result["candidate"] == "fp32":
            return "only the FP32 network was built: nothing is there that could be faster than it"
        if rival not in result["variants"]:
            return f"this target has no {rival} twin on this machine"
        slower, faster = result["variants"][rival]["latency"], candidate(result)["latency"]
        if trouble := timing_warnings.untimed([slower, faster]):
            return trouble
        return Reading(*ratio_interval(timings.windows(slower), timings.windows(faster)), more=_PROCESSES)

    return read


def _exactly(value: float) -> Reading:
    return Reading(value, Interval(value, value))


# Promise → how it is read, whether its limit is a ceiling, and its unit in words. min_recall_pct is one per class.
_PROMISES: dict[str, tuple[_Reader, bool, str]] = {
    "max_drop_pp": (_drop, True, "points lost against the FP32 reference"),
    "min_top1_pct": (_top1, False, "% top-1"),
    "max_flips_pct": (_flips, True, "% of answers changed"),
    "min_speedup_fp32": (_speedup("fp32"), False, "× as fast as FP32"),
    "min_speedup_half": (_speedup("half"), False, "× as fast as the half-precision twin"),
    "max_latency_p99_ms": (_p99, True, "ms at p99"),
    "max_size_mb": (_size, True, "MB"),
    "max_peak_memory_mb": (_peak_memory, True, "MB of memory at the peak"),
}
PROMISES = (*_PROMISES, "min_recall_pct")
_OF_ANSWERS = {"max_drop_pp", "min_top1_pct", "max_flips_pct", "min_recall_pct"}


def _in_percent(interval: Interval) -> Interval:
    return Interval(100 * interval.low, 100 * interval.high)
