"""Our networks and their numpy decoding, compared with torchvision's own RetinaNets from image to boxes."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from edgeresnet import models
from edgeresnet.models import anchors
from edgeresnet.portable.tasks.average_precision import Detected
from edgeresnet.portable.tasks.detector import Detector

from .networks import enlivened


class Body(nn.Module):
    """Ours, as torchvision's network takes one."""

    def __init__(self, backbone: nn.Module, features: int) -> None:
        super().__init__()
        self.inner, self.out_channels = backbone, features

    def forward(self, x: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        found: OrderedDict[str, torch.Tensor] = self.inner(x)
        return found


def theirs(network: nn.Module, detector: Detector, features: int) -> RetinaNet:
    """Return torchvision's network around our parts; it neither resizes nor normalises."""
    sizes, ratios = detector.sizes, (detector.ratios,) * len(detector.sizes)
    about = {"min_size": detector.size, "max_size": detector.size, "size_divisible": 1}
    limits = {"score_thresh": detector.least, "nms_thresh": detector.overlap}
    limits |= {"detections_per_img": detector.most, "topk_candidates": detector.candidates}
    backbone = Body(network.get_submodule("backbone"), features)
    generator, head = AnchorGenerator(sizes, ratios), network.get_submodule("head")
    colours = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    return RetinaNet(backbone, detector.classes, anchor_generator=generator, head=head, **about, **limits, **colours)


def compared(arch: str, size: int, classes: int, features: int, spread: float) -> list[Detected]:
    """Compare boxes and scores of two random images; return ours."""
    torch.manual_seed(1)
    network = enlivened(models.build(arch, classes, 3))
    head = network.get_submodule("head")
    for module in head.modules():
        if isinstance(module, nn.Conv2d):  # a fresh head answers almost the same everywhere
            nn.init.kaiming_normal_(module.weight)
    nn.init.normal_(head.get_parameter("classification_head.cls_logits.weight"), std=spread)
    nn.init.constant_(head.get_parameter("classification_head.cls_logits.bias"), -4)
    nn.init.normal_(head.get_parameter("regression_head.bbox_reg.weight"), std=spread)
    detector = anchors.of(arch, size, classes)
    assert isinstance(detector, Detector)
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        wanted = theirs(network, detector, features).eval()(list(images))
        ours = detector.detections(network(images).numpy())
    for one, other in zip(ours, wanted, strict=True):
        corners = np.concatenate([one.boxes[:, :2], one.boxes[:, :2] + one.boxes[:, 2:]], 1)
        np.testing.assert_allclose(one.scores, other["scores"], atol=1e-4)
        np.testing.assert_array_equal(one.numbers, other["labels"])
        np.testing.assert_allclose(corners, other["boxes"], atol=1e-4 * size)
    return ours


@pytest.mark.parametrize("size", [64, 50])
def test_a_small_network_finds_what_torchvision_finds(size: int) -> None:
    assert min(len(each.scores) for each in compared("retinanet_cifar_resnet8", size, 5, 32, 0.1)) > 5


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2"])
def test_torchvisions_network_finds_what_it_finds_there(arch: str) -> None:
    assert min(len(each.scores) for each in compared(arch, 160, 7, 256, 0.05)) > 5
