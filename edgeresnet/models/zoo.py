"""torchvision's and timm's ResNets by name, with any number of classes and input channels. Downloads nothing."""

from __future__ import annotations

from typing import Any

from torch import nn

from . import names


def build(arch: str, classes: int, channels: int) -> nn.Module:
    """Build an untrained network of torchvision's or timm's."""
    if arch in names.TIMM:
        import timm

        return timm.create_model(arch, pretrained=False, num_classes=classes, in_chans=channels)
    if arch in names.SMALL_IMAGES:
        return _small_images(arch, classes, channels)
    network = _torchvision(arch, classes)
    if channels != 3:
        stem = network.conv1
        network.conv1 = _stem(channels, stem.out_channels, stem.kernel_size[0], stem.stride[0])
    return network


def segmenter(arch: str, classes: int, channels: int) -> nn.Module:
    """Build one of torchvision's networks that give a class to each pixel."""
    from torchvision.models import get_model

    network = get_model(arch, weights=None, weights_backbone=None, num_classes=classes)
    if channels != 3:
        network.backbone.conv1 = _stem(channels, 64, 7, 2)
    return network


def detector(arch: str, classes: int, channels: int) -> tuple[nn.Module, nn.Module]:
    """Build one of torchvision's networks that find boxes; return its backbone and its head."""
    network = _detector(arch, classes, channels)
    return network.backbone, network.head


def two_stage(arch: str, classes: int, channels: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Build one of torchvision's detectors of two stages; return its backbone, what proposes boxes, and the rest."""
    network = _detector(arch, classes, channels)
    return network.backbone, network.rpn, network.roi_heads


def _detector(arch: str, classes: int, channels: int) -> Any:
    from torchvision.models import get_model

    network = get_model(arch, weights=None, weights_backbone=None, num_classes=classes)
    if channels != 3:
        network.backbone.body.conv1 = _stem(channels, 64, 7, 2)
    return network


def _small_images(arch: str, classes: int, channels: int) -> nn.Module:
    name, pooled = names.small_images(arch)
    network = _torchvision(name, classes)
    network.conv1 = _stem(channels, network.conv1.out_channels, 3, 1)
    if not pooled:
        network.maxpool = nn.Identity()
    return network


def _torchvision(arch: str, classes: int) -> Any:
    from torchvision.models import get_model

    return get_model(arch, weights=None, num_classes=classes)


def _stem(channels: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    made = nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made
