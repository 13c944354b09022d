"""A detector's ONNX file with the one output that `joining` describes: logits, then offsets, a row for each anchor.

Changes models in place, and never what they compute before their outputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..errors import ModelError
from ..portable import onnx_file
from ..portable.documents import shown
from ..portable.tasks.detector import Detector
from ..tasks.probabilities import PROBABILITIES
from . import joining
from .joining import OFFSETS, Parts, Ready

SIGMOID = "Sigmoid"
_JOINED = "joined"
_ROW = 6  # left, top, right, bottom, score, class
_MOST = 300  # rows, where their number varies
ONLY_PLACES = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Cast"}


def joined(path: Path, detector: Detector) -> onnx.ModelProto | None:
    """Return a network that runs as it is, with one output; None where it has that already."""
    outputs = onnx_file.read(path).outputs
    model = onnx.load(path)
    if given := joining.ready(outputs, detector.classes, detector):
        if given.scores is None and len(model.graph.input[0].type.tensor_type.shape.dim) == 4:
            return None
        found(model, given, max(detector.most, _MOST))
        return model
    parts = joining.parts(path, outputs, detector.classes, detector)
    if not without_sigmoids(model, parts, path) and parts.ready:
        return None
    join(model, parts)
    return model


def without_sigmoids(model: onnx.ModelProto, parts: Parts, path: Path) -> bool:
    """Remove the Sigmoids that turn logits into scores at the end; return whether there was one."""
    makers = {name: node for node in model.graph.node for name in node.output}
    outputs = [value.name for value in model.graph.output]
    names = [outputs[place] for place in parts.scores]
    found = list({id(node): node for name in names for node in ends(makers, name)}.values())
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


def found(model: onnx.ModelProto, given: Ready, most: int) -> None:
    """Write the boxes of a network that suppresses them itself as rows: corners, score, number of the class.

    Where their number varies, there are `most` rows; those after the last box have the score 0.
    """
    graph, names = model.graph, _Names(model)
    outputs = [value.name for value in graph.output]
    rows = _cast(graph, names, outputs[given.boxes])
    if given.scores is not None and given.numbers is not None:
        axes = names.constant(graph, [2 if given.batched else 1])
        columns = [_cast(graph, names, outputs[place]) for place in (given.scores, given.numbers)]
        columns = [_node(graph, names, "Unsqueeze", [each, axes]) for each in columns]
        rows = _node(graph, names, "Concat", [rows, *columns], axis=2 if given.batched else 1)
    shape = [side.dim_value or None for side in graph.output[given.boxes].type.tensor_type.shape.dim]
    image = graph.input[0].type.tensor_type.shape.dim
    if given.batched and shape[1]:
        sides: list[Any] = [image[0].dim_value or image[0].dim_param or None, shape[1], _ROW]
    else:
        sides = [1, most, _ROW]
        flat = _node(graph, names, "Reshape", [rows, names.constant(graph, [-1, _ROW])])
        nothing = names.new()
        graph.initializer.append(numpy_helper.from_array(np.zeros((most, _ROW), np.float32), nothing))
        longer = _node(graph, names, "Concat", [flat, nothing], axis=0)
        first = [names.constant(graph, [number]) for number in (0, most, 0)]
        cut = _node(graph, names, "Slice", [longer, *first])
        rows = _node(graph, names, "Reshape", [cut, names.constant(graph, sides)])
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(rows, TensorProto.FLOAT, sides))
    if len(image) == 3:
        _take_batch(model, names)


def _take_batch(model: onnx.ModelProto, names: _Names) -> None:
    """Make a network of one image take a batch of one."""
    graph = model.graph
    image, inner = graph.input[0], names.new()
    for node in graph.node:
        node.input[:] = [inner if name == image.name else name for name in node.input]
    graph.node.insert(0, helper.make_node("Squeeze", [image.name, names.constant(graph, [0])], [inner], name=inner))
    sides = [1, *(side.dim_value for side in image.type.tensor_type.shape.dim)]
    image.CopyFrom(helper.make_tensor_value_info(image.name, image.type.tensor_type.elem_type, sides))


def _cast(graph: onnx.GraphProto, names: _Names, output: str) -> str:
    return _node(graph, names, "Cast", [output], to=TensorProto.FLOAT)


def _rows(graph: onnx.GraphProto, names: _Names, parts: Parts, output: str, width: int) -> str:
    if not parts.maps:
        return output
    if not parts.channels_last:
        output = _node(graph, names, "Transpose", [output], perm=[0, 2, 3, 1])
    return _node(graph, names, "Reshape", [output, names.constant(graph, [0, -1, width])])


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

    def constant(self, graph: onnx.GraphProto, numbers: Sequence[int]) -> str:
        """Add whole numbers to a graph; return their name."""
        name = self.new()
        graph.initializer.append(numpy_helper.from_array(np.array(numbers, np.int64), name))
        return name


def ends(
    makers: Mapping[str, onnx.NodeProto], name: str, through: Collection[str] = ONLY_PLACES
) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that compute a value, each once, before those of `through`: they only move numbers."""
    left, seen = [name], set[str]()
    while left:
        name = left.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in through:
            left.extend(reversed(node.input if node.op_type == "Concat" else node.input[:1]))
        else:
            yield node


def _moving(makers: Mapping[str, onnx.NodeProto], names: Iterable[str]) -> set[int]:
    """Return the identities of the nodes that only move numbers to these outputs."""
    left, found = list(names), set()
    while left:
        node = makers.get(left.pop())
        if node is not None and node.op_type in ONLY_PLACES and id(node) not in found:
            found.add(id(node))
            left.extend(node.input)
    return found
