"""Rescales the channels of each tensor so that the one scale they share suits all. The network's answers stay the same.

ReLU, addition, pooling, slices and a pad with zeros pass a positive factor per channel on; the layer before takes it
into its weights and bias, the layer behind takes it out again. So every channel class (`channels.py`) has one free
factor. The factors minimize the rounding noise of activations and weights, weighted by how much it moves the logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

from ..portable.session import Dialect
from .channels import Channels
from .net import Net, Node
from .placement import Placement, place, weight_axis
from .sensitivity import NOTHING, Seen, by_rows, observe, rows

_ANY = Dialect(activations="s8-symmetric", residual="shortcut", channel_multiple=1)  # what all dialects have in common
_STEPS, _RATE = 100, 0.1
_CAUTION = 0.2  # how much a factor far from 1 must gain
_ACTIVATION_LEVELS, _WEIGHT_LEVELS = 180.0, 127.0  # above zero: between those of signed and of unsigned integers
_SHARPNESS = 40.0  # how closely the smooth maximum of a tensor's channels follows the true one
_LARGEST = 5.0  # the logarithm of a factor stays within


class Equalizer:
    """The factors of a network's channels, and the network rescaled by them."""

    def __init__(self, model: onnx.ModelProto, images: np.ndarray, seed: int):
        net = Net(model)
        placement, self._channels = place(net, _ANY), Channels(net)
        parts = _parts(net, placement, self._channels, observe(model, placement, images, seed))
        self._factors = np.exp(_best(parts, self._channels.free))

    @property
    def changes(self) -> bool:
        return bool((self._factors != 1).any())

    def of(self, tensor: str) -> np.ndarray | None:
        """Return a tensor's factors, one per channel; None where it stays what it was."""
        if tensor not in self._channels.of:
            return None
        return np.asarray(self._factors[self._channels.of[tensor]])

    def applied(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Return the network rescaled."""
        return rescaled(model, self.of)


class _Part(NamedTuple):
    """Values that share a quantization step. A weight's factor is its input's, inverted: `sign` is -1."""

    classes: np.ndarray
    sign: float
    reach: np.ndarray
    sensitivity: np.ndarray


def _parts(net: Net, placement: Placement, channels: Channels, seen: Seen) -> list[_Part]:
    """List each tensor's channels and each output's weights; leave out tensors without a free factor."""
    found = []
    for name in placement.points:
        if placement.source(name) == name and name in channels.of and bool(channels.free[channels.of[name]].any()):
            felt = seen.of_channels[name] / _ACTIVATION_LEVELS**2
            found.append(_Part(channels.of[name], 1.0, seen.reach[name], felt))
    for node in placement.weights.values():
        if node.inputs[0] in channels.of:
            weights = net.constants[node.inputs[1]]
            outputs = weights.shape[weight_axis(node)]
            largest, read = np.abs(rows(node, weights)).max(2), by_rows(node, channels.of[node.inputs[0]], outputs)
            felt = seen.of_weights[node.name] / _WEIGHT_LEVELS**2 * (outputs / len(largest))
            found += [_Part(*one) for one in zip(read, [-1.0] * len(read), largest, felt, strict=True)]
    return found


def _best(parts: list[_Part], free: np.ndarray) -> np.ndarray:
    """Find the logarithms of the factors of least predicted noise, by gradient descent: a few vectors, no image."""
    factors = np.zeros(len(free))
    if not parts or not free.any():
        return factors
    noise = _Noise(parts, len(free))
    if not 0 < noise(factors)[0] < math.inf:
        return factors  # nothing reaches the logits
    mean, square = np.zeros_like(factors), np.zeros_like(factors)
    for step in range(1, _STEPS + 1):
        used = factors * free
        value, slope = noise(used)
        slope = (slope / value + 2 * _CAUTION * used / len(used)) * free
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2  # Adam
        move = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-12)
        factors = factors - _RATE * 0.5 * (1 + math.cos(math.pi * step / _STEPS)) * move
    return np.clip(factors * free, -_LARGEST, _LARGEST)


class _Noise:
    """The noise of rounding in the logits, and its slope: over the values of all parts, concatenated."""

    def __init__(self, parts: list[_Part], classes: int):
        sizes = [len(part.classes) for part in parts]
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._part = np.repeat(np.arange(len(parts)), sizes)
        # A class, and whether its factor is inverted: so each power is taken once, not once for each value.
        sides = [part.classes + (0 if part.sign > 0 else classes) for part in parts]
        self._side, self._classes = np.concatenate(sides), classes
        reach = np.log(np.maximum(np.concatenate([part.reach for part in parts]), NOTHING).astype(np.float64))
        self._highest = np.maximum.reduceat(reach, self._starts)
        self._reach = np.exp(_SHARPNESS * (reach - self._highest[self._part]))
        self._sensitivity = np.concatenate([part.sensitivity for part in parts]).astype(np.float64)

    def __call__(self, factors: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the predicted noise and its derivatives by the factors' logarithms.

        The noise is a step's square by twelve, in each channel's own units, times its sensitivity. A part's step
        follows its largest value, taken smoothly so that others near it count, too.
        """
        both = np.concatenate([factors, -factors])
        reach = self._reach * np.exp(_SHARPNESS * both)[self._side]
        felt = self._sensitivity * np.exp(-2 * both)[self._side]
        above = np.add.reduceat(reach, self._starts)
        steps = np.exp(2 * (np.log(above) / _SHARPNESS + self._highest)) / 12
        noise = steps * np.add.reduceat(felt, self._starts)
        slopes = (noise / above)[self._part] * reach - steps[self._part] * felt
        found = 2 * np.bincount(self._side, slopes, 2 * self._classes)
        return float(noise.sum()), found[: self._classes] - found[self._classes :]


def weights_noise(
    net: Net, placement: Placement, channels: Channels, seen: Seen, images: int
) -> Callable[[np.ndarray], tuple[float, np.ndarray]] | None:
    """Return an image's noise of the weights' rounding by the factors' logarithms; None where no factor changes it."""
    parts = [part for part in _parts(net, placement, channels, seen) if part.sign < 0]
    each = [part._replace(sensitivity=part.sensitivity / images) for part in parts]
    return _Noise(each, len(channels.free)) if each else None


def rescaled(model: onnx.ModelProto, of: Callable[[str], np.ndarray | None]) -> onnx.ModelProto:
    """Return a network whose tensors are multiplied by factors per channel; `of` gives these, None for none."""
    net = Net(model)
    found = onnx.ModelProto()
    found.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in found.graph.initializer}

    def change(name: str, values: np.ndarray) -> None:
        tensors[name].CopyFrom(numpy_helper.from_array(values.astype(np.float32), name))

    for node in net.weighted():
        before, after = of(node.inputs[0]), of(node.name)
        if after is None or (np.all(after == 1) and (before is None or np.all(before == 1))):
            continue
        weights = net.constants[node.inputs[1]]
        if before is None:  # the images, counted in levels
            before = np.ones(weights.shape[1 - weight_axis(node)] * node.integer("group", 1))
        change(node.inputs[1], _weights_rescaled(node, weights, before, after))
        if len(node.inputs) > 2:
            change(node.inputs[2], net.constants[node.inputs[2]] * after)
    return onnx.ModelProto.FromString(found.SerializeToString())  # `found` keeps the memory of what it replaced


def _weights_rescaled(node: Node, weights: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    axis = weight_axis(node)
    rows = np.moveaxis(weights, axis, 0)
    groups = node.integer("group", 1)
    inner = before.reshape(groups, -1).repeat(len(rows) // groups, axis=0)  # per output: its group's inputs
    tail = (1,) * (rows.ndim - 2)
    rows = rows * after.reshape(-1, 1, *tail) / inner.reshape(*inner.shape, *tail)
    return np.moveaxis(rows, 0, axis)
