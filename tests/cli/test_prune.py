"""The door `prune`: weights in, the weights of a narrower network out, that every other door takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from edgeresnet import models
from edgeresnet.models import checkpoint
from edgeresnet.portable import machine

from .conftest import Door, left
from .deployed import deployed_here

DIGITS = ("--size", 8, "--mean", 0.305, "--std", 0.376)
SOME = ("--training", "digits", "--set", "images.training={from: digits, count: 300}")
QUICK = ("--set", "verify.processes=2", "--set", "verify.seconds=0.5")
OUTPUT = ("--output", "p.safetensors")


@pytest.fixture
def given(door: Door, trained: tuple, tmp_path: Path) -> Path:
    """Weights that know the digits."""
    path = next(step["path"] for step in trained[1]["steps"] if step["id"] == "train")
    (tmp_path / "w.safetensors").write_bytes((Path(path) / checkpoint.FILE).read_bytes())
    return tmp_path / "w.safetensors"


def test_what_is_written_is_an_ordinary_checkpoint(door: Door, given: Path) -> None:
    asked = ("prune", "w.safetensors", "--macs", 0.6, *SOME, "--evaluation", "digits", "--recover-epochs", 2)
    learn = ("--recover-rate", 0.01, "--recover-rounds", 2, "--recover-minutes", 9, "--flip", "--shift", 1)
    out, err = left(0, door(*asked, *learn, *OUTPUT, *QUICK, "--save-recipe", "again.yaml"))
    recover = {"epochs": 2, "rounds": 2, "minutes": 9.0, "rate": 0.01, "augment": {"flip": True, "shift": 1}}
    assert yaml.safe_load(Path("again.yaml").read_text())["recover"] == recover
    assert "taken from w.safetensors itself" in err
    assert "cifar_resnet8: " in out
    assert "million multiplications stay" in out
    assert "% right as it was cut" in out
    assert "evaluation: " in out
    rows = out[out.index("target ") :].split("\n\n")[0].splitlines()  # multiplications beside milliseconds
    half = [["openvino", "half"]] if machine.has_bf16() else []
    assert [row.split()[:2] for row in rows] == [["target", "as"], ["openvino", "fp32"], ["openvino", "pruned"], *half]
    assert "was not measured" not in out
    assert all(len(line) <= 80 for line in out.splitlines())
    narrow, whole = load_file("p.safetensors"), load_file("w.safetensors")
    assert sum(value.numel() for value in narrow.values()) < 0.8 * sum(value.numel() for value in whole.values())
    out, _ = left(0, door("inspect", "p.safetensors"))
    assert "pruned to" in out
    assert "cifar_resnet8 (the file says so itself)" in out
    assert "wants size 8" in " ".join(out.split())
    left(0, door("train", "p.safetensors", *SOME, "--epochs", 1, "--output", "t.safetensors"))
    again = {key: value.shape for key, value in load_file("t.safetensors").items()}
    assert again == {key: value.shape for key, value in narrow.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("train", "p.safetensors", *SOME, "--epochs", 1, "--head", "new", "--output", "n.safetensors"),
        ("prune", "p.safetensors", "--macs", 0.8, "--output", "twice.safetensors"),
        ("export", "p.safetensors", "--evaluation", "digits", "--output", "f.onnx"),
        ("quantize", "p.safetensors", "--calibration", "digits", "--target", "openvino", "--output", "i.onnx"),
    ],
    ids=lambda command: command[0],
)
def test_every_command_takes_it(door: Door, given: Path, command: tuple[object, ...]) -> None:
    assert door("prune", "w.safetensors", "--macs", 0.6, *OUTPUT, "-q")[0] == 0
    code, _, err = door(*command)
    assert code == 0, err


def test_without_images_it_is_cut_and_that_is_all(door: Door, given: Path) -> None:
    out, _ = left(0, door("prune", "w.safetensors", "--ratio", 0.2, *OUTPUT, "--json", "-q"))
    found = json.loads(out)
    assert found["ratio"] >= 0.2
    assert found["macs"][1] < found["macs"][0]
    assert found["recovered"] is None
    assert found["evaluation"] is None
    assert {name: now for name, (_, now) in found["widths"].items()}["conv1"] <= 16


def test_what_is_cut_from_a_bare_file_says_how_its_images_are_prepared(door: Door, given: Path, tmp_path: Path) -> None:
    import torch

    torch.save(load_file("w.safetensors"), tmp_path / "bare.pth")
    left(0, door("prune", "bare.pth", "--arch", "cifar_resnet8", *DIGITS, "--macs", 0.7, *OUTPUT, "-q"))
    asked = ("verify", "p.safetensors", "--evaluation", "digits", "--target", "onnxruntime", "--json", "-q")
    code, out, err = door(*asked)
    assert code in (0, 4), err
    assert "needs --size" not in err
    assert json.loads(out)["recipe"]["preprocessing"]["mean"] == [0.305]


def test_statistics_alone_take_no_learning(door: Door, given: Path) -> None:
    asked = ("prune", "w.safetensors", "--macs", 0.7, *SOME, "--recover-epochs", 0, *OUTPUT, "--json", "-q")
    out, _ = left(0, door(*asked))
    found = json.loads(out)["recovered"]
    assert (found["epochs"], found["rounds"], found["history"]) == (0, 0, [])
    assert found["validation_top1"] == max(found["pruned_top1"], found["statistics_top1"])


@pytest.mark.parametrize("importance", ["l1", "bn", "taylor"])
def test_other_importance(importance: str, door: Door, given: Path) -> None:
    more = SOME if importance == "taylor" else ()
    asked = ("prune", "w.safetensors", "--params", 0.7, "--importance", importance, *more, "--json", "-q", *OUTPUT)
    out, _ = left(0, door(*asked, *(("--recover-epochs", 0) if more else ())))
    found = json.loads(out)
    assert found["importance"] == importance
    assert found["params"][1] <= 0.7 * found["params"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("w.safetensors", *OUTPUT), "give one goal of macs, params, ratio, speedup"),
        (
            ("w.safetensors", "--macs", 0.5, "--ratio", 0.5, *OUTPUT),
            "give one goal of macs, params, ratio, speedup, not 2",
        ),
        (("w.safetensors", "--macs", 0.5), "--output is missing"),
        (("w.safetensors", "--macs", 0.001, *OUTPUT), "prune.macs 0.001 cannot be reached"),
        (("w.safetensors", "--macs", 0.5, "--recover-epochs", 1, *OUTPUT), "--recover-epochs needs --training too"),
        (("w.safetensors", "--macs", 0.5, "--recover-minutes", 1, *OUTPUT), "--recover-minutes needs --training too"),
        (("w.safetensors", "--macs", 0.5, "--importance", "taylor", *OUTPUT), "taylor asks the loss"),
        (("net.onnx", "--macs", 0.5, *OUTPUT), "pruning needs the trainable network"),
        (("gone.pth", *DIGITS, "--macs", 0.5, *OUTPUT), "there is no checkpoint gone.pth"),
    ],
)
def test_what_is_wrong_is_told(arguments: tuple, said: str, door: Door, given: Path, net: Path) -> None:
    out, err = left(2, door("prune", *arguments))
    assert (out, said in err) == ("", True), err


def test_a_recipe_measures_what_fewer_channels_bring(door: Door, tmp_path: Path, given: Path) -> None:
    (tmp_path / "r.yaml").write_text("""
