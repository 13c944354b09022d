"""Images come as pixels of 256 levels: the first layer is changed to read these levels, so that INT8 costs it nothing.

Normalised images need one scale for channels of different ranges, which causes a third to a half of INT8's total loss.
Counted in levels, each channel fills the grid exactly: the normalisation is undone in front of the first convolution,
and goes into its weights and bias. Zero padding happens before that, where zero still means the same.
Images of 16 bits have more levels than any grid of INT8, and are left alone.

Padding in front of the layer takes time. Where a dialect has a zero point per channel, the layer pads by itself: the
zero point is the level that zero becomes. The integers are the same.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..portable.preprocessing import Preprocessing
from .net import Net, Node

SCALE = 1.0  # of the tensor that the first layer reads: one level
_PREFIX = "levels."
LEVELS, _PADDED, _OFFSET = f"{_PREFIX}shifted", f"{_PREFIX}padded", f"{_PREFIX}offset"
_MIDDLE = 128  # levels from 0 to 255 become integers from -128 to 127
_TIE = 1e-3  # of a level: between two levels, the one next to the middle is taken, which may need no zero point


def count_in_levels(model: onnx.ModelProto, preprocessing: Preprocessing) -> bool:
    """Change the network in place, and no answer; return False unless one plain convolution reads the images."""
    net = Net(model)
    first = _first(net, preprocessing)
    if first is None:
        return False
    scale, shift = (values.astype(np.float64) for values in preprocessing.scale_and_shift())
    factor, offset = 1 / scale, -shift / scale - _MIDDLE  # a normalised value times factor plus offset is its integer
    layer = next(node for node in model.graph.node if node.output[0] == first.name)
    _take_in(model.graph, layer, net, factor, offset)
    nodes, constants = _in_front(net.input, first, factor, offset)
    layer.input[0] = LEVELS
    for attribute in layer.attribute:
        if attribute.name == "pads":
            attribute.ints[:] = [0] * len(attribute.ints)
    for at, node in enumerate(nodes):
        model.graph.node.insert(at, node)
    model.graph.initializer.extend(constants)
    return True


def shift_channels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Let the first layer of a written INT8 network pad by itself, in place, where images are padded before it."""
    graph, tensors = model.graph, {tensor.name: tensor for tensor in model.graph.initializer}
    maker = {node.output[0]: node for node in graph.node}
    pad = maker.get(_PADDED)
    if pad is None:
        return model
    offset = numpy_helper.to_array(tensors[_OFFSET])
    moved = np.sign(offset) * np.ceil(np.abs(offset) - 0.5 - _TIE)  # rounded as what was padded
    zeros = moved.ravel() + _MIDDLE
    if zeros.min() < 0 or zeros.max() > 2 * _MIDDLE - 1:
        return model
    quantize = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == LEVELS)
    dequantize = next(node for node in graph.node if node.input[0] == quantize.output[0])
    layer = next(node for node in graph.node if node.input[0] == dequantize.output[0])
    tensors[_OFFSET].CopyFrom(numpy_helper.from_array(offset - moved, _OFFSET))
    _give_zeros(quantize, dequantize, tensors, zeros.astype(np.uint8))
    integers, scales = (numpy_helper.to_array(tensors[name]) for name in maker[layer.input[1]].input[:2])
    added = np.einsum("oihw,o,i->o", integers, scales, moved.ravel(), dtype=np.float64)
    bias = numpy_helper.to_array(tensors[layer.input[2]]) + added
    tensors[layer.input[2]].CopyFrom(numpy_helper.from_array(bias.astype(np.float32), layer.input[2]))
    widths = numpy_helper.to_array(tensors[pad.input[1]])
    next(each for each in layer.attribute if each.name == "pads").ints[:] = widths[[2, 3, 6, 7]].tolist()
    next(node for node in graph.node if pad.output[0] in node.input).input[0] = pad.input[0]
    graph.node.remove(pad)
    graph.initializer.remove(tensors[pad.input[1]])
    return model


def _give_zeros(
    quantize: onnx.NodeProto, dequantize: onnx.NodeProto, tensors: dict[str, onnx.TensorProto], zeros: np.ndarray
) -> None:
    """Write zero points; one for the tensor where all channels have the same, and none where it is the middle."""
    scale, zero = quantize.input[1:3]
    if (zeros == _MIDDLE).all():
        return
    if (zeros == zeros[0]).all():
        tensors[zero].CopyFrom(numpy_helper.from_array(np.asarray(zeros[0]), zero))
        return
    tensors[zero].CopyFrom(numpy_helper.from_array(zeros, zero))
    tensors[scale].CopyFrom(numpy_helper.from_array(np.full(len(zeros), SCALE, np.float32), scale))
    for node in (quantize, dequantize):
        node.attribute.append(helper.make_attribute("axis", 1))


def _first(net: Net, preprocessing: Preprocessing) -> Node | None:
    readers = net.readers.get(net.input, [])
    if len(readers) != 1 or net.image_channels != preprocessing.channels or preprocessing.bits != 8:
        return None
    ((node, slot),) = readers
    plain = node.kind == "Conv" and slot == 0 and node.integer("group", 1) == 1 and node in net.weighted()
    plain = plain and "auto_pad" not in node.attributes
    return node if plain and len(net.readers[node.inputs[1]]) == 1 else None


def _in_front(
    image: str, first: Node, factor: np.ndarray, offset: np.ndarray
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    nodes, constants, before = [], [], image
    steps = [("Mul", "factor", factor, "scaled"), ("Add", "offset", offset, "shifted")]
    top, left, bottom, right = first.integers("pads", [0] * 4)
    if top or left or bottom or right:
        before = _PADDED
        constants.append(numpy_helper.from_array(np.array([0, 0, top, left, 0, 0, bottom, right]), f"{_PREFIX}pads"))
        nodes.append(helper.make_node("Pad", [image, f"{_PREFIX}pads"], [before], f"{_PREFIX}Pad"))
    for operator, name, values, after in steps:
        constants.append(numpy_helper.from_array(values.astype(np.float32).reshape(1, -1, 1, 1), _PREFIX + name))
        nodes.append(helper.make_node(operator, [before, _PREFIX + name], [_PREFIX + after], _PREFIX + operator))
        before = _PREFIX + after
    return nodes, constants


def _take_in(graph: onnx.GraphProto, layer: onnx.NodeProto, net: Net, factor: np.ndarray, offset: np.ndarray) -> None:
    """Change weights and bias of the first layer for inputs counted in levels."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    weights = net.constants[layer.input[1]] / factor.reshape(1, -1, 1, 1)
    tensors[layer.input[1]].CopyFrom(numpy_helper.from_array(weights.astype(np.float32), layer.input[1]))
    moved = (weights * offset.reshape(1, -1, 1, 1)).sum(axis=(1, 2, 3))
    own = net.constants[layer.input[2]].astype(np.float64) if len(layer.input) > 2 else 0.0
    bias = numpy_helper.from_array((own - moved).astype(np.float32), f"{_PREFIX}bias")
    graph.initializer.add().CopyFrom(bias)
    del layer.input[2:]
    layer.input.append(bias.name)
