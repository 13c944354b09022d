"""Suppression of boxes that overlap, by hand; `test_decoded_boxes.py` compares it with torchvision."""

from __future__ import annotations

import numpy as np
import pytest

from edgeresnet.portable.tasks.suppression import suppressed_by_class

pytestmark = pytest.mark.unit

# The first and second have the IoU 0.6, the first and third 0.25, the second and third 0.48; the last is far away.
BOXES = np.array([[0, 0, 10, 10], [0, 2.5, 10, 12.5], [0, 6, 10, 16], [50, 50, 60, 60]], np.float32)


def suppressed(boxes: np.ndarray, scores: np.ndarray, overlap: float, most: int | None = None) -> np.ndarray:
    """Suppress boxes that are all of one class."""
    return suppressed_by_class(boxes, scores, np.zeros(len(boxes), np.int64), overlap, most)


def test_the_less_probable_of_two_that_overlap_goes() -> None:
    assert suppressed(BOXES, np.array([0.9, 0.8, 0.7, 0.6]), 0.5).tolist() == [0, 2, 3]
    assert suppressed(BOXES, np.array([0.8, 0.9, 0.7, 0.95]), 0.4).tolist() == [3, 1]


def test_a_box_that_is_gone_suppresses_nothing() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.1])
    assert suppressed(BOXES, scores, 0.45).tolist() == [0, 2, 3], "the second would suppress the third"


def test_an_iou_of_the_limit_is_not_too_much() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    assert suppressed(boxes, np.array([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert suppressed(boxes, np.array([0.9, 0.8]), 0.49).tolist() == [0]


def test_of_boxes_as_probable_the_first_is_left() -> None:
    assert suppressed(BOXES, np.full(4, 0.5), 0.5).tolist() == [0, 2, 3]


def test_only_boxes_of_a_class_compete() -> None:
    numbers = np.array([3, 90, 3, 3])
    assert suppressed_by_class(BOXES, np.array([0.9, 0.8, 0.7, 0.6]), numbers, 0.2).tolist() == [0, 1, 3]


def test_the_most_probable_boxes_are_left_of_too_many() -> None:
    assert suppressed(BOXES, np.array([0.6, 0.7, 0.8, 0.9]), 0.5, most=2).tolist() == [3, 2]
    assert suppressed(BOXES, np.array([0.6, 0.7, 0.8, 0.9]), 0.5, most=0).tolist() == []


def test_boxes_without_area_and_no_boxes_at_all() -> None:
    points = np.zeros((2, 4), np.float32)
    assert suppressed(points, np.array([0.1, 0.2]), 0.5).tolist() == [1, 0]
    assert suppressed(np.zeros((0, 4), np.float32), np.zeros(0), 0.5).tolist() == []
