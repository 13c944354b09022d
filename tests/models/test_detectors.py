"""Networks that find boxes: built, with anchors as many as rows of their answers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.detection.retinanet import _default_anchorgen

from edgeresnet import models
from edgeresnet.errors import ModelError
from edgeresnet.models import anchors, checkpoint, detectors, names, plans, pyramids, recognise, shapes
from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.portable.tasks.two_stage import TwoStage
from edgeresnet.stages.specs import Architecture

from .networks import enlivened, lively

RETINANETS = [each for each in names.DETECTORS if each not in names.TWO_STAGE]


def rows(arch: str, size: int, classes: int) -> int:
    found = anchors.of(arch, size, classes)
    assert isinstance(found, Detector)
    each = len(found.ratios) * len(found.sizes[0])
    return each * sum(cells * cells for cells in found.grids)


@pytest.mark.parametrize("size", [64, 50, 33])
@pytest.mark.parametrize("arch", ["retinanet_cifar_resnet8", "retinanet_cifar_resnet8b_w32"])
def test_one_row_for_each_anchor(arch: str, size: int) -> None:
    network = lively(arch, classes=4, channels=1)
    with torch.no_grad():
        assert network(torch.zeros(2, 1, size, size)).shape == (2, rows(arch, size, 4), 8)


@pytest.mark.parametrize("arch", names.TORCHVISION_DETECTORS)
def test_torchvisions_networks_have_as_many_rows(arch: str) -> None:
    with torch.device("meta"):
        network = models.build(arch, 7, 1).eval()
        assert network(torch.zeros(1, 1, 100, 100)).shape == (1, rows(arch, 100, 7), 11)


def test_sizes_are_torchvisions() -> None:
    assert _default_anchorgen().sizes == anchors.SIZES


def test_a_fresh_network_finds_nothing() -> None:
    torch.manual_seed(0)
    network = models.build("retinanet_cifar_resnet8", 10, 1).eval()
    with torch.no_grad():
        scores = network(torch.randn(4, 1, 64, 64))[..., :10].sigmoid()
    assert 0.005 < scores.mean() < 0.02  # most anchors are background, and the loss would be of these alone


def test_the_first_stage_has_a_row_for_each_cell_and_the_second_its_weights() -> None:
    found = anchors.of("fasterrcnn_resnet50_fpn", 100, 7)
    assert isinstance(found, TwoStage)
    with torch.device("meta"):
        network = models.build("fasterrcnn_resnet50_fpn", 7, 1).eval()
        assert network(torch.zeros(1, 1, 100, 100)).shape == (1, found.rows, found.columns)
    theirs = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=7)
    assert network.state_dict().keys() == theirs.state_dict().keys()
    assert theirs.rpn.anchor_generator.sizes == found.sizes
    network.roi_heads = theirs.roi_heads
    assert isinstance(network, detectors.TwoStage)
    weights = network.second_stage()
    seen = torch.randn(3, 256, 7, 7)
    with torch.no_grad():
        wanted = theirs.roi_heads.box_predictor(theirs.roi_heads.box_head(seen))
    logits, offsets = weights.answers(seen.permute(0, 2, 3, 1).numpy())
    assert abs(logits - wanted[0].numpy()).max() < 1e-5
    assert abs(offsets.reshape(3, -1) - wanted[1].numpy()).max() < 1e-5


@pytest.mark.parametrize("arch", [*RETINANETS, "retinanet_cifar_resnet8b", "retinanet_cifar_resnet8_w32"])
def test_tensors_are_those_of_the_network(arch: str) -> None:
    with torch.device("meta"):
        held = models.build(arch, 7, 3).state_dict()
    found = {name: tuple(value.shape) for name, value in held.items() if not name.endswith(plans.COUNTER)}
    assert list(found.items()) == list(pyramids.tensors(arch, 7, 3).items())


@pytest.mark.parametrize("older", [False, True], ids=["today", "before 0.13"])
def test_a_frozen_checkpoint_of_torchvision_loads(older: bool, tmp_path: Path) -> None:
    """As its reference scripts write one: no counters of batches, and the network under `model`."""
    torch.manual_seed(0)
    theirs = enlivened(get_model("retinanet_resnet50_fpn", weights=None, weights_backbone=None, num_classes=5))
    held = {name: value for name, value in theirs.state_dict().items() if not name.endswith(plans.COUNTER)}
    if older:
        held = {before(name): value for name, value in held.items()}
    path = tmp_path / "model_25.pth"
    torch.save({"model": held, "optimizer": {"state": {}}, "epoch": 25}, path)
    found = recognise.recognise(shapes.read(path))
    assert found is not None
    assert (found.archs, found.classes) == (("retinanet_resnet50_fpn",), 5)
    network = models.build("retinanet_resnet50_fpn", 5, 3)
    checkpoint.load_into(network, path, "retinanet_resnet50_fpn")
    for name, value in network.state_dict().items():
        assert name.endswith(plans.COUNTER) or torch.equal(value, theirs.state_dict()[name]), name


def before(name: str) -> str:
    """Return the name that torchvision gave a tensor before version 0.13."""
    name = re.sub(r"(_blocks\.\d)\.0\.", r"\1.", name)
    return re.sub(r"_head\.conv\.(\d)\.0\.", lambda found: f"_head.conv.{2 * int(found[1])}.", name)


def test_a_classifiers_weights_are_no_detectors(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(lively("cifar_resnet8").state_dict(), path)
    with pytest.raises(ModelError, match="does not fit retinanet_cifar_resnet8"):
        checkpoint.load_into(models.build("retinanet_cifar_resnet8", 5, 3), path, "retinanet_cifar_resnet8")


@pytest.mark.slow
def test_weights_that_torchvision_published_divide_by_the_variance_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = enlivened(fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3))
    weights = {name: value for name, value in network.state_dict().items() if not name.endswith("batches_tracked")}
    weights["backbone.body.bn1.running_var"][:] = 1e-4  # 1e-5 more would show
    older = {
        name.replace("_blocks.0.0", "_blocks.0").replace("rpn.head.conv.0.0", "rpn.head.conv"): value
        for name, value in weights.items()
    }
    assert older.keys() != weights.keys()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        wanted = network.get_submodule("backbone")(images)["3"].permute(0, 2, 3, 1).reshape(-1, 256)
        for held, apart in ((older, False), (weights, True)):
            torch.save(held, tmp_path / "net.pth")
            ours = models.build("fasterrcnn_resnet50_fpn", 3, 3)
            checkpoint.load_into(ours, tmp_path / "net.pth", "fasterrcnn_resnet50_fpn")
            found = ours.eval()(images)[0, 256 + 64 + 16 :][:4, :256]
            assert bool((found - wanted).abs().max() > 1e-3 * wanted.abs().max()) == apart


OWN = """
from torchvision.models import resnet18
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone


def make(classes):
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, returned_layers=[3, 4])
    anchors = AnchorGenerator(((32, 48), (64, 96), (128, 192)), ((0.5, 1.0),) * 3)
    return RetinaNet(backbone, classes, anchor_generator=anchors)
"""


def test_somebodys_retinanet_is_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_retinanet.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    network = models.build("own_retinanet.py:make", 6, 3)
    own = Detector(64, 6, (4, 2, 1), ((32, 48), (64, 96), (128, 192)), (0.5, 1.0))
    models.check_answer(network, Architecture("theirs", 6, 3, task="detection", detector=own), 64)
    other = replace(own, sizes=((16, 48), *own.sizes[1:]))
    with pytest.raises(ModelError, match="theirs has other anchors than the recipe") as caught:
        models.check_answer(network, Architecture("theirs", 6, 3, task="detection", detector=other), 64)
    assert "{sizes: [[32, 48], [64, 96], [128, 192]], ratios: [0.5, 1]}" in caught.value.hint
