"""Channels of one tensor share one scale: here they are made to need the same. The function stays what it was.

ReLU, addition, pooling, slices and a pad with zeros pass a positive factor per channel on; the layer before takes it
into its weights and bias, the layer behind takes it out again. So every channel class (what such operators tie
together, along a whole residual stream) has one free factor. They are chosen so that the noise of rounding, weighted by
how much the logits care for each channel, is least. Knows no images but the few it is given.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from ..device.session import Dialect
from .net import Net, Node
from .placement import POOLING, Placement, moves, place, weight_axis
from .session import batch_for
from .torch_net import TorchNet

_ANY = Dialect(activations="s8-symmetric", residual="shortcut", channel_multiple=1)  # what all dialects have in common
_STEPS, _RATE = 300, 0.03
_CAUTION = 0.1  # how much a factor far from 1 must win: the weights behind it are rounded too
_OUTLIERS = 5e-4  # the part of a channel's values that may be clipped
_OBSERVED = 1_400_000  # values of all images
_SHARPNESS = 40.0  # how closely the smooth maximum of a tensor's channels follows the true one
_LARGEST = 5.0  # the logarithm of a factor stays within


def observed(shape: tuple[int, ...]) -> int:
    """How many images of this shape are looked at, gradients and all."""
    return int(np.clip(_OBSERVED // int(np.prod(shape)), 8, 512))


class Stats(NamedTuple):
    """Per tensor and channel: the magnitude it reaches, and how much noise at it moves the logits (squared, summed)."""

    reach: dict[str, Tensor]
    sensitivity: dict[str, Tensor]


class Equalizer:
    """The factors that were found for a network: what they make of it, and of every tensor in it."""

    def __init__(self, model: onnx.ModelProto, images: np.ndarray, seed: int):
        net = Net(model)
        placement, self._channels = place(net, _ANY), Channels(net)
        stats = observe(net, images, set(placement.points), seed)
        self._factors = _best(placement, self._channels, stats).double().exp().numpy()

    @property
    def changes(self) -> bool:
        return bool((self._factors != 1).any())

    def of(self, tensor: str) -> np.ndarray | None:
        """Per channel; None where it stays what it was."""
        if tensor not in self._channels.of:
            return None
        return np.asarray(self._factors[self._channels.of[tensor].numpy()])

    def applied(self, model: onnx.ModelProto) -> onnx.ModelProto:
        return _rescaled(model, self)


class Channels:
    """Which channels of which tensors must have the same factor. A class that something else reads is not free."""

    def __init__(self, net: Net):
        self._net = net
        self._of: dict[str, np.ndarray] = {}
        self._parent: list[int] = []
        self._fixed: set[int] = set()
        self._fix(net.input, net.image_channels)
        for node in net.nodes:
            self._through(node)
        self._fix(net.output, None)
        roots = {name: np.array([self._root(i) for i in ids], np.int64) for name, ids in self._of.items()}
        known, fixed = np.unique(np.concatenate(list(roots.values()))), {self._root(i) for i in self._fixed}
        self.free = torch.tensor([float(root not in fixed) for root in known.tolist()])
        self.of = {name: torch.from_numpy(np.searchsorted(known, ids)) for name, ids in roots.items()}

    def _through(self, node: Node) -> None:
        first = node.inputs[0]
        if node.kind in ("Conv", "Gemm") and node in self._net.weighted() and first in self._of:
            self._new(node.name, self._net.constants.shape(node.inputs[1])[weight_axis(node)])
        elif node.kind == "Add" and all(name in self._of for name in node.inputs):
            one, two = (self._of[name] for name in node.inputs)
            self._of[node.name] = one
            if len(one) == len(two):
                self._unite(one, two)
            else:
                self._fix_all(node)
        elif (node.kind in ("Relu", "MaxPool", *POOLING) or _flattens(self._net, node)) and first in self._of:
            self._of[node.name] = self._of[first]
        elif node.kind in ("Slice", "Pad") and first in self._of:
            self._moved(node)
        else:
            self._fix_all(node)

    def _moved(self, node: Node) -> None:
        """Each channel of the result is one of the input's, or a new one that is all zero."""
        before, after = _channels_moved(self._net, node, len(self._of[node.inputs[0]]))
        if before is None:
            self._fix_all(node)
            return
        taken = self._of[node.inputs[0]][before]
        self._new(node.name, after[0] + len(taken) + after[1])
        self._of[node.name][after[0] : after[0] + len(taken)] = taken

    def _new(self, name: str, count: int) -> None:
        self._of[name] = np.arange(len(self._parent), len(self._parent) + count)
        self._parent.extend(range(len(self._parent), len(self._parent) + count))

    def _fix(self, name: str, count: int | None) -> None:
        if name not in self._of and count is not None:
            self._new(name, count)
        self._fixed.update(self._of.get(name, np.empty(0, np.int64)).tolist())

    def _fix_all(self, node: Node) -> None:
        """An operator of which nothing is known here: what it reads and makes stays as it is."""
        for name in (*node.inputs, *node.outputs):
            self._fix(name, None)

    def _unite(self, one: np.ndarray, two: np.ndarray) -> None:
        for i, j in zip(one.tolist(), two.tolist(), strict=True):
            i, j = self._root(i), self._root(j)
            self._parent[max(i, j)] = min(i, j)

    def _root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index


