"""Moves constant arithmetic per channel into the Conv or Gemm before it; turns a MatMul by constants into a Gemm.

Handles what onnxscript's own rules leave: scale layers of old exporters, separate biases, batch normalisation after
either or over shared weights. So a quantizer sees Conv and Gemm with all their arithmetic inside. Computes in float64;
changes no answer beyond float32's rounding.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

_Affine = tuple[np.ndarray, np.ndarray]  # scale and shift per channel


def absorb(graph: ir.Graph) -> None:
    """Rewrite a graph in place."""
    for node in [node for node in graph if node.op_type == "MatMul"]:
        _become_gemm(graph, node)
    for node in [node for node in graph if node.op_type == "Gemm"]:
        _become_plain(graph, node)
    while any(_take_next(graph, node) for node in list(graph) if node.op_type in ("Conv", "Gemm")):
        pass  # each absorbed one more


def _become_gemm(graph: ir.Graph, node: ir.Node) -> None:
    left, weights = node.inputs[0], _constant(node.inputs[1])
    if left is None or left.shape is None or len(left.shape) != 2 or weights is None or weights.ndim != 2:
        return
    gemm = ir.node("Gemm", inputs=node.inputs, name=node.name)
    ir.convenience.replace_nodes_and_values(graph, node, [node], [gemm], node.outputs, gemm.outputs)


def _become_plain(graph: ir.Graph, node: ir.Node) -> None:
    """Move `alpha` into constant weights and `beta` into the bias, and give each output a bias of its own."""
    weights = _constant(node.inputs[1])
    if weights is None or weights.ndim != 2:
        return
    name, outputs = node.outputs[0].name, weights.shape[0 if _number(node, "transB", 0) else 1]
    alpha, beta = _number(node, "alpha", 1.0), _number(node, "beta", 1.0)
    if alpha != 1:
        node.replace_input_with(1, _held(graph, f"{name}.weight", weights * alpha))
        del node.attributes["alpha"]
    given = _constant(node.inputs[2]) if len(node.inputs) > 2 else None
    bias = None if given is None else _per_channel(given, outputs, 2)
    if bias is not None and (beta != 1 or given is None or given.shape != bias.shape):
        node.replace_input_with(2, _held(graph, f"{name}.bias", bias * beta))
        node.attributes.pop("beta", None)


def _take_next(graph: ir.Graph, node: ir.Node) -> bool:
    """Fuse the only user of this node's result; return whether that was possible."""
    answer, weights = node.outputs[0], _constant(node.inputs[1])
    uses = list(answer.uses())
    if len(uses) != 1 or answer.is_graph_output() or weights is None:
        return False
    user = uses[0].node
    axis = 0 if node.op_type == "Conv" or _number(node, "transB", 0) else 1
    channels = weights.shape[axis]
    bias, affine = _bias(node, channels), _affine(user, answer, channels, weights.ndim)
    if bias is None or affine is None:
        return False
    scale, shift = affine
    scaled = weights * scale.reshape([-1 if at == axis else 1 for at in range(weights.ndim)])
    name = user.outputs[0].name
    held = [_held(graph, f"{name}.weight", scaled)]
    if (moved := bias * scale + shift).any():
        held.append(_held(graph, f"{name}.bias", moved))
    both = ir.node(node.op_type, [node.inputs[0], *held], node.attributes, name=node.name)
    ir.convenience.replace_nodes_and_values(graph, user, [user, node], [both], user.outputs, both.outputs)
    return True


def _affine(user: ir.Node, answer: ir.Value, channels: int, rank: int) -> _Affine | None:
    """Return what a node does to each channel of `answer`, if that is to multiply and add constants."""
    if user.op_type == "BatchNormalization":
        gamma, beta, mean, variance = (_constant(value) for value in user.inputs[1:5])
        if gamma is None or beta is None or mean is None or variance is None:
            return None
        scale = gamma / np.sqrt(variance + _number(user, "epsilon", 1e-5))
        return scale, beta - mean * scale
    if user.op_type not in ("Mul", "Div", "Add", "Sub"):
        return None
    first = user.inputs[0] is answer
    number = _per_channel(_constant(user.inputs[1 if first else 0]), channels, rank)
    one = np.ones(channels)
    if number is None or (user.op_type == "Div" and not first):
        return None
    if user.op_type in ("Mul", "Div"):
        return (number if user.op_type == "Mul" else 1 / number), 0 * one
    if user.op_type == "Add":
        return one, number
    return (one, -number) if first else (-one, number)


def _per_channel(number: np.ndarray | None, channels: int, rank: int) -> np.ndarray | None:
    """Return one number for each channel; None if they differ along another side or widen the result."""
    if number is None or number.ndim > rank:
        return None
    sides = (1,) * (rank - number.ndim) + number.shape
    if sides[1] not in (1, channels) or sides[1] != number.size:
        return None
    return np.broadcast_to(number.reshape(-1), (channels,))


def _bias(node: ir.Node, channels: int) -> np.ndarray | None:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(channels)
    if _number(node, "beta", 1.0) != 1:
        return None
    return _per_channel(_constant(node.inputs[2]), channels, 2) if node.op_type == "Gemm" else _constant(node.inputs[2])


def _constant(value: ir.Value | None) -> np.ndarray | None:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy().astype(np.float64)


def _held(graph: ir.Graph, name: str, values: np.ndarray) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(values.astype(np.float32), name=name))
    value.dtype, value.shape = ir.DataType.FLOAT, ir.Shape(values.shape)
    graph.register_initializer(value)
    return value


def _number(node: ir.Node, name: str, default: float) -> float:
    return node.attributes[name].value if name in node.attributes else default
