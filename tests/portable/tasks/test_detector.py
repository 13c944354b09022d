"""Anchors and boxes of a detector, by hand; `test_decoded_boxes.py` compares them with torchvision."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from edgeresnet.portable.tasks.detector import Detector, read_rows

pytestmark = pytest.mark.unit

# Two levels: four cells of 16 pixels with an anchor of 8 pixels, and one cell with two of 16.
SMALL = Detector(size=32, classes=3, grids=(2, 1), sizes=((8,), (16, 24)), ratios=(1.0,))
NOTHING = -9.0


def answer(detector: Detector = SMALL) -> np.ndarray:
    """Return an answer without a box."""
    found = np.zeros((1, detector.rows, detector.classes + 4), np.float32)
    found[..., : detector.classes] = NOTHING
    return found


def logit(score: float) -> float:
    return math.log(score / (1 - score))


def test_anchors_are_around_the_corners_of_their_cells() -> None:
    assert SMALL.rows == 6
    assert SMALL.anchors().tolist() == [
        [-4, -4, 4, 4],
        [12, -4, 20, 4],
        [-4, 12, 4, 20],
        [12, 12, 20, 20],
        [-8, -8, 8, 8],
        [-12, -12, 12, 12],
    ]


def test_anchors_of_a_cell_are_rounded_and_all_sizes_come_before_the_next_ratio() -> None:
    detector = Detector(size=8, classes=1, grids=(1,), sizes=((10, 20),), ratios=(0.5, 2.0))
    assert detector.anchors().tolist() == [[-7, -4, 7, 4], [-14, -7, 14, 7], [-4, -7, 4, 7], [-7, -14, 7, 14]]


def test_offsets_move_and_scale_an_anchor() -> None:
    given = answer()
    given[0, 3] = [NOTHING, logit(0.75), NOTHING, 0.25, -0.5, math.log(2), math.log(0.5)]
    (found,) = SMALL.detections(given)
    assert found.boxes == pytest.approx(np.array([[18 - 8, 12 - 2, 16, 4]]), abs=1e-5)
    assert found.numbers.tolist() == [1]
    assert found.scores == pytest.approx([0.75], abs=1e-6)


def test_boxes_end_at_the_image_and_their_scales_are_limited() -> None:
    given = answer()
    given[0, 0, 0] = logit(0.9)
    given[0, 3, 2], given[0, 3, 5:] = logit(0.8), 80.0  # e^80 would be no number of single precision
    (found,) = SMALL.detections(given)
    assert found.boxes == pytest.approx(np.array([[0, 0, 4, 4], [0, 0, 32, 32]]), abs=1e-5)


def test_only_scores_above_the_least_are_boxes() -> None:
    given = answer()
    given[0, 0, :3] = logit(0.05) - 1e-4, logit(0.05) + 1e-4, NOTHING
    assert SMALL.detections(given)[0].numbers.tolist() == [1]
    assert len(replace(SMALL, least=0.0).detections(given)[0].scores) == 18
    assert len(replace(SMALL, least=1.0).detections(given)[0].scores) == 0


def test_boxes_of_a_class_that_overlap_are_suppressed_over_all_levels() -> None:
    given = answer()
    given[0, 0, :2] = logit(0.9), logit(0.6)
    given[0, 4, :] = [logit(0.8), NOTHING, NOTHING, 0, 0, math.log(0.5), math.log(0.5)]
    (found,) = SMALL.detections(given)
    assert found.numbers.tolist() == [0, 1]
    assert found.scores == pytest.approx([0.9, 0.6], abs=1e-6)


def test_each_level_gives_its_best_candidates_and_an_image_its_best_boxes() -> None:
    given = answer()
    for row, score in enumerate((0.3, 0.9, 0.8, 0.7, 0.5, 0.6)):
        given[0, row, row % 3] = logit(score)
    few = replace(SMALL, candidates=2, overlap=1.0)
    assert few.detections(given)[0].scores == pytest.approx([0.9, 0.8, 0.6, 0.5], abs=1e-6)
    assert replace(few, most=3).detections(given)[0].scores == pytest.approx([0.9, 0.8, 0.6], abs=1e-6)


def test_images_of_a_batch_are_apart_and_one_without_a_box_is_empty() -> None:
    given = np.concatenate([answer(), answer()])
    given[1, 0, 0] = 0
    empty, found = SMALL.detections(given)
    assert (empty.boxes.shape, empty.numbers.shape, empty.scores.shape) == ((0, 4), (0,), (0,))
    assert found.scores.tolist() == [0.5]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    given = answer()
    given[0, 2, 4] = value
    with pytest.raises(ValueError, match="not finite"):
        SMALL.detections(given)


def test_an_answer_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(6, 7\) for each image, and not \(5, 7\)"):
        SMALL.detections(answer()[:, 1:])


def test_huge_values_that_are_finite_are_not_refused() -> None:
    given = answer()
    given[0, :, :3] = -3e38
    assert len(SMALL.detections(given)[0].scores) == 0


def test_rows_of_a_network_that_suppresses_boxes_are_read() -> None:
    rows = np.array(
        [[[1, 2, 4, 8, 0.25, 7], [0, 0, 0, 0, 0, 0], [5, 5, 4, 9, 0.5, 1], [9, 9, 9, 9, -1, -1]], np.zeros((4, 6))]
    )
    found, empty = read_rows(rows)
    assert found.boxes.tolist() == [[5, 5, 0, 4], [1, 2, 3, 6]]
    assert found.numbers.tolist() == [1, 7]
    assert found.scores.tolist() == [0.5, 0.25]
    assert len(empty.scores) == 0


@pytest.mark.parametrize(
    ("column", "value", "why"), [(4, 1.5, "score 1.5"), (5, 0.5, "class"), (5, -1, "class"), (0, math.nan, "finite")]
)
def test_rows_that_cannot_be_are_refused(column: int, value: float, why: str) -> None:
    rows = np.array([[[1, 2, 4, 8, 0.25, 7]]], np.float32)
    rows[0, 0, column] = value
    with pytest.raises(ValueError, match=why):
        read_rows(rows)


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="6 columns"):
        read_rows(np.zeros((1, 3, 7), np.float32))
