"""How good boxes are: mAP, AP50 and what is lost of them, and what some images can show of it.

Boxes of each image are matched with its objects once, as pycocotools does it. What is stored is which boxes are
objects, and their order: all numbers follow from that. A class that occurs in no label is left out. Intervals are over
images; `precision_spread` makes them. Judges nothing.
"""

from __future__ import annotations

import functools
from itertools import starmap
from typing import Literal, NamedTuple

import numpy as np

from .. import limits
from ..codec import CodecError
from ..frozen import dataclass
from ..intervals import Z95, Interval
from . import image_precision
from .agreement import Agreement
from .average_precision import (
    MOST,
    THRESHOLDS,
    AveragePrecision,
    Detected,
    Matches,
    average_precision,
    iou,
    matched_boxes,
)
from .columns import packed, unpacked
from .objects import Found, Objects
from .precision_spread import Measure, PrecisionDrop, PrecisionLevel
from .resampling import finest

__all__ = [
    "Matched",
    "agreement",
    "class_drop_interval",
    "class_interval",
    "drop",
    "drop_interval",
    "finest",
    "map_interval",
    "matches",
]

SURE = 0.5  # score from which a box counts as an answer, where networks are compared
_SAME = 0.5  # IoU from which two boxes are the same answer
_IMAGES = 1 << 24  # at most
_CLASSES = 1 << 16  # at most
_BITS = 1 << np.arange(len(THRESHOLDS))  # one for each threshold


class Boxes(NamedTuple):
    """Boxes of all images: by class, the most probable first. Those after the last object of a class are left out."""

    image: np.ndarray
    number: np.ndarray  # of the class
    correct: np.ndarray  # a bit for each threshold
    ignored: np.ndarray


class Counts(NamedTuple):
    """How many objects of a class an image has, where it has any: by image, then by class."""

    image: np.ndarray
    number: np.ndarray
    objects: np.ndarray


@dataclass(frozen=True)
class Matched:
    """Which of the boxes found in some images are objects of their labels. Columns are compressed, as text."""

    images: int
    classes: int
    found: str  # columns of Boxes
    labelled: str  # columns of Counts
    task: Literal["detection"] = "detection"

    def check_read(self) -> None:
        limits.check(self, 0, _IMAGES, "images")
        limits.check(self, 0, _CLASSES, "classes")
        for name in ("labelled", "found"):
            try:
                _check_counts(self) if name == "labelled" else _check_boxes(self)
            except ValueError as error:
                raise CodecError(name, str(error)) from None

    @functools.cached_property
    def boxes(self) -> Boxes:
        """Return the boxes that were found."""
        return Boxes(*unpacked(self.found, len(Boxes._fields)))

    @functools.cached_property
    def counts(self) -> Counts:
        """Return the objects of labels."""
        return Counts(*unpacked(self.labelled, len(Counts._fields)))

    @functools.cached_property
    def objects(self) -> np.ndarray:
        """Return how many objects of each class there are."""
        return np.bincount(self.counts.number, self.counts.objects, self.classes).astype(np.int64)

    @functools.cached_property
    def images_of_classes(self) -> np.ndarray:
        """Return how many images have an object of each class."""
        return np.bincount(self.counts.number, minlength=self.classes)

    @functools.cached_property
    def precision(self) -> AveragePrecision:
        """The average precision of each class at each threshold; nan: no label has the class."""
        each = np.full((self.classes, len(THRESHOLDS)), np.nan)
        for number in np.flatnonzero(self.objects).tolist():
            each[number] = average_precision([self.of_class(number)]).each[0]
        return AveragePrecision(each)

    @property
    def of_classes(self) -> np.ndarray:
        """The AP@[.5:.95] of each class; nan: no label has the class."""
        return self.precision.of_classes

    @property
    def map(self) -> float:
        """The mAP@[.5:.95]; nan: no image has an object."""
        return self.precision.mean

    @property
    def ap50(self) -> float:
        """The mean AP50; nan: no image has an object."""
        return self.precision.at_half

    @property
    def score(self) -> float:
        """The metric, by the name that all tasks have."""
        return self.map

    def has_labels_of(self, other: Matched) -> bool:
        """Return whether both are of the same images and objects. Equal columns may be compressed to other texts."""
        same = zip(self.counts, other.counts, strict=True)
        return (self.images, self.classes) == (other.images, other.classes) and all(starmap(np.array_equal, same))

    def is_like(self, other: Matched) -> bool:
        """Return whether both have the same boxes and objects."""
        same = zip(self.boxes, other.boxes, strict=True)
        return self.has_labels_of(other) and all(starmap(np.array_equal, same))

    def map_of_images(self) -> np.ndarray:
        """Return the mAP of each image by itself, over the classes that its labels have; nan: it has no object."""
        return self._map_of_images

    def of_class(self, number: int) -> Matches:
        """Return the matches of one class."""
        first, end = np.searchsorted(self.boxes.number, [number, number + 1]).tolist()
        there = self.counts.number == number
        objects = np.bincount(self.counts.image[there], self.counts.objects[there], self.images).astype(np.int64)
        return _matches(self.boxes, slice(first, end), objects)

    @functools.cached_property
    def _map_of_images(self) -> np.ndarray:
        boxes, counts = self.boxes, self.counts
        keys = counts.image * self.classes + counts.number
        wanted = boxes.image * self.classes + boxes.number
        group = np.searchsorted(keys, wanted)
        there = np.flatnonzero(np.isin(wanted, keys))
        order = there[np.argsort(group[there], kind="stable")]
        correct, ignored = ((each[order] & _BITS[:, None]) > 0 for each in (boxes.correct, boxes.ignored))
        sums = np.bincount(
            counts.image, image_precision.of_groups(group[order], correct, ignored, counts.objects), self.images
        )
        classes = np.bincount(counts.image, minlength=self.images)
        return np.divide(sums, classes, out=np.full(self.images, np.nan), where=classes > 0)


