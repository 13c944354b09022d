"""Small classifiers as ONNX files, with one thing odd about each: what exporters of all ages leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Sides = tuple[int | str, ...]


def classifier(
    *,
    image: Sides = ("n", 3, 8, 8),
    logits: Sides | None = ("n", 4),
    kinds: tuple[int, int] = (TensorProto.FLOAT, TensorProto.FLOAT),
    opset: int = 17,
    channels: int = 3,
    classes: int = 4,
    weights_as_inputs: bool = False,
    channels_last: bool = False,
    last: str = "",
) -> onnx.ModelProto:
    """Convolution, batch normalisation, ReLU, pooling, classifier: all that canonical form must fold or keep.

    `channels_last` and `last`, the operator at the end, as TensorFlow's networks have them.
    """
    rng = np.random.default_rng(0)
    weights = {
        "conv.w": rng.normal(size=(8, channels, 3, 3)),
        "bn.scale": rng.uniform(0.5, 1.5, 8),
        "bn.bias": rng.normal(size=8),
        "bn.mean": rng.normal(size=8),
        "bn.var": rng.uniform(0.5, 1.5, 8),
        "fc.w": rng.normal(size=(classes, 8)),
        "fc.b": rng.normal(size=classes),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "bn.scale", "bn.bias", "bn.mean", "bn.var"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "fc.w", "fc.b"], ["y"], transB=1),
    ]
    if channels_last:
        image = (image[0], *image[2:], image[1])
        nodes[0].input[0] = "first"
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]))
        nodes[-3:] = [
            helper.make_node("Transpose", ["c"], ["last"], perm=[0, 2, 3, 1]),
            helper.make_node("ReduceMean", ["last"], ["e"], axes=[1, 2], keepdims=0),  # so until opset 17
            helper.make_node("MatMul", ["e", "fc.w"], ["m"]),
            helper.make_node("Add", ["m", "fc.b"], ["y"]),
        ]
        weights["fc.w"] = weights["fc.w"].T
    if last:
        nodes[-1].output[0] = "l"
        nodes.append(helper.make_node(last, ["l"], ["y"]))
    held = [numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name) for name, value in weights.items()]
    inputs = [helper.make_tensor_value_info("x", kinds[0], image)]
    if weights_as_inputs:
        inputs += [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.dims) for t in held]
    outputs = [helper.make_tensor_value_info("y", kinds[1], logits)]
    graph = helper.make_graph(nodes, "odd", inputs, outputs, held)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=3 if weights_as_inputs else 8
    )


def written(folder: Path, model: onnx.ModelProto | None = None, **about: Any) -> Path:
    path = folder / "net.onnx"
    onnx.save(model or classifier(**about), path)
    return path


def with_external_weights(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "net.onnx"
    onnx.save(model, path, save_as_external_data=True, location="net.weights", size_threshold=0)
    return path
