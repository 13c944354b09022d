"""Networks that find boxes: torchvision's RetinaNets by name, and a RetinaNet for small images behind the body of the
CIFAR family. Downloads nothing.

Each answers with one tensor, images × anchors × (classes + 4): for each anchor a logit for each class, then four
offsets. `anchors` has their anchors; boxes are made outside of the network. Tensors have torchvision's names.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, FeaturePyramidNetwork

from . import anchors, cifar, names, zoo

_SMALL_CONVOLUTIONS = 2  # of each small head; torchvision's have four


def build(arch: str, classes: int, channels: int) -> nn.Module:
    """Build an untrained network."""
    named = names.detector(arch)
    assert named is not None  # the name was checked
    parsed = names.cifar(named[1])
    if parsed is None:
        return OneTensor(*zoo.detector(arch, classes, channels))
    depth, shortcut, width = parsed
    return _small(SmallBody(depth, shortcut, width, channels), width, classes)


class OneTensor(nn.Module):
    """The parts of a RetinaNet that learn: logits and offsets of each anchor, next to each other."""

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.head(list(self.backbone(x).values()))
        return torch.cat([found["cls_logits"], found["bbox_regression"]], 2)


class SmallBody(cifar.CifarBody):
    """The CIFAR family's body: its answer is the features of the last two stages, at strides 2 and 4."""

    def forward(self, x: torch.Tensor) -> OrderedDict[str, torch.Tensor]:  # type: ignore[override]
        x = F.relu(self.bn1(self.conv1(x)))
        finer = self.layer2(self.layer1(x))
        return OrderedDict([("0", finer), ("1", self.layer3(finer))])


class SmallBackbone(nn.Module):
    """A body, and a pyramid of its features."""

    def __init__(self, body: nn.Module, fpn: nn.Module):
        super().__init__()
        self.body, self.fpn = body, fpn

    def forward(self, x: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        levels: OrderedDict[str, torch.Tensor] = self.fpn(self.body(x))
        return levels


class LastLevelP6(ExtraFPNBlock):
    """One more level at half the resolution, which a convolution makes of the last one; torchvision has two more."""

    def __init__(self, features: int):
        super().__init__()
        self.p6 = nn.Conv2d(features, features, 3, 2, 1)

    def forward(
        self, results: list[torch.Tensor], x: list[torch.Tensor], names: list[str]
    ) -> tuple[list[torch.Tensor], list[str]]:
        return [*results, self.p6(results[-1])], [*names, "p6"]


def _small(body: SmallBody, width: int, classes: int) -> nn.Module:
    features = 2 * width  # as the finer of the two that the body gives: most cells are there
    fpn = FeaturePyramidNetwork([2 * width, 4 * width], features, LastLevelP6(features))
    head = RetinaNetHead(features, len(anchors.SMALL_SIZES[0]) * len(anchors.RATIOS), classes)
    cifar.initialise(body)
    for each in (head.classification_head, head.regression_head):
        each.conv = nn.Sequential(*list(each.conv)[:_SMALL_CONVOLUTIONS])
        cifar.initialise(each.conv)  # torchvision's narrow them so much that a short training does not reach the body
    return OneTensor(SmallBackbone(body, fpn), head)
