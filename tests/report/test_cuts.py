"""What is said of a cut that was found by a clock."""

from __future__ import annotations

from typing import Any

import pytest

from edgeresnet.report import cuts, view

from . import runs

pytestmark = pytest.mark.unit


CUT: dict[str, Any] = {"macs": [2e6, 1e6], "params": [2e5, 1e5]}


def said(speedup: dict[str, Any]) -> list[str]:
    return [sentence for sentence, _ in cuts.curves(CUT | {"speedup": speedup})]


def test_what_is_not_sure_is_not_said() -> None:
    """Where times waver, the next milder cut may never have been measured."""
    (sentence,) = said({**runs.speedup(), "milder": None, "sure": False})
    assert "times waver too much" in sentence
    assert "the mildest cut there is" not in sentence
    assert "the mildest cut there is reaches it" in said({**runs.speedup(), "milder": None})[0]


def test_a_milder_cut_that_may_reach_the_goal_as_well_is_not_said_to_miss_it() -> None:
    """By its interval, and not by the one number alone."""
    found = runs.speedup()
    for high, words in ((1.5, "the next milder cut does not reach it"), (1.7, "but not beyond doubt"), (None, "doubt")):
        found["curve"][1]["targets"]["openvino"]["high"] = high
        (sentence,) = said(found)
        assert words in sentence


def test_a_milder_cut_that_misses_another_targets_goal_is_said_to() -> None:
    found = runs.speedup()
    found["goals"] |= {"onnxruntime": 1.3}
    found["ships"] |= {"onnxruntime": "int8"}
    for row in found["curve"]:
        row["targets"]["onnxruntime"] = dict(row["targets"]["openvino"])
    found["curve"][1]["targets"]["openvino"] |= {"times": 1.66, "high": 1.7}
    found["curve"][1]["targets"]["onnxruntime"] |= {"times": 1.2, "high": 1.25}
    openvino, onnxruntime = said(found)
    assert "the next milder cut reaches it, too, 1.660 times as fast, but not every target's goal" in openvino
    assert "the next milder cut does not reach it" in onnxruntime


def test_narrower_steps_are_said() -> None:
    notes = CUT | {"ratio": 0.3, "importance": "l2", "multiple": 16}
    assert cuts.sentence(notes | {"finest": 16}).endswith("in widths of 16")
    assert cuts.sentence(notes | {"finest": 8}).endswith("in widths of 16, of 8 where layers are narrow")


def test_a_measured_curve_is_no_word_of_what_was_not_measured() -> None:
    run = runs.run(results={})
    assert "was not measured" not in view.of(run).cuts[0][0]
    run["steps"][1]["notes"]["speedup"] = None
    assert "how many milliseconds that is was not measured" in view.of(run).cuts[0][0]


def test_fewer_multiplications_that_are_no_faster_are_said_in_words() -> None:
    row = {"target": "openvino", "as": "pruned", "macs": 0.8, "params": 0.8, "p50_ms": 2.0, "times": 0.93}
    (told,) = cuts.slower([{**row, "low": 0.91, "high": 0.95}])
    assert told.startswith("openvino: pruned, in FP32, it is no faster: 80.0 % of the multiplications, 0.930 times as")
    assert cuts.slower([{**row, "low": 0.91, "high": 1.05}, {**row, "as": "int8", "low": 0.9, "high": 0.95}]) == []


def test_a_harder_cut_that_is_slower_than_none_is_named_too() -> None:
    found = runs.speedup()
    found["curve"].append({**found["curve"][-1], "part": 0.3, "macs": 6e5})
    found["curve"][-1]["targets"] = {"openvino": {**found["curve"][-1]["targets"]["openvino"], "times": 0.9}}
    (sentence,) = said(found)
    assert "no faster than the whole network, and not chosen: 0.9, 0.3 of the multiplications" in sentence
