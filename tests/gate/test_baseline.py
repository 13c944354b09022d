"""The baseline's file: small, readable, the same bytes again, and refused where it is not as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeresnet import gate
from edgeresnet.errors import EdgeresnetError
from edgeresnet.gate import record

from . import runs

pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gate.json"
    path.write_text(gate.text(gate.of(runs.run(), gate.Margins())))
    return path


def edited(path: Path, change: Any) -> Path:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    return path


def test_it_is_read_as_it_was_written_and_written_the_same_again(file: Path) -> None:
    found = gate.read(file)
    assert found == gate.of(runs.run(), gate.Margins())
    assert gate.text(found) == file.read_text()
    assert len(file.read_text()) < 6000, "two targets of 2,000 images"
    assert max(map(len, file.read_text().splitlines())) < 1000


def test_spaces_inside_of_what_a_recipe_says_stay(file: Path) -> None:
    document = runs.run()
    document["recipe"]["quantize"] = {"exclude": ["a  b", "c\u00a0d"]}
    file.write_text(gate.text(gate.of(document, gate.Margins())))
    assert gate.read(file)["recipe"]["quantize"]["exclude"] == ["a  b", "c\u00a0d"]


def test_a_margin_that_is_left_out_is_the_usual_one_and_gates(file: Path) -> None:
    edited(file, lambda found: found.update(margins={}))
    found = gate.gate(runs.run(runs.result("openvino", predicted=runs.wrong_for(0.2)), runs.result("onnxruntime")),
                      gate.read(file), now=runs.NOW + 600)  # fmt: skip
    assert found["margins"]["max_loss_pp"] == gate.Margins().max_loss_pp
    assert found["verdict"] == "BROKEN"


def test_other_spaces_are_no_other_baseline(file: Path) -> None:
    found = edited(file, lambda _: None)
    assert gate.read(found)["run"] == runs.run()["id"]


@pytest.mark.parametrize("classes", [2, 10, 300])
def test_answers_come_back_as_they_were(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels, predicted = rng.integers(0, classes, 500), rng.integers(0, classes, 500)
    text = record.packed(predicted, labels, classes)
    assert (record.unpacked(text, labels, classes) == predicted).all()


@pytest.mark.parametrize(
    ("margins", "words"),
    [
        ({"max_loss_pp": 0.25, "max_slowdown_pct": None}, ""),
        ({"max_loss_pp": -1}, "max_loss_pp is -1"),
        ({"max_loss_pp": "1"}, "max_loss_pp is '1'"),
        ({"max_loss_pp": True}, "max_loss_pp is True"),
        ({"max_loss_pp": float("nan")}, "max_loss_pp is nan"),
        ({"max_slowdown_pct": float("inf")}, "max_slowdown_pct is inf"),
        ({"max_los_pp": 1}, "margins are"),
        (None, "margins are None"),
    ],
)
def test_margins_may_be_edited_by_hand_if_they_are_numbers(file: Path, margins: Any, words: str) -> None:
    edited(file, lambda found: found.update(margins=margins))
    if words:
        with pytest.raises(EdgeresnetError, match=words):
            gate.read(file)
    else:
        assert gate.read(file)["margins"] == margins


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["targets"]["openvino"]["top1"].update(right=1),
        lambda found: found["targets"]["openvino"].update(answers="eJw="),
        lambda found: found["targets"]["openvino"]["times"]["half"].update(processes=[9.0] * 5),
        lambda found: found["targets"]["openvino"].update(size_mb=float("nan")),
        lambda found: found["targets"].pop("openvino"),
        lambda found: found["images"].update(digest="0" * 64),
        lambda found: found.pop("digest"),
    ],
)
def test_what_was_measured_may_not_be_edited(file: Path, change: Any) -> None:
    edited(file, change)
    with pytest.raises(EdgeresnetError, match="was changed after it was written") as caught:
        gate.read(file)
    assert "its margins alone may be edited" in caught.value.hint


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (None, "there is no baseline"),
        ("", "is no baseline: it is empty"),
        ("{", "it is not JSON, line 1"),
        ("<<<<<<< HEAD\n{}", "it is not JSON, line 1"),
        ("[]", "it has no edgeresnet_gate"),
        ("{}", "it has no edgeresnet_gate"),
        ('{"edgeresnet_gate": 4}', "by a newer edgeresnet: its format is 4, this program reads 3"),
        ('{"edgeresnet_gate": 1}', "by an older edgeresnet"),
    ],
)
def test_what_is_no_baseline_is_said_in_a_line(tmp_path: Path, written: str | None, words: str) -> None:
    path = tmp_path / "gate.json"
    if written is not None:
        path.write_text(written)
    with pytest.raises(EdgeresnetError, match=words) as caught:
        gate.read(path)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message


def _absent(document: dict[str, Any]) -> None:
    document["results"]["openvino"] = {"target": "openvino", "reason": "is not here: no driver", "hint": ""}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(problem={"message": "the disk is full", "hint": ""}), "it ended early: the disk is full"),
        (lambda d: d.update(results={}), "it has no target"),
        (_absent, "openvino: is not here: no driver"),
        (lambda d: d["results"]["openvino"].update(labels=None), "openvino: no image has a label"),
        (lambda d: d["results"]["openvino"]["yardstick"].update(latency=None), "yardstick: its latency was not"),
        (lambda d: d["results"]["openvino"]["variants"]["int8"].update(latency=None), "its latency was not measured"),
        (lambda d: d["results"]["openvino"].update(images="o" * 64), "asked about different images"),
        (lambda d: d["results"]["openvino"].update(images=None), "an older edgeresnet"),
    ],
)
def test_a_run_with_something_missing_is_no_baseline(change: Any, words: str) -> None:
    document = runs.run()
    change(document)
    with pytest.raises(EdgeresnetError, match=words):
        gate.of(document, gate.Margins())


def test_margins_of_an_older_format_stay_and_of_a_newer_one_are_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    path.write_text('{"edgeresnet_gate": 1, "margins": {"max_loss_pp": 0.3}}')
    assert gate.margins_of(path).max_loss_pp == 0.3
    with pytest.raises(EdgeresnetError, match="by an older edgeresnet") as told:
        gate.read(path)
    assert "an older file's margins stay" in told.value.hint
    path.write_text('{"edgeresnet_gate": 99, "margins": {"max_loss_pp": 0.3}}')
    with pytest.raises(EdgeresnetError, match="by a newer edgeresnet"):
        gate.margins_of(path)


def test_answers_no_better_than_chance_have_nothing_to_lose() -> None:
    predicted = np.random.default_rng(5).permutation(runs.EXPECTED)
    with pytest.raises(EdgeresnetError, match="better than chance"):
        gate.of(runs.run(runs.result("openvino", predicted=predicted)), gate.Margins())


def test_a_reviewer_is_told_where_it_is_too_weak_to_decide() -> None:
    def short_and_busy(result: dict[str, Any]) -> None:
        for raw in (result["yardstick"]["latency"], *(one["latency"] for one in result["variants"].values())):
            raw["processes"] = raw["processes"][:1]
            raw["processes"][0]["others_cpus"] = [2.0, 2.0]

    found = gate.remarks(gate.of(runs.altered(runs.run(), short_and_busy), gate.Margins(max_loss_pp=0.1)))
    assert found[0].startswith("openvino int8: 89.")
    assert "openvino: other programs kept 2.0 CPUs busy meanwhile, and so the times in it are noisy" in found
    assert any("one process does not show" in sentence for sentence in found)
    assert any("onnxruntime: 5 processes leave some slow-downs" in sentence for sentence in found)
    assert "max_loss_pp 0.1 is finer than 2000 images can decide" in found[-1]
