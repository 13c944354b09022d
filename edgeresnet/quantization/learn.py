"""Learns rounding, biases and scales so that the INT8 network answers as the FP32 network does. Uses no label.

Weights are in units of their own step: a weight moves to the neighbouring integer where that brings the answers closer.
Gradients ignore rounding; a scale's gradient is that of its own rounding errors. Calibration images are mirrored and
shifted, so that a few hundred go further.

How fast weights may move differs from network to network by a factor of thirty. So the rates follow from how much noise
of one rounding costs, and held-out images check them: where learning loses, it goes back and moves half as fast.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor

from ..deadline import Deadline
from ..errors import ModelError, first_line
from ..portable import machine
from .net import Net, Node
from .placement import Placement, weight_axis
from .qdq import Values
from .scales import Grid, half_precision
from .torch_net import TorchNet

_WEIGHT_RATE, _BIAS_RATE, _SCALE_RATE = 0.008, 0.01, 4e-3  # at most
_LEAST_RATE = 0.01  # of these
_CAUTION = 0.15  # of the loss that there is, relative to what noise of one rounding costs
_SHIFT = 8  # images are shifted by up to an eighth of their side
_WARM = 0.05  # the part of all steps in which rates rise
_NOTHING = 1e-30
_CHECKS = 6  # looks at the held-out images
_LOST = 1.25  # times the loss at the beginning: go back
_AVERAGED = 0.95  # of the average of states at each step: one state alone has the noise of its last batches


T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """How much learning may cost."""

    steps: int
    seconds: float
    batch: int
    after: float = 0.0  # of the seconds: what follows learning


@dataclass(frozen=True)
class Learned:
    """The learned values, and what they cost."""

    values: Values
    steps: int
    seconds: float
    halved: int = 0  # times that the rates were halved, since learning lost
    device: str = "cpu"
    problem: str = ""  # why it did not run on a GPU, as the end of a sentence


def device_of(wanted: str) -> torch.device:
    """Return the device to learn on: with `auto` a GPU where torch finds one."""
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise ModelError(
            "quantize.device: cuda", "needs a GPU, and torch finds none", hint="write `device: auto`, or leave it out"
        )
    return torch.device("cuda" if found and wanted != "cpu" else "cpu")


def learn(
    model: onnx.ModelProto,
    placement: Placement,
    values: Values,
    images: np.ndarray,
    held_out: np.ndarray,
    budget: Budget,
    seed: int,
    on_step: Callable[[int, int], None] = lambda done, total: None,
    device: torch.device = torch.device("cpu"),  # noqa: B008
) -> Learned:
    """Learn for the budget's steps or seconds, whichever end first; the rates fall to zero by then."""
    torch.set_num_threads(machine.cores())
    deadline = Deadline(budget.seconds)

    def learned(on: torch.device) -> Learned:
        course = _Course(_Student(model, placement, values, on), images, held_out, budget, seed, deadline)
        course.run(on_step)
        return Learned(course.student.values(values), course.done, deadline.elapsed, course.halved, on.type)

    with torch.enable_grad():
        try:
            return learned(device)
        except RuntimeError as problem:  # a GPU that has too little memory, or is gone
            if device.type == "cpu":
                raise
            lost = f"; the GPU failed: {first_line(problem)[:80]}"
            return replace(learned(torch.device("cpu")), problem=lost)


