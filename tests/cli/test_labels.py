"""Commands without a recipe take masks and boxes that lie in another place than their images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from edgeresnet import cli, recipe
from edgeresnet.cli import _one_shot, _stage_options
from edgeresnet.cli._options import ModelOptions, task_with

from ..conftest import tiny, write_recipe
from .conftest import Command, expect, refused

pytestmark = pytest.mark.unit

PREPARED = {"size": 64, "resize": None, "mean": "0.4", "std": "0.25", "bits": None}


def about(**changes: Any) -> ModelOptions:
    rest = {"arch": None, "classes": 4, "names": None, "evaluation": "data/val", "targets": ("onnxruntime",)}
    return ModelOptions(**{**PREPARED, **rest, **changes})


def made(given: ModelOptions, **changes: Any) -> dict[str, Any]:
    images: dict[str, object] = {"evaluation": given.evaluation}
    raw, _ = _one_shot.recipe_of("net.onnx", given, **{"images": images, "sections": {}, **changes})
    return raw


@pytest.mark.parametrize(("kind", "task"), [("masks", "segmentation"), ("boxes", "detection")])
def test_labels_of_evaluation_images_choose_the_task(kind: str, task: str) -> None:
    raw = made(about(**{kind: "data/labels"}))
    assert raw["task"] == task
    assert raw["images"] == {"evaluation": {"from": "data/val", kind: "data/labels"}}
    assert recipe.parse(raw).task == task


def test_a_count_stays_with_the_labels() -> None:
    raw = made(about(masks="m"), images={"evaluation": _one_shot.counted("data/val", 8)})
    assert raw["images"]["evaluation"] == {"from": "data/val", "count": 8, "masks": "m"}


def test_labels_of_training_images_are_theirs_alone() -> None:
    learn = _stage_options.RecoverOptions("data/train", None, None, None, None, None, None, "data/train-masks", None)
    found = made(
        about(evaluation=None),
        images={"training": learn.training},
        training_labels=_stage_options.training_labels(learn),
    )
    assert found["images"] == {"training": {"from": "data/train", "masks": "data/train-masks"}}
    assert found["task"] == "segmentation"
    assert "training_masks" not in learn.section()


def test_without_labels_nothing_is_said_of_a_task() -> None:
    assert "task" not in made(about())
    assert "task" not in made(about(task="classification"))
    assert made(about(task="segmentation", evaluation="digits-scenes"))["task"] == "segmentation"
    assert task_with("detection", ["masks"]) == "detection", "the recipe refuses masks then"


@pytest.mark.parametrize("name", ["verify", "quantize", "train", "prune", "export", "diagnose", "init"])
def test_every_command_with_images_takes_their_labels(name: str) -> None:
    found = cli.cli.get_command(click.Context(cli.cli), name)
    assert found is not None
    options = {option for each in found.params for option in each.opts}
    assert {"--task", "--masks", "--boxes"} <= options
    assert ("--training" in options) == ({"--training-masks", "--training-boxes"} <= options)


def test_labels_of_no_images_are_refused(command: Command) -> None:
    given = ("net.onnx", "--size", "8", "--mean", "0.3", "--std", "0.3")
    quantize = command("quantize", *given, "--calibration", "c", "--masks", "m", "--output", "x.onnx")
    assert "--masks needs --evaluation too" in refused(quantize)
    assert "name the images that these are of" in refused(quantize)


def test_a_training_set_whose_labels_are_named_is_refused_where_it_is_missing(command: Command) -> None:
    found = command("prune", "net.pth", "--training-masks", "m", "--macs", "0.5", "--output", "w.safetensors")
    assert "--training-masks needs --training too" in refused(found)


@pytest.mark.parametrize(
    ("task", "arch", "promise", "held"),
    [
        ("segmentation", "fcn_cifar_resnet8", "min_iou_pct", "evaluation: background 90.1 %"),
        ("detection", "retinanet_cifar_resnet8", "min_ap_pct", "evaluation: 674 objects in 240 images: "),
    ],
)
def test_check_says_what_labels_hold_and_what_they_decide(
    command: Command, tmp_path: Path, task: str, arch: str, promise: str, held: str
) -> None:
    raw = tiny(task=task, model={"arch": arch, "classes": 11 if task == "segmentation" else 10})
    raw["preprocessing"] = {"size": 64, "mean": [0.4], "std": [0.25]}
    raw["images"] = {"training": "digits-scenes", "evaluation": "digits-scenes"}
    raw["promises"] = {"max_drop_pp": 0.2, promise: {"3": 99.9}}
    shown = " ".join(expect(0, command("check", write_recipe(tmp_path, raw)))[0].split())
    assert held in shown
    assert "the smallest drop that 240 images can rule out is 0.16 points" in shown
    assert f"images of 3 are too few for {promise} 3 99.9: the highest value that they can show is 99." in shown
    assert "too few for max_drop_pp" not in shown


def test_objects_are_not_cut_off_where_nothing_says_how_the_network_was_trained() -> None:
    raw, taken = _one_shot.recipe_of("net.onnx", about(boxes="b"), images={"evaluation": "data/val"}, sections={})
    assert raw["preprocessing"] == {"size": 64, "mean": [0.4], "std": [0.25], "crop": "pad"}
    assert taken == "images are padded (crop pad), so that no object is cut off"
    assert "crop" not in made(about(masks="m"))["preprocessing"]