def matches(labels: Objects, found: Found, classes: int) -> Matched:
    """Return which boxes are objects; raise ValueError for other images, or a number that is not of a class."""
    if len(labels) != len(found):
        raise ValueError(f"boxes were found for {len(found)} images, and {len(labels)} have labels")
    for called, numbers in (("an object", labels.numbers), ("a box", found.numbers)):
        if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < classes:
            wrong = int(numbers.max()) if int(numbers.max()) >= classes else int(numbers.min())
            raise ValueError(f"{called} is of class {wrong}, and there are {classes} classes")
    there = _images_of(labels.counts) * classes + labels.numbers
    keys, objects = np.unique(there[~labels.crowd.astype(bool)], return_counts=True)
    counts = Counts(keys // classes, keys % classes, objects)
    boxes = _boxes(labels, found, classes, np.unique(counts.number))
    return Matched(len(labels), classes, packed(*boxes), packed(*counts))


def agreement(before: Found, now: Found) -> Agreement:
    """Return how many of the probable boxes both networks found, image by image; raise ValueError for other images.

    Boxes of a class whose IoU is at least a half are the same, each at most once: those first that overlap most. Boxes
    without area, which lie outside of their image, are none.
    """
    if len(before) != len(now):
        raise ValueError(f"boxes were found for {len(now)} images, and by the reference for {len(before)}")
    pairs = [_agreeing(*each) for each in zip(before, now, strict=True)]
    return Agreement(tuple(agree for agree, _ in pairs), tuple(boxes for _, boxes in pairs))


def drop(before: Matched, now: Matched) -> float:
    """Return how much mAP was lost; nan: no image has an object."""
    return before.map - now.map


def drop_interval(before: Matched, now: Matched, z: float = Z95, times: float = 1.0) -> Interval:
    """Return the interval of the mAP lost, paired over images; `times` as many images give its multiple."""
    return _paired(before, now, None).interval(z, times)


def map_interval(now: Matched, z: float = Z95, times: float = 1.0) -> Interval:
    """Return the interval of the mAP."""
    return _level(now, None).interval(z, times)


def class_interval(now: Matched, number: int, z: float = Z95, times: float = 1.0) -> Interval:
    """Return the interval of the average precision of one class."""
    return _level(now, number).interval(z, times)


def class_drop_interval(before: Matched, now: Matched, number: int, z: float = Z95, times: float = 1.0) -> Interval:
    """Return the interval of the average precision that one class lost."""
    return _paired(before, now, number).interval(z, times)


@functools.lru_cache(maxsize=64)  # a verdict asks for the interval of many multiples of the images
def _paired(before: Matched, now: Matched, number: int | None) -> PrecisionDrop:
    if not before.has_labels_of(now):
        raise ValueError("two networks are compared by the same labels")
    return PrecisionDrop(_measure(before, number), _measure(now, number))


@functools.lru_cache(maxsize=64)
def _level(now: Matched, number: int | None) -> PrecisionLevel:
    return PrecisionLevel(_measure(now, number))


@functools.lru_cache(maxsize=16)
def _measure(found: Matched, number: int | None) -> Measure:
    numbers = np.flatnonzero(found.objects).tolist() if number is None else [number]
    value = found.map if number is None else float(found.of_classes[number])
    return Measure(value, found.images, [found.of_class(each) for each in numbers])


def _matches(boxes: Boxes, part: np.ndarray | slice, objects: np.ndarray) -> Matches:
    """Return some boxes of a class as matches. They are in order, so that scores only need to fall."""
    correct, ignored = ((each[part] & _BITS[:, None]) > 0 for each in (boxes.correct, boxes.ignored))
    image = boxes.image[part]
    return Matches(image, -np.arange(len(image), dtype=np.float64), correct, ignored, objects)


def _images_of(counts: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


def _places(keys: np.ndarray) -> dict[int, np.ndarray]:
    """Return where each key is, in order."""
    order = np.argsort(keys, kind="stable")
    found, first = np.unique(keys[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, first[1:]), strict=True)) if len(keys) else {}


def _boxes(labels: Objects, found: Found, classes: int, numbers: np.ndarray) -> Boxes:
    """Return the boxes of these classes, at most `MOST` of a class in an image, and which of them are objects."""
    keys = _images_of(found.counts) * classes + found.numbers
    order = np.lexsort((-found.scores, keys))
    first = np.flatnonzero(np.diff(keys[order], prepend=-1))
    ranks = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    order = order[(ranks < MOST) & np.isin(found.numbers[order], numbers)]
    keys, boxes = keys[order], found.boxes[order]
    correct, ignored = np.zeros((2, len(order)), np.int64)
    objects = _places(_images_of(labels.counts) * classes + labels.numbers)
    for key, part in _places(keys).items():
        if (there := objects.get(key)) is not None:
            one, other = matched_boxes(boxes[part], labels.boxes[there], labels.crowd[there].astype(bool))
            correct[part], ignored[part] = _BITS @ one, _BITS @ other
    ordered = np.lexsort((-found.scores[order], found.numbers[order]))
    all_boxes = Boxes(keys // classes, keys % classes, correct, ignored)
    return _to_last_object(Boxes(*(each[ordered] for each in all_boxes)))


def _to_last_object(boxes: Boxes) -> Boxes:
    """Return the boxes without those of each class after its last object: precision is read at no lower score."""
    found = np.flatnonzero(boxes.correct)
    ends = np.full(int(boxes.number.max(initial=0)) + 1, -1)
    np.maximum.at(ends, boxes.number[found], found)
    left = np.arange(len(boxes.number)) <= ends[boxes.number]
    return Boxes(*(each[left] for each in boxes))


def _agreeing(before: Detected, now: Detected) -> tuple[int, int]:
    """Return how many boxes of an image both have, and how many any has."""
    one, other = ([column[_probable(each)] for column in each] for each in (before, now))
    if not len(one[0]) or not len(other[0]):
        return 0, len(one[0]) + len(other[0])
    overlap = iou(one[0], other[0], np.zeros(len(other[0]), bool))
    overlap = np.where(one[1][:, None] == other[1], overlap, 0.0)
    free, pairs = [np.ones(side, bool) for side in overlap.shape], 0
    for place in np.argsort(-overlap, axis=None, kind="stable").tolist():
        row, column = divmod(place, overlap.shape[1])
        if overlap[row, column] < _SAME:
            break
        if free[0][row] and free[1][column]:
            free[0][row] = free[1][column] = False
            pairs += 1
    return pairs, len(one[0]) + len(other[0]) - pairs


def _probable(found: Detected) -> np.ndarray:
    return np.asarray((found.scores >= SURE) & (found.boxes[:, 2:] > 0).all(1))


def _check_counts(matched: Matched) -> None:
    """Raise ValueError where objects of labels cannot be."""
    counts = matched.counts
    _check_places(matched, counts.image, counts.number)
    if (np.diff(counts.image * matched.classes + counts.number) <= 0).any():
        raise ValueError("has entries out of order, or a class of an image twice")
    if (counts.objects < 1).any():
        raise ValueError("has an entry without an object")


def _check_boxes(matched: Matched) -> None:
    """Raise ValueError where boxes cannot be, or more of them are objects than labels have."""
    boxes, counts = matched.boxes, matched.counts
    _check_places(matched, boxes.image, boxes.number)
    if (np.diff(boxes.number) < 0).any():
        raise ValueError("has classes out of order")
    if ((boxes.correct | boxes.ignored) >= 1 << len(THRESHOLDS)).any() or (boxes.correct & boxes.ignored).any():
        raise ValueError("has a box at thresholds that cannot be")
    keys, place, each = np.unique(boxes.image * matched.classes + boxes.number, return_inverse=True, return_counts=True)
    if (each > MOST).any():
        raise ValueError(f"has more than {MOST} boxes of a class in an image")
    objects = dict(zip((counts.image * matched.classes + counts.number).tolist(), counts.objects.tolist(), strict=True))
    there = np.array([objects.get(key, 0) for key in keys.tolist()], np.int64)
    for bit in _BITS.tolist():
        if (np.bincount(place[(boxes.correct & bit) > 0], minlength=len(keys)) > there).any():
            raise ValueError("has more finds in an image than its labels have objects")


def _check_places(matched: Matched, image: np.ndarray, number: np.ndarray) -> None:
    for called, values, most in (("an image", image, matched.images), ("a class", number, matched.classes)):
        if len(values) and int(values.max()) >= most:
            raise ValueError(f"has {called} {int(values.max())} of {most}")