class _Course:
    """Learning from its first step to its last."""

    def __init__(
        self,
        student: _Student,
        images: np.ndarray,
        held_out: np.ndarray,
        budget: Budget,
        seed: int,
        deadline: Deadline,
    ):
        self.student, self._budget, self._batch = student, budget, budget.batch
        self.done, self.halved = 0, 0
        self._deadline, self._looking = deadline, 0.0  # seconds of a look at the held-out images
        self._generator = torch.Generator().manual_seed(seed)
        self._pool, self._held = torch.from_numpy(images), torch.from_numpy(held_out)
        self._optimizer = torch.optim.Adam(student.groups())
        self._rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        self._best, self._average = student.state(), student.state()
        self._start, self._least = math.nan, math.inf

    def run(self, on_step: Callable[[int, int], None]) -> None:
        """Learn, and end with the best state that held-out images saw."""
        if not self._budget.steps or self._deadline.left <= 2 * self._budget.after:  # a look takes about as long
            return
        factor = self._speed()
        self._start = self._least = self._judged()
        total, checked = self._planned(self._budget.steps), 0
        while self.done < total:
            self._deadline.start()
            self._step(factor * 0.5**self.halved, self.done / total)
            self.done += 1
            self._take_average()
            on_step(self.done, total)
            self._deadline.took()
            total = self._planned(total)
            if self.done >= total or self.done - checked >= max(total // _CHECKS, 1):
                self._check()
                checked, total = self.done, self._planned(total)
        finite = all(bool(torch.isfinite(tensor).all()) for tensor in self._average)
        self.student.restore(self._average if finite and not len(self._held) else self._best)

    def _planned(self, before: int) -> int:
        """Return how many steps there will be, as far as the last ones show, with the looks between and after them."""
        looks = max(1, math.ceil(_CHECKS * (1 - self.done / max(before, 1))))
        fit = self._deadline.fits(looks * self._looking + self._budget.after * self._deadline.slower)
        return self._budget.steps if fit is None else min(self._budget.steps, self.done + fit)

    def _speed(self) -> float:
        """Return by how much to reduce the rates: noise of one rounding must stay small against the loss."""
        batch = self._drawn()
        state = self.student.state()
        with torch.no_grad():
            before = self._fitting(lambda size: float(self.student.loss(batch[:size])))
            self.student.disturb(self._generator)
            noise = float(self.student.loss(batch[: self._batch]))
            self.student.restore(state)
        found = _CAUTION * before / max(noise, _NOTHING)
        return min(1.0, max(_LEAST_RATE, found)) if math.isfinite(found) else _LEAST_RATE

    def _drawn(self) -> Tensor:
        chosen = torch.randint(0, len(self._pool), (self._budget.batch,), generator=self._generator)
        return _varied(self._pool[chosen], self._generator)

    def _step(self, factor: float, part: float) -> None:
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor * _schedule(part)
        batch = self._drawn()

        def backward(size: int) -> None:
            self._optimizer.zero_grad()
            for some in batch.split(size):
                (self.student.loss(some) * (len(some) / len(batch))).backward()

        self._fitting(backward)
        self._optimizer.step()

    def _fitting(self, work: Callable[[int], T]) -> T:
        """Return what the work gives, with as many images at once as memory allows."""
        while True:
            with contextlib.suppress(torch.cuda.OutOfMemoryError):
                return work(self._batch)
            if self._batch == 1:
                raise RuntimeError("its memory does not hold one image")
            self._batch = max(1, self._batch // 2)
            torch.cuda.empty_cache()

    def _judged(self) -> float:
        """Return the loss over held-out images; not a number where there are none."""
        if not len(self._held):
            return math.nan
        before = self._deadline.elapsed
        parts = self._fitting(lambda size: [self.student.errors(some) for some in self._held.split(size)])
        self._looking = self._deadline.elapsed - before
        return sum(wrong for wrong, _ in parts) / max(sum(whole for _, whole in parts), _NOTHING)

    def _take_average(self) -> None:
        weight = 1 - min(_AVERAGED, self.done / (self.done + 9))
        for average, now in zip(self._average, self.student.learns(), strict=True):
            average.lerp_(now.detach(), weight)

    def _check(self) -> None:
        """Store the best average; where learning lost, return to it and move half as fast."""
        if not len(self._held):
            return
        now = self.student.state()
        self.student.restore(self._average)
        found = self._judged()
        if found < self._least:
            self._least, self._best = found, self.student.state()
        elif not found <= _LOST * self._start:
            now, self._average = self._best, [tensor.clone() for tensor in self._best]
            self._optimizer.state.clear()
            self.halved += 1
        self.student.restore(now)


class _Student:
    """The network with Q/DQ in torch. Its weights before rounding, its biases and its scales learn."""

    def __init__(self, model: onnx.ModelProto, placement: Placement, values: Values, device: torch.device):
        self._net, self._placement, self._device = Net(model), placement, device
        self._runner = TorchNet(self._net, device)
        self._scales = {name: _leaf(math.log(scale), device) for name, scale in values.scales.items()}
        self._layers = {name: _Layer(self._net, node, values, device) for name, node in placement.weights.items()}
        self._features = _features(self._net)

    def groups(self) -> list[dict[str, object]]:
        """Return torch's parameter groups, each with its rate."""
        layers = self._layers.values()
        return [
            {"params": [layer.weights for layer in layers], "lr": _WEIGHT_RATE},
            {"params": [layer.bias for layer in layers], "lr": _BIAS_RATE},
            {"params": list(self._scales.values()), "lr": _SCALE_RATE},
        ]

    def state(self) -> list[Tensor]:
        """Return a copy of everything that learns."""
        return [tensor.detach().clone() for tensor in self.learns()]

    def restore(self, state: list[Tensor]) -> None:
        """Return to a state."""
        with torch.no_grad():
            for tensor, before in zip(self.learns(), state, strict=True):
                tensor.copy_(before)

    def disturb(self, generator: torch.Generator) -> None:
        """Move each weight by up to half a step."""
        for layer in self._layers.values():
            noise = torch.rand(layer.weights.shape, generator=generator) - 0.5
            layer.weights += noise.to(self._device)

    def learns(self) -> list[Tensor]:
        """Return everything that learns."""
        layers = self._layers.values()
        return [tensor for layer in layers for tensor in (layer.weights, layer.bias)] + list(self._scales.values())

    def loss(self, batch: Tensor) -> Tensor:
        """Return the squared error of the logits and of the features before them, each relative to the FP32 network's.

        A batch has few logits: the features say more about where the network differs.
        """
        expected, given = self._answers(batch)
        parts = [(given[name] - expected[name]).square().sum() / expected[name].square().sum() for name in expected]
        return torch.stack(parts).sum()

    def errors(self, batch: Tensor) -> tuple[float, float]:
        """Return the squared error of the logits, and their squares."""
        with torch.no_grad():
            expected, given = (answers[self._net.output] for answers in self._answers(batch))
        return float((given - expected).square().sum()), float(expected.square().sum())

    def _answers(self, batch: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        batch = batch.to(self._device)
        with torch.no_grad():
            expected = self._runner.run(batch, self._runner.constants, keep=self._features)
        constants = dict(self._runner.constants)
        for layer in self._layers.values():
            layer.into(constants, self._placement.weight_grid)
        return expected, self._runner.run(batch, constants, self._read, keep=self._features)

    def values(self, before: Values) -> Values:
        """Return what was learned."""
        with torch.no_grad():
            scales = {name: float(half_precision(float(log.exp()))) for name, log in self._scales.items()}
            layers = self._layers.items()
            weights = {name: layer.float_weights().cpu().numpy() for name, layer in layers}
            biases = {name: layer.float_bias().double().cpu().numpy() for name, layer in layers if layer.has_bias}
        return replace(before, scales=scales, weights=weights, biases=biases)

    def _read(self, node: Node, slot: int, value: Tensor) -> Tensor:
        tensor = node.inputs[slot]
        if (node.name, slot) not in self._placement.reads:
            return value
        scale = self._scales[self._placement.source(tensor)].exp()
        return _Fake.apply(value, scale, self._placement.points[tensor])


class _Layer:
    """The weights and the bias of one layer."""

    def __init__(self, net: Net, node: Node, values: Values, device: torch.device):
        self._node, self._axis, self.has_bias = node, weight_axis(node), len(node.inputs) > 2
        weights = torch.from_numpy(np.array(values.weight(net, node), np.float32)).to(device)
        shape = [-1 if side == self._axis else 1 for side in range(weights.dim())]
        self._step = torch.from_numpy(values.weight_scales[node.name]).to(device).view(shape)
        self.weights = (weights / self._step).requires_grad_()  # in steps
        self._own = torch.from_numpy(values.bias(net, node).astype(np.float32)).to(device)
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
    most = min(max(1, min(height, width) // _SHIFT), min(height, width) - 1)
    padded = F.pad(batch, [most] * 4, mode="reflect")
    top, left = torch.randint(0, 2 * most + 1, (2,), generator=generator).tolist()
    return padded[:, :, top : top + height, left : left + width]


def _schedule(part: float) -> float:
    return min(1.0, part / _WARM + 0.01) * 0.5 * (1 + math.cos(math.pi * part))


def _leaf(value: float, device: torch.device) -> Tensor:
    return torch.tensor(value, dtype=torch.float32, device=device, requires_grad=True)


def _features(net: Net) -> tuple[str, ...]:
    """Return the tensor that the last fully connected layer reads; none where an image is not reduced to one."""
    last = next((node for node in reversed(net.nodes) if node.kind == "Gemm"), None)
    return (last.inputs[0],) if last is not None and last.inputs[0] in net.maker else ()
