"""torchvision's ResNets by name, with any number of classes and input channels. Downloads nothing."""

from __future__ import annotations

from torch import nn


def build(arch: str, classes: int, channels: int) -> nn.Module:
    from torchvision.models import get_model

    network = get_model(arch, weights=None, num_classes=classes)
    if channels != 3:
        stem = network.conv1
        network.conv1 = nn.Conv2d(channels, stem.out_channels, stem.kernel_size, stem.stride, stem.padding, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    return network
