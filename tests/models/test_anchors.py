"""Names of networks that find boxes, and their anchors as data."""

from __future__ import annotations

import pytest

from edgeresnet.models import anchors, names

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("arch", [*names.DETECTORS, "retinanet_cifar_resnet20b", "retinanet_cifar_resnet8_w32"])
def test_a_detector_is_known_and_of_its_task(arch: str) -> None:
    assert names.is_known(arch)
    assert names.task_of(arch) == "detection"


@pytest.mark.parametrize(
    "arch", ["retinanet_resnet18_fpn", "retinanet", "retinanet_", "retinanet_cifar_plain8", "retinanet_cifar_resnet9"]
)
def test_other_names_are_no_detectors(arch: str) -> None:
    assert names.detector(arch) is None
    assert not names.is_known(arch)


def test_anchors_of_torchvisions_have_its_sizes() -> None:
    found = anchors.of("retinanet_resnet50_fpn", 800, 91)
    assert found is not None
    assert found.grids == (100, 50, 25, 13, 7)
    assert found.sizes[0] == (32, 40, 50)
    assert found.sizes[-1] == (512, 645, 812)
    assert (found.size, found.classes, found.ratios) == (800, 91, (0.5, 1.0, 2.0))


@pytest.mark.parametrize(("size", "grids"), [(64, (32, 16, 8)), (50, (25, 13, 7)), (33, (17, 9, 5))])
def test_grids_of_a_small_network_round_up(size: int, grids: tuple[int, ...]) -> None:
    found = anchors.of("retinanet_cifar_resnet8", size, 10)
    assert found is not None
    assert found.grids == grids


@pytest.mark.parametrize("arch", ["resnet50", "fcn_cifar_resnet8", "my.module:make"])
def test_other_networks_have_no_anchors(arch: str) -> None:
    assert anchors.of(arch, 64, 10) is None
