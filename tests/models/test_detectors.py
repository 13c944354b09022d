"""Networks that find boxes: built, with anchors as many as rows of their answers."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.detection.retinanet import _default_anchorgen

from edgeresnet import models
from edgeresnet.models import anchors, detectors, names
from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.portable.tasks.two_stage import TwoStage

from .networks import lively


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
