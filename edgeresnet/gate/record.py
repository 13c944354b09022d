"""What a baseline records of one target: its answers image by image, and its times as ratios.

Each ratio is to something that was timed in turn with it. The same is read from a run that is judged: both sides of
every comparison come from here. Where a side is missing, there is a sentence instead that says why.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping
from dataclasses import field, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any

import numpy as np

from ..portable import amounts, codec, intervals, limits, timing_warnings, yardstick
from ..portable.amounts import Kind
from ..portable.codec import CodecError
from ..portable.frozen import OMIT, dataclass
from ..portable.machine import Conditions
from ..portable.result import Accuracy, AnyCounts, Deferred, Measured, NotMeasured
from ..portable.tasks import classification
from ..portable.tasks.image_scores import ImageScores
from ..portable.tasks.task import Scored, task_of
from ..portable.times import Latency

# The yardstick's time as a multiple of a fixed piece of work in plain Python.
CPU_SPEED = "pace"  # its key in the file
_IDENTITY = ("host", "boot", "cpus")  # of a process's machine: which one of its kind; equal machines are one here
_MOST_IMAGES = 10_000_000
# What `conditions` leaves out where it is not known.
_UNKNOWN: dict[str, object] = {
    key.name: [] if key.name in ("instructions", "gpus") else None for key in codec.keys(Conditions)
}


@dataclass(frozen=True)
class TimesRecord:
    """How many times as long as something else it took: the middle of all processes, and each of them."""

    ratio: float = field(metadata={"key": "as_long_as"})
    processes: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.processes:
            raise CodecError("processes", "is empty")
        for name, values in (("as_long_as", (self.ratio,)), ("processes", self.processes)):
            if min(values) <= 0:
                raise CodecError(name, f"is {min(values):g}, but a ratio of times is above 0")
            if max(values) > limits.MANY:
                raise CodecError(name, f"is {max(values):g}, which no ratio of times is")

    @property
    def logs(self) -> list[float]:
        """The log of each process's ratio."""
        return [math.log(value) for value in self.processes]


@dataclass(frozen=True)
class AmountsRecord(TimesRecord):
    """How many times as much of something as another network: energy per inference, or images per second."""

    ratio: float = field(metadata={"key": "as_much_as"})


@dataclass(frozen=True)
class CorrectRecord:
    """How many images were answered correctly, and of how many."""

    correct: int = field(metadata={"key": "right"})
    images: int

    def __post_init__(self) -> None:
        if not 1 <= self.images <= _MOST_IMAGES:
            raise CodecError("images", f"is not a count from 1 to {_MOST_IMAGES:,}")
        if not 0 <= self.correct <= self.images:
            raise CodecError("right", f"is not a count from 0 to {self.images:,}")


