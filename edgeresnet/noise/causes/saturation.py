"""Weights too large for a CPU without VNNI: it adds products in pairs, in 16 bits, where large sums are cut off."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .. import sums
from ..confirm import outputs
from ..diagnosis import Cause
from ..pair import Layer
from . import words
from .evidence import Evidence

SATURATES = "sums-saturate"
_IMAGES, _POSITIONS = 4, 16  # per layer


def causes(evidence: Evidence) -> Iterator[Cause]:
    """Yield the layers whose sums are cut off, if that changes their outputs more than rounding does."""
    if evidence.symmetric_only or not evidence.sums_saturate:
        return
    layers = [layer for layer in evidence.pair.layers if _may_saturate(layer)]
    if not layers:
        return
    every, pair, images = {layer.name for layer in evidence.pair.layers}, evidence.pair, evidence.images[:_IMAGES]
    for layer in layers:
        source, name = layer.node.inputs[0], layer.node.name
        exact = outputs(pair, images, (), [name])[name]
        given = outputs(pair, images, every, [source, name])
        share, power = _cut_off(layer, torch.from_numpy(given[source]))
        noise = float(np.square(given[name] - exact, dtype=np.float64).mean())
        if power > noise:
            yield Cause(
                SATURATES,
                layer.name,
                f"In {layer.name}, {words.percent(share)} of the sums of two products pass 16 bits. Without VNNI, this "
                "CPU cuts them off.",
                "Quantize for this CPU: `cpu: avx2` under the target, or `reduce_range=True` in onnxruntime.",
                power / (power + noise),
            )


def _may_saturate(layer: Layer) -> bool:
    """Return whether two neighbouring weights are large enough together."""
    if layer.weights is None or layer.node.kind != "Conv" or 0 not in layer.reads:
        return False
    return sums.may_saturate(_integers(layer))


def _integers(layer: Layer) -> np.ndarray:
    """Return a convolution's integers: outputs × inputs × taps."""
    assert layer.weights is not None
    found = layer.weights.integers.astype(np.int32)
    zero = layer.weights.grid.zero.astype(np.int32).reshape([-1] + [1] * (found.ndim - 1))
    return np.asarray((found - zero).reshape(*found.shape[:2], -1))


def _cut_off(layer: Layer, values: Tensor) -> tuple[float, float]:
    """Return which share of the sums is cut off, and the power that this adds to a value of the output."""
    assert layer.weights is not None
    grid, weights = layer.reads[0][-1], _integers(layer)
    patches = _patches(layer, integers_read(layer, values))  # groups × inputs × taps × positions
    groups, inputs, taps, positions = patches.shape
    scales = np.broadcast_to(layer.weights.grid.scale, (len(weights),)) * float(grid.scale.max())
    cut, power = 0, 0.0
    for output, (row, scale) in enumerate(zip(weights, scales, strict=True)):
        beyond, count = sums.cut_off(row, patches[output * groups // len(weights)])
        cut += count
        power += float(np.square(beyond * float(scale), dtype=np.float64).mean())
    return cut / max(len(weights) * (inputs // 2) * taps * positions, 1), power / len(weights)


def integers_read(layer: Layer, values: Tensor) -> Tensor:
    """Return the integers that a convolution reads, with its padding, as they are without a sign."""
    grid, pads = layer.reads[0][-1], layer.node.integers("pads", [0] * 4)
    scale, zero = (torch.from_numpy(each.astype(np.float32)) for each in grid.shaped(values.dim()))
    padded = functional.pad(values, [pads[1], pads[3], pads[0], pads[2]])
    return ((padded / scale).round() + zero).clamp(grid.low, grid.high) - grid.low


def _patches(layer: Layer, padded: Tensor) -> np.ndarray:
    """Return what some positions of a convolution read: groups × inputs × taps × positions."""
    node = layer.node
    assert layer.weights is not None
    taps = layer.weights.integers.shape[2:]
    strides, dilations = (tuple(node.integers(name, [1, 1])) for name in ("strides", "dilations"))
    found = functional.unfold(padded, taps, dilation=dilations, stride=strides)
    found = found.permute(1, 0, 2).reshape(found.shape[1], -1)
    found = found[:, :: max(1, found.shape[1] // _POSITIONS)]
    groups, inputs = node.integer("group", 1), layer.weights.integers.shape[1]
    return np.asarray(found.reshape(groups, inputs, int(np.prod(taps)), -1).numpy().astype(np.int32))