version: 1
model: {checkpoint: w.safetensors}
preprocessing: {size: 8, mean: [0.305], std: [0.376]}
images: {training: {from: digits, count: 300}, evaluation: digits, calibration: {from: training, count: 60}}
prune: {macs: 0.6}
recover: {epochs: 1, rate: 0.01}
quantize: {}
verify: {processes: 2, seconds: 0.5}
targets: {onnxruntime: {}, tensorrt: {where: bundle, precision: fp32}}
promises: {max_drop_pp: 60}
""")
    out, _ = left(0, door("run", "r.yaml"))
    assert "onnxruntime  pruned" in out
    assert "recover: 30 validation images: " in out
    assert "onnxruntime pruned: " in out
    assert "times as fast as fp32" in out
    _, out, _ = door("report", "--format", "json")
    run = json.loads(out)
    variants = run["results"]["onnxruntime"]["variants"]
    assert list(variants) == ["fp32", "pruned", "int8"]
    assert variants["fp32"]["accuracy"]["agree"] == 450  # the network before is what all is held against
    written, compiled = run["results"]["onnxruntime"]["as_written"], variants["int8"]["against_pruned"]
    assert written["sqnr_db"] == pytest.approx(compiled["sqnr_db"], abs=3)
    assert variants["pruned"]["size_mb"] < variants["fp32"]["size_mb"]
    bundle = next(step["path"] for step in run["steps"] if step["id"] == "export:tensorrt")
    about = json.loads((Path(bundle) / "bundle" / "bundle.json").read_text())
    assert about["candidate"] == "pruned"
    assert list(about["variants"]) == ["fp32", "pruned", "half"]


@pytest.mark.slow
def test_a_pruned_network_that_comes_home_is_told_as_one_here(
    door: Door, tmp_path: Path, given: Path, standin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text("""
version: 1
model: {checkpoint: w.safetensors}
preprocessing: {size: 8, mean: [0.305], std: [0.376]}
images: {training: digits, evaluation: digits, calibration: {from: training, count: 60}}
prune: {macs: 0.6, multiple: 8}
quantize: {}
targets: {tensorrt: {where: bundle}}
""")
    code, _, err = door("run", "r.yaml")
    assert code == 0, err
    code, out, _ = door("report", "--format", "json")
    bundle = next(Path(step["path"]) for step in json.loads(out)["steps"] if step["id"] == "export:tensorrt")
    shutil.copytree(bundle / "bundle", tmp_path / "there")
    standin(version="10.3.0")
    code, _, err = deployed_here(capsys, tmp_path / "there", "--processes", "2", "--seconds", "0.5")
    assert code == 0, err
    code, out, err = door("verify", "--from", tmp_path / "there" / "result.json")
    assert code == 0, err
    told = " ".join(out.split())
    assert "was not measured" not in told
    rows = out[out.index("MACs %") :].split("\n\n")[0].splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [["tensorrt", each] for each in ("fp32", "pruned", "half", "int8")]
    code, out, _ = door("report", "--format", "json")
    result = json.loads(out)["results"]["tensorrt"]
    int8 = result["variants"]["int8"]
    assert int8["against_pruned"]["sqnr_db"] > int8["accuracy"]["sqnr_db"] + 3, "pruning's loss is not quantization's"


def test_weights_of_another_network_are_not_taken_for_pruned_ones(door: Door, given: Path, tmp_path: Path) -> None:
    checkpoint.write(models.build("resnet18", 10, 1), tmp_path / "other.safetensors", {})
    _, err = left(2, door("prune", "other.safetensors", "--arch", "cifar_resnet8", *DIGITS, "--macs", 0.5, *OUTPUT))
    assert "does not fit cifar_resnet8" in err