@dataclass(frozen=True, kw_only=True)
class TargetRecord:
    """One target in a baseline. `answers` holds each answer as its distance from the label, packed.

    Of masks and boxes it has what their scores are computed from instead, image by image.
    """

    ships: str  # the variant that would ship; digest, size and answers are its own
    digest: str
    top1: CorrectRecord | None = field(default=None, metadata=OMIT)
    answers: str = field(default="", metadata=OMIT)
    counts: AnyCounts | None = field(default=None, metadata=OMIT)
    unread: tuple[str, ...]
    size_mb: float
    times: Mapping[str, TimesRecord]  # by what it was compared with
    versions: Mapping[str, str]
    conditions: Mapping[str, object]  # what the machine was, and how it was set
    python: str
    yardstick: str  # sha256 of its file
    warnings: tuple[str, ...] = field(metadata={"key": "troubles"})
    disturbed: tuple[str, ...]
    builds: int
    energy: Mapping[str, AmountsRecord] = field(default_factory=dict, metadata=OMIT)  # as times; empty: not measured
    throughput: Mapping[str, AmountsRecord] = field(default_factory=dict, metadata=OMIT)

    def __post_init__(self) -> None:
        for name in (yardstick.NAME, CPU_SPEED):
            if name not in self.times:
                raise CodecError(f"times.{name}", "is missing")
        limits.check(self, 0, limits.MANY, "size_mb")
        try:
            codec.decode(Conditions, {**_UNKNOWN, **self.conditions})
        except CodecError as problem:
            raise CodecError(f"conditions.{problem.path}", problem.problem) from problem
        if self.builds < 1:
            raise CodecError("builds", f"is {self.builds}, but a target is built at least once")
        if (self.top1 is None) == (self.counts is None):
            raise CodecError("top1", "is missing" if self.counts is None else "is there, and so are counts")
        if self.top1 and int((self.distances == 0).sum()) != self.top1.correct:
            raise CodecError("answers", f"does not hold {self.top1.correct} correct answers")

    @property
    def images(self) -> int:
        """How many images were evaluated."""
        return self.counts.images if self.counts else self.top1.images if self.top1 else 0

    @property
    def score_pct(self) -> float:
        """The task's metric, in percent."""
        return 100 * (self.counts.score if self.counts else self.top1.correct / self.top1.images if self.top1 else 0.0)

    def loss(self, result: Measured) -> Scored | str:
        """Return what a result of the same images lost since; a sentence where that is not known."""
        if why := _no_answers(result):
            return why
        accuracy = result.shipped.accuracy
        if isinstance(accuracy, ImageScores):
            if type(self.counts) is not type(accuracy.now):
                return f"the baseline is not of {result.task}"
            if why := self._unpaired(result, accuracy.images):
                return why
            if not accuracy.has_labels_of(self.counts):
                return "the images have other labels than in the baseline"
            return accuracy.compared_with(self.counts)
        now, labels = answers(result), np.asarray(result.labels)
        if isinstance(now, str) or self.top1 is None:
            return now if isinstance(now, str) else f"the baseline is not of {result.task}"
        why = self._unpaired(result, len(labels))
        return why or classification.counts(self.predicted(labels, len(result.classes)), now, labels)

    def _unpaired(self, result: Measured, count: int) -> str:
        """Return why answers cannot be paired, though the images are the same: not all of them could be read."""
        if self.images != count:
            return f"the baseline has {self.images} answers, the run {count}"
        apart = sorted(set(self.unread) ^ set(unread(result)))
        return f"unreadable images differ from those of the baseline: {', '.join(apart[:3])}" if apart else ""

    @cached_property
    def distances(self) -> np.ndarray:
        """How far each answer is from its label, modulo the number of classes."""
        assert self.top1 is not None
        size, unpacker = 2 * self.top1.images, zlib.decompressobj()
        try:
            found = unpacker.decompress(base64.b64decode(self.answers, validate=True), size + 1)
        except (ValueError, zlib.error) as problem:
            raise CodecError("answers", "is damaged") from problem
        if len(found) != size or not unpacker.eof:
            raise CodecError("answers", f"does not hold {self.top1.images} answers")
        return np.frombuffer(found, "<u2").astype(np.int64)

    def predicted(self, labels: np.ndarray, classes: int) -> np.ndarray:
        """Return the answers to images with these labels."""
        return (labels + self.distances) % classes


def target_record(result: Measured | Deferred | NotMeasured) -> TargetRecord | str:
    """Return what a baseline records of a result, or a sentence on what is missing for that."""
    if not isinstance(result, Measured):
        return result.reason
    given = _given_answers(result)
    if isinstance(given, str):
        return given
    times = {}
    for name in comparisons(result):
        logs = log_ratios(result, name)
        if isinstance(logs, str):
            return logs
        times[name] = TimesRecord(_rounded(intervals.center(logs).value), tuple(map(_rounded, logs)))
    measured = timed(result)
    return TargetRecord(
        ships=result.ships,
        digest=result.shipped.digest,
        **given,
        unread=tuple(unread(result)),
        size_mb=round(result.shipped.size_mb, 6),
        times=times,
        versions=dict(result.versions),
        conditions=conditions(result),
        python=result.machine.python,
        yardstick=result.yardstick.sha256 if result.yardstick else "",
        warnings=tuple(each.text for each in timing_warnings.of_machine(measured)),
        disturbed=tuple(each.text for each in timing_warnings.taken_away(measured)),
        builds=len(result.builds()),
        energy=_amounts(result, "energy"),
        throughput=_amounts(result, "throughput"),
    )


def _given_answers(result: Measured) -> dict[str, Any] | str:
    """Return what a baseline records of the answers, or a sentence on why they cannot be one."""
    chance = "its answers to these images are not clearly better than chance"
    if why := _no_answers(result):
        return why
    accuracy = result.shipped.accuracy
    if isinstance(accuracy, ImageScores):
        return chance if task_of(result.task).no_better_than_chance(result) else {"counts": accuracy.now}
    predicted = answers(result)
    if isinstance(predicted, str):
        return predicted
    labels, classes = np.asarray(result.labels), len(result.classes)
    if not intervals.better_than_chance(labels, predicted, classes):
        return chance
    correct = CorrectRecord(int((predicted == labels).sum()), len(labels))
    return {"top1": correct, "answers": packed(predicted, labels, classes)}


def _no_answers(result: Measured) -> str:
    """Return why no answer can be compared; empty where they can."""
    if not result.has_labels:
        return "no image has a label, so no answer can be counted as correct"
    return "" if result.images else "an older edgeresnet measured it, without the digest of its images"


