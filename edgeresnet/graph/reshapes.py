"""Turns a shape that is computed at run time from the batch and numbers only into numbers.

`x.view(x.size(0), -1)` and TensorFlow's Flatten leave such arithmetic behind, which quantizers and compilers cannot
handle. Other computed shapes stay. A reshape into the shape that is there already is removed. A fixed batch in a shape
becomes 0, as many as there are: calibration runs several images at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnxscript import ir

_Numbers = list[int | str]  # a side that may vary has a name


def settle(graph: ir.Graph) -> bool:
    """Rewrite a graph in place; return whether a shape became numbers, or a reshape was removed."""
    return any([_count(graph, node) or _leave_out(node) or _open(graph, node) for node in _reshapes(graph)])


def _reshapes(graph: ir.Graph) -> list[ir.Node]:
    return [node for node in graph if node.op_type == "Reshape"]


def _leave_out(node: ir.Node) -> bool:
    data, answer = node.inputs[0], node.outputs[0]
    sides, to = sides_of(data), numbers_of(node.inputs[1])
    if data is None or not sides or not to or len(sides) != len(to) or answer.is_graph_output():
        return False
    if to[0] not in (0, -1, sides[0]) or any(new not in (0, old) for new, old in zip(to[1:], sides[1:], strict=True)):
        return False
    ir.convenience.replace_all_uses_with(answer, data)
    return True


def _count(graph: ir.Graph, node: ir.Node) -> bool:
    data, shape = node.inputs
    sides, to = sides_of(data), numbers_of(shape)
    if shape is None or not sides or not to or ir.convenience.get_const_tensor(shape) is not None:
        return False
    return to[0] == sides[0] and _write(graph, node, to)


def _open(graph: ir.Graph, node: ir.Node) -> bool:
    """Write 0 for a fixed batch, where the first side stays."""
    sides, to = sides_of(node.inputs[0]), numbers_of(node.inputs[1])
    return bool(sides and to and to[0] == sides[0] and 0 not in to) and _write(graph, node, to or [])


def _write(graph: ir.Graph, node: ir.Node, to: _Numbers) -> bool:
    """Make a shape numbers with as many images as there are; return whether its other sides are known."""
    if not all(isinstance(number, int) for number in to[1:]):
        return False
    name = f"{node.outputs[0].name}.shape"
    numbers = np.array([0, *to[1:]], np.int64)  # 0: as many as there are
    held = ir.Value(name=name, const_value=ir.tensor(numbers, name=name))
    held.dtype, held.shape = ir.DataType.INT64, ir.Shape(numbers.shape)
    graph.register_initializer(held)
    node.replace_input_with(1, held)
    node.attributes.pop("allowzero", None)
    return True


def numbers_of(value: ir.Value | None) -> _Numbers | None:
    """Return integers that are computed from shapes and constants only; None for others."""
    constant = None if value is None else ir.convenience.get_const_tensor(value)
    if constant is not None:
        return [int(number) for number in constant.numpy().reshape(-1)]
    node = None if value is None else value.producer()
    read = _READ.get(node.op_type) if node is not None else None
    return read(node) if read is not None and node is not None else None


def sides_of(value: ir.Value | None) -> _Numbers | None:
    """Return a value's sides; None where one has neither a number nor a name."""
    if value is None or value.shape is None:
        return None
    sides = [side if isinstance(side, int) else side.value for side in value.shape]
    return None if None in sides else [side for side in sides if side is not None]


def _shape(node: ir.Node) -> _Numbers | None:
    sides = sides_of(node.inputs[0])
    return None if sides is None else sides[node.attributes.get_int("start", 0) : node.attributes.get_int("end", None)]


def _gathered(node: ir.Node) -> _Numbers | None:
    before, which = numbers_of(node.inputs[0]), numbers_of(node.inputs[1])
    return None if before is None or which is None else [before[at] for at in which if isinstance(at, int)]


def _sliced(node: ir.Node) -> _Numbers | None:
    """Apply a Slice with starts, ends, axes (only one) and steps; the last two may be missing."""
    before, *where = (numbers_of(value) for value in node.inputs)
    numbers = [each[0] for each in where if each is not None and len(each) == 1 and isinstance(each[0], int)]
    if before is None or len(numbers) != len(where):
        return None
    start, end, *rest = numbers
    return before[start : end : rest[1] if len(rest) > 1 else 1]


def _joined(node: ir.Node) -> _Numbers | None:
    parts = [numbers_of(value) for value in node.inputs]
    return None if None in parts else [number for part in parts for number in part or ()]


_READ: dict[str, Callable[[ir.Node], _Numbers | None]] = {
    "Shape": _shape,
    "Gather": _gathered,
    "Slice": _sliced,
    "Concat": _joined,
    **dict.fromkeys(("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape"), lambda node: numbers_of(node.inputs[0])),
}
