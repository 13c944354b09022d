"""A detector's ONNX file with the one output that `joining` describes: logits, then offsets, a row for each anchor.

Changes models in place, and never what they compute before their outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..errors import ModelError
from ..portable.documents import shown
from ..tasks.probabilities import PROBABILITIES
from .joining import OFFSETS, Parts

SIGMOID = "Sigmoid"
_JOINED = "joined"
_ONLY_PLACES = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat"}


def without_sigmoids(model: onnx.ModelProto, parts: Parts, path: Path) -> bool:
    """Remove the Sigmoids that turn logits into scores at the end; return whether there was one."""
    makers = {name: node for node in model.graph.node for name in node.output}
    outputs = [value.name for value in model.graph.output]
    names = [outputs[place] for place in parts.scores]
    found = list({id(node): node for name in names for node in _ends(makers, name)}.values())
    for node in found:
        if node.op_type in PROBABILITIES:
            hint = (
                "take the scores before it as output: `onnx.utils.extract_model(path, out, [input], [scores, boxes])`"
            )
            problem = f"ends in a {node.op_type} over its classes, and a RetinaNet scores each class by itself"
            raise ModelError(shown(path), problem, hint=hint)
    moving = _moving(makers, names)
    read = {name for node in model.graph.node for name in node.input if id(node) not in moving}
    sigmoids = [node for node in found if node.op_type == SIGMOID and not set(node.output) & read]
    for node in sigmoids:
        node.op_type = "Identity"
    return bool(sigmoids)


def join(model: onnx.ModelProto, parts: Parts) -> None:
    """Join outputs into one."""
    if parts.ready:
        return
    graph = model.graph
    names = _Names(model)
    outputs = [value.name for value in graph.output]
    sides = []
    for places, width in ((parts.scores, parts.classes), (parts.boxes, OFFSETS)):
        rows = [_rows(graph, names, parts, outputs[place], width) for place in places]
        sides.append(rows[0] if len(rows) == 1 else _node(graph, names, "Concat", rows, axis=1))
    answer = _node(graph, names, "Concat", sides, axis=2)
    batch = graph.output[0].type.tensor_type.shape.dim[:1]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(answer, TensorProto.FLOAT, [None, None, parts.classes + OFFSETS]))
    graph.output[0].type.tensor_type.shape.dim[0].CopyFrom(batch[0])


def _rows(graph: onnx.GraphProto, names: _Names, parts: Parts, output: str, width: int) -> str:
    if not parts.maps:
        return output
    if not parts.channels_last:
        output = _node(graph, names, "Transpose", [output], perm=[0, 2, 3, 1])
    shape = names.new()
    graph.initializer.append(numpy_helper.from_array(np.array([0, -1, width], np.int64), shape))
    return _node(graph, names, "Reshape", [output, shape])


def _node(graph: onnx.GraphProto, names: _Names, operator: str, inputs: list[str], **attributes: Any) -> str:
    answer = names.new()
    graph.node.append(helper.make_node(operator, inputs, [answer], name=answer, **attributes))
    return answer


class _Names:
    """Names that a model does not have yet."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._taken = {name for node in graph.node for name in (*node.input, *node.output, node.name)}
        self._taken |= {each.name for each in (*graph.initializer, *graph.input, *graph.output)}

    def new(self) -> str:
        names = (f"{_JOINED}.{number}" for number in range(len(self._taken) + 1))
        found = next(name for name in names if name not in self._taken)
        self._taken.add(found)
        return found


def _ends(makers: Mapping[str, onnx.NodeProto], name: str) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that compute a value, before those that only move numbers."""
    node = makers.get(name)
    if node is not None and node.op_type in _ONLY_PLACES:
        for each in node.input if node.op_type == "Concat" else node.input[:1]:
            yield from _ends(makers, each)
    elif node is not None:
        yield node


def _moving(makers: Mapping[str, onnx.NodeProto], names: Iterable[str]) -> set[int]:
    """Return the identities of the nodes that only move numbers to these outputs."""
    left, found = list(names), set()
    while left:
        node = makers.get(left.pop())
        if node is not None and node.op_type in _ONLY_PLACES and id(node) not in found:
            found.add(id(node))
            left.extend(node.input)
    return found
