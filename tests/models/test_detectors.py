"""Networks that find boxes: built, with anchors as many as rows of their answers."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.retinanet import _default_anchorgen

from edgeresnet import models
from edgeresnet.models import anchors, names

from .networks import lively


def rows(arch: str, size: int, classes: int) -> int:
    found = anchors.of(arch, size, classes)
    assert found is not None
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
