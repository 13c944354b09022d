"""Intervals over images of mAP, and of what is lost of it: how much each image matters to the precision of a class.

Average precision is a sum over the objects that were found: for each, the best precision at its recall or any higher
one. So its derivative by the weight of an image is known (the infinitesimal jackknife), and no image has to be left
out. Recall is not rounded to hundredths here: an image would seem to matter by chance.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from ..intervals import Interval
from .average_precision import THRESHOLDS, Matches
from .resampling import LEAST, Estimate, Spread, spread_of

_ALONE = 0.5  # how far a class may be from what its only image shows
_BIAS = 0.25  # of a class's standard error: so much too high is its average precision, by simulation


class Measure:
    """Of some classes: the mean average precision of one network, and how much each image matters to it."""

    def __init__(self, value: float, images: int, matches: Sequence[Matches]) -> None:
        self.value = value
        nothing = np.zeros((images, 0))
        self.objects = np.column_stack([nothing, *(each.objects for each in matches)])  # images × classes
        few = nothing.astype(np.uint16)
        self.hits = np.column_stack([few, *map(_hits, matches)])  # images × classes and thresholds
        self.without = np.column_stack([nothing, *map(without_each, matches)])  # images × classes


class PrecisionDrop(Estimate):
    """The mAP before minus that of now, or the same of one class."""

    ends = Interval(-1.0, 1.0)
    further = 2.0

    def __init__(self, before: Measure, now: Measure) -> None:
        self.before, self.now = before, now
        self.images = int((now.objects > 0).any(axis=1).sum())
        self.value = before.value - now.value

    @functools.cached_property
    def spread(self) -> Spread:
        """How much single images matter. A class of one image is compared with the other classes."""
        return spread_of(_mean(self._without), self.images)

    @functools.cached_property
    def differing(self) -> Interval:
        """How many images show how much lower the value may be, and how much higher: those with other finds."""
        changed = float((self.before.hits != self.now.hits).any(axis=1).sum())
        return Interval(changed, changed)

    def unseen(self, differing: float, z: float, times: float) -> float:
        """Return how much images of a kind that is not among these may lose, or win: such of all classes, or of each.

        A class that is in few images says the less about itself, and is as large a part of the mean as any other.
        """
        return max(super().unseen(differing, z, times), self._unseen_of_classes(z, times))

    @property
    def _without(self) -> np.ndarray:
        return self.before.without - self.now.without

    @functools.cached_property
    def _of_classes(self) -> list[tuple[int, Spread | None]]:
        """Of each class how many images have it, and how much single ones matter; None: a single image has it."""
        images = (self.now.objects > 0).sum(axis=0).tolist()
        pairs = zip(images, self._without.T, strict=True)
        return [(count, spread_of(each[~np.isnan(each)], count) if count > 1 else None) for count, each in pairs]

    def _unseen_of_classes(self, z: float, times: float) -> float:
        each = [
            min(1.0, z**2 / 2 / images / times * max(found.largest, LEAST)) if found else min(_ALONE, z**2 / 2 / times)
            for images, found in self._of_classes
        ]
        return math.hypot(*each) / max(len(each), 1)


class PrecisionLevel(PrecisionDrop):
    """The mAP of one network by itself, or the average precision of one class."""

    ends = Interval(0.0, 1.0)

    def __init__(self, now: Measure) -> None:
        super().__init__(now, now)
        self.value = now.value

    @functools.cached_property
    def differing(self) -> Interval:
        """How many images have less than all finds, and how many have any."""
        wanted = np.repeat(self.now.objects, len(THRESHOLDS), axis=1)
        less, more = (self.now.hits < wanted).any(axis=1), (self.now.hits > 0).any(axis=1)
        return Interval(float(less.sum()), float(more.sum()))

    @functools.cached_property
    def bias(self) -> float:  # type: ignore[override]
        """By how much the value is too high: the best precision is taken, and of few objects some is high by chance."""
        each = [found.error if found else _ALONE for _, found in self._of_classes]
        return _BIAS * sum(each) / max(len(each), 1)

    @property
    def _without(self) -> np.ndarray:
        return self.now.without


def without_each(found: Matches) -> np.ndarray:
    """Return the average precision of a class without each image; nan: the image has all its objects."""
    objects = found.objects.astype(np.float64)
    total = objects.sum()
    whole, influence = 0.0, np.zeros(len(objects))
    for correct, ignored in zip(found.correct, found.ignored, strict=True):
        area, each = _influence(found.image, correct & ~ignored, ~ignored, objects)
        whole, influence = whole + area / len(THRESHOLDS), influence + each / len(THRESHOLDS)
    left = total - objects
    return whole - np.divide(influence * total, left, out=np.full(len(objects), np.nan), where=left > 0)


def _influence(
    image: np.ndarray, hit: np.ndarray, counted: np.ndarray, objects: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the average precision at one threshold, and its derivative by the weight of each image."""
    places = np.flatnonzero(hit)
    if not len(places):
        return 0.0, np.zeros(len(objects))
    total, last = objects.sum(), places[-1] + 1
    precision = np.arange(1, len(places) + 1) / np.cumsum(counted)[places]
    best = np.maximum.accumulate(precision[::-1])[::-1]
    area = float(best.sum() / total)
    reached = np.where(precision == best, np.arange(len(places)), len(places))
    reached = np.minimum.accumulate(reached[::-1])[::-1]  # where the best precision of each object is
    share = np.bincount(reached, minlength=len(places)) / total / np.cumsum(counted)[places]
    gain, cost = (np.cumsum(each[::-1])[::-1] for each in (share, share * precision))
    following = np.searchsorted(places, np.arange(last))  # of each box: the next object that is found
    each = hit[:last] * gain[following] - counted[:last] * cost[following]
    each[places] += best / total
    found = np.bincount(image[:last], weights=each, minlength=len(objects))
    return area, np.asarray(found - area * objects / total)


def _hits(found: Matches) -> np.ndarray:
    """Return how many objects are found in each image (rows) at each threshold."""
    rows = found.correct & ~found.ignored
    counts = [np.bincount(found.image[row], minlength=len(found.objects)) for row in rows]
    return np.stack(counts, axis=1).astype(np.uint16)


def _mean(without: np.ndarray) -> np.ndarray:
    """Return the means over classes without each image. If no class is left without an image, it has no mean."""
    known = ~np.isnan(without)
    sums, classes = np.where(known, without, 0.0).sum(axis=1), known.sum(axis=1)
    return np.asarray(sums[classes > 0] / classes[classes > 0])
