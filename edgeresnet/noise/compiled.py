"""What a compiler makes of a part of an INT8 file: the file up to one tensor, compiled as a network of its own.

A compiler fuses that part as it does in the complete file. An additional output in the middle would hinder fusions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..portable.session import Session, Target

Compiler = Callable[[onnx.ModelProto, Sequence[str], np.ndarray], Mapping[str, np.ndarray]]


def through(target: Target, options: object) -> Compiler:
    """Return a compiler: from a file, names of its tensors and images, it returns each tensor, a row per image."""

    def outputs(model: onnx.ModelProto, names: Sequence[str], images: np.ndarray) -> Mapping[str, np.ndarray]:
        return {name: _computed(target, options, up_to(model, name), images) for name in names}

    return outputs


def up_to(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return the file up to one tensor, which becomes its output as a row per image."""
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    waiting, needed = [name], set[str]()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.output[0] not in needed:
            needed.add(node.output[0])
            waiting += node.input
    nodes = [node for node in graph.node if node.output[0] in needed]
    read = {tensor for node in nodes for tensor in node.input}
    row = f"{name}.row"
    nodes.append(helper.make_node("Flatten", [name], [row], axis=1))
    found = helper.make_graph(
        nodes,
        graph.name,
        graph.input,
        [helper.make_tensor_value_info(row, TensorProto.FLOAT, None)],
        [tensor for tensor in graph.initializer if tensor.name in read],
    )
    part = helper.make_model(found, opset_imports=model.opset_import, ir_version=model.ir_version)
    return onnx.shape_inference.infer_shapes(part)


def _computed(target: Target, options: object, part: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "part.onnx"), Path(folder, "compiled")
        onnx.save(part, source)
        out.mkdir()
        target.compile(source, options, out)
        with target.load(out) as session:
            return _answers(session, images)


def _answers(session: Session, images: np.ndarray) -> np.ndarray:
    size = session.signature.batch or session.signature.least
    padded = np.concatenate([images, np.repeat(images[-1:], -len(images) % size, axis=0)])
    parts = [session.infer(np.ascontiguousarray(padded[start : start + size])) for start in range(0, len(padded), size)]
    return np.concatenate(parts)[: len(images)]
