"""Bias correction: the mean error of rounding is known in advance, and a layer's bias can remove it.

Each layer is corrected by itself, on the FP32 network's own activations put on the grid, so no layer corrects what an
earlier one already does. A layer without a bias gets none: adding it takes time. A mean over positions is linear, so
the means of what each weight reads are enough: no second network runs, and no large tensor is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx

from . import qdq, session
from .net import Net, Node
from .placement import Placement, weight_axis


def bias_correction(
    model: onnx.ModelProto, placement: Placement, values: qdq.Values, batches: Iterable[np.ndarray]
) -> qdq.Values:
    """Return the values with corrected biases."""
    net = Net(model)
    layers = {
        n: node for n, node in placement.weights.items() if len(node.inputs) > 2 and "auto_pad" not in node.attributes
    }
    readers: dict[str, list[str]] = {}
    for name, node in layers.items():
        readers.setdefault(node.inputs[0], []).append(name)
    tensors = [tensor for tensor in readers if tensor != net.input]
    run = session.Runner(model, tensors)
    exact, rounded, images = dict[str, np.ndarray](), dict[str, np.ndarray](), 0
    for batch, found in run.over(batches):
        seen = {net.input: batch, **dict(zip(tensors, found, strict=True))}

        def take(tensor: str, seen: dict[str, np.ndarray] = seen) -> None:
            on_grid = qdq.on_grid(seen[tensor], tensor, placement, values)
            for name in readers[tensor]:
                exact[name] = exact.get(name, 0) + _taken(layers[name], net, seen[tensor])
                rounded[name] = rounded.get(name, 0) + _taken(layers[name], net, on_grid)

        session.each(take, readers)
        images += len(batch)
    if not images:
        return values
    biases = {}
    for name, node in layers.items():
        stored = qdq.dequantized(net, node, values, placement.weight_grid)
        one, two = _mean(node, net.constants[node.inputs[1]], exact[name]), _mean(node, stored, rounded[name])
        biases[name] = values.bias(net, node) + (one - two) / images
    return replace(values, biases=biases)


def _taken(node: Node, net: Net, values: np.ndarray) -> np.ndarray:
    """Return the mean over positions of what each weight reads, summed over images: per input channel (and tap)."""
    total = values.sum(0, dtype=np.float64)
    if node.kind != "Conv":
        return total
    rows, columns = (_positions(node, net, axis, total.shape[1 + axis]) for axis in (0, 1))
    return np.asarray(rows @ total @ columns.T)


def _positions(node: Node, net: Net, axis: int, length: int) -> np.ndarray:
    """Return how often a tap reads each position along one side, as a part of all it reads: taps × positions."""
    taps = net.constants.shape(node.inputs[1])[2 + axis]
    before, step = node.integers("pads", [0] * 4)[axis], node.integers("strides", [1, 1])[axis]
    apart, outputs = node.integers("dilations", [1, 1])[axis], node.positions(axis, length, taps)
    found = np.zeros((taps, length))
    for tap in range(taps):
        at = np.arange(outputs) * step + tap * apart - before
        found[tap, at[(at >= 0) & (at < length)]] = 1 / outputs
    return found


def _mean(node: Node, weights: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Return the mean of a layer's output per channel, without its bias."""
    rows = np.moveaxis(weights, weight_axis(node), 0)
    groups = node.integer("group", 1)
    inputs = taken.reshape(groups, -1)
    return np.einsum("goi,gi->go", rows.reshape(groups, len(rows) // groups, -1), inputs).ravel()
