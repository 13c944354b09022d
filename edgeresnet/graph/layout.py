"""Channels first: turns the channels-last layout of TensorFlow into what ONNX convolutions take.

Each Transpose moves down past operators that compute the same on either side of it, until it meets its inverse and both
disappear. It stays in front of an operator that it cannot pass, so no answer changes. Knows no batch and no image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import onnx
from onnxscript import ir

Perm = tuple[int, ...]
TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
_ONE_BY_ONE = {
    "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Gelu", "Mish",
    "Softplus", "Abs", "Neg", "Sqrt", "Exp", "Log", "Reciprocal", "Floor", "Round", "Identity", "Cast", "Clip",
    "Dropout", "Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Sum", "Mean", "PRelu",
}  # fmt: skip
_REDUCED = {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"}


def take_first(model: onnx.ModelProto) -> None:
    """Make a model take images channels first, in place: a Transpose turns them into what it took."""
    image = model.graph.input[0]
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    turned = next(name for name in _names(f"{image.name}.channels_last") if name not in taken)
    for node in model.graph.node:
        node.input[:] = [turned if name == image.name else name for name in node.input]
    model.graph.node.insert(0, onnx.helper.make_node("Transpose", [image.name], [turned], perm=TO_LAST))
    sides = [type(dim).FromString(dim.SerializeToString()) for dim in image.type.tensor_type.shape.dim]
    for dim, axis in zip(image.type.tensor_type.shape.dim, TO_FIRST, strict=True):
        dim.CopyFrom(sides[axis])


def sink(graph: ir.Graph) -> bool:
    """Move Transposes down; return whether one moved. Constants must be folded before."""
    moved = False
    for node in list(graph):  # parents first, so that the next node meets a Transpose where this one left it
        if node.op_type == "Transpose":
            moved |= _meet(graph, node)
        elif any(_turned(value) for value in node.inputs):
            moved |= _pass(graph, node)
    return moved


def _meet(graph: ir.Graph, node: ir.Node) -> bool:
    """Join two Transposes in a row, and remove one that changes nothing."""
    perm, before = _perm(node), _turned(node.inputs[0])
    source, first = before or (node.inputs[0], None)
    if perm is None or source is None:
        return False
    joined = perm if first is None else tuple(first[axis] for axis in perm)
    if joined == tuple(range(len(joined))) and not node.outputs[0].is_graph_output():
        ir.convenience.replace_all_uses_with(node.outputs[0], source)
        return True
    if first is None:
        return False
    node.replace_input_with(0, source)
    node.attributes["perm"] = ir.AttrInt64s("perm", joined)
    return True


def _pass(graph: ir.Graph, node: ir.Node) -> bool:
    """Move a node before the Transposes that it reads from, and put the Transpose that its result needs after it."""
    perms = {found[1] for value in node.inputs if (found := _turned(value))}
    answers = [value for value in node.outputs if value.uses() or value.is_graph_output()]
    if len(perms) != 1 or node.domain or len(answers) != 1 or answers[0] is not node.outputs[0]:
        return False
    (perm,) = perms
    rewrite = _REWRITES.get(node.op_type)
    rewritten = rewrite(graph, node, perm) if rewrite else None
    if rewritten is None:
        return False
    inputs, attributes, behind = rewritten
    passed = ir.node(node.op_type, inputs, {**node.attributes, **attributes}, name=node.name)
    answer, result = node.outputs[0], passed.outputs[0]
    if behind == tuple(range(len(behind))):
        ir.convenience.replace_nodes_and_values(graph, node, [node], [passed], [answer], [result])
        return True
    turn = ir.node("Transpose", [result], {"perm": behind})
    name, shape = answer.name, answer.shape
    ir.convenience.replace_nodes_and_values(graph, node, [node], [passed, turn], [answer], [turn.outputs[0]])
    turn.outputs[0].name = name if turn.outputs[0].is_graph_output() else f"{name}.turned"
    result.name = f"{name}.passed" if turn.outputs[0].is_graph_output() else name
    result.type = turn.outputs[0].type
    if shape is not None:
        result.shape = ir.Shape([shape[behind.index(axis)] for axis in range(len(behind))])
    return True


class _Rewritten(NamedTuple):
    """A node that reads what stood before its Transposes."""

    inputs: Sequence[ir.Value | None]
    attributes: Mapping[str, int | Sequence[int]]  # those that change
    behind: Perm  # the Transpose that its result then needs


def _one_by_one(graph: ir.Graph, node: ir.Node, perm: Perm) -> _Rewritten | None:
    inputs: list[ir.Value | None] = []
    for value in node.inputs:
        found = _turned(value)
        constant = _constant(value)
        if found:
            inputs.append(found[0])
        elif value is None or (constant is not None and constant.size == 1 and constant.ndim <= len(perm)):
            inputs.append(value)
        elif constant is not None and constant.ndim <= len(perm):
            full = constant.reshape((1,) * (len(perm) - constant.ndim) + constant.shape)
            inputs.append(_held(graph, f"{value.name}.turned", full.transpose(np.argsort(perm))))
        else:
            return None
    return _Rewritten(inputs, {}, perm)


def _pad(graph: ir.Graph, node: ir.Node, perm: Perm) -> _Rewritten | None:
    source, padding = _source(node), node.inputs[1]
    pads = _numbers(padding)
    if source is None or padding is None or pads is None or len(node.inputs) > 3:
        return None
    rank = len(perm)
    turned = [pads[side + perm.index(axis)] for side in (0, rank) for axis in range(rank)]
    held = _held(graph, f"{padding.name}.turned", np.array(turned, np.int64))
    return _Rewritten([source, held, *node.inputs[2:]], {}, perm)


def _reduced(graph: ir.Graph, node: ir.Node, perm: Perm) -> _Rewritten | None:
    """Rewrite a reduction, whose axes are an attribute or, since opset 18, an input; or a Squeeze."""
    source, axes = _source(node), _axes(node, len(perm))
    if source is None or not axes:
        return None
    turned = sorted(perm[axis] for axis in axes)
    keeps = node.op_type in _REDUCED and bool(node.attributes.get_int("keepdims", 1))
    left = [perm[axis] for axis in range(len(perm)) if axis not in axes]
    behind = perm if keeps else tuple(sorted(left).index(axis) for axis in left)
    if "axes" in node.attributes:
        return _Rewritten([source], {"axes": turned}, behind)
    held = _held(graph, f"{node.outputs[0].name}.axes", np.array(turned, np.int64))
    return _Rewritten([source, held], {}, behind)


def _slice(graph: ir.Graph, node: ir.Node, perm: Perm) -> _Rewritten | None:
    source, starts = _source(node), _constant(node.inputs[1])
    given = node.inputs[3] if len(node.inputs) > 3 else None
    axes = _numbers(given)
    if source is None or starts is None or (given is not None and axes is None):
        return None
    turned = [perm[axis] for axis in (range(starts.size) if axes is None else axes)]
    held = _held(graph, f"{node.outputs[0].name}.axes", np.array(turned, starts.dtype))
    return _Rewritten([source, node.inputs[1], node.inputs[2], held, *node.inputs[4:]], {}, perm)


def _concat(graph: ir.Graph, node: ir.Node, perm: Perm) -> _Rewritten | None:
    sources = [_turned(value) for value in node.inputs]
    if not all(sources):
        return None
    axis = perm[node.attributes["axis"].value]
    return _Rewritten([found[0] for found in sources if found], {"axis": axis}, perm)


def _flat(graph: ir.Graph, node: ir.Node, perm: Perm) -> _Rewritten | None:
    """Rewrite a Flatten or Reshape where only sides of length one moved: the numbers keep their order then."""
    source = _source(node)
    sides = list(source.shape) if source is not None and source.shape is not None else []
    long = [axis for axis in perm if len(sides) == len(perm) and sides[axis] != 1]
    if not long or long != sorted(long) or perm[0] != 0:
        return None
    if node.op_type == "Flatten":
        return _Rewritten([source], {}, (0, 1)) if node.attributes.get_int("axis", 1) == 1 else None
    to = _numbers(node.inputs[1])
    if to is None or 0 in to[1:]:  # a side copied from the input, which has others now
        return None
    return _Rewritten([source, node.inputs[1]], {}, tuple(range(len(to))))


_REWRITES: dict[str, Callable[[ir.Graph, ir.Node, Perm], _Rewritten | None]] = {
    **dict.fromkeys(_ONE_BY_ONE, _one_by_one),
    **dict.fromkeys((*_REDUCED, "Squeeze"), _reduced),
    **dict.fromkeys(("Flatten", "Reshape"), _flat),
    "Pad": _pad,
    "Slice": _slice,
    "Concat": _concat,
}


def _turned(value: ir.Value | None) -> tuple[ir.Value, Perm] | None:
    """Return the value before its Transpose, and the permutation; None where no Transpose made it."""
    node = None if value is None else value.producer()
    perm = _perm(node) if node is not None and node.op_type == "Transpose" else None
    source = node.inputs[0] if node is not None else None
    return (source, perm) if perm is not None and source is not None and _constant(source) is None else None


def _perm(node: ir.Node) -> Perm | None:
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    backwards = None if shape is None else range(len(shape))[::-1]
    perm = node.attributes.get_ints("perm", backwards)
    return None if perm is None else tuple(perm)


def _source(node: ir.Node) -> ir.Value | None:
    """Return the value before the Transpose of a node's first input."""
    found = _turned(node.inputs[0])
    return found[0] if found else None


def _axes(node: ir.Node, rank: int) -> list[int]:
    given = node.attributes.get_ints("axes", None)
    if given is None and len(node.inputs) > 1:
        given = _numbers(node.inputs[1])
    return [axis % rank for axis in given or ()]


def _numbers(value: ir.Value | None) -> list[int] | None:
    constant = _constant(value)
    return None if constant is None else [int(number) for number in constant.reshape(-1)]


def _constant(value: ir.Value | None) -> np.ndarray | None:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _held(graph: ir.Graph, name: str, values: np.ndarray) -> ir.Value:
    name = next(each for each in _names(name) if each not in graph.initializers)
    tensor = ir.tensor(np.ascontiguousarray(values), name=name)
    value = ir.Value(name=name, const_value=tensor)
    value.dtype, value.shape = tensor.dtype, ir.Shape(values.shape)
    graph.register_initializer(value)
    return value


def _names(name: str) -> Iterator[str]:
    yield name
    number = 1
    while True:
        yield f"{name}.{number}"
        number += 1
