"""`edgeresnet train`: weights and images in, better weights out, with the curve and their accuracy on other images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from edgeresnet import models
from edgeresnet.models import checkpoint

from .conftest import Command, err_of, expect, refused

DIGITS = ("--size", 8, "--mean", 0.305, "--std", 0.376, "--training", "digits", "--precision", "f32")
SOME = ("--set", "images.training={from: digits, count: 300}", "--batch", 32, "--rate", 0.01)
OUTPUT = ("--output", "w.safetensors")


@pytest.fixture
def given(tmp_path: Path) -> Path:
    torch.manual_seed(0)  # once in some hundred, random weights are better than chance
    checkpoint.write(models.build("cifar_resnet8", 10, 1), tmp_path / "given.safetensors", {})
    return tmp_path / "given.safetensors"


def test_a_file_of_metrics_that_cannot_be_written_is_reported_before_anything_is_learned(
    command: Command, given: Path
) -> None:
    words = ("train", "given.safetensors", *DIGITS, *SOME, "--epochs", 1, *OUTPUT, "--metrics", "nowhere/m.jsonl")
    assert refused(command(*words)).startswith("error: nowhere/m.jsonl cannot be written: No such file or directory (")


def test_weights_in_better_weights_out(command: Command, given: Path, tmp_path: Path) -> None:
    words = ("train", "given.safetensors", *DIGITS, *SOME, "--evaluation", "digits", "--epochs", 3, *OUTPUT)
    out, err = expect(0, command(*words, "--metrics", "m.jsonl", "-v"))
    assert "cifar_resnet8, from given.safetensors: 270 images, 3 epochs on cpu in f32" in out
    said = "no candidate is clearly better than chance. The most usual one is used: cifar_resnet8: "
    assert " ".join(out.split()).count(said) == 1, "its weights are random"
    assert "validation loss █" in out
    assert "evaluation: " in out
    assert "% on 450 images, 95 % interval" in out
    assert out.splitlines()[-1].startswith("w.safetensors, digest ")
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "epoch 3: loss" in err
    assert "wrote w.safetensors" in err
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert all({"rate", "loss", "validation_top1", "seconds"} <= line.keys() for line in lines)
    assert not torch.equal(load_file("w.safetensors")["conv1.weight"], load_file("given.safetensors")["conv1.weight"])
    with safe_open("w.safetensors", "pt") as file:
        about = file.metadata()
    assert (about["arch"], about["classes"], about["channels"]) == ("cifar_resnet8", "10", "1")
    assert json.loads(about["preprocessing"])["mean"] == [0.305]
    assert json.loads(about["labels"]) == [str(digit) for digit in range(10)]
    _, out, _ = command("inspect", "w.safetensors")
    assert "wants size 8, mean [0.305]" in " ".join(out.split())
    more = ("--training", "digits", *SOME, "--epochs", 1, "--output", "v.safetensors")
    _, err = expect(0, command("train", "w.safetensors", *more))
    assert "taken from w.safetensors itself: arch cifar_resnet8, size 8, mean [0.305], std [0.376]" in err
    code, out, err = command(*words, "--json", "-q")  # again: it is done
    assert (code, err) == (0, "wrote w.safetensors\n")
    found = json.loads(out)
    assert [line["epoch"] for line in found["history"]] == [0, 1, 2, 3]
    assert found["evaluation"]["images"] == 450


def test_an_architecture_from_nothing(command: Command) -> None:
    out, _ = expect(0, command("train", "cifar_resnet8", *DIGITS, *SOME, "--epochs", 1, *OUTPUT, "-q"))
    assert out.startswith("cifar_resnet8, from random weights: 270 images, 1 epoch on cpu in f32\n")
    assert "evaluation" not in out


def test_other_classes_need_a_new_head(command: Command, tmp_path: Path) -> None:
    checkpoint.write(models.build("cifar_resnet8", 3, 1), tmp_path / "three.safetensors", {})
    words = ("train", "three.safetensors", *DIGITS, *SOME, "--epochs", 1, *OUTPUT, "-q")
    _, err = expect(2, command(*words))
    assert "three.safetensors has 3 classes, but the images or the recipe have 10" in err
    assert "--head new" in err
    expect(0, command(*words, "--head", "new", "--freeze", "all-but-head"))
    learned = load_file("w.safetensors")
    assert learned["linear.weight"].shape == (10, 64)
    assert torch.equal(learned["conv1.weight"], load_file("three.safetensors")["conv1.weight"])


@pytest.mark.slow
def test_the_recipe_that_these_options_make_is_the_same_training(command: Command, given: Path) -> None:
    more = ("--flip", "--shift", 1, "--layer-decay", 0.8, "--label-smoothing", 0.1, "--patience", 2, "--seed", 3)
    words = ("train", "given.safetensors", *DIGITS, *SOME, "--epochs", 1, *OUTPUT, *more)
    expect(0, command(*words, "--save-recipe", "r.yaml", "-q"))
    learn = yaml.safe_load(Path("r.yaml").read_text())["train"]
    assert learn["augment"] == {"flip": True, "shift": 1}
    assert (learn["layer_decay"], learn["label_smoothing"], learn["patience"]) == (0.8, 0.1, 2)
    assert "train                    already done" in err_of(0, command("run", "r.yaml", "-v"))
    _, out, _ = command("report")
    assert "train: validation loss" in out
    _, out, _ = command("report", "--format", "md")
    assert "## Training" in out
    assert "| epoch | loss | validation loss | validation top-1 |  |" in out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("given.safetensors", *DIGITS, "--epochs", 1), "--output is missing"),
        (("given.safetensors", *DIGITS, "--epochs", 1, "--output", "w.pth"), "w.pth is not a .safetensors file"),
        (("given.safetensors", *DIGITS, "--epochs", 1, "--output", "no/w.safetensors"), "the folder no does not exist"),
        (("given.safetensors", *DIGITS, *OUTPUT), "needs --epochs too"),
        (("given.safetensors", "--epochs", 1, *OUTPUT), "needs --training, --size, --mean, --std too"),
        (("gone.safetensors", *DIGITS, "--epochs", 1, *OUTPUT), "the checkpoint gone.safetensors does not exist"),
        (("cifar_resnet9", *DIGITS, "--epochs", 1, *OUTPUT), "'cifar_resnet9' is not a known architecture"),
        (("net.onnx", *DIGITS, "--epochs", 1, *OUTPUT), "an ONNX file cannot be trained"),
        (
            ("cifar_resnet8", *DIGITS, "--epochs", 1, "--head", "new", *OUTPUT),
            "train.head: new needs given weights",
        ),
        (("given.safetensors", *DIGITS, "--epochs", 1, "--freeze", "(", *OUTPUT), "'(' is not a regular expression"),
        (("given.safetensors", *DIGITS, "--epochs", 1, "--layer-decay", 2, *OUTPUT), "train.layer_decay"),
    ],
)
def test_a_mistake_is_reported_before_anything_is_learned(
    arguments: tuple[object, ...], problem: str, command: Command, given: Path, tmp_path: Path
) -> None:
    out, err = expect(2, command("train", *arguments))
    assert (out, problem in err) == ("", True), err
    assert not (tmp_path / "w.safetensors").exists()


def test_a_training_that_fails_leaves_the_old_weights(command: Command, given: Path, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"the old ones")
    words = ("train", "given.safetensors", *DIGITS, *SOME, "--epochs", 2, *OUTPUT)
    assert "the loss became" in err_of(2, command(*words, "--rate", 1e12, "--optimizer", "sgd"))
    assert (tmp_path / "w.safetensors").read_bytes() == b"the old ones"
