"""An INT8 file without its Q/DQ, and where they stood. Reads files of any quantizer, in canonical form."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..errors import ModelError
from ..graph.quantized import DEQUANTIZE, INTEGER_OPERATORS, QUANTIZE, Plan, attribute, title, zero_point
from . import grids
from .grids import Grid

Slot = tuple[str, int]  # a node, by its first output, and which of its inputs


@dataclass(frozen=True)
class Stored:
    """Weights or a bias that a file stores as integers."""

    grid: Grid
    integers: np.ndarray
    exact: np.ndarray | None  # the float values, where the file has them

    def dequantized(self) -> np.ndarray:
        scale, zero = self.grid.shaped(self.integers.ndim)
        return np.asarray((self.integers.astype(np.float32) - zero) * scale, np.float32)


@dataclass
class Stripped:
    """A float network, and what an INT8 file rounds in it."""

    model: onnx.ModelProto
    reads: dict[Slot, tuple[Grid, ...]] = field(default_factory=dict)  # grids on what a node reads, in their order
    stored: dict[Slot, Stored] = field(default_factory=dict)


def strip(model: onnx.ModelProto) -> Stripped:
    """Take Q/DQ out of a canonical INT8 network: its nodes read float values and dequantized weights."""
    return _Stripping(model).done()


@dataclass(frozen=True)
class _Source:
    """What a value of the file is in the float network: a tensor, and the grids between."""

    tensor: str
    grids: tuple[Grid, ...] = ()
    stored: Stored | None = None


class _Stripping:
    def __init__(self, model: onnx.ModelProto):
        self._model, self._plan = model, Plan(model)
        self._sources: dict[str, _Source] = {}
        self._found = Stripped(onnx.ModelProto())
        self._constants: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}

    def done(self) -> Stripped:
        wrong = sorted({node.op_type for node in self._plan.nodes if node.op_type in INTEGER_OPERATORS})
        if wrong:
            hint = "save it in Q/DQ form (onnxruntime: quant_format=QuantFormat.QDQ)"
            raise ModelError("the INT8 file", f"computes with {', '.join(wrong[:3])}", hint=hint)
        nodes: list[onnx.NodeProto] = []
        for node in self._plan.nodes:
            if node.op_type == QUANTIZE:
                self._sources[node.output[0]] = self._of(node.input[0])
            elif node.op_type == DEQUANTIZE:
                self._sources[node.output[0]] = self._dequantized(node)
            else:
                nodes.append(self._kept(node))
        for value in self._model.graph.output:
            if self._of(value.name).tensor != value.name:
                identity = helper.make_node("Identity", [value.name], [value.name])
                nodes.append(self._kept(identity))
        if not (self._found.reads or self._found.stored):
            raise ModelError(
                "the INT8 file", "has no QuantizeLinear or DequantizeLinear", hint="name the quantized network first"
            )
        self._write(nodes)
        return self._found

    def _of(self, name: str) -> _Source:
        return self._sources.get(name, _Source(name))

    def _grid(self, node: onnx.NodeProto) -> Grid:
        scale = self._plan.value(node.input[1])
        zero = self._plan.value(zero_point(node)) if zero_point(node) else None
        if scale is None:
            raise ModelError(title(node), "computes its scale", hint="quantize statically, with calibration images")
        kind = self._plan.integer(node) or onnx.TensorProto.UINT8
        return grids.of(scale, zero, kind, attribute(node, "axis", 1), title(node))

    def _dequantized(self, node: onnx.NodeProto) -> _Source:
        grid = self._grid(node)
        integers = self._plan.value(node.input[0])
        if integers is not None:
            return _Source(node.output[0], stored=Stored(grid, integers, None))
        maker = self._plan.maker.get(node.input[0])
        exact = self._plan.value(maker.input[0]) if maker is not None and maker.op_type == QUANTIZE else None
        if exact is not None:
            return _Source(node.output[0], stored=_stored(exact, grid))
        before = self._of(node.input[0])
        return _Source(before.tensor, (*before.grids, grid))

    def _kept(self, original: onnx.NodeProto) -> onnx.NodeProto:
        """Return a node that reads the float network; note what the file rounds before it."""
        node = onnx.NodeProto()
        node.CopyFrom(original)
        for slot, name in enumerate(node.input):
            source = self._of(name)
            if source.stored is not None:
                own = f"{name}.{node.output[0]}" if name in self._constants else name
                self._constants[own] = numpy_helper.from_array(source.stored.dequantized(), own)
                node.input[slot] = own
                self._found.stored[node.output[0], slot] = source.stored
            elif source.tensor != name:
                node.input[slot] = source.tensor
                if source.grids:
                    self._found.reads[node.output[0], slot] = source.grids
        return node

    def _write(self, nodes: list[onnx.NodeProto]) -> None:
        read = {name for node in nodes for name in node.input}
        original = self._model.graph
        graph = helper.make_graph(
            nodes,
            original.name,
            original.input,
            original.output,
            [tensor for name, tensor in self._constants.items() if name in read],
        )
        self._found.model = helper.make_model(
            graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version
        )


def _stored(exact: np.ndarray, grid: Grid) -> Stored:
    scale, zero = grid.shaped(exact.ndim)
    integers = np.rint(exact / scale) + zero
    return Stored(grid, np.clip(integers, grid.low, grid.high).astype(np.int64), exact.astype(np.float32))
