"""Closer to the FP32 network than rounding alone comes, on calibration images only. Each function returns new values.

Bias correction: rounding moves the mean of a layer's channels; the bias takes it back. Each layer is looked at by
itself, on the FP32 network's own activations put on the grid: no layer corrects what an earlier one corrects already.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx

from . import qdq, session
from .net import Net
from .placement import Placement

_BESIDE = "_beside"


def bias_correction(
    model: onnx.ModelProto, placement: Placement, values: qdq.Values, batches: Iterable[np.ndarray]
) -> qdq.Values:
    layers = list(placement.weights)
    run = session.Runner(_beside(model, placement, values), [*layers, *(f"{name}{_BESIDE}" for name in layers)])
    sums: list[np.ndarray] = []
    images = 0
    for batch in batches:
        found = [_channel_means(value).sum(0) for value in run(batch)]
        sums = [one + two for one, two in zip(sums, found, strict=True)] if sums else found
        images += len(batch)
    if not images:
        return values
    exact, rounded = sums[: len(layers)], sums[len(layers) :]
    net, biases = Net(model), {}
    for name, one, two in zip(layers, exact, rounded, strict=True):
        biases[name] = values.bias(net, placement.weights[name]) + (one - two) / images
    return replace(values, biases=biases)


def _beside(model: onnx.ModelProto, placement: Placement, values: qdq.Values) -> onnx.ModelProto:
    """The FP32 network, and beside each layer the same layer in INT8, reading the same activations."""
    quantized = qdq.write(model, placement, values)
    maker = {name: node for node in quantized.graph.node for name in node.output}
    found = onnx.ModelProto()
    found.CopyFrom(model)
    there = {tensor.name for tensor in found.graph.initializer}
    found.graph.initializer.extend(t for t in quantized.graph.initializer if t.name not in there)
    taken: set[str] = set()

    def take(tensor: str) -> None:
        node = maker.get(tensor)
        if node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear") and tensor not in taken:
            taken.add(tensor)
            for name in node.input:
                take(name)
            found.graph.node.append(node)

    for name in placement.weights:
        layer = onnx.NodeProto()
        layer.CopyFrom(maker[name])
        for tensor in layer.input:
            take(tensor)
        layer.name = layer.output[0] = f"{name}{_BESIDE}"
        found.graph.node.append(layer)
    return found


def _channel_means(value: np.ndarray) -> np.ndarray:
    return value.reshape(*value.shape[:2], -1).mean(2, dtype=np.float64)
