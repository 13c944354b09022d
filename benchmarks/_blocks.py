"""The networks of bottleneck blocks that `bottleneck.py` trains: three kinds, small enough for two CPU cores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from edgeresnet.portable import machine

EXPANSION = 4
_SQUEEZE = 4  # outputs of a block for each channel that its gate looks at


class Bottleneck(nn.Module):
    """A block as in ResNet-50: Conv, BN, ReLU, with a projection where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = EXPANSION * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def gate(self, y: torch.Tensor) -> torch.Tensor:
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.gate(self.bn3(self.conv3(y))) + self.shortcut(x))


class Squeezing(Bottleneck):
    """The same with squeeze-and-excitation: the means of all channels decide a factor for each one."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__(inputs, width, stride)
        outputs = EXPANSION * width
        self.squeeze = nn.Conv2d(outputs, outputs // _SQUEEZE, 1)
        self.excite = nn.Conv2d(outputs // _SQUEEZE, outputs, 1)

    def gate(self, y: torch.Tensor) -> torch.Tensor:
        inner = F.relu(self.squeeze(y.mean((2, 3), keepdim=True)))
        return y * torch.sigmoid(self.excite(inner))


class PreActivation(nn.Module):
    """BN, ReLU, Conv (He et al. 2016): the sum is signed and has no ReLU, and the first BN of a block stays a BN."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = EXPANSION * width
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, width, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3, self.conv3 = nn.BatchNorm2d(width), nn.Conv2d(width, outputs, 1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = F.relu(self.bn1(x))
        y = F.relu(self.bn2(self.conv1(first)))
        y = self.conv3(F.relu(self.bn3(self.conv2(y))))
        return y + (x if isinstance(self.shortcut, nn.Identity) else self.shortcut(first))


@dataclass(frozen=True)
class Kind:
    """One network: its blocks, and what it is trained on."""

    block: Callable[[int, int, int], nn.Module]
    stem: int  # channels
    widths: tuple[int, ...]  # of each stage
    blocks: int  # in each stage
    size: int = 32
    pooled: bool = False  # a max-pool after the stem
    epochs: int = 30


KINDS = {
    "bottleneck": Kind(Bottleneck, 16, (16, 32, 64), 2),
    "preactivation": Kind(PreActivation, 16, (12, 24, 48), 3),
    "squeeze": Kind(Squeezing, 24, (24, 48, 96), 2, size=64, pooled=True, epochs=20),
}


class Net(nn.Module):
    """A stem of stride 2, stages of one kind of block, and a linear classifier."""

    def __init__(self, kind: Kind, classes: int, channels: int):
        super().__init__()
        activated = kind.block is not PreActivation
        self.conv1 = nn.Conv2d(channels, kind.stem, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(kind.stem) if activated else None
        self.pool = nn.MaxPool2d(3, 2, 1) if kind.pooled else nn.Identity()
        stages, inputs = [], kind.stem
        for stage, width in enumerate(kind.widths):
            for number in range(kind.blocks):
                stages.append(kind.block(inputs, width, 2 if stage and not number else 1))
                inputs = EXPANSION * width
        self.stages = nn.Sequential(*stages)
        self.last = None if activated else nn.BatchNorm2d(inputs)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        x = self.pool(x if self.bn1 is None else F.relu(self.bn1(x)))
        x = self.stages(x)
        x = x if self.last is None else F.relu(self.last(x))
        return self.linear(x.mean((2, 3)))


class Learning(Net):
    """The same while it learns: in BF16 where the CPU has it, which halves the time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training and machine.has_bf16()):
            logits = super().forward(x.contiguous(memory_format=torch.channels_last))
        return logits.float()


def learning(kind: str, classes: int, channels: int) -> nn.Module:
    return Learning(KINDS[kind], classes, channels).to(memory_format=torch.channels_last)
