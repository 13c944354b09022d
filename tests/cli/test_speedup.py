"""A goal in milliseconds on the command line: all is real but for the times, which are scripted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from edgeresnet import models
from edgeresnet.models import checkpoint
from edgeresnet.pipeline import measuring
from edgeresnet.portable import machine
from edgeresnet.portable.session import Availability
from edgeresnet.report import summary
from edgeresnet.targets import openvino

from ..tune.timing import Clock
from .conftest import Command, err_of, expect, out_of

ABOUT = ("--size", 8, "--mean", 0.305, "--std", 0.376, "--arch", "cifar_resnet8", "--classes", 10)
ASKED = ("prune", "w.safetensors", *ABOUT, "--output", "p.safetensors")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace tracing, compiling and timing of cuts: a part of the weights takes that part of the time."""
    found = Clock(openvino=lambda part: 1 / part)
    monkeypatch.setattr(measuring.Measuring, "__call__", lambda self, networks, **plan: found(networks, **plan))
    return found


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    checkpoint.write(models.build("cifar_resnet8", 10, 1), tmp_path / "w.safetensors", {})
    return tmp_path / "w.safetensors"


def test_a_network_is_pruned_until_it_is_fast_enough(command: Command, weights: Path, clock: Clock) -> None:
    out, _ = expect(0, command(*ASKED, "--speedup", "openvino=1.5", "--save-recipe", "r.yaml"))
    assert "million multiplications stay" in out
    words = " ".join(out.split())
    assert "openvino, FP32: the goal is 1.5 times as fast as the unpruned network" in words
    assert "the next milder cut misses it; both were measured again in fresh processes" in words
    rows = out[out.index("MACs %") :].split("\n\n")[0].splitlines()
    assert rows[0].split()[:6] == " ".join(summary.cut_columns("top-1")[:3]).split()
    assert [row.rstrip().endswith("chosen") for row in rows].count(True) == 1
    assert any(row.rstrip().endswith("next milder") for row in rows)
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "was not measured" not in out
    pruned, before = load_file("p.safetensors"), load_file("w.safetensors")
    assert sum(each.numel() for each in pruned.values()) < 0.7 * sum(each.numel() for each in before.values())
    calls = len(clock.calls)
    code, _, err = command("run", "r.yaml")  # the same recipe: nothing is left to be pruned or timed
    assert code == 4, err  # without evaluation images nothing is known of the target
    assert len(clock.calls) == calls


def test_json_has_the_curve_in_numbers_and_the_same_cut_can_be_asked_for(
    command: Command, weights: Path, clock: Clock
) -> None:
    images = ("--evaluation", "digits", "--set", "images.evaluation.count=100")
    out, _ = expect(0, command(*ASKED, "--speedup", "openvino=1.5", *images, "--json"))
    found = json.loads(out)["speedup"]
    chosen = found["curve"][found["chosen"]]
    assert found["goals"] == {"openvino": 1.5}
    assert chosen["targets"]["openvino"]["times"] >= 1.5
    assert all({"macs", "params", "ratio", "part"} <= row.keys() for row in found["curve"])
    assert all({"ms", "whole_ms", "low", "high"} <= row["targets"]["openvino"].keys() for row in found["curve"])
    assert found["images"] == 100
    assert 0 <= chosen["top1"] <= 1
    again = (*ASKED[:-1], "again.safetensors", "--macs", chosen["part"], "--multiple", 16, "--json", "-q")
    assert json.loads(out_of(0, command(*again)))["macs"][1] == chosen["macs"]


RECIPE = """
version: 1
model: {checkpoint: w.safetensors, arch: cifar_resnet8, classes: 10}
preprocessing: {size: 8, mean: [0.305], std: [0.376]}
images:
  training: {from: digits, count: 60}
  evaluation: {from: digits, count: 60}
  calibration: {from: training, count: 20}
prune: {speedup: {openvino: 1.4}}
quantize: {}
verify: {processes: 2, seconds: 0.2}
targets: {openvino: {}}
"""


@pytest.mark.slow
def test_a_run_shows_multiplications_with_milliseconds_in_every_format(
    command: Command, weights: Path, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE)  # the clock stands for the search alone: a run's own times are real
    code, out, err = command("run", "r.yaml")
    assert code == 0, err
    code, out, _ = command("report", "--notes")
    words = " ".join(out.split())
    assert "prune: " in out
    assert "openvino, INT8: the goal is 1.4 times as fast as the unpruned network" in words
    table = out[out.index("target    as      MACs %") :].split("\n\n")[0].splitlines()
    shown = {row.split()[1]: row.split()[2] for row in table[1:] if row.split()[0] == "openvino"}
    half = ["half"] if machine.has_bf16() else []
    assert list(shown) == ["fp32", "pruned", *half, "int8"]
    assert [name for name, part in shown.items() if part == "100.0"] == ["fp32"]
    code, out, _ = command("report", "--format", "md")
    assert "## Pruning" in out
    assert "| target | as | MACs % | params % | p50 ms | times fp32 (95 %) |" in out
    assert "| " + " | ".join(summary.cut_columns("top-1")) + " |" in out
    code, out, _ = command("report", "--format", "json")
    notes = next(step["notes"] for step in json.loads(out)["steps"] if step["id"] == "prune")
    assert notes["speedup"]["ships"] == {"openvino": "int8"}
    assert notes["speedup"]["images"] == 60
    code, _, err = command("run", "r.yaml")
    assert "nothing to do" in err


