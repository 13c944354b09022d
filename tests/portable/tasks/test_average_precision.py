"""Average precision by hand; `benchmarks/metrics.py` compares it with pycocotools on random boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edgeresnet.portable.tasks.average_precision import (
    THRESHOLDS,
    AveragePrecision,
    Detected,
    Labelled,
    average_precision,
    matched,
)

pytestmark = pytest.mark.unit

BOX, FAR = (0, 0, 10, 10), (50, 50, 10, 10)
SHORT = (0, 0, 10, 7.2)  # its IoU with BOX is 0.72


def labelled(*objects: tuple[Sequence[float], int] | tuple[Sequence[float], int, bool]) -> Labelled:
    boxes = np.array([each[0] for each in objects], float).reshape(-1, 4)
    crowd = np.array([len(each) > 2 and each[-1] for each in objects], bool)
    return Labelled(boxes, np.array([each[1] for each in objects], int), crowd)


def detected(*found: tuple[Sequence[float], int, float]) -> Detected:
    boxes = np.array([each[0] for each in found], float).reshape(-1, 4)
    return Detected(boxes, np.array([each[1] for each in found], int), np.array([each[2] for each in found], float))


def precision(truth: Sequence[Labelled], found: Sequence[Detected], classes: int = 1) -> AveragePrecision:
    return average_precision(matched(truth, found, classes))


def at_half(truth: Labelled, *found: tuple[Any, int, float]) -> float:
    return precision([truth], [detected(*found)]).at_half


def test_a_box_counts_up_to_the_threshold_that_it_reaches() -> None:
    found = precision([labelled((BOX, 0))], [detected((SHORT, 0, 0.9))])
    assert found.each[0] == pytest.approx([float(threshold <= 0.72) for threshold in THRESHOLDS])
    assert found.mean == pytest.approx(0.5)
    assert found.at_half == pytest.approx(1)


def test_half_of_the_objects_found_is_precise_up_to_half_of_recall() -> None:
    truth = labelled((BOX, 0), (FAR, 0))
    assert at_half(truth, (BOX, 0, 0.9)) == pytest.approx(51 / 101)
    assert at_half(truth, (BOX, 0, 0.9), (FAR, 0, 0.1)) == pytest.approx(1)
    wrong = (100, 0, 10, 10)
    assert at_half(truth, (wrong, 0, 0.95), (BOX, 0, 0.9), (FAR, 0, 0.1)) == pytest.approx(2 / 3)
    assert at_half(truth, (BOX, 0, 0.95), (wrong, 0, 0.9), (FAR, 0, 0.1)) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_an_object_is_found_once_and_by_the_most_probable_box() -> None:
    truth = labelled((BOX, 0), (FAR, 0))
    assert at_half(truth, (SHORT, 0, 0.9), (BOX, 0, 0.8), (FAR, 0, 0.7)) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_crowd_is_neither_a_find_nor_a_miss() -> None:
    truth = labelled((BOX, 0), (FAR, 0, True))
    inside = (52, 52, 4, 4)
    assert at_half(truth, (inside, 0, 0.99), (inside, 0, 0.98), (BOX, 0, 0.9)) == pytest.approx(1)
    over = labelled((BOX, 0), (BOX, 0, True))
    assert at_half(over, (BOX, 0, 0.9)) == pytest.approx(1), "an object comes before a crowd"
    assert math.isnan(at_half(labelled((BOX, 0, True)), (BOX, 0, 0.9)))


def test_images_and_classes_without_objects() -> None:
    nothing = labelled(), detected()
    assert math.isnan(precision([nothing[0]], [nothing[1]]).mean)
    assert math.isnan(precision([], [], 2).mean)
    assert math.isnan(average_precision([]).mean)
    found = precision([labelled((BOX, 1)), nothing[0]], [detected((BOX, 1, 0.5)), detected((BOX, 1, 0.9))], 3)
    assert np.isnan(found.each[[0, 2]]).all()
    assert found.of_classes[1] == pytest.approx(0.5), "what is found where nothing is counts as wrong"
    assert found.mean == pytest.approx(0.5)
    assert precision([labelled((BOX, 0))], [nothing[1]]).mean == 0


def test_of_one_image_and_class_the_hundred_most_probable_boxes_count() -> None:
    others = [((0, 200 + 20 * number, 9, 9), 0, 0.9) for number in range(100)]
    assert at_half(labelled((BOX, 0)), *others, (BOX, 0, 0.1)) == 0
    assert at_half(labelled((BOX, 0)), *others[1:], (BOX, 0, 0.1)) == pytest.approx(1 / 100)


def test_images_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 images, and 1 have labels"):
        matched([labelled()], [detected(), detected()], 1)
