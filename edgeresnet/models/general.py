"""Builds the networks that `spelled` names: any widths, biases, pre-activation, each kind of shortcut and stem."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from . import cifar, names, plans, spelled
from .plans import BLOCKS, SHORTCUTS, STEM
from .spelled import Spelled


def build(arch: str, classes: int, channels: int) -> nn.Module:
    """Build an untrained network by its name."""
    found = names.written_out(arch)
    assert found is not None  # the name was checked
    return Network(found, classes, channels)


class AppendShortcut(cifar.PadShortcut):
    """Every second pixel, and zeros after the channels that the input has."""

    def __init__(self, missing: int, stride: int = 2):
        super().__init__(missing, stride)
        self.before, self.after = 0, missing


class AverageShortcut(AppendShortcut):
    """The mean of each four pixels, and zeros after the channels that the input has."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.avg_pool2d(x, self.stride) if self.stride > 1 else x
        return F.pad(x, (0, 0, 0, 0, self.before, self.after))


_WITHOUT_TENSORS = {
    spelled.PADDED: cifar.PadShortcut, spelled.APPENDED: AppendShortcut, spelled.AVERAGED: AverageShortcut,
}  # fmt: skip


class SqueezeExcite(nn.Module):
    """A factor for each channel, from the means of all."""

    def __init__(self, channels: int, narrow: int, how: Spelled):
        super().__init__()
        biased = how.plan.attention_biased
        self.fc1 = nn.Conv2d(channels, narrow, 1, bias=biased)
        self.fc2 = nn.Conv2d(narrow, channels, 1, bias=biased)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "": F.relu, spelled.SILU: F.silu, spelled.GELU: F.gelu, spelled.LEAKY: F.leaky_relu,
    spelled.LEAKY_TENTH: partial(F.leaky_relu, negative_slope=0.1),
}  # fmt: skip


class _Activation(nn.Module):
    def __init__(self, how: Spelled):
        super().__init__()
        self.activate = _ACTIVATIONS[how.activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activate(x)


class Block(cifar.Block):
    """A block of two or three convolutions; its shortcut is like the paper's blocks, which pruning knows."""

    def __init__(self, how: Spelled, inputs: int, stage: int, first: bool):
        nn.Module.__init__(self)
        plan, self.how, self.activate = how.plan, how, _ACTIVATIONS[how.activation]
        outputs, middle = plan.gives(stage), plan.middle(stage)
        stride = 2 if first and (stage > 0 or how.halved) else 1
        shapes = [(inputs, middle, 3), (middle, outputs, 3)]
        if plan.bottleneck:
            shapes = [(inputs, middle, 1), (middle, middle, 3), (middle, outputs, 1)]
        strided = 0 if how.first_strided or not plan.bottleneck else 1
        for number, (takes, gives, kernel) in enumerate(shapes):
            groups = plan.groups if plan.bottleneck and number == 1 else 1
            step = stride if number == strided else 1
            convolution = nn.Conv2d(
                takes, gives, kernel, step, kernel // 2, groups=groups, bias=BLOCKS in plan.biased
            )  # fmt: skip
            self.add_module(f"conv{number + 1}", convolution)
            self.add_module(f"bn{number + 1}", nn.BatchNorm2d(takes if plan.preactivation else gives))
        self.count = len(shapes)
        self.se: nn.Module = nn.Identity()
        if plan.attention:
            self.se = SqueezeExcite(outputs, plans.squeezed(plan, outputs), how)
        self.residual = how.shortcut != spelled.NONE
        self.shortcut: nn.Module = nn.Identity()
        changes = stride != 1 or inputs != outputs
        if plan.projected and (changes or (first and plan.always_projected)):
            self.averaged = stride if how.averaged else 1
            step = 1 if how.averaged else stride
            layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 1, step, bias=SHORTCUTS in plan.biased)]
            layers += [nn.BatchNorm2d(outputs)] if plan.shortcut_norm else []
            self.downsample = nn.Sequential(*layers)
        elif self.residual and changes:
            self.shortcut = _WITHOUT_TENSORS[how.shortcut](outputs - inputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._activated_before(x) if self.how.plan.preactivation else self._activated_after(x)

    def _activated_after(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in range(1, self.count + 1):
            y = self._norm(number)(self._convolution(number)(y))
            y = self.activate(y) if number < self.count else y
        y = self.se(y)
        return self.activate(y + self._passed(x) if self.residual else y)

    def _activated_before(self, x: torch.Tensor) -> torch.Tensor:
        y = ready = self.activate(self.bn1(x))
        for number in range(1, self.count + 1):
            y = self._convolution(number)(self.activate(self._norm(number)(y)) if number > 1 else y)
        y = self.se(y)
        projected = hasattr(self, "downsample")
        return y + self._passed(ready if projected and not self.how.raw else x) if self.residual else y

    def _passed(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = self.shortcut
        if hasattr(self, "downsample"):
            shortcut, x = self.downsample, F.avg_pool2d(x, self.averaged) if self.averaged > 1 else x
        passed: torch.Tensor = shortcut(x)
        return passed

    def _convolution(self, number: int) -> nn.Module:
        return self.get_submodule(f"conv{number}")

    def _norm(self, number: int) -> nn.Module:
        return self.get_submodule(f"bn{number}")


class Network(nn.Module):
    """A ResNet as its spelled name says."""

    def __init__(self, how: Spelled, classes: int, channels: int):
        super().__init__()
        plan = how.plan
        self.conv1 = _stem(how, channels)
        self.bn1: nn.Module = nn.BatchNorm2d(plan.stem[-1]) if plan.stem_norm else nn.Identity()
        # Without a normalisation there is no ReLU: the first block of a pre-activation network has both.
        self.relu: nn.Module = _Activation(how) if plan.stem_norm or not plan.preactivation else nn.Identity()
        self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1) if how.pooled else nn.Identity()
        inputs = plan.stem[-1]
        self.stages = len(plan.blocks)
        for stage, count in enumerate(plan.blocks):
            blocks = []
            for number in range(count):
                blocks.append(Block(how, inputs, stage, number == 0))
                inputs = plan.gives(stage)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.norm: nn.Module = nn.Sequential()
        if plan.last_norm:
            self.norm = nn.BatchNorm2d(inputs)
        self.last_norm, self.activate = plan.last_norm, _ACTIVATIONS[how.activation]
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        if self.last_norm:
            x = self.activate(self.norm(x))
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits


def _stem(how: Spelled, channels: int) -> nn.Module:
    plan = how.plan
    layers: list[nn.Module] = []
    for position, outputs in enumerate(plan.stem):
        kernel = plan.kernel if len(plan.stem) == 1 else 3
        stride = how.stem_stride if position == 0 else 1
        layers.append(nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, bias=STEM in plan.biased))
        if position < len(plan.stem) - 1:
            layers += [nn.BatchNorm2d(outputs), _Activation(how)]
        channels = outputs
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)