@pytest.mark.slow
def test_other_goals_are_shown_with_milliseconds_where_there_are_images(command: Command, weights: Path) -> None:
    few = ("--set", "images.evaluation.count=60", "--set", "verify.processes=2", "--set", "verify.seconds=0.2")
    asked: tuple[object, ...] = (*ASKED, "--macs", 0.6, "--multiple", 8)
    out, _ = expect(0, command(*asked))
    unseen = load_file("p.safetensors")
    assert "the effect on latency was not measured" in " ".join(out.split())
    asked = (*asked, "--evaluation", "digits", *few)
    out, _ = expect(0, command(*asked, "--set", "targets.onnxruntime={}", "--json", "--save-recipe", "r.yaml"))
    seen = load_file("p.safetensors")
    assert all(seen[name].equal(each) for name, each in unseen.items()), "what is cut does not depend on what is known"
    assert {each["target"] for each in json.loads(out)["times"]} == {"onnxruntime"}, "nothing is added to --set"
    assert yaml.safe_load(Path("r.yaml").read_text())["targets"] == {"onnxruntime": {}}
    out, _ = expect(0, command(*asked, "--target", "onnxruntime"))
    assert "was not measured" not in out
    table = out[out.index("target       as      MACs %") :].split("\n\n")[0].splitlines()
    assert [row.split()[:2] for row in table[1:]] == [["onnxruntime", "fp32"], ["onnxruntime", "pruned"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "target", "multiple"),
    [((), "openvino", True), (("--set", "targets.onnxruntime={}"), "onnxruntime", False)],
)
def test_without_a_target_openvino_is_timed_and_nothing_is_added_to_set(
    command: Command, weights: Path, more: tuple[str, ...], target: str, multiple: bool
) -> None:
    few = ("--set", "images.evaluation.count=60", "--set", "verify.processes=2", "--set", "verify.seconds=0.2")
    asked = (*ASKED, "--macs", 0.6, "--evaluation", "digits", *few, *more)
    code, out, err = command(*asked, "--json", "--save-recipe", "r.yaml")
    assert code == 0, err
    assert {each["target"] for each in json.loads(out)["times"]} == {target}
    assert ("multiple" in Path("r.yaml").read_text()) is multiple


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--speedup", "openvino"), "--speedup 'openvino' must be TARGET=TIMES"),
        (("--speedup", "openvino=fast"), "--speedup 'openvino=fast' must be TARGET=TIMES"),
        (("--speedup", "openvino=0.9"), "prune.speedup.openvino: input should be greater than 1"),
        (("--speedup", "openvino=nan"), "prune.speedup.openvino: input should be"),
        (("--speedup", "openvin=2"), "openvin"),
        (("--speedup", "openvino=1.5", "--macs", 0.5), "not 2"),
        (("--speedup", "openvino=1.5", "--set", "targets.openvino.where=bundle"), "targets.openvino is on a device"),
    ],
)
def test_mistakes_are_reported(arguments: tuple, words: str, command: Command, weights: Path, clock: Clock) -> None:
    out, err = expect(2, command(*ASKED, *arguments))
    assert (out, words in err) == ("", True), err
    assert clock.calls == []


def test_a_target_that_is_not_available_or_not_in_the_recipe_is_reported(
    command: Command, weights: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("r.yaml").write_text(RECIPE.replace("targets: {openvino: {}}", "targets: {onnxruntime: {}}"))
    assert "prune.speedup.openvino is not a target of this recipe" in err_of(2, command("check", "r.yaml"))
    absent = Availability(False, "cannot import openvino", hint="pip install openvino")
    monkeypatch.setattr(openvino.OpenVino, "available", lambda self, options=None: absent)
    _, err = expect(4, command(*ASKED, "--speedup", "openvino=1.5"))
    assert "prune.speedup.openvino: OpenVINO is not available: cannot import openvino" in err
    assert "pip install openvino" in err


def test_a_goal_out_of_reach_reports_how_far_it_goes(command: Command, weights: Path, clock: Clock) -> None:
    out, err = expect(2, command(*ASKED, "--speedup", "openvino=50"))
    assert out == ""
    assert "prune.speedup openvino 50 cannot be reached: " in err
    assert "remaining MACs and how many times as fast: " in err
    calls = len(clock.calls)
    expect(2, command(*ASKED, "--speedup", "openvino=50"))
    assert len(clock.calls) == calls, "what was measured is known the second time"
