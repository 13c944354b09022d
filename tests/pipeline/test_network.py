"""The network of a recipe has the recipe's task."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeresnet import recipe
from edgeresnet.errors import ModelError
from edgeresnet.pipeline import detecting, network
from edgeresnet.portable.onnx_file import FLOAT, OnnxFile, Value

pytestmark = pytest.mark.unit


def wanted(task: str, arch: str) -> recipe.Recipe:
    about: dict[str, Any] = {"size": 32, "mean": [0.5], "std": [0.5]}
    raw = {"version": 1, "task": task, "model": {"arch": arch, "classes": 3, "checkpoint": "x.pth"}}
    return recipe.parse({**raw, "preprocessing": about})


@pytest.mark.parametrize(
    ("task", "arch", "own"),
    [
        ("classification", "fcn_resnet50", "segmentation"),
        ("segmentation", "resnet50", "classification"),
        ("detection", "resnet50", "classification"),
        ("classification", "retinanet_resnet50_fpn", "detection"),
        ("segmentation", "retinanet_cifar_resnet8", "detection"),
    ],
)
def test_a_network_for_another_task_is_refused(task: str, arch: str, own: str) -> None:
    with pytest.raises(ModelError, match=f"{arch} is a network for {own}, but the recipe's task is {task}") as caught:
        network._architecture(wanted(task, arch).model_copy(update={"model": recipe_model(arch)}), {}, None)
    assert caught.value.hint == f"write `task: {own}`, or name a network for {task}"


@pytest.mark.parametrize(("task", "arch"), [("segmentation", "deeplabv3_resnet50"), ("classification", "resnet18")])
def test_a_spec_has_the_task(task: str, arch: str) -> None:
    about, chosen, _ = network._architecture(
        wanted(task, arch).model_copy(update={"model": recipe_model(arch)}), {}, None
    )
    assert (about.task, chosen) == (task, None)
    assert about.to_json().get("task", "classification") == task


def recipe_model(arch: str) -> Any:
    """Return a model without weights, which are not there."""
    return wanted("classification", arch).model.model_copy(update={"checkpoint": None})


def test_a_detector_is_of_the_network_its_size_and_its_classes() -> None:
    model = {"arch": "retinanet_cifar_resnet8", "classes": 3, "checkpoint": "x.pth"}
    raw = {"version": 1, "task": "detection", "model": model}
    about = recipe.parse({**raw, "preprocessing": {"size": 48, "mean": [0.5], "std": [0.5]}})
    given = about.model_copy(update={"model": about.model.model_copy(update={"checkpoint": None})})
    found, _, _ = network._architecture(given, {}, None)
    assert found.detector is not None
    assert (found.detector.size, found.detector.classes, found.detector.grids) == (48, 3, (24, 12, 6))
    assert found.learned.shown(2, 3) == f"(2, {found.detector.rows}, 7)"
    assert found.to_json()["detector"]


def test_anchors_of_a_recipe_are_the_networks() -> None:
    anchors = {"sizes": [[10, 20], [30, 40], [50, 60]], "least": 0.1}
    model = {"arch": "retinanet_cifar_resnet8", "classes": 3, "checkpoint": "x.pth", "anchors": anchors}
    raw = {"version": 1, "task": "detection", "model": model}
    about = recipe.parse({**raw, "preprocessing": {"size": 64, "mean": [0.5], "std": [0.5]}})
    given = about.model_copy(update={"model": about.model.model_copy(update={"checkpoint": None})})
    found, _, _ = network._architecture(given, {}, None)
    assert found.detector is not None
    assert (found.detector.sizes[1], found.detector.least) == ((30, 40), 0.1)


@pytest.mark.parametrize(
    ("anchors", "has"),
    [
        ({"sizes": [[10, 20], [30, 40]]}, "2 × 6"),
        ({"sizes": [[10], [20], [30]], "ratios": [1]}, "3 × 1"),
    ],
)
def test_anchors_that_a_known_network_cannot_have_are_refused(anchors: dict[str, Any], has: str) -> None:
    model = {"arch": "retinanet_cifar_resnet8", "classes": 3, "checkpoint": "x.pth", "anchors": anchors}
    raw = {"version": 1, "task": "detection", "model": model}
    about = recipe.parse({**raw, "preprocessing": {"size": 64, "mean": [0.5], "std": [0.5]}})
    with pytest.raises(ModelError, match=rf"has 3 × 6 anchors .*, but `model.anchors` has {has}"):
        detecting.detector(about, "retinanet_cifar_resnet8", 3, None)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"train": {"epochs": 1}, "images": {"training": {"from": "images", "boxes": "a.json"}}}, "cannot be trained"),
        ({"prune": {"macs": 0.5}}, "cannot be pruned"),
        ({"anchors": {"sizes": [[10], [20], [30], [40], [50]]}}, "has torchvision's anchors"),
        (
            {
                "quantize": {"exclude": "auto"},
                "promises": {"max_drop_pp": 1},
                "images": {"calibration": "calibration", "evaluation": {"from": "images", "boxes": "a.json"}},
                "targets": {"onnxruntime": {}},
            },
            "is not searched for layers",
        ),
    ],
    ids=["train", "prune", "anchors", "search"],
)
def test_a_detector_of_two_stages_is_neither_trained_nor_pruned_nor_searched(given: dict[str, Any], why: str) -> None:
    model = {"arch": "fasterrcnn_resnet50_fpn", "classes": 3, "checkpoint": "x.pth"}
    model |= {"anchors": given.pop("anchors")} if "anchors" in given else {}
    about = {"size": 64, "mean": [0.5], "std": [0.5]}
    read = recipe.parse({"version": 1, "task": "detection", "model": model, "preprocessing": about, **given})
    read = read.model_copy(update={"model": read.model.model_copy(update={"checkpoint": None})})
    with pytest.raises(ModelError, match=f"fasterrcnn_resnet50_fpn {why}"):
        network._architecture(read, {}, None)


@pytest.mark.parametrize(
    ("arch", "size", "near"),
    [
        ("fasterrcnn_resnet50_fpn", 100, "96 or 128"),
        ("retinanet_resnet50_fpn", 300, "288 or 320"),
        ("retinanet_resnet50_fpn_v2", 20, "32"),
        ("retinanet_resnet50_fpn", 800, ""),
        ("retinanet_cifar_resnet8", 100, ""),
    ],
)
def test_a_size_that_torchvision_would_fill_up_is_warned_of(
    arch: str, size: int, near: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_recognised", lambda recipe: (None, []))
    model = {"arch": arch, "classes": 3, "checkpoint": "x.pth"}
    about = {"size": size, "mean": [0.5], "std": [0.5]}
    raw = {"version": 1, "task": "detection", "model": model, "preprocessing": about}
    _, _, warnings = network._architecture(recipe.parse(raw), {}, None)
    assert [each.code for each in warnings] == (["detector-size"] if near else [])
    assert all(each.text.endswith(f"use {near}") for each in warnings)


def test_a_network_that_learns_at_such_a_size_finds_its_own_boxes() -> None:
    model = {"arch": "retinanet_resnet50_fpn", "classes": 3, "checkpoint": "x.pth"}
    images = {"training": {"from": "images", "boxes": "a.json"}}
    about = {"size": 100, "mean": [0.5], "std": [0.5]}
    raw = {"version": 1, "task": "detection", "model": model, "preprocessing": about, "images": images}
    assert not network._about_size(recipe.parse({**raw, "train": {"epochs": 1}}))


@pytest.mark.parametrize(("stride", "grids"), [(None, (8, 4)), (4, (16, 8))])
def test_your_own_network_has_its_own_stride(stride: int | None, grids: tuple[int, ...]) -> None:
    anchors = {"sizes": [[10, 20], [30, 40]], "stride": stride}
    model = {"arch": "my.module:make", "classes": 3, "checkpoint": "x.pth", "anchors": anchors}
    raw = {"version": 1, "task": "detection", "model": model}
    about = recipe.parse({**raw, "preprocessing": {"size": 64, "mean": [0.5], "std": [0.5]}})
    found = detecting.detector(about, "my.module:make", 3, None)
    assert found is not None
    assert found.grids == grids


@pytest.mark.parametrize(("rows", "grids"), [(360, (12, 6)), (90, (6, 3)), (None, (6, 3))])
def test_the_rows_of_a_file_show_its_stride(rows: int | None, grids: tuple[int, ...]) -> None:
    model = {"classes": 3, "checkpoint": "x.onnx", "anchors": {"sizes": [[10, 20], [30, 40]], "ratios": [1]}}
    raw = {"version": 1, "task": "detection", "model": model}
    about = recipe.parse({**raw, "preprocessing": {"size": 48, "mean": [0.5], "std": [0.5]}})
    file = OnnxFile(Path("x.onnx"), (), (Value("all", FLOAT, (None, rows, 7)),), frozenset(), {}, ())
    found = detecting.detector(about, None, 3, file)
    assert found is not None
    assert found.grids == grids


@pytest.mark.parametrize("held", ["[]", "{", '["cat", 1]', '["cat", "dog", "fox"]'])
def test_labels_that_say_nothing_about_the_order_are_no_reason_to_refuse(held: str, tmp_path: Path) -> None:
    refused(tmp_path, held, ("dog", "cat"))


def test_classes_of_images_in_another_order_than_those_of_own_weights(tmp_path: Path) -> None:
    refused(tmp_path, '["cat", "dog"]', ("cat", "dog"))
    with pytest.raises(ModelError, match=r"names class 0 'cat', but that of the images is 'dog'") as caught:
        refused(tmp_path, '["cat", "dog"]', ("dog", "cat"))
    assert "set `images.names`" in caught.value.hint


def refused(folder: Path, labels: str, classes: tuple[str, ...]) -> None:
    """Check images with these classes against weights that hold these labels; raise what is raised."""
    header = json.dumps({"__metadata__": {"labels": labels}}).encode()
    path = folder / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    about = wanted("detection", "retinanet_cifar_resnet8")
    model = about.model.model_copy(update={"checkpoint": str(path)})
    given: Any = {"evaluation": SimpleNamespace(value=SimpleNamespace(classes=classes))}
    network._check_order(about.model_copy(update={"model": model}), given)
