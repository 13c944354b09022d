"""What a detector's outputs mean, of one stage and of two, as a task reads them."""

from __future__ import annotations

import numpy as np
import pytest

from edgeresnet.portable import codec
from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.portable.tasks.task import Outputs
from edgeresnet.portable.tasks.two_stage import AnyDetector, SecondStage, TwoStage

pytestmark = pytest.mark.unit

ONE = Detector(32, 3, (2, 1), ((8,), (16,)), (1.0,))
TWO = TwoStage(32, 3, (8, 1), ((8.0,), (32.0,)), (1.0,), features=2, cells=1)


def weights() -> SecondStage:
    def layer(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((inputs, outputs), np.float32), np.zeros(outputs, np.float32)

    return SecondStage((layer(2, 2), layer(2, 2)), layer(2, 3), layer(2, 12))


@pytest.mark.parametrize("outputs", [Outputs("detection", 3, 32, ONE), Outputs("detection", 3, 32, TWO, weights())])
def test_boxes_and_some_rows_of_an_answer_are_kept(outputs: Outputs) -> None:
    assert outputs.detector is not None
    found = outputs.kept(np.zeros((2, outputs.detector.rows, outputs.detector.columns), np.float32))
    assert len(found) == 2
    assert all(len(each.boxes) for each in found.found)
    assert found.sampled.shape == (2, outputs.detector.rows, outputs.detector.columns)
    assert outputs.batch(256) == 256


def test_answers_of_many_numbers_are_kept_in_few_rows_and_inferred_one_by_one() -> None:
    large = TwoStage(800, 91, (200, 100, 50, 25, 13), ((32.0,),) * 5, (0.5, 1.0, 2.0))
    outputs = Outputs("detection", 91, 800, large)
    assert outputs.batch(256) == 1
    assert (large.rows, large.columns) == (53294, 271)


def test_json_distinguishes_detectors_of_one_stage_and_of_two() -> None:
    for each in (ONE, TWO):
        assert codec.decode(AnyDetector, codec.encode(each)) == each