def observe(net: Net, images: np.ndarray, tensors: set[str], seed: int) -> Stats:
    """A few images at a time forwards and backwards, large ones one by one: the memory is theirs."""
    runner, generator = TorchNet(net), torch.Generator().manual_seed(seed)
    values: dict[str, list[Tensor]] = {name: [] for name in tensors}
    sensitivity: dict[str, Tensor] = {}
    size = batch_for(images.shape[1:])
    for start in range(0, len(images), size):
        batch = torch.from_numpy(images[start : start + size]).requires_grad_()
        kept = {**runner.run(batch, runner.constants, keep=tensors), net.input: batch}
        logits = kept[net.output]
        signs = torch.randint(0, 2, logits.shape, generator=generator) * 2.0 - 1.0
        names = sorted(tensors)
        slopes = torch.autograd.grad((logits * signs).sum(), [kept[name] for name in names])
        for name, slope in zip(names, slopes, strict=True):
            power = _per_channel(slope.square()).sum(1)
            sensitivity[name] = sensitivity.get(name, torch.zeros_like(power)) + power
            magnitude = _per_channel(kept[name].detach().abs())
            values[name].append(magnitude.topk(max(1, math.ceil(_OUTLIERS * magnitude.shape[1])), 1).values)
    return Stats({name: _reach(parts) for name, parts in values.items()}, sensitivity)


def _best(placement: Placement, channels: Channels, stats: Stats) -> Tensor:
    """Logarithms of the factors of least predicted noise, by gradient descent: a few vectors, no image."""
    names = [n for n in placement.points if placement.source(n) == n and n in channels.of]
    factors = torch.zeros(len(channels.free))
    if not names or not bool(channels.free.any()):
        return factors
    sizes = torch.tensor([len(channels.of[name]) for name in names])
    noise = _Noise(
        torch.cat([channels.of[name] for name in names]),
        torch.repeat_interleave(torch.arange(len(names)), sizes),
        torch.cat([stats.reach[name] for name in names]).log(),
        torch.cat([stats.sensitivity[name] for name in names]),
    )
    with torch.enable_grad():
        factors = factors.requires_grad_()
        mean, square = torch.zeros_like(factors), torch.zeros_like(factors)
        for step in range(1, _STEPS + 1):
            used = factors * channels.free
            loss = noise(used).log() + _CAUTION * used.square().mean()
            (slope,) = torch.autograd.grad(loss, [factors])
            # Adam by hand: torch.optim loads its compiler first, which takes longer than all of this.
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope.square()
            move = (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-12)
            rate = _RATE * 0.5 * (1 + math.cos(math.pi * step / _STEPS))
            factors = (factors - rate * move).detach().requires_grad_()
    return (factors.detach() * channels.free).clamp(-_LARGEST, _LARGEST)


