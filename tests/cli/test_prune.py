"""The command `prune`: weights in, the weights of a narrower network out, that every other command takes."""

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

from ..conftest import folder_of
from .conftest import Command, expect, out_of
from .deployed import deployed_here

DIGITS = ("--size", 8, "--mean", 0.305, "--std", 0.376)
SOME = ("--training", "digits", "--set", "images.training={from: digits, count: 300}")
QUICK = ("--set", "verify.processes=2", "--set", "verify.seconds=0.5")
OUTPUT = ("--output", "p.safetensors")


@pytest.fixture
def given(command: Command, trained: tuple, tmp_path: Path) -> Path:
    """Write weights that know the digits."""
    weights = folder_of(trained[1], "train") / checkpoint.FILE
    (tmp_path / "w.safetensors").write_bytes(weights.read_bytes())
    return tmp_path / "w.safetensors"


@pytest.mark.slow
def test_what_is_written_is_an_ordinary_checkpoint(command: Command, given: Path) -> None:
    asked = ("prune", "w.safetensors", "--macs", 0.6, *SOME, "--evaluation", "digits", "--recover-epochs", 2)
    learn = ("--recover-rate", 0.01, "--recover-rounds", 2, "--recover-minutes", 9, "--flip", "--shift", 1)
    out, err = expect(0, command(*asked, *learn, *OUTPUT, *QUICK, "--save-recipe", "again.yaml"))
    recover = {"epochs": 2, "rounds": 2, "minutes": 9.0, "rate": 0.01, "augment": {"flip": True, "shift": 1}}
    assert yaml.safe_load(Path("again.yaml").read_text())["recover"] == recover
    assert "taken from w.safetensors itself" in err
    assert "cifar_resnet8: " in out
    assert "million multiplications stay" in out
    assert "% before pruning, " in " ".join(out.split())
    assert "evaluation on " in out
    rows = out[out.index("target ") :].split("\n\n")[0].splitlines()  # multiplications with milliseconds
    half = [["openvino", "half"]] if machine.has_bf16() else []
    assert [row.split()[:2] for row in rows] == [["target", "as"], ["openvino", "fp32"], ["openvino", "pruned"], *half]
    assert "was not measured" not in out
    assert all(len(line) <= 80 for line in out.splitlines())
    narrow, whole = load_file("p.safetensors"), load_file("w.safetensors")
    assert sum(value.numel() for value in narrow.values()) < 0.8 * sum(value.numel() for value in whole.values())
    out, _ = expect(0, command("inspect", "p.safetensors"))
    assert "pruned to" in out
    assert "cifar_resnet8 (the file names it itself)" in out
    assert "wants size 8" in " ".join(out.split())
    expect(0, command("train", "p.safetensors", *SOME, "--epochs", 1, "--output", "t.safetensors"))
    again = {key: value.shape for key, value in load_file("t.safetensors").items()}
    assert again == {key: value.shape for key, value in narrow.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("train", "p.safetensors", *SOME, "--epochs", 1, "--head", "new", "--output", "n.safetensors"),
        ("prune", "p.safetensors", "--macs", 0.8, "--output", "twice.safetensors"),
        ("export", "p.safetensors", "--evaluation", "digits", "--output", "f.onnx"),
        ("quantize", "p.safetensors", "--calibration", "digits", "--target", "openvino", "--output", "i.onnx"),
    ],
    ids=lambda words: words[0],
)
def test_every_command_takes_it(command: Command, given: Path, words: tuple[object, ...]) -> None:
    assert command("prune", "w.safetensors", "--macs", 0.6, *OUTPUT, "-q")[0] == 0
    code, _, err = command(*words)
    assert code == 0, err


def test_without_images_it_is_only_pruned(command: Command, given: Path) -> None:
    out, _ = expect(0, command("prune", "w.safetensors", "--ratio", 0.2, *OUTPUT, "--json", "-q"))
    found = json.loads(out)
    assert found["ratio"] >= 0.2
    assert found["macs"][1] < found["macs"][0]
    assert found["recovered"] is None
    assert found["evaluation"] is None
    assert {name: now for name, (_, now) in found["widths"].items()}["conv1"] <= 16


def test_a_network_pruned_from_a_bare_file_holds_how_its_images_are_prepared(
    command: Command, given: Path, tmp_path: Path
) -> None:
    import torch

    torch.save(load_file("w.safetensors"), tmp_path / "bare.pth")
    expect(0, command("prune", "bare.pth", "--arch", "cifar_resnet8", *DIGITS, "--macs", 0.7, *OUTPUT, "-q"))
    asked = ("verify", "p.safetensors", "--evaluation", "digits", "--target", "onnxruntime", "--json", "-q")
    code, out, err = command(*asked)
    assert code in (0, 4), err
    assert "needs --size" not in err
    assert json.loads(out)["recipe"]["preprocessing"]["mean"] == [0.305]


def test_statistics_alone_take_no_learning(command: Command, given: Path) -> None:
    asked = ("prune", "w.safetensors", "--macs", 0.7, *SOME, "--recover-epochs", 0, *OUTPUT, "--json", "-q")
    out, _ = expect(0, command(*asked))
    found = json.loads(out)["recovered"]
    assert (found["epochs"], found["rounds"], found["history"]) == (0, 0, [])
    assert found["validation_top1"] == max(found["pruned_top1"], found["statistics_top1"])


