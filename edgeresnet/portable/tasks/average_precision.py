"""Average precision of boxes, as pycocotools computes it: mAP@[.5:.95] and AP50, by class, with regions of crowds.

Boxes of an image are matched once for each threshold of IoU; precision is computed from matches, so that other sets of
the same images need no other matching. Numbers only: knows no network and draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU
RECALLS = np.linspace(0.0, 1.0, 101)  # at which precision is read
MOST = 100  # boxes of a class in an image: the most probable ones
_EXACT = 1 - 1e-10  # the highest threshold: boxes that are alike may have a little less


class Labelled(NamedTuple):
    """Objects of one image. A box is left, top, width and height; one of a crowd is neither a find nor a miss."""

    boxes: np.ndarray
    numbers: np.ndarray  # of classes
    crowd: np.ndarray


class Detected(NamedTuple):
    """Boxes that a network found in one image."""

    boxes: np.ndarray
    numbers: np.ndarray
    scores: np.ndarray


class Matches(NamedTuple):
    """Of one class: every box found, image by image, and whether it is an object, at each threshold (rows)."""

    image: np.ndarray
    scores: np.ndarray
    correct: np.ndarray
    ignored: np.ndarray  # it is a crowd
    objects: np.ndarray  # how many there are in each image


class AveragePrecision(NamedTuple):
    """Average precision by class (rows) and threshold; nan: no image has an object of the class."""

    each: np.ndarray

    @property
    def of_classes(self) -> np.ndarray:
        """AP@[.5:.95] of each class."""
        return np.asarray(self.each.mean(axis=1))

    @property
    def mean(self) -> float:
        """The mAP@[.5:.95]; nan: no image has an object."""
        return _mean(self.of_classes)

    @property
    def at_half(self) -> float:
        """The mean AP50; nan: no image has an object."""
        return _mean(self.each[:, 0])


def matched(labelled: Sequence[Labelled], detected: Sequence[Detected], classes: int) -> list[Matches]:
    """Return the matches of each class. Images are in the same order in both."""
    if len(labelled) != len(detected):
        raise ValueError(f"boxes were found for {len(detected)} images, and {len(labelled)} have labels")
    return [_of_class(labelled, detected, number) for number in range(classes)]


def average_precision(matches: Sequence[Matches]) -> AveragePrecision:
    """Return the average precision of each class at each threshold."""
    return AveragePrecision(np.array([_precision(each) for each in matches]).reshape(-1, len(THRESHOLDS)))


def _of_class(labelled: Sequence[Labelled], detected: Sequence[Detected], number: int) -> Matches:
    images, scores, correct, ignored, objects = [], [], [], [], []
    for index, (truth, found) in enumerate(zip(labelled, detected, strict=True)):
        there, given = truth.numbers == number, found.numbers == number
        crowd = truth.crowd[there].astype(bool)
        order = np.argsort(-found.scores[given], kind="stable")[:MOST]
        one, other = matched_boxes(found.boxes[given][order], truth.boxes[there], crowd)
        images.append(np.full(len(order), index))
        scores.append(found.scores[given][order])
        correct.append(one)
        ignored.append(other)
        objects.append(int((~crowd).sum()))
    if not images:
        nothing = np.zeros((len(THRESHOLDS), 0), bool)
        return Matches(np.zeros(0, int), np.zeros(0), nothing, nothing, np.zeros(0, int))
    tables = np.concatenate(correct, axis=1), np.concatenate(ignored, axis=1)
    return Matches(np.concatenate(images), np.concatenate(scores), *tables, np.array(objects))


def matched_boxes(boxes: np.ndarray, truth: np.ndarray, crowd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, by threshold and box, whether it is an object, and whether it is one of a crowd.

    The most probable box chooses first. It takes the free object that it overlaps most, else a crowd, which any number
    of boxes may be of. Of objects that it overlaps as much it takes the last one.
    """
    correct, ignored = (np.zeros((len(THRESHOLDS), len(boxes)), bool) for _ in range(2))
    if not len(boxes) or not len(truth):
        return correct, ignored
    overlap = iou(boxes, truth, crowd)
    enough = np.minimum(THRESHOLDS, _EXACT)[:, None]
    taken = np.zeros((len(THRESHOLDS), len(truth)), bool)
    rows = np.arange(len(THRESHOLDS))
    for box in np.flatnonzero((overlap >= enough.min()).any(axis=1)).tolist():
        each = overlap[box]
        fits = (each >= enough) & ~taken
        correct[:, box] = (fits & ~crowd).any(axis=1)
        ignored[:, box] = (fits & crowd).any(axis=1) & ~correct[:, box]
        size = np.where(fits & ~crowd, each, -1.0)
        chosen = len(truth) - 1 - size[:, ::-1].argmax(axis=1)
        taken[rows[correct[:, box]], chosen[correct[:, box]]] = True
    return correct, ignored


def iou(boxes: np.ndarray, truth: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return the IoU of each box with each object; with a crowd, the part of the box that is in it."""
    corners = [np.asarray(each, np.float64).reshape(-1, 4) for each in (boxes, truth)]
    one, other = corners[0][:, None], corners[1][None]
    low = np.maximum(one[..., :2], other[..., :2])
    sides = np.minimum(one[..., :2] + one[..., 2:], other[..., :2] + other[..., 2:]) - low
    both = np.where((sides > 0).all(-1), sides.prod(-1), 0.0)
    areas = [each[..., 2:].prod(-1) for each in (one, other)]
    union = np.where(crowd, areas[0], areas[0] + areas[1] - both)
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


def _precision(found: Matches) -> np.ndarray:
    """Return the average precision of a class at each threshold."""
    order = np.argsort(-found.scores, kind="stable")
    counted = ~found.ignored[:, order]
    hits = np.cumsum(found.correct[:, order] & counted, axis=1, dtype=np.float64)
    misses = np.cumsum(~found.correct[:, order] & counted, axis=1, dtype=np.float64)
    return precision_of(hits, misses, int(found.objects.sum()))


def precision_of(hits: np.ndarray, misses: np.ndarray, objects: int) -> np.ndarray:
    """Return the average precision at each threshold (rows), from how many boxes down to each score are objects."""
    if not objects:
        return np.full(len(hits), np.nan)
    precision = hits / (hits + misses + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # at this recall or any higher one
    best = np.append(best, np.zeros((len(THRESHOLDS), 1)), axis=1)
    places = [np.searchsorted(each, RECALLS, side="left") for each in hits / objects]
    return np.array([each[place].mean() for each, place in zip(best, places, strict=True)])


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
