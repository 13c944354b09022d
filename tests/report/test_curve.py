"""What came back after pruning, in one sentence: whatever happened, it is said as it was."""

from __future__ import annotations

import pytest

from edgeresnet.report import curve

pytestmark = pytest.mark.unit

CUT = {"validation_images": 200, "dense_top1": 0.9, "pruned_top1": 0.3, "statistics_top1": 0.6}


@pytest.mark.parametrize(
    ("learned", "said"),
    [
        ({"best_epoch": 3, "epochs": 5, "validation_top1": 0.88}, "anew, 88.00 % after epoch 3 of 5; 90.00 % before"),
        ({"best_epoch": 0, "epochs": 1, "validation_top1": 0.6}, "anew, no better after 1 epoch of learning; 90.00 %"),
        ({"best_epoch": 0, "epochs": 0, "validation_top1": 0.6}, "60.00 % with statistics measured anew; 90.00 %"),
    ],
)
def test_what_came_back_is_said(learned: dict, said: str) -> None:
    sentence = curve.recovery({**CUT, **learned})
    assert sentence.startswith("200 validation images: 30.00 % right as it was cut, 60.00 % with statistics")
    assert said in sentence
