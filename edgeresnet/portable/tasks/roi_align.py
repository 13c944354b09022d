"""What a detector's second stage sees of each proposal: its part of a feature map, as a small grid of the same size.

The numbers are those of torchvision's MultiScaleRoIAlign (`aligned=False`). A box is left, top, right and bottom, in
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAMPLES = 2  # of a cell of the grid, along a side
_CANONICAL = 224  # pixels: the side of a box that the third of the maps (of stride 16) is for
_LEVEL, _FINEST = 4, 2  # of that map and of the first one: the logarithms of their strides
_ALMOST = 1e-6


def levels(boxes: np.ndarray, maps: int) -> np.ndarray:
    """Return which of the feature maps each box is read from: a box that is twice as large, from the next one."""
    with np.errstate(divide="ignore"):  # a box without area is read from the finest map
        found = np.log2(np.sqrt(_areas(boxes)) / np.float32(_CANONICAL))
    level = np.floor(_LEVEL + found + np.float32(_ALMOST))
    return np.asarray(np.clip(level, _FINEST, _FINEST + maps - 1) - _FINEST).astype(np.int64)


def aligned(maps: Sequence[np.ndarray], size: int, boxes: np.ndarray, cells: int) -> np.ndarray:
    """Return boxes × cells × cells × channels. Maps are rows × columns × channels, the finest first, of one image.

    Each cell is the mean of a few points. The weights of a point's neighbours are products of one along each axis, so
    that a box is two small products of matrices, with its rows and with its columns.
    """
    chosen = levels(boxes, len(maps))
    found = np.empty((len(boxes), cells, cells, maps[0].shape[2]), np.float32)
    for level, features in enumerate(maps):
        which = np.flatnonzero(chosen == level)
        scale = np.float32(2.0 ** round(np.log2(features.shape[0] / size)))
        low, high = boxes[which, :2] * scale, boxes[which, 2:] * scale
        rows = _weights(low[:, 1], high[:, 1], features.shape[0], cells)
        columns = _weights(low[:, 0], high[:, 0], features.shape[1], cells)
        for place, row, column in zip(which.tolist(), zip(*rows, strict=True), zip(*columns, strict=True), strict=True):
            found[place] = _pooled(features, row, column)
    return found


def _pooled(features: np.ndarray, row: tuple[int, int, np.ndarray], column: tuple[int, int, np.ndarray]) -> np.ndarray:
    (top, bottom, down), (left, right, along) = row, column
    narrow = np.matmul(along[:, left:right], features[top:bottom, left:right])  # rows × cells × channels
    tall, cells, channels = narrow.shape
    return np.asarray(down[:, top:bottom] @ narrow.reshape(tall, -1)).reshape(-1, cells, channels)


def _weights(low: np.ndarray, high: np.ndarray, side: int, cells: int) -> tuple[list[int], list[int], np.ndarray]:
    """Return the first position that each box reads along an axis, their end, and weights by cell and position."""
    boxes, cell = len(low), np.maximum(high - low, np.float32(1)) / np.float32(cells)
    inside = (np.arange(SAMPLES, dtype=np.float32) + np.float32(0.5)) / np.float32(SAMPLES)
    steps = (np.arange(cells, dtype=np.float32)[:, None] + inside).reshape(-1)
    points = low[:, None] + cell[:, None] * steps
    there = (points >= -1) & (points <= side)  # others are far outside the map and count as zero
    points = np.clip(points, 0, side - 1)
    before = points.astype(np.int64)
    after = np.minimum(before + 1, side - 1)
    share = np.where(after > before, points - before, 0)
    found = np.zeros((boxes, cells * SAMPLES, side), np.float32)
    each, point = np.arange(boxes)[:, None], np.arange(cells * SAMPLES)[None]
    found[each, point, before] = (1 - share) * there
    found[each, point, after] += share * there
    weights = found.reshape(boxes, cells, SAMPLES, side).mean(axis=2)
    return before.min(axis=1, initial=side).tolist(), (after.max(axis=1, initial=-1) + 1).tolist(), weights


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float32)