class _Noise(NamedTuple):
    """Of rounding, as the logits feel it: all channels of all quantized tensors in one row."""

    classes: Tensor
    tensor: Tensor  # which each channel belongs to
    reach: Tensor  # its logarithm
    sensitivity: Tensor

    def __call__(self, factors: Tensor) -> Tensor:
        """A step's square by twelve, in the channel's own units, times what the logits make of it.

        A tensor's step follows its farthest channel, taken smoothly so that others near it count, too.
        """
        factor = factors[self.classes]
        reach = _SHARPNESS * (self.reach + factor)
        count = int(self.tensor[-1]) + 1
        highest = torch.full((count,), -math.inf).scatter_reduce(0, self.tensor, reach.detach(), "amax")
        above = torch.zeros(count).index_add(0, self.tensor, (reach - highest[self.tensor]).exp())
        step = (above.log() + highest) / _SHARPNESS
        return ((2 * step[self.tensor] - 2 * factor).exp() * self.sensitivity).sum() / 12


def _rescaled(model: onnx.ModelProto, equalizer: Equalizer) -> onnx.ModelProto:
    net = Net(model)
    found = onnx.ModelProto()
    found.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in found.graph.initializer}

    def change(name: str, values: np.ndarray) -> None:
        tensors[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))

    for node in net.weighted():
        before, after = equalizer.of(node.inputs[0]), equalizer.of(node.name)
        if before is not None and after is not None and not (np.all(before == 1) and np.all(after == 1)):
            change(node.inputs[1], _weights_rescaled(node, net.constants[node.inputs[1]], before, after))
            if len(node.inputs) > 2:
                change(node.inputs[2], net.constants[node.inputs[2]] * after)
    return found


def _weights_rescaled(node: Node, weights: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    axis = weight_axis(node)
    rows = np.moveaxis(weights, axis, 0)
    groups = node.attributes.get("group", 1)
    inner = before.reshape(groups, -1).repeat(len(rows) // groups, axis=0)  # per output: its group's inputs
    tail = (1,) * (rows.ndim - 2)
    rows = rows * after.reshape(-1, 1, *tail) / inner.reshape(*inner.shape, *tail)
    return np.moveaxis(rows, 0, axis)


def _channels_moved(net: Net, node: Node, count: int) -> tuple[np.ndarray | None, tuple[int, int]]:
    """Which input channels the result has, and how many new ones before and behind; None: not to be told."""
    unmoved = np.arange(count), (0, 0)
    operands = [net.constants.get(name) for name in node.inputs[1:]]
    if node.kind == "Slice":
        axes = operands[2] if len(operands) > 2 else np.arange(len(operands[0])) if operands[0] is not None else None
        if axes is None or operands[0] is None or operands[1] is None:
            return None, (0, 0)
        steps = operands[3] if len(operands) > 3 and operands[3] is not None else np.ones(len(axes), np.int64)
        for start, stop, axis, step in zip(operands[0], operands[1], axes, steps, strict=True):
            if int(axis) in (1, -3):
                return np.arange(count)[int(start) : int(stop) : int(step)], (0, 0)
        return unmoved
    pads = operands[0]
    if pads is None or len(pads) != 8 or not moves(net, node):
        return None, (0, 0)
    return np.arange(count), (int(pads[1]), int(pads[5]))


def _flattens(net: Net, node: Node) -> bool:
    """What follows a global pooling: channels stay what they were."""
    maker = net.maker.get(node.inputs[0])
    return node.kind in ("Flatten", "Reshape", "Squeeze", "Identity") and maker is not None and maker.kind in POOLING


def _per_channel(values: Tensor) -> Tensor:
    return values.transpose(0, 1).reshape(values.shape[1], -1)


def _reach(parts: list[Tensor]) -> Tensor:
    """The magnitude that few of a channel's values exceed. A dead channel reaches nothing: as little as is safe."""
    all_of = torch.cat(parts, 1)
    kept = max(1, all_of.shape[1] // max(len(parts), 1))
    reach = all_of.topk(kept, 1).values[:, -1]
    return torch.maximum(reach, 1e-3 * reach.max()).clamp_min(1e-12)
