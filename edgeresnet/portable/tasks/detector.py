"""How the answers of a detector become boxes: its anchors, and which boxes are left of all that overlap.

These steps are outside the network, in numpy: they are the same for every variant and on every device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np

from ..frozen import dataclass
from .average_precision import Detected
from .suppression import suppressed_by_class

_LARGEST = math.log(1000 / 16)  # of an offset of a width or height: torchvision clips it there
_COLUMNS = 6  # of a row of a network that suppresses boxes itself


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

    def anchors(self) -> np.ndarray:
        """Return the anchors: left, top, right and bottom of each, around the corner of its cell."""
        levels = [self._level(grid, sizes) for grid, sizes in zip(self.grids, self.sizes, strict=True)]
        return np.concatenate([np.zeros((0, 4), np.float32), *levels])

    def detections(self, answer: np.ndarray) -> list[Detected]:
        """Return the boxes that a network's answer to some images has, the most probable first.

        They are those of torchvision's `RetinaNet.postprocess_detections`. Raise ValueError for another shape, and for
        values that are not finite.
        """
        wanted = (self.rows, self.classes + 4)
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

    def _level(self, grid: int, sizes: tuple[float, ...]) -> np.ndarray:
        """Return the anchors of a level. torchvision rounds those of a cell to pixels."""
        heights = np.sqrt(np.asarray(self.ratios, np.float32))[:, None]
        scales = np.asarray(sizes, np.float32)
        width, height = (1 / heights * scales).ravel(), (heights * scales).ravel()
        cell = np.round(np.stack([-width, -height, width, height], axis=1) / 2)
        steps = np.arange(grid, dtype=np.float32) * (self.size // grid)
        x, y = (each.ravel() for each in np.meshgrid(steps, steps))
        return (np.stack([x, y, x, y], axis=1)[:, None] + cell).reshape(-1, 4)

    def _of_image(self, answer: np.ndarray) -> Detected:
        _check_finite(answer)
        found = [self._candidates(answer[part, : self.classes], part.start) for part in self._parts()]
        rows, numbers, scores = (np.concatenate(column) for column in zip(*found, strict=True))
        anchors = _anchors(self)[rows]
        boxes = np.clip(_decoded(answer[rows, self.classes :].astype(np.float32), anchors), 0, self.size)
        left = suppressed_by_class(boxes, scores, numbers, self.overlap, self.most)
        return Detected(_sides(boxes[left]), numbers[left], scores[left])

    def _candidates(self, logits: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, classes and scores of the most probable boxes of a level."""
        places = np.flatnonzero(logits > _logit(self.least))
        found = logits[places // self.classes, places % self.classes]
        if len(places) > self.candidates:
            best = np.argpartition(-found, self.candidates)[: self.candidates]
            best.sort()
            places, found = places[best], found[best]
        scores = _sigmoid(found)
        order = np.flatnonzero(scores > np.float32(self.least))
        order = order[np.argsort(-found[order], kind="stable")]
        return first + places[order] // self.classes, places[order] % self.classes, scores[order]


def read_rows(answer: np.ndarray) -> list[Detected]:
    """Return the boxes of a network that suppresses them itself, the most probable first.

    Each row is left, top, right, bottom, score and class. Rows without a score only fill the array. Raise ValueError
    for another shape, and for values that cannot be.
    """
    if answer.ndim != 3 or answer.shape[2] != _COLUMNS:
        raise ValueError(f"boxes are an array of images, rows and {_COLUMNS} columns, and not of {answer.shape}")
    return [_read(each) for each in answer]


def _read(rows: np.ndarray) -> Detected:
    rows = np.asarray(rows, np.float32)
    _check_finite(rows)
    rows = rows[rows[:, 4] > 0]
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    scores, numbers = rows[:, 4], rows[:, 5]
    if (scores > 1).any():
        raise ValueError(f"a box has the score {scores.max():g}, and not one from 0 to 1")
    if ((numbers < 0) | (numbers != np.round(numbers))).any():
        raise ValueError("the class of a box is not a whole number from 0")
    return Detected(_sides(rows[:, :4]), numbers.astype(np.int64), scores)


@functools.lru_cache(maxsize=4)
def _anchors(detector: Detector) -> np.ndarray:
    return detector.anchors()


def _check_finite(answer: np.ndarray) -> None:
    """Raise ValueError where a value is not finite. The sum shows it fast, unless it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        finite = bool(np.isfinite(answer.sum())) or bool(np.isfinite(answer).all())
    if not finite:
        raise ValueError("an answer of a detector has values that are not finite")


def _logit(score: float) -> float:
    """Return a logit below which no score is as high: a little less than the exact one, since scores are rounded."""
    if score <= 0:
        return -math.inf
    return math.inf if score >= 1 else math.log(score / (1 - score)) - 1e-3


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)


def _decoded(offsets: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return boxes as torchvision's BoxCoder decodes them."""
    sides = anchors[:, 2:] - anchors[:, :2]
    middle = anchors[:, :2] + 0.5 * sides + offsets[:, :2] * sides
    half = 0.5 * np.exp(np.minimum(offsets[:, 2:], np.float32(_LARGEST))) * sides
    return np.concatenate([middle - half, middle + half], axis=1)


def _sides(boxes: np.ndarray) -> np.ndarray:
    """Return left, top, width and height."""
    return np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:] - boxes[:, :2], 0)], axis=1)
