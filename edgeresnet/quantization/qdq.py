"""A placement and its scales as an ONNX graph: QuantizeLinear and DequantizeLinear, and weights as INT8.

Biases stay float, but for a Gemm's where the dialect wants 32 bits. Writes a new graph; decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .net import Net, Node
from .placement import SYMMETRIC, Placement, weight_axis
from .scales import Grid, fake

_MOST = 2**31  # of an integer bias


@dataclass
class Values:
    """The numbers for a placement: a scale per tensor, and per layer the scales of its weights.

    Weights and biases are here only where they differ from the network's: a second copy of them may be large.
    """

    scales: dict[str, float] = field(default_factory=dict)  # by the tensor that decides them
    weight_scales: dict[str, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)  # float, by layer
    biases: dict[str, np.ndarray] = field(default_factory=dict)

    def weight(self, net: Net, layer: Node) -> np.ndarray:
        """Return a layer's weights."""
        found = self.weights.get(layer.name)
        return net.constants[layer.inputs[1]] if found is None else found

    def bias(self, net: Net, layer: Node) -> np.ndarray:
        """Return a layer's bias, zero where it has none."""
        if layer.name in self.biases:
            return self.biases[layer.name]
        own = net.constants.get(layer.inputs[2]) if len(layer.inputs) > 2 else None
        outputs = net.constants.shape(layer.inputs[1])[weight_axis(layer)]
        return np.zeros(outputs) if own is None else np.broadcast_to(own, outputs).astype(np.float64)


def write(model: onnx.ModelProto, placement: Placement, values: Values) -> onnx.ModelProto:
    """Write a new model. Float weights that no layer reads any more are not copied: they may be large."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    net = Net(model)
    if model.graph.input[0].name in placement.points:
        nodes += _quantized(model.graph.input[0].name, placement, values, constants)
    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        name = node.output[0]
        for slot, tensor in enumerate(list(node.input)):
            if (name, slot) in placement.reads:
                node.input[slot] = _dequantized(tensor)
        if name in placement.weights:
            nodes.append(_weights(node, net, placement, values, constants))
            nodes += _bias(node, net, placement, values, constants)
        nodes.append(node)
        for output in node.output:
            if output in placement.points:
                nodes += _quantized(output, placement, values, constants)
    read = {name for node in nodes for name in node.input}
    remaining = [tensor for tensor in model.graph.initializer if tensor.name in read]
    graph = helper.make_graph(
        nodes, model.graph.name, model.graph.input, model.graph.output, [*remaining, *constants], model.graph.doc_string
    )
    found = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    found.producer_name, found.producer_version = model.producer_name, model.producer_version
    found.metadata_props.extend(model.metadata_props)
    return found


def on_grid(array: np.ndarray, tensor: str, placement: Placement, values: Values) -> np.ndarray:
    """Return what a layer reads of a tensor: its values, quantized and dequantized."""
    return fake(array, np.float32(values.scales[placement.source(tensor)]), placement.points[tensor])


def integers(net: Net, layer: Node, values: Values, grid: Grid) -> np.ndarray:
    """Return a layer's weights as INT8."""
    weights = values.weight(net, layer)
    scales = _along(weights, layer, values)
    return np.rint(fake(weights, scales, grid) / scales).astype(np.int8)


def dequantized(net: Net, layer: Node, values: Values, grid: Grid) -> np.ndarray:
    """Return a layer's weights as its INT8 form reads them."""
    weights = values.weight(net, layer)
    return fake(weights, _along(weights, layer, values), grid)


def _along(weights: np.ndarray, layer: Node, values: Values) -> np.ndarray:
    """Return a layer's scales, shaped to be multiplied with its weights."""
    shape = [-1 if side == weight_axis(layer) else 1 for side in range(weights.ndim)]
    return values.weight_scales[layer.name].reshape(shape)


def _dequantized(tensor: str) -> str:
    return f"{tensor}_dequantized"


def _quantized(
    tensor: str, placement: Placement, values: Values, constants: list[onnx.TensorProto]
) -> list[onnx.NodeProto]:
    grid = placement.points[tensor]
    zero = np.int8(0) if grid == SYMMETRIC and not placement.only_uint8 else np.uint8(-grid.low)
    scale = np.float32(values.scales[placement.source(tensor)])
    constants.append(numpy_helper.from_array(np.asarray(scale), f"{tensor}_scale"))
    constants.append(numpy_helper.from_array(np.asarray(zero), f"{tensor}_zero"))
    inputs = [f"{tensor}_scale", f"{tensor}_zero"]
    return [
        helper.make_node("QuantizeLinear", [tensor, *inputs], [f"{tensor}_quantized"], f"{tensor}_quantize"),
        helper.make_node(
            "DequantizeLinear", [f"{tensor}_quantized", *inputs], [_dequantized(tensor)], f"{tensor}_dequantize"
        ),
    ]


def _bias(
    node: onnx.NodeProto, net: Net, placement: Placement, values: Values, constants: list[onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """Give a layer its corrected bias; return the node that dequantizes it, where the dialect wants it in 32 bits."""
    layer = placement.weights[node.output[0]]
    name = f"{layer.name}_bias"
    if placement.integer_bias and layer.kind == "Gemm" and len(layer.inputs) > 2 and layer.number("beta", 1.0) == 1:
        units = values.weight_scales[layer.name] * values.scales[placement.source(layer.inputs[0])]
        stored = np.rint(values.bias(net, layer) / units)
        if np.abs(stored).max() < _MOST:
            node.input[2] = _dequantized(name)
            inputs = [f"{name}_quantized", f"{name}_scale"]
            constants.append(numpy_helper.from_array(stored.astype(np.int32), inputs[0]))
            constants.append(numpy_helper.from_array(units.astype(np.float32), inputs[1]))
            return [helper.make_node("DequantizeLinear", inputs, [node.input[2]], f"{name}_dequantize", axis=0)]
    if layer.name in values.biases:
        constants.append(numpy_helper.from_array(values.biases[layer.name].astype(np.float32), name))
        node.input[2] = name
    return []


def _weights(
    node: onnx.NodeProto, net: Net, placement: Placement, values: Values, constants: list[onnx.TensorProto]
) -> onnx.NodeProto:
    """Give a layer INT8 weights; return the node that dequantizes them: one for each layer, as compilers expect it.

    Layers that share weights share the integers.
    """
    name, weight = node.output[0], node.input[1]
    layer = placement.weights[name]
    scales = values.weight_scales[name]
    first = next(each.name for each in net.sharing[weight] if each.name in placement.weights)
    if name == first:
        stored = integers(net, layer, values, placement.weight_grid)
        constants.append(numpy_helper.from_array(stored, f"{weight}_quantized"))
        constants.append(numpy_helper.from_array(scales.astype(np.float32), f"{weight}_scale"))
        constants.append(numpy_helper.from_array(np.zeros(len(scales), np.int8), f"{weight}_zero"))
    own = weight if name == first else f"{name}_weight"
    node.input[1] = _dequantized(own)
    return helper.make_node(
        "DequantizeLinear",
        [f"{weight}_quantized", f"{weight}_scale", f"{weight}_zero"],
        [_dequantized(own)],
        f"{own}_dequantize",
        axis=weight_axis(layer),
    )