@pytest.mark.parametrize("importance", ["l1", "bn", "taylor"])
def test_other_importance(importance: str, command: Command, given: Path) -> None:
    more = SOME if importance == "taylor" else ()
    asked = ("prune", "w.safetensors", "--params", 0.7, "--importance", importance, *more, "--json", "-q", *OUTPUT)
    out, _ = expect(0, command(*asked, *(("--recover-epochs", 0) if more else ())))
    found = json.loads(out)
    assert found["importance"] == importance
    assert found["params"][1] <= 0.7 * found["params"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("w.safetensors", *OUTPUT), "set exactly one of macs, params, ratio, speedup"),
        (
            ("w.safetensors", "--macs", 0.5, "--ratio", 0.5, *OUTPUT),
            "set exactly one of macs, params, ratio, speedup, not 2",
        ),
        (("w.safetensors", "--macs", 0.5), "--output is missing"),
        (("w.safetensors", "--macs", 0.001, *OUTPUT), "prune.macs 0.001 cannot be reached"),
        (("w.safetensors", "--macs", 0.5, "--recover-epochs", 1, *OUTPUT), "--recover-epochs needs --training too"),
        (("w.safetensors", "--macs", 0.5, "--recover-minutes", 1, *OUTPUT), "--recover-minutes needs --training too"),
        (("w.safetensors", "--macs", 0.5, "--importance", "taylor", *OUTPUT), "prune.importance taylor needs it"),
        (("net.onnx", "--macs", 0.5, *OUTPUT), "pruning needs the trainable network"),
        (("gone.pth", *DIGITS, "--macs", 0.5, *OUTPUT), "the checkpoint gone.pth does not exist"),
    ],
)
def test_mistakes_are_reported(arguments: tuple, words: str, command: Command, given: Path, net: Path) -> None:
    out, err = expect(2, command("prune", *arguments))
    assert (out, words in err) == ("", True), err


@pytest.mark.slow
def test_a_recipe_measures_what_fewer_channels_bring(command: Command, tmp_path: Path, given: Path) -> None:
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
    out, _ = expect(0, command("run", "r.yaml"))
    assert "\n  pruned " in out
    out = out_of(0, command("report", "--notes"))
    assert "onnxruntime  pruned" in out
    assert "recover: top-1 of 30 validation images: " in out
    assert "onnxruntime pruned: " in out
    assert "times as fast as fp32" in out
    _, out, _ = command("report", "--format", "json")
    run = json.loads(out)
    variants = run["results"]["onnxruntime"]["variants"]
    assert list(variants) == ["fp32", "pruned", "int8"]
    assert variants["fp32"]["accuracy"]["agree"] == 450  # all are compared with the network before
    written, compiled = run["results"]["onnxruntime"]["as_written"], variants["int8"]["against_pruned"]
    assert written["sqnr_db"] == pytest.approx(compiled["sqnr_db"], abs=3)
    assert variants["pruned"]["size_mb"] < variants["fp32"]["size_mb"]
    bundle = next(step["path"] for step in run["steps"] if step["id"] == "export:tensorrt")
    about = json.loads((Path(bundle) / "bundle" / "bundle.json").read_text())
    assert about["candidate"] == "pruned"
    assert list(about["variants"]) == ["fp32", "pruned", "half"]


@pytest.mark.slow
def test_a_pruned_network_measured_on_a_device_is_reported_as_one_here(
    command: Command, tmp_path: Path, given: Path, standin: Any, capsys: pytest.CaptureFixture[str]
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
    code, _, err = command("run", "r.yaml")
    assert code == 0, err
    code, out, _ = command("report", "--format", "json")
    bundle = next(Path(step["path"]) for step in json.loads(out)["steps"] if step["id"] == "export:tensorrt")
    shutil.copytree(bundle / "bundle", tmp_path / "there")
    standin(version="10.3.0")
    code, _, err = deployed_here(capsys, tmp_path / "there", "--processes", "2", "--seconds", "0.5")
    assert code == 0, err
    code, out, err = command("collect", tmp_path / "there" / "result.json")
    assert code == 0, err
    assert "was not measured" not in " ".join(out.split())
    out, _ = expect(0, command("report", "--notes"))
    rows = out[out.index("MACs %") :].split("\n\n")[0].splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [["tensorrt", each] for each in ("fp32", "pruned", "half", "int8")]
    code, out, _ = command("report", "--format", "json")
    result = json.loads(out)["results"]["tensorrt"]
    int8 = result["variants"]["int8"]
    assert int8["against_pruned"]["sqnr_db"] > int8["accuracy"]["sqnr_db"] + 3, "pruning's loss is not quantization's"


def test_weights_of_another_network_are_not_taken_for_pruned_ones(
    command: Command, given: Path, tmp_path: Path
) -> None:
    checkpoint.write(models.build("resnet18", 10, 1), tmp_path / "other.safetensors", {})
    _, err = expect(
        2, command("prune", "other.safetensors", "--arch", "cifar_resnet8", *DIGITS, "--macs", 0.5, *OUTPUT)
    )
    assert "does not fit cifar_resnet8" in err
