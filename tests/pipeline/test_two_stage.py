"""Faster R-CNN from torchvision's checkpoint to a verdict, a bundle and one picture's boxes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn

from edgeresnet import pipeline, predict, recipe
from edgeresnet.portable import evaluation
from edgeresnet.portable.tasks.task import outputs_of
from edgeresnet.portable.tasks.two_stage import FILE, TwoStage
from edgeresnet.quantization import answers
from edgeresnet.runs import Run
from edgeresnet.stages.export import contents
from edgeresnet.store import Store

from ..conftest import folder_of, result_of, traced
from ..models.networks import enlivened

pytestmark = pytest.mark.slow

SIDE, IMAGES, NAMES = 64, 3, ("cat", "cup")
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]


def network() -> FasterRCNN:
    """Return torchvision's network with random weights whose scores and boxes differ."""
    torch.manual_seed(0)
    about: dict[str, Any] = {"min_size": SIDE, "max_size": SIDE, "image_mean": MEAN, "image_std": STD}
    found = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=len(NAMES) + 1, **about)
    enlivened(found)
    for module in found.backbone.fpn.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    last = found.roi_heads.box_predictor
    for weight, spread in (
        (found.rpn.head.conv[0][0].weight, 0.02),
        (found.rpn.head.cls_logits.weight, 0.02),
        (found.rpn.head.bbox_pred.weight, 0.005),
        (last.cls_score.weight, 0.15),
        (last.bbox_pred.weight, 0.02),
    ):
        nn.init.normal_(weight, std=spread)
    return found.eval()


def pictures(folder: Path, count: int, seed: int) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((SIDE, SIDE)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store, Run]:
    folder = tmp_path_factory.mktemp("two-stage")
    torch.save(network().state_dict(), folder / "net.pth")
    pictures(folder / "calibration", 4, seed=1)
    val = pictures(folder / "val", IMAGES, seed=2)
    boxes = [{"id": 1, "image_id": 0, "category_id": 7, "bbox": [4, 5, 20, 30], "area": 600, "iscrowd": 0}]
    listed = [{"id": at, "file_name": path.name, "width": SIDE, "height": SIDE} for at, path in enumerate(val)]
    categories = [{"id": number, "name": name} for number, name in zip((3, 7), NAMES, strict=True)]
    document = {"images": listed, "annotations": boxes, "categories": categories}
    (folder / "val.json").write_text(json.dumps(document))
    raw = {
        "version": 1,
        "task": "detection",
        "model": {"checkpoint": str(folder / "net.pth")},
        "preprocessing": {"size": SIDE, "mean": MEAN, "std": STD},
        "images": {
            "calibration": {"from": str(folder / "calibration")},
            "evaluation": {"from": str(folder / "val"), "boxes": str(folder / "val.json")},
        },
        "quantize": {},
        "targets": {"openvino": {}, "onnxruntime": {"where": "bundle"}},
        "verify": {"processes": 1, "seconds": 0.2, "rebuilds": 1},
    }
    store = Store(folder / "store")
    return folder, store, pipeline.run(recipe.parse(raw), store)


def test_boxes_are_those_of_torchvision(run: tuple[Path, Store, Run]) -> None:
    folder, _, done = run
    measured = result_of(done, "openvino")
    assert isinstance(measured.detector, TwoStage)
    assert measured.classes == ("background", *NAMES)
    with np.load(folder_of(done, "verify:reference") / evaluation.LOGITS) as stored:
        found = outputs_of(measured, SIDE).restored(stored, "fp32").found
    pixels = [np.asarray(Image.open(path), np.float32) / 255 for path in sorted((folder / "val").iterdir())]
    with torch.no_grad():
        wanted = network()([torch.from_numpy(each).permute(2, 0, 1) for each in pixels])
    for ours, theirs in zip(found, wanted, strict=True):
        corners = np.concatenate([ours.boxes[:, :2], ours.boxes[:, :2] + ours.boxes[:, 2:]], axis=1)
        assert len(ours.scores) > 5
        assert ours.numbers.tolist() == theirs["labels"].tolist()
        assert np.abs(ours.scores - theirs["scores"].numpy()).max() < 1e-3
        assert np.abs(corners - theirs["boxes"].numpy()).max() < 1e-2


def test_int8_is_near_and_a_picture_has_boxes(run: tuple[Path, Store, Run]) -> None:
    folder, store, done = run
    accuracy = result_of(done, "openvino").variants["int8"].accuracy
    assert accuracy.sqnr_db is not None
    assert accuracy.sqnr_db > 15
    assert answers.unit_of(onnx.load(traced(done))) == "cell"
    found = predict.predict(store, done, folder / "val" / "0.png", None, 3)
    assert found.keys() >= {"openvino fp32", "openvino int8"}
    assert all(each.seen.boxes is not None and len(each.seen.boxes.scores) for each in found.values())


def test_a_bundle_has_the_second_stage_and_its_result_is_collected(
    run: tuple[Path, Store, Run], tmp_path: Path
) -> None:
    _, store, done = run
    folder = tmp_path / "bundle"
    shutil.copytree(folder_of(done, "export:onnxruntime") / "bundle", folder)
    assert (folder / contents.NETWORKS / FILE).is_file()
    words = [sys.executable, "deploy.py", "--processes", "1", "--seconds", "0.2", "--rebuilds", "1"]
    ran = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "100.00 % of the boxes are those of FP32" in ran.stdout
    collected = result_of(pipeline.collect(folder / "result.json", store), "onnxruntime")
    assert collected.detector == result_of(done, "openvino").detector
    assert collected.variants.keys() >= {"fp32", "int8"}
