"""The Q/DQ of an ONNX file as a wiring plan: the maker and the readers of each value, its type, and whether it varies.

Reads files of any quantizer. Does not know what a compiler accepts: `accepts` does.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

Node = onnx.NodeProto

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
# Arithmetic on integers as an operator of its own: onnxruntime's QOperator form, and dynamic quantization.
INTEGER_OPERATORS = {
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "DynamicQuantizeLinear",
    "QLinearAdd",
    "QLinearMul",
    "QLinearConcat",
    "QLinearSigmoid",
    "QLinearLeakyRelu",
    "QLinearSoftmax",
    "QLinearAveragePool",
    "QLinearGlobalAveragePool",
    "QLinearReduceMean",
    "QLinearWhere",
    "QGemm",
}
# They move or choose values and compute none: an INT8 value before them is one after them.
MOVES = {"Slice", "Pad", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "MaxPool", "Gather"}
WEIGHTED = {"Conv", "Gemm", "MatMul"}
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16}


@dataclass(frozen=True)
class Summary:
    """A file in numbers."""

    operators: dict[str, int]
    quantized: bool
    int8: int  # convolutions and Gemms whose data and weights are both INT8
    weighted: int  # all convolutions and Gemms


class Plan:
    """The plan of a model that `onnx.checker` accepts."""

    def __init__(self, model: onnx.ModelProto):
        self.nodes: list[Node] = list(model.graph.node)
        self.outputs = {value.name for value in model.graph.output}
        self.open_batch = not any(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[:1])
        self.maker = {out: node for node in self.nodes for out in node.output if out}
        self.takers: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for name in filter(None, node.input):
                self.takers[name].append(node)
        self._held = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self.nodes:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    self._held[node.output[0]] = attribute.t
        self._constant = set(self._held)
        for node in self.nodes:  # parents first, as ONNX demands
            if all(name in self._constant for name in node.input if name):
                self._constant.update(node.output)
        self.types = self._inferred(model)

    def summary(self) -> Summary:
        """Count operators and INT8 layers."""
        kinds = Counter(node.op_type for node in self.nodes)
        weighted = [node for node in self.nodes if node.op_type in WEIGHTED]
        int8 = sum(self.is_int8(node.input[0]) and self.is_int8(node.input[1]) for node in weighted)
        form = {QUANTIZE, DEQUANTIZE} | INTEGER_OPERATORS
        return Summary(dict(sorted(kinds.items())), bool(form & kinds.keys()), int8, len(weighted))

    def pairs(self) -> list[Node]:
        """List every QuantizeLinear and DequantizeLinear, of any domain."""
        return [node for node in self.nodes if node.op_type in (QUANTIZE, DEQUANTIZE)]

    def origin(self, name: str) -> Node | None:
        """Return the node that computed this value, before those that only moved it."""
        node = self.maker.get(name)
        while node is not None and node.op_type in MOVES:
            node = self.maker.get(node.input[0])
        return node

    def is_int8(self, name: str) -> bool:
        """Return whether a value comes from a DequantizeLinear."""
        node = self.origin(name)
        return node is not None and node.op_type == DEQUANTIZE

    def is_constant(self, name: str) -> bool:
        """Return whether the file holds a value, or it is computed from constants only."""
        return name in self._constant

    def value(self, name: str) -> np.ndarray | None:
        """Return a constant that the file holds; None for any other value."""
        node = self.maker.get(name)
        while name not in self._held and node is not None and node.op_type == "Identity":
            name = node.input[0]
            node = self.maker.get(name)
        return numpy_helper.to_array(self._held[name]) if name in self._held else None

    def sides(self, name: str) -> tuple[int, ...] | None:
        """Return the sides of a constant, also through its Q/DQ."""
        node = self.maker.get(name)
        while name not in self._held and node is not None and node.op_type in (QUANTIZE, DEQUANTIZE):
            name = node.input[0]
            node = self.maker.get(name)
        return tuple(self._held[name].dims) if name in self._held else None

    def integer(self, node: Node) -> int | None:
        """Return the integer type of a Q or DQ: the zero point's, else the attribute's or the input's, else uint8."""
        if zero_point(node):
            return self.types.get(zero_point(node))
        if node.op_type == DEQUANTIZE:
            return self.types.get(node.input[0])
        return int(attribute(node, "output_dtype", 0)) or TensorProto.UINT8

    def _inferred(self, model: onnx.ModelProto) -> dict[str, int]:
        """Infer element types: most operators return the type that they take."""
        found = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
        found |= {name: tensor.data_type for name, tensor in self._held.items()}
        for node in self.nodes:
            kind = found.get(node.input[0]) if node.input else None
            if node.op_type == QUANTIZE:
                zero = zero_point(node)
                kind = found.get(zero) if zero else int(attribute(node, "output_dtype", 0)) or TensorProto.UINT8
            elif node.op_type == DEQUANTIZE:
                kind = found.get(node.input[1])
            elif node.op_type == "Cast":
                kind = int(attribute(node, "to", 0))
            elif node.op_type in INTEGER_OPERATORS:
                kind = None
            if kind:
                found.update((out, kind) for out in node.output if out and out not in found)
        return found

    def float_types(self, node: Node) -> set[int]:
        """Return the float types among a node's inputs."""
        return {self.types[name] for name in node.input if self.types.get(name) in _FLOATS}


def zero_point(node: Node) -> str:
    """Return the name of a Q's or DQ's zero point; empty where it has none."""
    return node.input[2] if len(node.input) > 2 else ""


def attribute(node: Node, name: str, default: int) -> int:
    """Return an integer attribute."""
    return next((each.i for each in node.attribute if each.name == name), default)


def title(node: Node) -> str:
    """Return a node's name for people."""
    return node.name or (node.output[0] if node.output else node.op_type)
