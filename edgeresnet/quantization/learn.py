"""Learns rounding, biases and scales so that the INT8 network answers as the FP32 network does. Uses no label.

Weights are in units of their own step, so one rate suits every layer: a weight moves to the neighbouring integer where
that brings the logits closer. Gradients ignore rounding; a scale's gradient is that of its own rounding errors.
Calibration images are mirrored and shifted, so that a few hundred go further.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from ..portable import machine
from .net import Net, Node
from .placement import Placement, weight_axis
from .qdq import Values
from .scales import Grid, half_precision
from .torch_net import TorchNet

_WEIGHT_RATE, _BIAS_RATE, _SCALE_RATE = 0.008, 0.01, 4e-3
_SHIFT = 8  # images are shifted by up to an eighth of their side
_WARM = 0.05  # the part of all steps in which rates rise


@dataclass(frozen=True)
class Budget:
    """How much learning may cost."""

    steps: int
    seconds: float
    batch: int


@dataclass(frozen=True)
class Learned:
    """The learned values, and what they cost."""

    values: Values
    steps: int
    seconds: float


def learn(
    model: onnx.ModelProto,
    placement: Placement,
    values: Values,
    images: np.ndarray,
    budget: Budget,
    seed: int,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Learned:
    """Learn for the budget's steps or seconds, whichever end first; the rates fall to zero by then."""
    torch.set_num_threads(machine.cores())
    student = _Student(model, placement, values)
    optimizer = torch.optim.Adam(student.groups())
    rates = [group["lr"] for group in optimizer.param_groups]
    generator = torch.Generator().manual_seed(seed)
    pool, began, done, total = torch.from_numpy(images), time.monotonic(), 0, budget.steps
    with torch.enable_grad():
        while done < total:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * _schedule(done / total)
            batch = _varied(pool[torch.randint(0, len(pool), (budget.batch,), generator=generator)], generator)
            loss = student.loss(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            if done in (3, 10, 30):  # how long a step takes is known now
                total = min(budget.steps, max(done, int(done * budget.seconds / (time.monotonic() - began))))
            on_step(done, total)
    return Learned(student.values(values), done, time.monotonic() - began)


class _Student:
    """The network with Q/DQ in torch. Its weights before rounding, its biases and its scales learn."""

    def __init__(self, model: onnx.ModelProto, placement: Placement, values: Values):
        self._net, self._placement = Net(model), placement
        self._runner = TorchNet(self._net)
        self._scales = {name: _leaf(math.log(scale)) for name, scale in values.scales.items()}
        self._layers = {name: _Layer(self._net, node, values) for name, node in placement.weights.items()}

    def groups(self) -> list[dict[str, object]]:
        """Return torch's parameter groups, each with its rate."""
        layers = self._layers.values()
        return [
            {"params": [layer.weights for layer in layers], "lr": _WEIGHT_RATE},
            {"params": [layer.bias for layer in layers], "lr": _BIAS_RATE},
            {"params": list(self._scales.values()), "lr": _SCALE_RATE},
        ]

    def loss(self, batch: Tensor) -> Tensor:
        """Return the squared error of the logits, relative to the FP32 network's."""
        with torch.no_grad():
            expected = self._runner.run(batch, self._runner.constants)[self._net.output]
        constants = dict(self._runner.constants)
        for layer in self._layers.values():
            layer.into(constants, self._placement.weight_grid)
        given = self._runner.run(batch, constants, self._read)[self._net.output]
        return (given - expected).square().sum() / expected.square().sum()

    def values(self, before: Values) -> Values:
        """Return what was learned."""
        with torch.no_grad():
            scales = {name: float(half_precision(float(log.exp()))) for name, log in self._scales.items()}
            layers = self._layers.items()
            weights = {name: layer.float_weights().numpy() for name, layer in layers}
            biases = {name: layer.float_bias().double().numpy() for name, layer in layers if layer.has_bias}
        return replace(before, scales=scales, weights=weights, biases=biases)

    def _read(self, node: Node, slot: int, value: Tensor) -> Tensor:
        tensor = node.inputs[slot]
        if (node.name, slot) not in self._placement.reads:
            return value
        scale = self._scales[self._placement.source(tensor)].exp()
        return _Fake.apply(value, scale, self._placement.points[tensor])


class _Layer:
    """The weights and the bias of one layer."""

    def __init__(self, net: Net, node: Node, values: Values):
        self._node, self._axis, self.has_bias = node, weight_axis(node), len(node.inputs) > 2
        weights = torch.from_numpy(np.array(values.weight(net, node), np.float32))
        shape = [-1 if side == self._axis else 1 for side in range(weights.dim())]
        self._step = torch.from_numpy(values.weight_scales[node.name]).view(shape)
        self.weights = (weights / self._step).requires_grad_()  # in steps
        self._own = torch.from_numpy(values.bias(net, node).astype(np.float32))
        # A bias moves in units of what all weights of its channel, one step each, would add on average.
        self._unit = self._step.flatten() * math.sqrt(weights.numel() / len(self._own))
        self.bias = torch.zeros_like(self._own).requires_grad_()

    def into(self, constants: dict[str, Tensor], grid: Grid) -> None:
        integers = _Round.apply(self.weights.clamp(grid.low, grid.high))
        constants[self._node.inputs[1]] = integers * self._step
        if self.has_bias:
            constants[self._node.inputs[2]] = self.float_bias()

    def float_weights(self) -> Tensor:
        return self.weights * self._step

    def float_bias(self) -> Tensor:
        return self._own + self.bias * self._unit


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.round()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        return slope


class _Fake(torch.autograd.Function):
    """Quantize and dequantize. A scale's gradient is that of the error that it leaves, in the value's own units."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, grid: Grid) -> Tensor:
        steps = values / scale
        integers = steps.round().clamp_(grid.low, grid.high)
        inside = (steps >= grid.low) & (steps <= grid.high)
        ctx.save_for_backward(inside, torch.where(inside, integers - steps, integers))
        return integers * scale

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        inside, error = ctx.saved_tensors
        return slope * inside, (slope * error).sum(), None


def _varied(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Return the images, half of them mirrored, all shifted by one random distance, with reflected edges."""
    mirrored = torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5
    batch = torch.where(mirrored, batch.flip(3), batch)
    height, width = batch.shape[2:]
    most = max(1, min(height, width) // _SHIFT)
    padded = F.pad(batch, [most] * 4, mode="reflect")
    top, left = torch.randint(0, 2 * most + 1, (2,), generator=generator).tolist()
    return padded[:, :, top : top + height, left : left + width]


def _schedule(part: float) -> float:
    return min(1.0, part / _WARM + 0.01) * 0.5 * (1 + math.cos(math.pi * part))


def _leaf(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float32, requires_grad=True)
