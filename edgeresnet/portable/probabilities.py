"""How probable a network finds its answers, and what changes of that between the FP32 reference and a variant.

The *top probability* of an image is the softmax of FP32's logits at FP32's own answer. Its *change* is |p - p̂|: p̂ is
what a variant gives the same class. Arrays in, numbers out: knows no result and judges nothing.
"""

from __future__ import annotations

import math
from dataclasses import field
from typing import NamedTuple

import numpy as np

from . import intervals, limits
from .frozen import OMIT, dataclass
from .intervals import Interval

BINS = 15  # of the expected calibration error, equally wide
_PLACES = 6  # decimals of a probability that is stored
_ROWS = 1024  # images at a time: a thousand classes of all images, in double precision, are too much for a device
# By this multiple, half of the images have more of the bias that noise gives a bin's error than all of them have.
_HALVES = 1 / (math.sqrt(2) - 1)


@dataclass(frozen=True)
class Probabilities:
    """How probable a network finds its own answer to each image, and where that is not FP32's, how probable FP32's."""

    own: tuple[float, ...]
    reference: tuple[float, ...] = ()  # only of images with another answer, in their order

    def check_read(self) -> None:
        limits.check_all(self, 0, 1, "own", self.own)
        limits.check_all(self, 0, 1, "reference", self.reference)


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval. `high` is None where too few images bound it."""

    value: float
    low: float
    high: float | None


@dataclass(frozen=True)
class Crossings:
    """How many images are on the other side of a threshold: the decision "top probability ≥ threshold" is another."""

    threshold: float
    images: int
    above: int  # at or above it in FP32
    fell: int  # at or above it in FP32, and below it now
    rose: int

    def check_read(self) -> None:
        limits.check(self, 0, 1, "threshold")
        limits.check(self, 0, limits.MANY, "images")
        limits.check(self, 0, self.images, "above", "fell", "rose")

    @property
    def crossed(self) -> int:
        return self.fell + self.rose

    @property
    def share_pct(self) -> float:
        return 100 * self.crossed / max(self.images, 1)

    def interval_pct(self) -> Interval:
        """Return the 95 % interval of the share of images that cross, in percent."""
        low, high = intervals.wilson(self.crossed, self.images)
        return Interval(100 * low, 100 * high)


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error in FP32 and now, from 0 to 1, and the paired change of it.

    The change is corrected for what few images add to either error, so that it may differ from `now - before`.
    """

    before: float
    now: float
    change: Estimate
    bins: int = BINS

    def check_read(self) -> None:
        limits.check(self, 0, 1, "before", "now")


