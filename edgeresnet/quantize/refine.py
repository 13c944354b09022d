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
    beside = _beside(model, placement, values)
    both = [*layers, *(f"{name}{_BESIDE}" for name in layers)]
    means = [_mean_into(beside, name, spatial=placement.weights[_layer(name)].kind == "Conv") for name in both]
    run = session.Runner(model, means, beside=beside)
    sums: list[np.ndarray] = []
    images = 0
    for batch in batches:
        found = [value.sum(0, dtype=np.float64) for value in run(batch)]
        sums = [one + two for one, two in zip(sums, found, strict=True)] if sums else found
        images += len(batch)
    if not images:
        return values
    exact, rounded = sums[: len(layers)], sums[len(layers) :]
    net, biases = Net(model), {}
    for name, one, two in zip(layers, exact, rounded, strict=True):
        biases[name] = values.bias(net, placement.weights[name]) + (one - two) / images
    return replace(values, biases=biases)


def _beside(model: onnx.ModelProto, placement: Placement, values: qdq.Values) -> onnx.GraphProto:
    """What stands beside the FP32 network: each layer once more in INT8, reading the same activations."""
    quantized = qdq.write(model, placement, values)
    maker = {name: node for node in quantized.graph.node for name in node.output}
    there = {tensor.name for tensor in model.graph.initializer}
    found = onnx.GraphProto()
    found.initializer.extend(t for t in quantized.graph.initializer if t.name not in there)
    taken: set[str] = set()

    def take(tensor: str) -> None:
        node = maker.get(tensor)
        if node is not None and node.op_type in ("QuantizeLinear", "DequantizeLinear") and tensor not in taken:
            taken.add(tensor)
            for name in node.input:
                take(name)
            found.node.append(node)

    for name in placement.weights:
        layer = onnx.NodeProto()
        layer.CopyFrom(maker[name])
        for tensor in layer.input:
            take(tensor)
        layer.name = layer.output[0] = f"{name}{_BESIDE}"
        found.node.append(layer)
    return found


def _mean_into(graph: onnx.GraphProto, tensor: str, *, spatial: bool) -> str:
    """Adds the mean over a tensor's positions to a graph, so that no large tensor leaves it; gives its name."""
    if not spatial:
        return tensor
    graph.node.append(onnx.helper.make_node("GlobalAveragePool", [tensor], [f"{tensor}_pooled"]))
    graph.node.append(onnx.helper.make_node("Flatten", [f"{tensor}_pooled"], [f"{tensor}_mean"]))
    return f"{tensor}_mean"


def _layer(name: str) -> str:
    return name.removesuffix(_BESIDE)
