"""Refuses what no exporter writes, before onnx and the runtimes compute with it: some of them end the process on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from ..errors import ModelError, quoted, shortened
from ..portable.documents import shown

_LARGEST = 1 << 40  # bytes of a tensor
_MOST = 1 << 16  # pixels of a kernel, a stride, a padding
_POSITIVE = ("kernel_shape", "strides", "dilations", "group")
_NOT_ONE_BEHIND_ANOTHER = {TensorProto.STRING, TensorProto.UINT4, TensorProto.INT4, TensorProto.FLOAT4E2M1}


def check(model: onnx.ModelProto, path: Path) -> None:
    """Refuse a model with a tensor or a convolution that cannot be."""
    wrong = next(_wrong(model.graph), "")
    if wrong:
        raise ModelError(
            shown(path), f"is not a valid ONNX model: {wrong}", hint="export it again; `onnx.checker` shows more"
        )


def _wrong(graph: GraphProto) -> Iterator[str]:
    graphs = [graph]
    while graphs:
        here = graphs.pop()
        for tensor in here.initializer:
            yield from _of_tensor(tensor)
        for node in here.node:
            for attribute in node.attribute:
                yield from _of_attribute(node, attribute)
                graphs += [attribute.g] if attribute.type == AttributeProto.GRAPH else list(attribute.graphs)


def _of_attribute(node: NodeProto, attribute: AttributeProto) -> Iterator[str]:
    if attribute.type == AttributeProto.TENSOR:
        yield from _of_tensor(attribute.t)
    least = 1 if attribute.name in _POSITIVE else -_MOST
    numbers = [attribute.i] if attribute.type == AttributeProto.INT else attribute.ints
    if attribute.name in (*_POSITIVE, "pads") and any(not least <= number <= _MOST for number in numbers):
        yield f"its {shortened(node.op_type, 40)} has {attribute.name} {quoted(list(numbers), 40)}"


def _of_tensor(tensor: TensorProto) -> Iterator[str]:
    name = quoted(tensor.name, 40)
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == TensorProto.UNDEFINED:
        yield f"the tensor {name} has the type {tensor.data_type}, which ONNX does not have"
        return
    count = math.prod(tensor.dims) if all(side >= 0 for side in tensor.dims) else -1
    if not 0 <= count <= _LARGEST or len(tensor.dims) > 64:
        yield f"the tensor {name} has the shape {quoted(list(tensor.dims), 40)}"
    elif tensor.HasField("raw_data") and tensor.data_type not in _NOT_ONE_BEHIND_ANOTHER:
        each = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        if len(tensor.raw_data) != count * each:
            yield f"the tensor {name} has {len(tensor.raw_data):,} bytes instead of {count * each:,}"
