"""Networks that give a class to each pixel: torchvision's FCN and DeepLabV3 by name, and the same heads behind a body
for small images. Each answers with one tensor, as large as its images. Downloads nothing.

torchvision's auxiliary head serves training alone: it is not built, and `checkpoint` leaves its weights out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from . import cifar, names, zoo

SMALL_RATES = (2, 4, 6)  # dilations for features of small images; torchvision's are 12, 24 and 36


def build(arch: str, classes: int, channels: int) -> nn.Module:
    """Build an untrained network."""
    named = names.segmenter(arch)
    assert named is not None  # the name was checked
    head, body = named
    parsed = names.cifar(body)
    if parsed is None:
        return zoo.segmenter(arch, classes, channels)
    depth, shortcut, width = parsed
    features = 4 * width
    heads = {"fcn": _fcn, "deeplabv3": _deeplab}
    network = Segmenter(cifar.CifarBody(depth, shortcut, width, channels), heads[head](features, classes))
    cifar.initialise(network)
    return network


class Segmenter(nn.Module):
    """A body, a head that gives logits for each position, and their enlargement to the image's size."""

    def __init__(self, backbone: nn.Module, classifier: nn.Module):
        super().__init__()
        self.backbone, self.classifier = backbone, classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.classifier(self.backbone(x))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


def _fcn(features: int, classes: int) -> nn.Sequential:
    """Return torchvision's FCN head, but as wide as the features: a quarter of these would be too few."""
    return nn.Sequential(*_convolved(features, 3), nn.Dropout(0.1), nn.Conv2d(features, classes, 1))


def _deeplab(features: int, classes: int) -> nn.Sequential:
    """Return torchvision's DeepLabV3 head, as wide as the features."""
    aspp = ASPP(features, SMALL_RATES, features)
    return nn.Sequential(aspp, *_convolved(features, 3), nn.Conv2d(features, classes, 1))


def _convolved(features: int, kernel: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(features, features, kernel, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(features), nn.ReLU()
