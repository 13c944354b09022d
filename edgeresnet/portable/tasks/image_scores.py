"""Accuracies of which each image has a score of its own, before and now: masks and boxes are read by the same names.

What an accuracy was counted from is its task's; `Statistics` computes scores, drops and intervals of that.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np

from ..codec import CodecError
from ..frozen import dataclass
from ..intervals import Z95, Interval
from .agreement import Agreement

Counted: TypeAlias = Any  # what is counted of the answers to all images with labels; each task has its own type


class ScoreName(NamedTuple):
    """What a task's metric is called: in tables, in capitals, and in documents."""

    short: str
    title: str
    key: str


class Statistics(NamedTuple):
    """What is computed of counts next to their `score`, as parts of one. Intervals take z and times."""

    interval: Callable[[Counted, float, float], Interval]
    drop: Callable[[Counted, Counted], float]
    drop_interval: Callable[[Counted, Counted, float, float], Interval]
    of_images: Callable[[Counted], np.ndarray]  # nan: nothing in the image has a label


class ClassStatistics(NamedTuple):
    """The same of one class, by its number."""

    images: Callable[[Counted, int], int]  # which have it in their labels
    score: Callable[[Counted, int], float]
    interval: Callable[[Counted, int, float, float], Interval]
    drop_interval: Callable[[Counted, Counted, int, float, float], Interval]


class ImageScores:
    """What is read of an accuracy. Scores, drops and their intervals need labels."""

    agreement: Agreement
    before: Counted  # the reference's; None: no labels
    now: Counted
    statistics: ClassVar[Statistics]

    def check_pair(self) -> None:
        """Raise CodecError for counts of one network alone, or of other images or classes."""
        if (self.before is None) != (self.now is None):
            raise CodecError("", "has counts of one network, and not of both")
        for name, found in (("before", self.before), ("now", self.now)):
            if found is not None and found.images != self.images:
                raise CodecError(name, f"is of {found.images} images, not of {self.images}")
        if self.now is not None and self.before.classes != self.now.classes:
            raise CodecError("now", "is of other classes than before")

    def compared_with(self, before: Counted) -> ImageScores:
        """Return the same answers, compared with others than the reference's."""
        found: ImageScores = dataclasses.replace(self, before=before)  # type: ignore[type-var]  # all are dataclasses
        return found

    def has_labels_of(self, counts: Counted) -> bool:
        """Return whether counts are of the same labels."""
        now: Counted = self.now
        return bool(now.has_labels_of(counts))

    @property
    def images(self) -> int:
        return self.agreement.images

    @property
    def agree_pct(self) -> float:
        return 100 * self.agreement.share

    @property
    def uncompared(self) -> str:
        """Why no part of an answer is compared with the reference's; empty where some are."""
        return ""

    @property
    def flips_pct(self) -> float:
        return 100 - self.agree_pct

    @property
    def score_pct(self) -> float:
        return 100 * self.now.score

    @property
    def before_pct(self) -> float:
        """The reference's score in percent."""
        return 100 * self.before.score

    @property
    def drop_pp(self) -> float:
        """Points lost against the reference."""
        return 100 * self.statistics.drop(self.before, self.now)

    @property
    def lost(self) -> int:
        """How many images have a lower score than before."""
        return int((self._gains < 0).sum())

    @property
    def won(self) -> int:
        """How many images have a higher score than before."""
        return int((self._gains > 0).sum())

    @property
    def has_labels(self) -> bool:
        raise NotImplementedError

    @property
    def has_image_scores(self) -> bool:
        """Whether an image is a score by itself, and can lose a part of it."""
        return True

    def changed_images(self) -> list[tuple[int, float]]:
        """Return the images with other answers than the reference's, and the points that each of them lost.

        Without labels, each part that changed counts as lost.
        """
        changed = self.agreement.changed()
        lost = -self._gains if self.has_labels else changed
        return [(int(number), 100 * float(lost[number])) for number in np.flatnonzero(changed > 0)]

    def of_image(self, number: int) -> tuple[float, float]:
        """Return the score of one image before and now, in percent."""
        before, now = self._of_images
        return float(before[number]), float(now[number])

    @functools.cached_property
    def _of_images(self) -> tuple[np.ndarray, np.ndarray]:
        before, now = (100 * np.nan_to_num(self.statistics.of_images(each)) for each in (self.before, self.now))
        return before, now

    @functools.cached_property
    def _gains(self) -> np.ndarray:
        before, now = self._of_images
        return np.asarray((now - before) / 100)

    def drop_interval_pp(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the drop, paired over images, in points.

        `times` as many images like these give its multiple.
        """
        return _percent(self.statistics.drop_interval(self.before, self.now, z, times))

    def score_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the score, in percent."""
        return _percent(self.statistics.interval(self.now, z, times))

    def before_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the reference's score, in percent."""
        return _percent(self.statistics.interval(self.before, z, times))

    def independent_drop_pp(self, now: Any) -> Interval:
        """Return the interval of the points lost to answers to other images."""
        one, other = self.score_interval_pct(), now.score_interval_pct()
        lost = self.score_pct - now.score_pct
        low = lost - math.hypot(self.score_pct - one.low, other.high - now.score_pct)
        return Interval(low, lost + math.hypot(one.high - self.score_pct, now.score_pct - other.low))

    def flips_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the parts of answers that are not the reference's, in percent."""
        low, high = _percent(self.agreement.interval(z, times))
        return Interval(100 - high, 100 - low)


@dataclass(frozen=True)
class ClassScores:
    """One class: its score in percent before and now, and the images that have it in their labels."""

    before: Counted
    now: Counted
    number: int
    statistics: ClassStatistics

    @property
    def images(self) -> int:
        return self.statistics.images(self.now, self.number)

    @property
    def before_pct(self) -> float:
        return self._score(self.before)

    @property
    def score_pct(self) -> float:
        return self._score(self.now)

    @property
    def drop_pp(self) -> float:
        return self.before_pct - self.score_pct

    def before_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the reference's score, in percent."""
        return _percent(self.statistics.interval(self.before, self.number, z, times))

    def score_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the score, in percent."""
        return _percent(self.statistics.interval(self.now, self.number, z, times))

    def drop_interval_pp(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the points lost, paired over images."""
        return _percent(self.statistics.drop_interval(self.before, self.now, self.number, z, times))

    def _score(self, found: Counted) -> float:
        value = self.statistics.score(found, self.number)
        return 0.0 if math.isnan(value) else 100 * value


def _percent(interval: Interval) -> Interval:
    return Interval(100 * interval.low, 100 * interval.high)
