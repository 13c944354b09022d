"""Labels of training images as tensors, and how they move with their images: a number, a mask, or boxes of each."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from ..images import Samples
from ..portable.tasks.masks import Packed
from ..portable.tasks.objects import Objects
from ..tasks.detection import ABSENT, CROWD
from .moves import Moves

_LEAST = 0.25  # of an object, that must be left in the image: else it is as a crowd


class Labels(Protocol):
    """The labels of some images."""

    def of(self, rows: np.ndarray) -> torch.Tensor:
        """Return the labels of these images, in this order."""

    def moved(self, labels: torch.Tensor, moves: Moves, largest: int) -> torch.Tensor:
        """Return labels mirrored and shifted as their images."""


def labels_of(samples: Samples, indices: np.ndarray) -> Labels:
    """Return the labels of some of these images."""
    if samples.has_boxes:
        return _Boxes(samples.boxes(indices), samples.preprocessing.size)
    if samples.has_masks:
        return _Masks(samples.masks(indices), samples.preprocessing.size)
    return _Numbers(samples.labels[indices])


class _Numbers:
    def __init__(self, numbers: np.ndarray):
        self._numbers = torch.from_numpy(numbers)

    def of(self, rows: np.ndarray) -> torch.Tensor:
        return self._numbers[rows]

    def moved(self, labels: torch.Tensor, moves: Moves, largest: int) -> torch.Tensor:
        return labels


class _Masks:
    def __init__(self, masks: Packed, side: int):
        self._masks, self._side = masks, side

    def of(self, rows: np.ndarray) -> torch.Tensor:
        found = np.empty((len(rows), self._side, self._side), np.int64)
        for place, row in enumerate(rows):
            found[place] = self._masks[int(row)]
        return torch.from_numpy(found)

    def moved(self, labels: torch.Tensor, moves: Moves, largest: int) -> torch.Tensor:
        return moves.on(labels[:, None], largest)[:, 0]


class _Boxes:
    """Images × objects × 5, as `tasks/detection.py` has them; images with fewer objects than others are filled."""

    def __init__(self, objects: Objects, side: int):
        self._side, self._counts = side, objects.counts
        self._first = np.cumsum(objects.counts) - objects.counts
        numbers = np.where(objects.crowd, CROWD - objects.numbers, objects.numbers)
        corners = np.concatenate([objects.boxes[:, :2], objects.boxes[:, :2] + objects.boxes[:, 2:]], axis=1)
        self._table = np.concatenate([numbers[:, None], corners], axis=1).astype(np.float32)

    def of(self, rows: np.ndarray) -> torch.Tensor:
        counts = self._counts[rows]
        found = np.zeros((len(rows), max(1, counts.max(initial=0)), 5), np.float32)
        found[..., 0] = ABSENT
        for place, (first, count) in enumerate(zip(self._first[rows], counts, strict=True)):
            found[place, :count] = self._table[first : first + count]
        return torch.from_numpy(found)

    def moved(self, labels: torch.Tensor, moves: Moves, largest: int) -> torch.Tensor:
        """Return boxes cut at the sides of the image; absent are those of which nothing is left."""
        numbers, boxes = labels[..., 0], labels[..., 1:]
        areas = _areas(boxes)
        if moves.mirrored is not None:
            left, top, right, bottom = boxes.unbind(2)
            mirrored = torch.stack([self._side - right, top, self._side - left, bottom], 2)
            boxes = torch.where(moves.mirrored.to(labels.device)[:, None, None], mirrored, boxes)
        if moves.shifts is not None:
            down, right = (moves.shifts - largest).to(boxes)
            boxes = boxes - torch.stack([right, down, right, down], 1)[:, None]
        boxes = boxes.clamp(0, self._side)
        share = _areas(boxes) / areas
        numbers = torch.where((share < _LEAST) & (numbers >= 0), CROWD - numbers, numbers)
        return torch.cat([torch.where(share > 0, numbers, ABSENT)[..., None], boxes], 2)


def _areas(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)