@dataclass(frozen=True)
class Confidence:
    """What changed of a variant's probabilities compared with the FP32 reference, on the same images."""

    mean_change: Estimate
    p99_change: Estimate
    crossings: Crossings | None = field(default=None, metadata=OMIT)  # where the recipe has `verify.threshold`
    calibration: Calibration | None = field(default=None, metadata=OMIT)  # where the images have labels


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probability of each class, in double precision. Rows are images; one image may stand alone."""
    found = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(found / found.sum(axis=-1, keepdims=True))


def are_probabilities(answers: np.ndarray) -> bool:
    """Return whether a network ends in a softmax of its own: no answer is below 0, and those to each image sum to 1."""
    if not answers.size or answers.min() < 0:
        return False
    return bool(np.abs(answers.sum(axis=1, dtype=np.float64) - 1).max() < 1e-3)


def of_reference(expected: np.ndarray) -> tuple[float, ...]:
    """Return how probable the reference finds its own answers, from its logits."""
    return _rounded(_at(expected, expected.argmax(1), soft=not are_probabilities(expected)))


def of(expected: np.ndarray, given: np.ndarray) -> Probabilities:
    """Return a variant's probabilities, from the reference's logits and its own."""
    soft, before, now = not are_probabilities(expected), expected.argmax(1), given.argmax(1)
    changed = before != now
    own, others = _at(given, now, soft=soft), _at(given[changed], before[changed], soft=soft)
    return Probabilities(_rounded(own), _rounded(others))


def _at(logits: np.ndarray, classes: np.ndarray, *, soft: bool) -> np.ndarray:
    """Return the probability of one class of each image."""
    found = np.empty(len(logits))
    for start in range(0, len(logits), _ROWS):
        rows = logits[start : start + _ROWS]
        rows = softmax(rows) if soft else rows.astype(np.float64)
        found[start : start + _ROWS] = np.take_along_axis(rows, classes[start : start + _ROWS, None], axis=1)[:, 0]
    return np.clip(found, 0.0, 1.0)


def _rounded(found: np.ndarray) -> tuple[float, ...]:
    return tuple(np.round(found, _PLACES).tolist())


def changes(before: np.ndarray, given: Probabilities, changed: np.ndarray) -> np.ndarray:
    """Return |p - p̂| of each image. `before` is p, `changed` whether the image has another answer now."""
    now = np.array(given.own)
    now[changed] = given.reference
    return np.abs(before - now)


def mean_and_p99(found: np.ndarray) -> tuple[Estimate, Estimate]:
    """Return the mean of changes and their 99th percentile, with their intervals."""
    mean, tail = intervals.unit_mean(found), intervals.quantile_interval(found.tolist(), 0.99)
    p99 = float(np.quantile(found, 0.99))
    high = max(p99, tail.high) if math.isfinite(tail.high) else None
    return Estimate(float(found.mean()), *mean), Estimate(p99, min(p99, tail.low), high)


def crossings(threshold: float, before: np.ndarray, now: np.ndarray) -> Crossings:
    """Compare each image's side of a threshold: each network's probability of its own answer decides."""
    was, stays = before >= threshold, now >= threshold
    return Crossings(threshold, len(was), int(was.sum()), int((was & ~stays).sum()), int((~was & stays).sum()))


def calibration(
    before: np.ndarray, was_correct: np.ndarray, now: np.ndarray, is_correct: np.ndarray
) -> Calibration | None:
    """Compare the expected calibration errors; None for fewer than two images.

    Of each bin it is |mean probability - share of correct answers|, weighted by the bin's images. Noise makes that too
    large, most of all where a network is well calibrated. So each bin is corrected by what halves of the images show,
    and the interval of the difference is a jackknife of that: paired, and without chance in it.
    """
    if len(before) < 2:
        return None
    one, other = _bins(before, was_correct), _bins(now, is_correct)
    apart = other.influence - one.influence
    value = other.corrected - one.corrected
    reach = intervals.Z95 * float(apart.std(ddof=1)) / math.sqrt(len(apart))
    change = Estimate(value, max(-1.0, value - reach), min(1.0, value + reach))
    return Calibration(one.error, other.error, change)


class _Bins(NamedTuple):
    """The bins of one network: its error, that without the bias of noise, and each image's part in the latter."""

    error: float
    corrected: float
    influence: np.ndarray


def _bins(probable: np.ndarray, correct: np.ndarray) -> _Bins:
    where = np.clip(np.ceil(probable * BINS).astype(np.int64) - 1, 0, BINS - 1)
    apart, images = probable - correct, len(probable)
    mean = np.bincount(where, apart, BINS) / images
    square = np.bincount(where, apart**2, BINS) / images
    noise = np.maximum(np.sqrt(np.maximum(square - mean**2, 0) / images), 1e-12)
    inside = np.array([math.erf(each / math.sqrt(2)) for each in mean / noise])
    folded = noise * math.sqrt(2 / math.pi) * np.exp(-((mean / noise) ** 2) / 2) + mean * inside  # of a normal value
    sign = np.where(mean >= 0, 1.0, -1.0)
    corrected = np.abs(mean) - _HALVES * (folded - np.abs(mean))
    slope = sign - _HALVES * (inside - sign)
    return _Bins(float(np.abs(mean).sum()), float(corrected.sum()), slope[where] * apart)
