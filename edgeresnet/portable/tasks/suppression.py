"""Which of many boxes that overlap are left: the most probable first, and none that overlaps a better one too much.

Boxes are rows of left, top, right and bottom. Results are those of torchvision's `nms` and `batched_nms`.
"""

from __future__ import annotations

import numpy as np


def suppressed_by_class(
    boxes: np.ndarray, scores: np.ndarray, numbers: np.ndarray, overlap: float, most: int | None = None
) -> np.ndarray:
    """Return the places of the boxes that are left, the most probable first, and at most `most`.

    A box goes if its IoU with a more probable one of its class that is left is more than `overlap`. Of boxes as
    probable, the first is the better one.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = np.ascontiguousarray(boxes[order].T)  # four rows
    areas = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
    rest = _by_class(numbers[order])
    classes = numbers[order].tolist()
    alive = np.ones(len(order), bool)
    left: list[int] = []
    for place, number in enumerate(classes):
        if most is not None and len(left) >= most:
            break
        if alive[place]:
            left.append(place)
            others = rest[number][1:]  # the first one is this box
            goes = _iou(boxes, areas, place, others) > overlap
            alive[others[goes]] = False
            rest[number] = others[~goes]
    return np.asarray(order[left])


def _by_class(numbers: np.ndarray) -> dict[int, np.ndarray]:
    """Return the places of each class, in order."""
    order = np.argsort(numbers, kind="stable")
    found, first = np.unique(numbers[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, first[1:]), strict=True)) if len(numbers) else {}


def _iou(boxes: np.ndarray, areas: np.ndarray, place: int, others: np.ndarray) -> np.ndarray:
    """Return the IoU of one box with others. Boxes without area overlap nothing."""
    left, top, right, bottom = boxes[:, others]
    width = np.minimum(right, boxes[2, place]) - np.maximum(left, boxes[0, place])
    height = np.minimum(bottom, boxes[3, place]) - np.maximum(top, boxes[1, place])
    both = np.maximum(width, 0) * np.maximum(height, 0)
    union = areas[place] + areas[others] - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)
