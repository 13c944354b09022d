"""How the answers of a detector become boxes: its anchors, and which boxes are left of all that overlap.

These steps are outside the network, in numpy: they are the same for every variant and on every device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np

from ..frozen import dataclass
from . import corners
from .average_precision import Detected
from .suppression import suppressed_by_class

COLUMNS = 6  # of a row of a network that suppresses boxes itself


@dataclass(frozen=True)
class Detector:
    """One network's anchors and thresholds, as torchvision names them.

    An answer to one image has a row for each anchor: a logit for each class, then four offsets. Rows are in order of
    levels, then of cells (row by row), then of the anchors of a cell.
    """

    size: int  # of an image, in pixels
    classes: int  # for which there are logits
    grids: tuple[int, ...]  # cells along a side, by level, the finest first
    sizes: tuple[tuple[float, ...], ...]  # of anchors, by level, in pixels
    ratios: tuple[float, ...]  # height by width
    least: float = 0.05  # score of a box
    overlap: float = 0.5  # IoU from which the less probable of two boxes of a class goes
    candidates: int = 1000  # boxes of a level that are looked at, the most probable ones
    most: int = 100  # boxes of an image

    @property
    def rows(self) -> int:
        """How many anchors there are: the rows of an answer to one image."""
        return sum(self._rows_of_levels())

    @property
    def columns(self) -> int:
        """How many numbers a row has."""
        return self.classes + 4

    def anchors(self) -> np.ndarray:
        """Return the anchors: left, top, right and bottom of each, around the corner of its cell."""
        levels = [
            corners.anchors(self.size, grid, sizes, self.ratios)
            for grid, sizes in zip(self.grids, self.sizes, strict=True)
        ]
        return np.concatenate([np.zeros((0, 4), np.float32), *levels])

    def detections(self, answer: np.ndarray) -> list[Detected]:
        """Return the boxes that a network's answer to some images has, the most probable first.

        They are those of torchvision's `RetinaNet.postprocess_detections`. Raise ValueError for another shape, and for
        values that are not finite.
        """
        wanted = (self.rows, self.columns)
        if answer.shape[1:] != wanted:
            raise ValueError(
                f"an answer of a detector has the shape {wanted} for each image, and not {answer.shape[1:]}"
            )
        return [self._of_image(each) for each in answer]

    def _rows_of_levels(self) -> list[int]:
        return [grid * grid * len(sizes) * len(self.ratios) for grid, sizes in zip(self.grids, self.sizes, strict=True)]

    def _parts(self) -> Iterator[slice]:
        first = 0
        for rows in self._rows_of_levels():
            yield slice(first, first + rows)
            first += rows

    def _of_image(self, answer: np.ndarray) -> Detected:
        corners.check_finite(answer)
        found = [self._candidates(answer[part, : self.classes], part.start) for part in self._parts()]
        rows, numbers, scores = (np.concatenate(column) for column in zip(*found, strict=True))
        anchors = _anchors(self)[rows]
        boxes = np.clip(corners.decoded(answer[rows, self.classes :].astype(np.float32), anchors), 0, self.size)
        left = suppressed_by_class(boxes, scores, numbers, self.overlap, self.most)
        return Detected(corners.as_sides(boxes[left]), numbers[left], scores[left])

    def _candidates(self, logits: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, classes and scores of the most probable boxes of a level."""
        places = np.flatnonzero(logits > _logit(self.least))
        found = logits[places // self.classes, places % self.classes]
        order = corners.highest(found, self.candidates)
        scores = corners.sigmoid(found[order])
        places, scores = (each[scores > np.float32(self.least)] for each in (places[order], scores))
        return first + places // self.classes, places % self.classes, scores


def read_rows(answer: np.ndarray) -> list[Detected]:
    """Return the boxes of a network that suppresses them itself, the most probable first.

    Each row is left, top, right, bottom, score and class. Rows without a score only fill the array. Raise ValueError
    for another shape, and for values that cannot be.
    """
    if answer.ndim != 3 or answer.shape[2] != COLUMNS:
        raise ValueError(f"boxes are an array of images, rows and {COLUMNS} columns, and not of {answer.shape}")
    return [_read(each) for each in answer]


def _read(rows: np.ndarray) -> Detected:
    rows = np.asarray(rows, np.float32)
    corners.check_finite(rows)
    rows = rows[rows[:, 4] > 0]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    scores, numbers = rows[:, 4], rows[:, 5]
    if (scores > 1).any():
        raise ValueError(f"a box has the score {scores.max():g}, and not one from 0 to 1")
    if ((numbers < 0) | (numbers != np.round(numbers))).any():
        raise ValueError("the class of a box is not a whole number from 0")
    return Detected(corners.as_sides(rows[:, :4]), numbers.astype(np.int64), scores)


@functools.lru_cache(maxsize=4)
def _anchors(detector: Detector) -> np.ndarray:
    return detector.anchors()


def _logit(score: float) -> float:
    """Return a logit below which no score is as high: a little less than the exact one, since scores are rounded."""
    if score <= 0:
        return -math.inf
    return math.inf if score >= 1 else math.log(score / (1 - score)) - 1e-3
