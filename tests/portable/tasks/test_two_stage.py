"""Proposals and the second stage of a detector, by hand; `test_two_stage_boxes.py` compares them with torchvision."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeresnet.portable import codec
from edgeresnet.portable.tasks.roi_align import aligned, levels
from edgeresnet.portable.tasks.two_stage import FILE, SecondStage, TwoStage

pytestmark = pytest.mark.unit

# Two levels: 8 × 8 cells of 4 pixels with features, and one cell without.
SMALL = TwoStage(32, 3, (8, 1), ((8.0,), (32.0,)), (1.0,), features=1, cells=2)
LIKELY, NEVER = 3.0, -60.0


def answer() -> np.ndarray:
    """Return an answer with features that count the rows, and without an object."""
    found = np.zeros((1, SMALL.rows, SMALL.columns), np.float32)
    found[0, :, 0] = np.arange(SMALL.rows) // 8
    found[0, :, 1] = NEVER
    return found


def second(classes: int = 3) -> SecondStage:
    """Return weights that take any box for class 1, and class 2 where features are large."""
    same = np.eye(4, dtype=np.float32)
    scores = np.zeros((4, classes), np.float32)
    scores[:, 2] = 1
    bias = np.array([NEVER, 4, 0], np.float32)
    none = np.zeros(4, np.float32)
    offsets = np.zeros((4, 4 * classes), np.float32), np.zeros(4 * classes, np.float32)
    return SecondStage(((same, none), (same, none)), (scores, bias), offsets)


def test_a_box_that_is_twice_as_large_is_read_from_the_next_map() -> None:
    sides = [1, 111, 112, 223, 224, 447, 448, 2000, 0]
    boxes = np.array([[5, 5, 5 + side, 5 + side] for side in sides], np.float32)
    assert levels(boxes, 4).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 0]
    assert levels(boxes, 2).tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 0]


def test_cells_are_means_of_points_between_positions() -> None:
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None], (8, 8, 1))
    (found,) = aligned([ramp], 32, np.array([[4, 8, 20, 24]], np.float32), 2)
    assert found[..., 0].tolist() == [[3.0, 3.0], [5.0, 5.0]]  # rows 2 to 6, each half's middle
    (found,) = aligned([ramp.transpose(1, 0, 2)], 32, np.array([[4, 8, 20, 24]], np.float32), 2)
    assert found[..., 0].tolist() == [[2.0, 4.0], [2.0, 4.0]]


def test_a_small_box_is_as_wide_as_a_position_and_points_outside_count_as_the_border_or_zero() -> None:
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None], (8, 8, 1))
    (found,) = aligned([ramp], 32, np.array([[0, 8, 0, 8]], np.float32), 2)
    assert found[..., 0].tolist() == [[2.25, 2.25], [2.75, 2.75]]
    (found,) = aligned([ramp], 32, np.array([[0, 28, 4, 44]], np.float32), 2)
    assert found[:, 0, 0].tolist() == [3.5, 0]  # points at 7.5, 8.5 and more, where 8 is the end: 7, and zeros


def test_boxes_of_no_number_give_an_empty_array() -> None:
    assert aligned([np.zeros((8, 8, 3), np.float32)], 32, np.zeros((0, 4), np.float32), 2).shape == (0, 2, 2, 3)


def test_proposals_are_anchors_moved_and_those_that_overlap_a_better_one_go() -> None:
    given = answer()[0]
    given[9, 1:] = [LIKELY, 0.5, 0, 0, math.log(2)]  # cell (1, 1): an anchor of 8 around (4, 4)
    given[10, 1:] = [LIKELY - 1, 0, 0, 0, math.log(2)]  # the same box, from the next cell
    given[64, 1:] = [LIKELY - 2, 0, 0, 0, 0]
    found = replace(SMALL, proposals=2).proposed(given)
    assert found == pytest.approx(np.array([[4, 0, 12, 12], [0, 0, 16, 16]]), abs=1e-5)


def test_proposals_of_each_level_are_few_and_those_without_area_go() -> None:
    given = answer()[0]
    given[:, 1] = np.linspace(LIKELY, 0, SMALL.rows)
    given[0, 2] = -9.0  # left of the image
    found = replace(SMALL, candidates=3, proposals_overlap=1.0).proposed(given)
    assert found.tolist() == [[0, 0, 8, 4], [4, 0, 12, 4], [0, 0, 16, 16]]


def test_boxes_of_the_second_stage_have_a_class_each_and_are_suppressed_by_class() -> None:
    given = answer()
    given[0, 27, 1:] = [LIKELY, 0, 0, 0, 0]  # row 3, column 3: 8 pixels around (12, 12)
    two = replace(SMALL, proposals=1)
    (found,) = two.detections(given, second())
    # Features of rows 2 to 4: cells of 2.5 and 3.5, whose sum is 12.
    share = 1 / (1 + math.exp(4 - 12))
    assert found.numbers.tolist() == [2]
    assert found.scores == pytest.approx([share], abs=1e-5)
    assert found.boxes.tolist() == [[8, 8, 8, 8]]
    (found,) = replace(two, least=1e-4).detections(given, second())
    assert found.numbers.tolist() == [2, 1]


def test_offsets_of_the_second_stage_are_divided_and_clipped_and_boxes_without_area_go() -> None:
    given = answer()
    given[0, 27, 1:] = [LIKELY, 0, 0, 0, 0]
    weights = second()
    bias = weights.offsets[1]
    bias[8:12] = [10, 0, 5 * math.log(2), 0]
    two = replace(SMALL, proposals=1)
    assert two.detections(given, weights)[0].boxes == pytest.approx(np.array([[12, 8, 16, 8]]), abs=1e-4)
    bias[8] = 100
    assert len(two.detections(given, weights)[0].boxes) == 0


def test_values_that_are_not_finite_and_other_shapes_are_refused() -> None:
    given = answer()
    given[0, 3, 2] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        SMALL.detections(given, second())
    with pytest.raises(ValueError, match=r"\(65, 6\) for each image, not \(64, 6\)"):
        SMALL.detections(answer()[:, 1:], second())


def test_weights_and_description_are_stored_and_read(tmp_path: Path) -> None:
    np.savez(tmp_path / FILE, allow_pickle=False, **second().arrays())
    for found in (SecondStage.read(tmp_path), SecondStage.read(tmp_path / FILE)):
        assert all((one == found.arrays()[name]).all() for name, one in second().arrays().items())
    assert codec.decode(TwoStage, codec.encode(SMALL)) == SMALL
