"""A folded ONNX classifier as a torch module, for a peer that takes nothing else. Runs in the peers' interpreter."""

from __future__ import annotations

from typing import Any

import onnx
import torch
import torch.nn.functional as F  # noqa: N812
from onnx import numpy_helper
from torch import nn


def network_of(path: str) -> Any:
    """Rebuild a folded ONNX classifier as a torch module, node by node, for quantizers that take nothing else."""
    graph = onnx.load(path).graph
    weights = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}

    def attributes(node: Any) -> dict[str, Any]:
        return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleDict()
            self.after_relu: set[str] = set()
            positive: set[str] = set()
            for number, node in enumerate(graph.node):
                if node.op_type in ("Conv", "Gemm"):
                    self.layers[str(number)] = _layer(node, attributes(node), weights)
                    if node.input[0] in positive:
                        self.after_relu.add(str(number))
                if node.op_type == "Relu" or (
                    node.op_type in ("ReduceMean", "GlobalAveragePool", "AveragePool", "MaxPool", "Flatten", "Reshape")
                    and node.input[0] in positive
                ):
                    positive.add(node.output[0])

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            values = {graph.input[0].name: image}
            for number, node in enumerate(graph.node):
                inputs = [values.get(name, weights.get(name)) for name in node.input]
                values[node.output[0]] = (
                    self.layers[str(number)](inputs[0])
                    if str(number) in self.layers
                    else _simple(node.op_type, inputs, attributes(node))
                )
            return values[graph.output[0].name]

    return Network().eval()


def _layer(node: Any, about: dict[str, Any], weights: dict[str, Any]) -> Any:
    weight = weights[node.input[1]]
    bias = weights[node.input[2]] if len(node.input) > 2 else torch.zeros(len(weight))
    if node.op_type == "Gemm":
        weight = weight if about.get("transB") else weight.T
        layer: Any = nn.Linear(weight.shape[1], weight.shape[0])
    else:
        pads, group = about.get("pads", [0] * 4), about.get("group", 1)
        stride = tuple(about.get("strides", [1, 1]))
        layer = nn.Conv2d(
            weight.shape[1] * group, weight.shape[0], weight.shape[2:], stride, tuple(pads[:2]), groups=group
        )
    layer.weight.data, layer.bias.data = weight.contiguous(), bias
    return layer


_BY_ELEMENT: dict[str, Any] = {"Relu": F.relu, "Sigmoid": torch.sigmoid, "Add": torch.add, "Mul": torch.mul}


def _simple(kind: str, inputs: list[Any], about: dict[str, Any]) -> Any:
    x = inputs[0]
    if kind in _BY_ELEMENT:
        return _BY_ELEMENT[kind](*inputs)
    if kind == "BatchNormalization":
        scale, shift, mean, variance = inputs[1:]
        return F.batch_norm(x, mean, variance, scale, shift, eps=about.get("epsilon", 1e-5))
    if kind in ("ReduceMean", "GlobalAveragePool"):
        return x.mean((2, 3), keepdim=kind == "GlobalAveragePool" or bool(about.get("keepdims", 1)))
    if kind in ("Flatten", "Reshape"):
        return torch.flatten(x, 1)
    if kind in ("MaxPool", "AveragePool"):
        return _pooled(kind, x, about)
    if kind == "Slice":
        starts, ends, axes, steps = (tensor.tolist() for tensor in inputs[1:5])
        for start, end, axis, step in zip(starts, ends, axes, steps):  # noqa: B905
            cut = [slice(None)] * x.ndim
            cut[axis] = slice(start, end, step)
            x = x[tuple(cut)]
        return x
    if kind == "Pad":
        half = len(inputs[1]) // 2
        pads = inputs[1].tolist()
        flat = [side for axis in reversed(range(half)) for side in (pads[axis], pads[half + axis])]
        return F.pad(x, flat)
    raise ValueError(f"the operator {kind} is not known here")


def _pooled(kind: str, x: Any, about: dict[str, Any]) -> Any:
    top, left, bottom, right = about.get("pads", [0] * 4)
    window, strides = tuple(about["kernel_shape"]), tuple(about.get("strides", (1, 1)))
    if kind == "MaxPool":
        return F.max_pool2d(F.pad(x, (left, right, top, bottom), value=float("-inf")), window, strides)
    if any((top, left, bottom, right)):
        raise ValueError("an AveragePool with padding is not known here")
    return F.avg_pool2d(x, window, strides)
