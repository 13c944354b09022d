"""What the verdict on a detector will be, forecast on calibration images: which boxes are there is not known.

The FP32 network's probabilities stand for the labels: an anchor shows an object of a class as often as its score says.
Anchors are ranked by the INT8 network's scores, and a box that moves away from FP32's is as much less a find.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..portable.tasks import corners

_RARE = 1e-3  # of all expected objects: a class with fewer occurs nowhere
_ANCHOR = np.array([[-0.5, -0.5, 0.5, 0.5]])  # any anchor, in its own sides


class Changes(NamedTuple):
    """How answers about anchors differ from the FP32 network's."""

    flips: float  # of the boxes above 0.5 in either network, those that are not in both
    drop: float  # of the mAP
    change: np.ndarray  # of the top probability, by anchor that has a box


def compared(exact: np.ndarray, given: np.ndarray) -> Changes:
    """Compare rows of logits and four offsets."""
    (before, boxes), (after, moved) = ((_sigmoid(each[:, :-4]), each[:, -4:]) for each in (exact, given))
    one, two = before > 0.5, after > 0.5
    either = int((one | two).sum())
    flips = float((one ^ two).sum() / either) if either else 0.0
    near = _overlap(boxes, moved)[:, None]
    drop = _expected_map(before, before) - _expected_map(before, after, near)
    there = (one | two).any(1)
    change = np.abs(before - after).max(1)[there]
    return Changes(flips, max(drop, 0.0), change if len(change) else np.zeros(1))


def _expected_map(probable: np.ndarray, scores: np.ndarray, near: np.ndarray | float = 1.0) -> float:
    """Return the mAP that scores have if anchors show objects with these probabilities."""
    objects = probable.sum(0)
    occurs = objects > _RARE * objects.sum()
    if not occurs.any():
        return 1.0
    order = np.argsort(-scores[:, occurs], axis=0, kind="stable")
    finds = np.take_along_axis((probable * near)[:, occurs], order, 0)
    precision = np.cumsum(finds, axis=0) / np.arange(1, len(finds) + 1)[:, None]
    return float(((finds * precision).sum(0) / objects[occurs]).mean())


def _overlap(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes that two networks make of the same anchors."""
    boxes = [corners.decoded(each.astype(np.float64), _ANCHOR) for each in (one, two)]
    both = np.clip(np.minimum(*(box[:, 2:] for box in boxes)) - np.maximum(*(box[:, :2] for box in boxes)), 0, None)
    both, areas = both.prod(1), [(box[:, 2:] - box[:, :2]).prod(1) for box in boxes]
    return np.asarray(both / np.maximum(areas[0] + areas[1] - both, 1e-30))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))
