"""How well masks overlap: IoU, mIoU and pixel accuracy, image by image and class by class, and what they can show.

The IoU of a class is its intersection over its union, both summed over all images. *mIoU* is the mean over classes;
classes that occur neither in labels nor in answers are left out. Ignored pixels count nowhere. Intervals are over
images, since the pixels of one image are alike; `resampling` makes them. Judges nothing.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np

from .. import limits
from ..codec import CodecError
from ..frozen import dataclass
from ..intervals import Z95, Interval
from . import resampling
from .agreement import Agreement
from .masks import IGNORED, Packed
from .resampling import Drop, Level, Ratios, finest

__all__ = [
    "IGNORED",
    "Drop",
    "Overlaps",
    "Packed",
    "agreement",
    "class_drop_interval",
    "class_interval",
    "drop",
    "drop_interval",
    "finest",
    "miou_interval",
    "overlaps",
    "paired",
]


class Counts(NamedTuple):
    """Pixels, image by image (rows) and class by class (columns)."""

    both: np.ndarray  # labelled so, and answered so: the intersection
    answered: np.ndarray
    labelled: np.ndarray

    @property
    def union(self) -> np.ndarray:
        return self.answered + self.labelled - self.both


@dataclass(frozen=True)
class Overlaps:
    """Pixels of each class in each image, where the class occurs there: one entry of each list for such a pair.

    Entries are in order of images, then of classes. Images without an entry have no pixel with a label.
    """

    images: int
    classes: int
    image: tuple[int, ...]
    number: tuple[int, ...]  # of the class
    both: tuple[int, ...]  # pixels labelled so, and answered so
    answered: tuple[int, ...]
    labelled: tuple[int, ...]

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "images")
        limits.check(self, 0, IGNORED, "classes")
        count = len(self.image)
        for name in ("number", "both", "answered", "labelled"):
            if len(getattr(self, name)) != count:
                raise CodecError(name, f"has {len(getattr(self, name))} entries, not {count}")
            limits.check_all(self, 0, limits.MANY, name, getattr(self, name))
        limits.check_all(self, 0, self.images - 1, "image", self.image)
        limits.check_all(self, 0, self.classes - 1, "number", self.number)
        places = list(zip(self.image, self.number, strict=True))
        if any(one >= other for one, other in itertools.pairwise(places)):
            raise CodecError("image", "has entries out of order, or a class of an image twice")
        if any(both > min(sides) for both, *sides in zip(self.both, self.answered, self.labelled, strict=True)):
            raise CodecError("both", "has more pixels than were answered or labelled")

    @functools.cached_property
    def counts(self) -> Counts:
        """The pixels as arrays of images and classes."""
        found = np.zeros((3, self.images, self.classes))
        for table, values in zip(found, (self.both, self.answered, self.labelled), strict=True):
            table[list(self.image), list(self.number)] = values
        return Counts(*found)

    @functools.cached_property
    def ratios(self) -> Ratios:
        """The intersections and unions."""
        return Ratios(self.counts.both, self.counts.union)

    def iou(self) -> np.ndarray:
        """Return the IoU of each class; nan: it occurs neither in labels nor in answers."""
        return resampling.ratio(self.counts.both.sum(0), self.counts.union.sum(0), np.nan)

    @property
    def miou(self) -> float:
        """The mean IoU of classes that occur in labels or answers; nan: no pixel has a label."""
        return resampling.mean_ratio(self.counts.both.sum(0), self.counts.union.sum(0))

    @property
    def score(self) -> float:
        """The metric, by the name that all tasks have."""
        return self.miou

    def has_labels_of(self, other: Overlaps) -> bool:
        """Return whether both are of the same images and labels, as far as pixels of classes show it."""
        same = np.array_equal(self.counts.labelled, other.counts.labelled)
        return (self.images, self.classes) == (other.images, other.classes) and same

    @property
    def pixel_accuracy(self) -> float:
        """The share of pixels with a label that are answered correctly; nan: no pixel has one."""
        pixels = float(self.counts.labelled.sum())
        return float(self.counts.both.sum()) / pixels if pixels else float("nan")

    def miou_of_images(self) -> np.ndarray:
        """Return the mIoU of each image by itself; nan: no pixel of it has a label."""
        each = resampling.ratio(self.counts.both, self.counts.union, np.nan)
        occurs = ~np.isnan(each)
        return resampling.ratio(np.where(occurs, each, 0.0).sum(1), occurs.sum(1), np.nan)


def overlaps(labels: Packed, given: Packed, classes: int) -> Overlaps:
    """Return how answers overlap with labels; raise ValueError where sizes differ or a number is not of a class."""
    if len(labels) != len(given):
        raise ValueError(f"{len(given)} masks were answered for {len(labels)} labels")
    rows = []
    for index, (label, answer) in enumerate(zip(labels, given, strict=True)):
        _check_shapes(index, label, answer)
        known = label != IGNORED
        label, answer = label[known], answer[known]
        for called, mask in (("a label", label), ("an answer", answer)):
            if mask.size and int(mask.max()) >= classes:
                raise ValueError(f"image {index}: {called} is class {int(mask.max())} of {classes} classes")
        sides = (label[label == answer], answer, label)
        both, answered, labelled = (np.bincount(side, minlength=classes) for side in sides)
        there = np.flatnonzero(answered + labelled)
        rows.append(np.stack([np.full(len(there), index), there, both[there], answered[there], labelled[there]]))
    found = np.concatenate(rows, axis=1) if rows else np.zeros((5, 0), np.int64)
    return Overlaps(len(labels), classes, *(tuple(row.tolist()) for row in found))


def agreement(reference: Packed, given: Packed) -> Agreement:
    """Return in how many pixels answers are the reference's; raise ValueError where sizes differ."""
    if len(reference) != len(given):
        raise ValueError(f"{len(given)} masks were answered for {len(reference)} of the reference")
    agree, pixels = [], []
    for index, (before, now) in enumerate(zip(reference, given, strict=True)):
        _check_shapes(index, before, now)
        agree.append(int((before == now).sum()))
        pixels.append(int(before.size))
    return Agreement(tuple(agree), tuple(pixels))


