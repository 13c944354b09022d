"""An ONNX file from elsewhere → the canonical form. Changes how the graph is written, never what it computes.

The batch stays as it is; sides that the file leaves open become those of the images. Compares no answers: whoever
adopts a network does that. What can be refused before anything runs is refused in `lint`.
"""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import checker, shape_inference, version_converter

from ..device.preprocessing import Preprocessing
from ..errors import ModelError, first_line
from . import about, canonical

OLDEST = 13  # below it Q/DQ knows no axis, so no INT8 could be written from this network
NEWER = 18  # what our own exports are written in


def adopt(path: Path, preprocessing: Preprocessing, classes: int) -> onnx.ModelProto:
    try:
        model = onnx.load(path)  # with the weights that lie beside it
        _weights_are_no_inputs(model)
        _fix_sides(model, preprocessing, classes)
        checker.check_model(model)
        model = canonical.canonical(shape_inference.infer_shapes(_new_enough(model, path)))
    except (checker.ValidationError, shape_inference.InferenceError, DecodeError, OSError, ValueError) as problem:
        raise ModelError(
            f"{path} is no valid ONNX model: {first_line(problem)}", hint="export it again; `onnx.checker` tells more"
        ) from problem
    about.clear(model)  # an earlier adoption's words: they are written anew
    return model


def parameters(model: onnx.ModelProto) -> int:
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return sum(math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in kinds)


def _weights_are_no_inputs(model: onnx.ModelProto) -> None:
    """Exporters before IR version 4 had to list every weight among the inputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in weights]:
        model.graph.input.remove(value)
    model.ir_version = max(model.ir_version, 4)


def _fix_sides(model: onnx.ModelProto, preprocessing: Preprocessing, classes: int) -> None:
    """All but the batch: the images' own, whatever the file calls them. Inner shapes are inferred from there."""
    del model.graph.value_info[:]
    batch, *sides = model.graph.input[0].type.tensor_type.shape.dim
    fixed = batch.dim_value if batch.dim_value > 0 else None
    for side, length in zip(sides, (preprocessing.channels, preprocessing.size, preprocessing.size), strict=True):
        side.dim_value = length
    answer = model.graph.output[0].type.tensor_type
    answer.ClearField("shape")
    for dim in (batch, answer.shape.dim.add()):
        if fixed:
            dim.dim_value = fixed
        else:
            dim.dim_param = "batch"
    answer.shape.dim.add().dim_value = classes


def _new_enough(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    version = next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), OLDEST)
    if version >= OLDEST:
        return model
    try:
        return version_converter.convert_version(model, NEWER)
    except (version_converter.ConvertError, RuntimeError) as problem:
        raise ModelError(
            f"{path} is of opset {version}, and onnx cannot raise it to {NEWER}: {first_line(problem)}",
            hint=f"export it again with opset {OLDEST} or newer",
        ) from problem
