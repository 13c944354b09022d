"""The half-precision variant: the same network in float16, float32 only at its two ends.

TensorRT builds what the file holds: a float16 engine needs float16 in the graph. Knows no target and runs nothing:
activations beyond float16's largest number show when the variant is verified.

In a Q/DQ network the INT8 weights stay bit for bit. A scale becomes float16 where that is a normal number: our
quantizer's are so exactly, others change by 1/2048 at most, as the activations do. TensorRT's strong types need that (a
DequantizeLinear gives the type of its scale), and NVIDIA's own quantizer removes the Casts that would otherwise stand
around every convolution. Only where a scale would lose more do its Q/DQ stay float32, with Casts around them.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, numpy_helper, shape_inference, version_converter

from ..errors import ModelError, first_line

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_OPSET = 19  # the first whose Q/DQ take float16 scales; TensorRT 10.3 reads up to 20
_NORMAL = np.finfo(np.float16).smallest_normal
_LARGEST = np.finfo(np.float16).max

_REFUSALS = (checker.ValidationError, shape_inference.InferenceError, version_converter.ConvertError, RuntimeError)
_Constants = dict[str, np.ndarray]


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the half-precision variant; refuse weights beyond float16, and operators that take only float32."""
    try:
        variant = _new_enough(model)
        del variant.graph.value_info[:]
        constants = _constants(variant.graph)
        _fold_quantizations(variant.graph, constants)
        wide = _wide(variant.graph, constants)
        _narrow(variant.graph, constants, wide | _sizes(variant.graph))
        _widen(variant.graph, wide)
        _float_ends(variant.graph)
        variant = shape_inference.infer_shapes(variant, strict_mode=True)
        checker.check_model(variant, full_check=True)
    except _REFUSALS as problem:
        raise ModelError(
            "the network",
            f"cannot be converted to half precision: {first_line(problem)}",
            hint="use float32 for this network",
        ) from problem
    return variant


def _new_enough(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy the model; raise its opset where its Q/DQ cannot take float16 scales."""
    variant = onnx.ModelProto()
    variant.CopyFrom(model)
    version = next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
    quantized = {_QUANTIZE, _DEQUANTIZE} & {node.op_type for node in model.graph.node}
    if not quantized or version >= _OPSET:
        return variant
    return version_converter.convert_version(variant, _OPSET)


def _constants(graph: onnx.GraphProto) -> _Constants:
    """Return every constant by name; turn Constant nodes into initializers."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = helper.get_attribute_value(node.attribute[0])
        if not isinstance(value, TensorProto):
            kind = np.float32 if node.attribute[0].name.startswith("value_float") else np.int64
            value = numpy_helper.from_array(np.asarray(value, kind))
        value.name = node.output[0]
        graph.initializer.append(value)
        graph.node.remove(node)
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _fold_quantizations(graph: onnx.GraphProto, constants: _Constants) -> None:
    """Compute in float32 what the file quantizes or dequantizes of its own constants.

    At run time weights would be quantized from float16; scales of int32 biases do not fit float16, and TensorRT does
    not take such biases. INT8 weights keep their DequantizeLinear, which makes a convolution INT8.
    """
    for node in [node for node in graph.node if node.op_type in (_QUANTIZE, _DEQUANTIZE)]:
        values = constants.get(node.input[0])
        if values is None or (node.op_type == _DEQUANTIZE and values.dtype != np.int32):
            continue
        scale, zero = _parameters(node, constants, values.ndim)
        if node.op_type == _QUANTIZE:
            limits = np.iinfo(zero.dtype)
            # In float32, and half to even, as the operator does it.
            folded = np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(zero.dtype)
        else:
            folded = (values - zero).astype(np.float32) * scale
        constants[node.output[0]] = folded
        graph.initializer.append(numpy_helper.from_array(folded, node.output[0]))
        graph.node.remove(node)


def _parameters(node: onnx.NodeProto, constants: _Constants, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and zero point of a Q/DQ, shaped to be multiplied with its values."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    scale = _scale(node, constants)
    zero = constants[node.input[2]] if len(node.input) > 2 else np.zeros_like(scale, np.uint8)
    shape = [1] * rank
    if scale.size > 1:
        shape[axis] = scale.size
    return scale.reshape(shape), zero.reshape(shape)


def _scale(node: onnx.NodeProto, constants: _Constants) -> np.ndarray:
    if node.input[1] not in constants:
        raise ModelError(
            f"the scale of {node.name or node.output[0]}",
            "is computed at run time",
            hint="quantize it statically, with scales found by calibration",
        )
    return constants[node.input[1]]


def _wide(graph: onnx.GraphProto, constants: _Constants) -> set[str]:
    """Return the scales that float16 has no normal number for."""
    scales = {node.input[1]: _scale(node, constants) for node in graph.node if node.op_type in (_QUANTIZE, _DEQUANTIZE)}
    return {name for name, scale in scales.items() if scale.min() < _NORMAL or scale.max() > _LARGEST}


def _sizes(graph: onnx.GraphProto) -> set[str]:
    """Return the constants that say how a Resize resizes: ONNX takes these in float32 alone."""
    return {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}


def _narrow(graph: onnx.GraphProto, constants: _Constants, kept: set[str]) -> None:
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            tensor.CopyFrom(_narrowed(constants[tensor.name], tensor.name))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT:
                attribute.t.CopyFrom(_narrowed(numpy_helper.to_array(attribute.t), node.output[0]))
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16


def _narrowed(values: np.ndarray, name: str) -> TensorProto:
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float16)
    if not np.isfinite(narrow).all():
        worst = values.flat[np.argmax(~np.isfinite(narrow))]
        raise ModelError(
            name,
            f"holds {worst:g}, but half precision ends at {_LARGEST:g}",
            hint="use float32 for this network, or check its training",
        )
    return numpy_helper.from_array(narrow, name)


def _widen(graph: onnx.GraphProto, wide: set[str]) -> None:
    """Add Casts around the Q/DQ whose scales stay float32."""
    for node in [node for node in graph.node if len(node.input) > 1 and node.input[1] in wide]:
        at, name = list(graph.node).index(node), f"{node.output[0]}.wide"
        if node.op_type == _QUANTIZE:
            graph.node.insert(at, _cast(node.input[0], name, TensorProto.FLOAT))
            node.input[0] = name
        else:
            graph.node.insert(at + 1, _cast(name, node.output[0], TensorProto.FLOAT16))
            node.output[0] = name


def _float_ends(graph: onnx.GraphProto) -> None:
    """Keep input and output float32: callers need not know that the network is in half precision."""
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            _rename(graph, value.name, f"{value.name}.half")
            graph.node.insert(0, _cast(value.name, f"{value.name}.half", TensorProto.FLOAT16))
    for value in graph.output:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            _rename(graph, value.name, f"{value.name}.half")
            graph.node.append(_cast(f"{value.name}.half", value.name, TensorProto.FLOAT))


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name == old:
                    names[at] = new


def _cast(before: str, after: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [before], [after], name=f"{before} to {after}", to=kind)
