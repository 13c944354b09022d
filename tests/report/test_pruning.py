"""What is reported of a pruning, and of a cut that was found by a clock."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgeresnet.notes import PruneNotes, RecoverNotes
from edgeresnet.portable import codec
from edgeresnet.portable.times import Ratio
from edgeresnet.report import summary

from . import runs

pytestmark = pytest.mark.unit


def notes(**changes: Any) -> PruneNotes:
    return codec.decode(PruneNotes, runs.pruning(**changes))


def sentences(speedup: dict[str, Any]) -> list[str]:
    return [each.sentence for each in summary.cut_searches(notes(speedup=speedup))]


def test_what_is_not_sure_is_not_claimed() -> None:
    """Where times vary, the next milder cut may never have been measured."""
    (sentence,) = sentences({**runs.speedup(), "milder": None, "sure": False})
    assert "times vary too much" in sentence
    assert "the mildest possible cut" not in sentence
    assert "the mildest possible cut reaches it" in sentences({**runs.speedup(), "milder": None})[0]


def test_a_milder_cut_that_may_reach_the_goal_as_well_does_not_miss_it() -> None:
    """By its interval, and not by the one number alone."""
    found = runs.speedup()
    for high, words in (
        (1.5, "the next milder cut misses it"),
        (1.7, "but within the noise"),
        (None, "within the noise"),
    ):
        found["curve"][1]["targets"]["openvino"]["high"] = high
        (sentence,) = sentences(found)
        assert words in sentence


def test_a_milder_cut_that_misses_another_targets_goal_is_reported_so() -> None:
    found = runs.speedup()
    found["goals"] |= {"onnxruntime": 1.3}
    found["ships"] |= {"onnxruntime": "int8"}
    for row in found["curve"]:
        row["targets"]["onnxruntime"] = dict(row["targets"]["openvino"])
    found["curve"][1]["targets"]["openvino"] |= {"times": 1.66, "high": 1.7}
    found["curve"][1]["targets"]["onnxruntime"] |= {"times": 1.2, "high": 1.25}
    openvino, onnxruntime = sentences(found)
    assert "the next milder cut also reaches it (1.660 times as fast), but misses another target's goal" in openvino
    assert "the next milder cut misses it" in onnxruntime


def test_a_harder_cut_that_is_slower_than_none_is_named_too() -> None:
    found = runs.speedup()
    found["curve"].append({**found["curve"][-1], "part": 0.3, "macs": 600_000})
    found["curve"][-1]["targets"] = {"openvino": {**found["curve"][-1]["targets"]["openvino"], "times": 0.9}}
    (sentence,) = sentences(found)
    assert "not faster than the unpruned network: cuts to 0.9, 0.3 of the multiplications" in sentence


def test_narrower_steps_are_named() -> None:
    assert summary.pruned_sentence(notes(multiple=16, finest=16)).endswith("to widths in multiples of 16")
    narrow = summary.pruned_sentence(notes(multiple=16, finest=8))
    assert narrow.endswith("to widths in multiples of 16, of 8 where layers are narrow")


def test_times_that_were_measured_are_not_reported_as_missing() -> None:
    document = runs.document(results={})
    found = summary.of(runs.decoded(document)).pruning
    assert found is not None
    assert "was not measured" not in found.sentence
    document["steps"][1]["notes"]["speedup"] = None
    found = summary.of(runs.decoded(document)).pruning
    assert found is not None
    assert "the effect on latency was not measured" in found.sentence


def test_fewer_multiplications_that_are_not_faster_get_a_sentence() -> None:
    slower = summary.Remaining("openvino", "pruned", 0.8, 0.8, 2.0, Ratio(0.93, 0.91, 0.95))
    (sentence,) = summary.slower_sentences([slower])
    assert sentence == (
        "openvino: the pruned FP32 network is not faster (0.930 times as fast, 95 % interval 0.910 to 0.950), with "
        "80.0 % of the multiplications"
    )
    unsure = dataclasses.replace(slower, ratio=Ratio(0.93, 0.91, 1.05))
    int8 = dataclasses.replace(slower, variant="int8")
    assert summary.slower_sentences([unsure, int8]) == []


@pytest.mark.parametrize(
    ("learned", "words"),
    [
        ({"best_epoch": 3, "epochs": 5, "validation_top1": 0.88}, "statistics, 88.00 % after epoch 3 of 5"),
        ({"best_epoch": 0, "epochs": 1, "validation_top1": 0.6}, "statistics, not better after 1 epoch of training"),
        ({"best_epoch": 0, "epochs": 0, "validation_top1": 0.6}, "60.00 % with new batch statistics"),
        ({"best_epoch": 0, "epochs": 0, "enough": True}, "statistics, which is enough: no training followed"),
    ],
)
def test_what_came_back_after_pruning_is_one_sentence(learned: dict[str, Any], words: str) -> None:
    before = {"validation_images": 200, "dense_top1": 0.9, "pruned_top1": 0.3, "statistics_top1": 0.6}
    sentence = summary.recovery_sentence(codec.decode(RecoverNotes, runs.recovery(**before, **learned)))
    assert sentence.startswith(
        "top-1 of 200 validation images: 90.00 % before pruning, 30.00 % after it, 60.00 % with new batch statistics"
    )
    assert words in sentence
