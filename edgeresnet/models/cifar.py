"""The paper's family for small images (He et al. 2016, §4.2): depth 6n+2, three stages of 16, 32 and 64 channels, or
of another width that a name gives.

Parameter names are those the field's published CIFAR weights use, so such checkpoints load as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from . import names


def build(arch: str, classes: int, channels: int) -> nn.Module:
    """Build an untrained network of this family."""
    parsed = names.cifar(arch)
    assert parsed is not None  # the name was checked
    return CifarResNet(*parsed, classes, channels)


class PadShortcut(nn.Module):
    """Option A: every second pixel, and zeros for the channels that the input does not have."""

    def __init__(self, missing: int, stride: int = 2):
        super().__init__()
        self.before, self.after, self.stride = missing // 2, missing - missing // 2, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: str):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.residual = shortcut != "none"
        self.shortcut: nn.Module = nn.Identity()
        if self.residual and (stride != 1 or inputs != outputs):
            if shortcut == "A":
                self.shortcut = PadShortcut(outputs - inputs)
            else:
                convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(y + self.shortcut(x) if self.residual else y)


class CifarBody(nn.Module):
    """The network without its classifier: its answer has a quarter of the image's sides."""

    def __init__(self, depth: int, shortcut: str, width: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks = (depth - 2) // 6
        self.layer1 = _stage(width, width, blocks, 1, shortcut)
        self.layer2 = _stage(width, 2 * width, blocks, 2, shortcut)
        self.layer3 = _stage(2 * width, 4 * width, blocks, 2, shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x)))


class CifarResNet(CifarBody):
    def __init__(self, depth: int, shortcut: str, width: int, classes: int, channels: int):
        super().__init__(depth, shortcut, width, channels)
        self.linear = nn.Linear(4 * width, classes)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(super().forward(x).mean((2, 3)))


def initialise(network: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers as He et al. do."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)


def _stage(inputs: int, outputs: int, blocks: int, stride: int, shortcut: str) -> nn.Sequential:
    first = Block(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(Block(outputs, outputs, 1, shortcut) for _ in range(blocks - 1)))
