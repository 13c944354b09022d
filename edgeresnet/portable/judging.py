"""Numbers in, verdicts out: whether the measurements of a target keep each promise.

Measures nothing and prints nothing. `readings` reads what a promise is about off a result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from .frozen import dataclass
from .intervals import Interval
from .readings import KINDS, Kind, Reading
from .result import Deferred, Measured, Promise, Result, Verdict, Word
from .tasks.task import Task, task_of
from .timing_warnings import EMULATED

__all__ = [
    "PROMISES",
    "Reading",
    "Verdict",
    "Words",
    "decided",
    "judge",
    "out_of_reach",
    "state_word",
    "too_fine",
    "unlabelled",
    "worst",
]

KEPT: Final = "KEPT"
UNDECIDED: Final = "UNDECIDED"
DEFERRED: Final = "DEFERRED"
NOT_MEASURED: Final = "NOT_MEASURED"
BROKEN: Final = "BROKEN"
WORST_LAST: tuple[Word, ...] = (KEPT, DEFERRED, UNDECIDED, NOT_MEASURED, BROKEN)
PROMISES = tuple(KINDS)
_NO_LABELS = "accuracy needs evaluation images with labels: give a folder with one folder per class, `--evaluation DIR`"
_MOST_IMAGES = 1e9
ROUNDS = 4  # verdicts at most on the same images, where a search changes the network after one that is not KEPT
_LEAST = 1e-3  # of a limit: a promise of no loss at all has no parts


@dataclass(frozen=True)
class Words:
    """How a value is written: its unit, what follows that, and the unit of a value below 0 (empty: a minus sign)."""

    unit: str
    rest: str = ""
    below: str = ""
    is_margin: bool = False

    def limit(self, bound: str, limit: float) -> str:
        """Return what was promised, or what a margin allows."""
        if not self.is_margin:
            return f"promised {bound} {limit:g}"
        unit = self.unit.replace("points", "point") if limit == 1 else self.unit
        return f"allowed: {bound} {limit:g} {unit}"

    def sentence(self, value: float, interval: Interval) -> str:
        """Return a value and its interval: "3.20 % faster, 95 % interval 0.30 % slower to 6.10 % faster"."""
        shown, ends, unit, opposite = _spelling(value, self.unit), interval, self.unit, self.below
        nought = shown(0)
        if opposite and value < 0 and shown(-value) != nought:
            value, ends = -value, Interval(-interval.high, -interval.low)
            unit, opposite = opposite, unit
        value = 0.0 if shown(abs(value)) == nought else value  # and never "-0.00"
        found = " ".join(filter(None, (shown(value), unit, self.rest)))
        if interval.is_open:
            return f"{found}, no 95 % interval"
        if ends.low == ends.high:
            return found
        if opposite and ends.low < 0 and shown(-ends.low) != nought:
            return f"{found}, 95 % interval {shown(-ends.low)} {opposite} to {shown(ends.high)} {unit}"
        return f"{found}, 95 % interval {shown(ends.low)} to {shown(ends.high)}"


def worst(verdicts: Sequence[Word]) -> Word:
    """Return the worst verdict. A run without promises has nothing to break: it is KEPT."""
    return max(verdicts, key=WORST_LAST.index, default=KEPT)


def judge(promises: Sequence[Promise], target: str, result: Result, rounds: int = 1) -> list[Verdict]:
    """Judge every promise by one target's result: the measurements of `verify`, or why there are none.

    `rounds` is which verdict this is on the same images, after others that were not KEPT. The first one may err in
    2.5 % of cases to either side, all later ones together in as many. Where one of several INT8 networks is chosen by
    its verdict, each of them has its part of that.
    """
    looks, networks = _looks(promises), _networks(result)
    found = []
    for promise in promises:
        again = ROUNDS - 1 if rounds > 1 and KINDS[promise.kind].reach else 1
        one = _worst_build(promise, target, result, looks[promise.kind] * again * networks)
        words = [f"verdict {rounds} of at most {ROUNDS} on these images"] if again > 1 else []
        words += [f"one of {networks} INT8 networks that are judged together"] if networks > 1 else []
        if words and one.value is not None and KINDS[promise.kind].needs:
            sure = f"so the interval is one of {100 - 5 / (again * networks):.1f} %"
            one = replace(one, reason=f"{one.reason}; {', '.join([*words, sure])}")
        found.append(one)
    return found


def distance(verdict: Verdict) -> float:
    """Return how far a promise is from being kept, in parts of its limit: 0 where it is; infinity: not measured."""
    if verdict.verdict == KEPT:
        return 0.0
    if verdict.value is None:
        return math.inf
    end = verdict.high if is_ceiling(verdict.promise) else verdict.low
    limit, end = verdict.promise.limit, verdict.value if end is None else end
    return abs(end - limit) / max(abs(limit), _LEAST)


def _networks(result: Result) -> int:
    return result.choice.count if isinstance(result, Measured) and result.choice else 1


def can_show(promise: Promise, measured: Measured) -> bool:
    """Return whether a promise is about what the network answers, and these images can show that it is kept."""
    kind, images = KINDS[promise.kind], measured.shipped.accuracy.images
    return kind.reach is not None and not too_fine(promise, kind, images, task_of(measured.task))


def is_ceiling(promise: Promise) -> bool:
    """Return whether the limit of a promise is an upper one."""
    return KINDS[promise.kind].ceiling


def _looks(promises: Sequence[Promise]) -> dict[str, int]:
    """Return how many promises there are of each kind."""
    return {kind: sum(promise.kind == kind for promise in promises) for kind in KINDS}


def out_of_reach(
    promises: Sequence[Promise], count: int, images: Mapping[str, int], processes: int, task: Task
) -> list[str]:
    """Return which promises cannot be shown to be kept, whatever comes out.

    `count` is how many images there are, and `images` how many have each class.
    """
    looks, found = _looks(promises), []
    for promise in promises:
        those = images.get(promise.subject, 0) if promise.subject else count
        found.append(too_fine(promise, KINDS[promise.kind], those, task, looks[promise.kind]))
    timed = [promise.name for promise in promises if KINDS[promise.kind].needs == "times"]
    if processes < 2 and timed:
        found.append(f"{', '.join(timed)}: one process does not show how much times vary between processes")
    return list(filter(None, found))


def too_fine(promise: Promise, kind: Kind, images: int, task: Task, looks: int = 1) -> str:
    """Return why this number of images cannot decide a promise, whatever comes out; empty where it can.

    `looks` is how many promises of this kind there are.
    """
    if kind.reach is None:
        return ""
    finest = kind.reach.limit(images, looks, task)
    if promise.limit >= finest if kind.ceiling else promise.limit <= finest:
        return ""
    these = f"{images} images of {promise.subject}" if promise.subject else f"{images} images"
    return (
        f"{these} are too few for {promise.name} {promise.limit:g}: {kind.reach.words} {finest:.{kind.reach.places}f}"
    )


def state_word(result: Result) -> Word:
    """Return what it means for the verdict that a target was measured, is deferred, or was not measured."""
    if isinstance(result, Measured):
        return KEPT
    return DEFERRED if isinstance(result, Deferred) else NOT_MEASURED


def unlabelled(result: Result) -> bool:
    """Return whether no image that this target has or will evaluate has a label."""
    if isinstance(result, Measured):
        return not result.has_labels
    return isinstance(result, Deferred) and result.unlabelled


def _worst_build(promise: Promise, target: str, result: Result, looks: int) -> Verdict:
    """Judge every build of what would ship: built twice it may be two engines, and either of them may ship."""
    if KINDS[promise.kind].needs == "labels" and unlabelled(result):
        return Verdict(target, promise, NOT_MEASURED, _NO_LABELS)
    if not isinstance(result, Measured):
        return Verdict(target, promise, state_word(result), result.reason)
    sign = 1 if KINDS[promise.kind].ceiling else -1
    found = [_verdict(promise, target, build, looks) for build in result.builds()]
    worst_one = max(found, key=lambda one: (WORST_LAST.index(one.verdict), sign * (one.value or 0.0)))
    if len(found) == 1:
        return worst_one
    return replace(worst_one, reason=f"{worst_one.reason}; worst of {len(found)} builds")


def _verdict(promise: Promise, target: str, measured: Measured, looks: int) -> Verdict:
    kind = KINDS[promise.kind]
    if kind.needs == "times" and measured.shipped.latency and measured.shipped.latency.is_emulated:
        return Verdict(target, promise, NOT_MEASURED, EMULATED)
    reading = kind.read(measured, promise, looks)
    rest = kind.rest or (reading.rest if isinstance(reading, Reading) else "")
    words = Words(kind.unit.format(subject=promise.subject, flipped=task_of(measured.task).flipped), rest, kind.below)
    found = decided(target, promise, reading, ceiling=kind.ceiling, words=words)
    if found.verdict != BROKEN and kind.needs in ("labels", "answers") and (same := _one_answer(measured)):
        return Verdict(target, promise, NOT_MEASURED, same)
    return found


def decided(
    target: str,
    promise: Promise,
    reading: Reading | str,
    *,
    ceiling: bool,
    words: Words,
    broken: Callable[[float], bool] | None = None,
) -> Verdict:
    """Compare a reading with its limit: its 95 % interval decides.

    `broken` decides instead about what is beyond the limit, given a multiple of the images.
    """
    if isinstance(reading, str):
        return Verdict(target, promise, NOT_MEASURED, reading)
    limit, value, (low, high) = promise.limit, reading.value, reading.interval
    if not math.isfinite(value):
        return Verdict(target, promise, NOT_MEASURED, f"the measured value is {value}")

    def side(interval: Interval, times: float) -> Word:
        found = _side(interval, limit, ceiling)
        return found if broken is None or found == KEPT else BROKEN if broken(times) else UNDECIDED

    verdict = side(reading.interval, 1)
    bound = "at most" if ceiling else "at least"
    reason = f"{words.sentence(value, reading.interval)}; {words.limit(bound, limit)}"
    if verdict == UNDECIDED and _side(reading.interval, limit, ceiling) == BROKEN:
        reason += "; a gate needs more than 95 % certainty to fail it"
    if verdict == BROKEN and _side(reading.interval, limit, ceiling) == UNDECIDED:
        reason += "; it is certainly worse, and the measured value is over the limit"
    more = _further_images(reading, side) if verdict == UNDECIDED else None
    if more:
        reason += f"; about {_round(more):,} more {reading.like} would decide it"
    elif verdict == UNDECIDED and reading.more:
        reason += f"; {reading.more}"
    return Verdict(target, promise, verdict, reason, value, low, high if math.isfinite(high) else None, more)


def _spelling(value: float, unit: str) -> Callable[[float], str]:
    """Return how numbers are written: two decimals, four for probabilities, or three digits of milliseconds."""
    places = 4 if unit.endswith("probability") else 2
    if unit.startswith(("ms", "×", "MB", "mJ")) and 0 < abs(value) < 1:
        places = 2 - math.floor(math.log10(abs(value)))
    return lambda number: f"{number:.{places}f}" if math.isfinite(number) else "infinity (too few values)"


def _side(interval: Interval, limit: float, ceiling: bool) -> Word:
    kept, broken = (interval.high <= limit, interval.low > limit) if ceiling else (
        interval.low >= limit, interval.high < limit
    )  # fmt: skip
    return KEPT if kept else BROKEN if broken else UNDECIDED


def _one_answer(measured: Measured) -> str:
    """Name the only answer, if there is one: it may be correct often, and does not show that the network works."""
    answer = task_of(measured.task).only_answer(measured)
    return answer and f"the network answers {answer}, so nothing shows that it works"


def _further_images(reading: Reading, side: Callable[[Interval, float], Word]) -> int | None:
    """Return how many more images in the same proportions would decide; None where images cannot."""
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
    """Round up to two digits: more would pretend."""
    unit = 10 ** max(len(str(count)) - 2, 0)
    return -(-count // unit) * unit
