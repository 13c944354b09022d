"""How the answers of a detector of two stages become boxes: proposals, and what the second stage makes of each.

The network that is quantized and compiled is the first stage. All after it is here, in numpy: it is the same for every
variant and on every device. Results are those of torchvision's Faster R-CNN.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from ..frozen import dataclass
from . import corners
from .average_precision import Detected
from .detector import Detector
from .roi_align import aligned
from .suppression import suppressed_by_class

FILE = "second-stage.npz"  # next to the network's file
_OF_ANCHOR = 5  # a logit (is there an object?) and four offsets
_LAYERS, _PARTS = ("hidden0", "hidden1", "scores", "offsets"), ("weight", "bias")
_PRECISE = np.array([10, 10, 5, 5], np.float32)  # by which the second stage's offsets are divided


@dataclass(frozen=True)
class SecondStage:
    """The weights of what looks at each proposal: two full layers, then logits of classes, and offsets for each."""

    hidden: tuple[tuple[np.ndarray, np.ndarray], ...]  # layers: weights (inputs × outputs) and bias
    scores: tuple[np.ndarray, np.ndarray]
    offsets: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> SecondStage:
        """Return the weights that `arrays` returned. Raise KeyError where one is missing."""
        first, second, scores, offsets = ((arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in _LAYERS)
        return SecondStage((first, second), scores, offsets)

    @staticmethod
    def read(path: Path) -> SecondStage:
        """Read the weights from a file, or from the folder that has it."""
        with np.load(path / FILE if path.is_dir() else path, allow_pickle=False) as stored:
            return SecondStage.from_arrays(stored)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return arrays for a .npz file."""
        layers = zip(_LAYERS, (*self.hidden, self.scores, self.offsets), strict=True)
        return {f"{name}.{part}": each for name, pair in layers for part, each in zip(_PARTS, pair, strict=True)}

    def answers(self, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits (boxes × classes) and offsets (boxes × classes × 4) of what was seen of each box."""
        found = seen.reshape(len(seen), -1)
        for weights, bias in self.hidden:
            found = np.maximum(found @ weights + bias, 0)
        logits = found @ self.scores[0] + self.scores[1]
        return logits, (found @ self.offsets[0] + self.offsets[1]).reshape(len(found), logits.shape[1], 4)


@dataclass(frozen=True)
class TwoStage:
    """One network's anchors and thresholds, as torchvision names them.

    An answer to one image has a row for each cell of each level: features, then a logit for each anchor of the cell,
    then four offsets for each. Rows are in order of levels, then of cells (row by row). The last level has no features
    that the second stage reads.
    """

    size: int  # of an image, in pixels
    classes: int  # for which the second stage has logits; the first is the background
    grids: tuple[int, ...]  # cells along a side, by level, the finest first
    sizes: tuple[tuple[float, ...], ...]  # of anchors, by level, in pixels
    ratios: tuple[float, ...]  # height by width
    features: int = 256
    cells: int = 7  # along a side of what the second stage sees of a box
    candidates: int = 1000  # boxes of a level that are looked at, the most probable ones
    proposals: int = 1000  # of an image, for the second stage
    proposals_overlap: float = 0.7  # IoU from which the less probable of two proposals of a level goes
    least: float = 0.05  # score of a box
    overlap: float = 0.5  # IoU from which the less probable of two boxes of a class goes
    most: int = 100  # boxes of an image
    stages: Literal["two"] = "two"

    @property
    def rows(self) -> int:
        """How many cells there are: the rows of an answer to one image."""
        return sum(grid * grid for grid in self.grids)

    @property
    def columns(self) -> int:
        """How many numbers a row has."""
        return self.features + _OF_ANCHOR * self.anchors_of_cell

    @property
    def anchors_of_cell(self) -> int:
        return len(self.ratios) * len(self.sizes[0])

    def detections(self, answer: np.ndarray, second: SecondStage) -> list[Detected]:
        """Return the boxes that a network's answer to some images has, the most probable first.

        Raise ValueError for another shape, and for values that are not finite.
        """
        wanted = (self.rows, self.columns)
        if answer.shape[1:] != wanted:
            raise ValueError(
                f"an answer of this detector has the shape {wanted} for each image, not {answer.shape[1:]}"
            )
        return [self._of_image(np.asarray(each, np.float32), second) for each in answer]

    def proposed(self, answer: np.ndarray) -> np.ndarray:
        """Return the proposals of one image: left, top, right and bottom, the most probable first."""
        boxes, logits, levels = [], [], []
        for level, rows in enumerate(self._levels(answer)):
            raw = rows[:, self.features :]
            scores = raw[:, : self.anchors_of_cell].reshape(-1)
            best = corners.highest(scores, self.candidates)
            offsets = raw[:, self.anchors_of_cell :].reshape(-1, 4)[best]
            boxes.append(corners.decoded(offsets, _anchors(self)[level][best]))
            logits.append(scores[best])
            levels.append(np.full(len(best), level))
        found = np.clip(np.concatenate(boxes), 0, self.size)
        large = corners.at_least(found, 1e-3)
        scores, numbers = corners.sigmoid(np.concatenate(logits)[large]), np.concatenate(levels)[large]
        left = suppressed_by_class(found[large], scores, numbers, self.proposals_overlap, self.proposals)
        return found[large][left]

    def maps(self, answer: np.ndarray) -> list[np.ndarray]:
        """Return the features of one image that the second stage reads: rows × columns × channels, by level."""
        levels = zip(self.grids[:-1], self._levels(answer), strict=False)
        return [rows.reshape(grid, grid, -1)[..., : self.features] for grid, rows in levels]

    def _levels(self, answer: np.ndarray) -> list[np.ndarray]:
        return np.split(answer, np.cumsum([grid * grid for grid in self.grids])[:-1])

    def _of_image(self, answer: np.ndarray, second: SecondStage) -> Detected:
        corners.check_finite(answer)
        boxes = self.proposed(answer)
        logits, offsets = second.answers(aligned(self.maps(answer), self.size, boxes, self.cells))
        scores = _softmax(logits)
        which, numbers = np.nonzero(scores[:, 1:] > np.float32(self.least))
        numbers += 1  # 0 is the background
        found = corners.decoded(offsets[which, numbers] / _PRECISE, boxes[which])
        found, scores = np.clip(found, 0, self.size), scores[which, numbers]
        large = corners.at_least(found, 1e-2)
        found, scores, numbers = found[large], scores[large], numbers[large]
        left = suppressed_by_class(found, scores, numbers, self.overlap, self.most)
        return Detected(corners.as_sides(found[left]), numbers[left], scores[left])


AnyDetector: TypeAlias = Detector | TwoStage


@functools.lru_cache(maxsize=4)
def _anchors(about: TwoStage) -> list[np.ndarray]:
    """Return the anchors of each level."""
    return [
        corners.anchors(about.size, grid, sizes, about.ratios)
        for grid, sizes in zip(about.grids, about.sizes, strict=True)
    ]


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