def _amounts(result: Measured, kind: Kind) -> dict[str, AmountsRecord]:
    """Return the ratios of energy or throughput to each comparison for which both were measured."""
    found = {}
    for name in comparisons(result):
        logs = amount_log_ratios(result, name, kind)
        if not isinstance(logs, str):
            found[name] = AmountsRecord(_rounded(intervals.center(logs).value), tuple(map(_rounded, logs)))
    return found


def comparisons(result: Measured) -> list[str]:
    """Return what times are compared with: the half-precision variant (FP32 where there is none) and the yardstick.

    The last is what the yardstick's own time is compared with.
    """
    others = [name for name in ("half", "fp32") if name in result.variants and name != result.ships]
    return [*others[:1], yardstick.NAME, CPU_SPEED]


def answers(result: Measured) -> np.ndarray | str:
    """Return the answers of what would ship, if its counts follow from them; else what is wrong."""
    labels, given = result.labels, result.shipped.predicted
    if not labels or not given:
        return "no image has a label, so no answer can be counted as correct"
    if not result.images:
        return "an older edgeresnet measured it, without the digest of its images"
    predicted, count = np.asarray(given), len(result.classes)
    complete = predicted.shape == (len(labels),) and predicted.dtype.kind == "i"
    if not complete or not 0 <= predicted.min() <= predicted.max() < count:
        return f"it does not hold one answer of {count} classes for each of {len(labels)} images"
    counted = classification.counts(np.asarray(result.reference_predicted), predicted, np.asarray(labels))
    accuracy = result.shipped.accuracy
    assert isinstance(accuracy, Accuracy)  # it has answers
    if replace(counted, top5=accuracy.top5, sqnr_db=accuracy.sqnr_db) != accuracy:
        return "its counts do not match its answers"
    return predicted


def unread(result: Measured) -> list[str]:
    """Return the file names of images that could not be read: the answers do not cover them."""
    return sorted(PurePath(name).name for name in result.skipped)


def log_ratios(result: Measured, comparison: str) -> list[float] | str:
    """Return, for each process, the log of its time's ratio to the comparison's; a sentence if there is no number."""
    unit, ships = yardstick_latency(result), result.shipped.latency
    if comparison == CPU_SPEED:
        return _against_cpu(unit)
    other = unit if comparison == yardstick.NAME else result.latency_of(comparison)
    problem = timing_warnings.untimed([ships, other])
    if ships is None or other is None:
        return f"{comparison}: {problem}" if ships else problem
    return problem or _log_ratios(ships.windows(), other.windows())


def amount_log_ratios(result: Measured, comparison: str, kind: Kind) -> list[float] | str:
    """Return, for each process, the log of the ratio of its energy or throughput to the comparison's."""
    if comparison == CPU_SPEED:
        return "only times are compared with the CPU's speed"
    other = yardstick_latency(result) if comparison == yardstick.NAME else result.latency_of(comparison)
    return amounts.log_ratios(result.shipped.latency, other, kind)


def _against_cpu(unit: Latency | None) -> list[float] | str:
    """Compare the yardstick's times with the CPU's speed in the same windows."""
    problem = timing_warnings.untimed([unit])
    if unit is None or problem:
        return f"yardstick: {problem}"
    if not all(process.cpu_work_ms for process in unit.processes):
        return "the CPU's speed was not measured with the yardstick"
    return _log_ratios(unit.windows(), [[[ms] for ms in process.cpu_work_ms] for process in unit.processes])


def yardstick_latency(result: Measured) -> Latency | None:
    """Return the yardstick's times, if it was timed."""
    return result.yardstick.latency if result.yardstick else None


def timed(result: Measured) -> dict[str, Latency]:
    """Return everything that was timed in turn, the yardstick included."""
    unit = yardstick_latency(result)
    return {**result.timed(), **({yardstick.NAME: unit} if unit else {})}


def conditions(result: Measured) -> dict[str, object]:
    """Return what the machine was, and how it was set, while this was timed: as JSON, without what is unknown."""
    processes = [process for latency in timed(result).values() for process in latency.processes]
    about: dict[str, object] = codec.encode(processes[0].machine) if processes else {}
    return {key: value for key, value in about.items() if key not in _IDENTITY and value not in (None, [], "")}


def packed(predicted: np.ndarray, labels: np.ndarray, count: int) -> str:
    """Pack each answer as its distance from the label, mostly 0: a few hundred bytes for a thousand images."""
    return base64.b64encode(zlib.compress(((predicted - labels) % count).astype("<u2").tobytes(), 9)).decode()


def _log_ratios(times: intervals.Processes, others: intervals.Processes) -> list[float] | str:
    if [len(windows) for windows in times] != [len(windows) for windows in others]:
        return "it and its comparison were not measured in turn: one of them has more windows"
    found = intervals.log_ratios(times, others)
    return found if all(map(math.isfinite, found)) else "its times are not finite numbers"


def _rounded(log: float) -> float:
    return float(f"{math.exp(log):.5g}")
