"""Networks that find boxes: torchvision's RetinaNets and Faster R-CNN by name, and a RetinaNet for small images behind
the body of the CIFAR family. Downloads nothing.

Each answers with one tensor, images × anchors × (classes + 4): for each anchor a logit for each class, then four
offsets. `anchors` has their anchors; boxes are made outside of the network. Tensors have torchvision's names.
Of Faster R-CNN the answer is images × cells × numbers: features, a logit for each anchor of the cell, then offsets.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock, FeaturePyramidNetwork

from ..errors import ModelError
from ..portable.tasks import two_stage
from ..portable.tasks.two_stage import AnyDetector
from . import anchors, cifar, names, zoo

_Anchors: TypeAlias = tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]
_SMALL_CONVOLUTIONS = 2  # of each small head; torchvision's have four


def build(arch: str, classes: int, channels: int) -> nn.Module:
    """Build an untrained network."""
    named = names.detector(arch)
    assert named is not None  # the name was checked
    if arch in names.TWO_STAGE:
        return TwoStage(*zoo.two_stage(arch, classes, channels))
    parsed = names.cifar(named[1])
    if parsed is None:
        return OneTensor(*zoo.detector(arch, classes, channels))
    depth, shortcut, width = parsed
    return _small(SmallBody(depth, shortcut, width, channels), width, classes)


def taken_apart(network: nn.Module) -> nn.Module:
    """Return what learns of a RetinaNet that somebody built of torchvision's parts; any other network as it is."""
    if not isinstance(network, RetinaNet):
        return network
    theirs = network.anchor_generator
    sizes = tuple(tuple(map(float, each)) for each in theirs.sizes)
    return OneTensor(network.backbone, network.head, (sizes, tuple(map(float, theirs.aspect_ratios[0]))))


def check_anchors(network: nn.Module, detector: AnyDetector | None, arch: str) -> None:
    """Refuse anchors that are not those of a network that somebody built."""
    own = getattr(network, "own_anchors", None)
    if own and detector and own != (detector.sizes, detector.ratios):
        sizes, ratios = ([list(each) for each in own[0]], list(own[1]))
        hint = f"set `model.anchors` to {{sizes: {sizes}, ratios: {ratios}}}".replace(".0,", ",").replace(".0]", "]")
        raise ModelError(arch, "has other anchors than the recipe", hint=hint)


class OneTensor(nn.Module):
    """The parts of a RetinaNet that learn: logits and offsets of each anchor, next to each other."""

    backbone: Any
    head: Any

    def __init__(self, backbone: nn.Module, head: nn.Module, own_anchors: _Anchors | None = None):
        super().__init__()
        self.backbone, self.head = backbone, head
        self.own_anchors = own_anchors  # of a network that somebody built: sizes and ratios

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.head(list(self.backbone(x).values()))
        return torch.cat([found["cls_logits"], found["bbox_regression"]], 2)

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the same, level by level, as the heads' last layers give it: channels are the second axis."""
        scores, offsets = self.head.classification_head, self.head.regression_head
        found = []
        for level in self.backbone(x).values():
            found += [scores.cls_logits(scores.conv(level)), offsets.bbox_reg(offsets.conv(level))]
        return found


class TwoStage(nn.Module):
    """A Faster R-CNN whose answer is that of its first stage. `second_stage` has the weights of the other."""

    backbone: Any
    rpn: Any
    roi_heads: Any

    def __init__(self, backbone: nn.Module, rpn: nn.Module, roi_heads: nn.Module):
        super().__init__()
        self.backbone, self.rpn, self.roi_heads = backbone, rpn, roi_heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = list(self.backbone(x).values())
        parts = zip(levels, *self.rpn.head(levels), strict=True)
        return torch.cat([torch.cat(each, 1).flatten(2) for each in parts], 2).transpose(1, 2)

    def second_stage(self) -> two_stage.SecondStage:
        """Return the weights of what looks at each proposal. They read cell by cell; torch's read channels first."""
        head, last = self.roi_heads.box_head, self.roi_heads.box_predictor
        hidden, (weights, bias) = _layer(head.fc7), _layer(head.fc6)
        channels = self.backbone.out_channels
        weights = weights.reshape(channels, -1, len(bias)).transpose(1, 0, 2).reshape(weights.shape)
        return two_stage.SecondStage(((weights, bias), hidden), _layer(last.cls_score), _layer(last.bbox_pred))


def _layer(given: nn.Linear) -> tuple[np.ndarray, np.ndarray]:
    """Return a full layer's weights (inputs × outputs) and bias."""
    weights, bias = (each.detach().float().cpu().numpy() for each in (given.weight, given.bias))
    return np.ascontiguousarray(weights.T), bias


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