def paired(before: Overlaps, now: Overlaps, number: int | None = None) -> Drop:
    """Return how much mIoU was lost, with its interval over images, or the IoU of one class.

    It is over the classes that occur in labels or in answers of either. A class that only one of two networks answers,
    and that no label has, counts for both, with an IoU of 0. So a few pixels of a class that is not there do not cost
    a class's part of the mean.
    """
    if (before.images, before.classes) != (now.images, now.classes):
        raise ValueError("two networks are compared by the same images and classes")
    return _paired(before, now, number)


def drop(before: Overlaps, now: Overlaps) -> float:
    """Return how much mIoU was lost; nan: no pixel has a label."""
    return paired(before, now).value


def drop_interval(before: Overlaps, now: Overlaps, z: float = Z95, times: float = 1.0) -> Interval:
    """Return the interval of the mIoU lost, paired over images; `times` as many images give its multiple."""
    return paired(before, now).interval(z, times)


def miou_interval(now: Overlaps, z: float = Z95, times: float = 1.0) -> Interval:
    """Return the interval of the mIoU."""
    return _level(now, None).interval(z, times)


def class_interval(now: Overlaps, number: int, z: float = Z95, times: float = 1.0) -> Interval:
    """Return the interval of the IoU of one class, from the images in which it occurs."""
    return _level(now, number).interval(z, times)


def class_drop_interval(before: Overlaps, now: Overlaps, number: int, z: float = Z95, times: float = 1.0) -> Interval:
    """Return the interval of the IoU that one class lost."""
    return paired(before, now, number).interval(z, times)


@functools.lru_cache(maxsize=64)  # a verdict asks for the interval of many multiples of the images
def _paired(before: Overlaps, now: Overlaps, number: int | None) -> Drop:
    return Drop(*(each.ratios if number is None else each.ratios.of_column(number) for each in (before, now)))


@functools.lru_cache(maxsize=64)
def _level(now: Overlaps, number: int | None) -> Level:
    return Level(now.ratios if number is None else now.ratios.of_column(number))


def _check_shapes(index: int, one: np.ndarray, other: np.ndarray) -> None:
    if one.shape != other.shape:
        raise ValueError(f"image {index}: masks of {one.shape} and {other.shape} pixels")
