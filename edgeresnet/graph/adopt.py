"""An ONNX file from elsewhere → the canonical form. Changes how the graph is written, never what it computes.

Images come in channels first and logits go out, whatever the file has there: `Adopted` says what was otherwise. The
batch stays as it is; sides that the file leaves open become those of the images. Compares no answers: whoever adopts a
network does that. What can be refused before anything runs is refused in `lint`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError
from onnx import checker, helper, inliner, shape_inference, version_converter

from ..errors import ModelError, first_line
from ..portable import onnx_file
from ..portable.preprocessing import Preprocessing
from . import about, canonical, layout, lint

OLDEST = 13  # below it Q/DQ knows no axis, so no INT8 could be written from this network
OPSET = 18  # what our own exports are written in, and old enough for TensorRT 10.3 and JetPack 6
_IR = 10  # likewise


class Adopted(NamedTuple):
    model: onnx.ModelProto  # canonical
    original: onnx.ModelProto  # the file's own graph; its logits are a second output where it ends in probabilities
    channels_last: bool  # how `original` wants its images
    last: str  # what it makes of its logits, and `model` does not: one of `lint.PROBABILITIES`, or nothing


def adopt(path: Path, preprocessing: Preprocessing, classes: int, *, as_probabilities: bool = False) -> Adopted:
    """`as_probabilities`: a Softmax at the end stays, since who is judged against this network has one too."""
    try:
        original = onnx.load(path)  # with the weights that lie beside it
        if original.functions:
            original = inliner.inline_local_functions(original)
        _refuse_unknown(original, path)
        model = onnx.ModelProto()
        model.CopyFrom(original)
        last, logits = ("", "") if as_probabilities else _take_off(model)
        if last:
            original.graph.output.append(helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, None))
        _weights_are_no_inputs(model)
        turned = _fix_sides(model, preprocessing, classes)
        checker.check_model(model)
        if turned:
            layout.take_first(model)
        model = canonical.canonical(shape_inference.infer_shapes(_new_enough(model, path)))
        if version(model) > OPSET:
            model = canonical.canonical(shape_inference.infer_shapes(lowered(model)))
    except (checker.ValidationError, shape_inference.InferenceError, DecodeError, OSError, ValueError) as problem:
        raise ModelError(
            f"{path} is no valid ONNX model: {first_line(problem)}", hint="export it again; `onnx.checker` tells more"
        ) from problem
    about.clear(model)  # an earlier adoption's words: they are written anew
    return Adopted(model, original, turned, last)


def parameters(model: onnx.ModelProto) -> int:
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return sum(math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in kinds)


def version(model: onnx.ModelProto) -> int:
    return next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), OLDEST)


def lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    """As older runtimes read it; as it is where onnx knows no older words for it."""
    try:
        older = version_converter.convert_version(model, OPSET)
    except (version_converter.ConvertError, RuntimeError):
        return model
    older.ir_version = min(older.ir_version, _IR)
    return older


def _refuse_unknown(model: onnx.ModelProto, path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    if version(model) > newest:
        raise ModelError(
            f"{path} is of opset {version(model)}, and onnx {onnx.__version__} knows none beyond {newest}",
            hint=f"export it with opset {OPSET}, or install a newer onnx",
        )
    foreign = sorted(
        {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    )
    if foreign:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ModelError(
            f"{path} uses operators that are not ONNX's own: {', '.join(foreign[:3])}{more}",
            hint="other runtimes do not know them: export the network again, and not as one runtime optimized it",
        )


def _take_off(model: onnx.ModelProto) -> tuple[str, str]:
    """The Softmax at the end, in place: INT8 is learned and judged on logits. Its kind, and the logits' name."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in onnx_file.ONLY_SHAPES:
        node = makers.get(node.input[0])
    if node is None or node.op_type not in lint.PROBABILITIES:
        return "", ""
    kind, node.op_type = node.op_type, "Identity"
    del node.attribute[:]
    return kind, node.input[0]


def _weights_are_no_inputs(model: onnx.ModelProto) -> None:
    """Exporters before IR version 4 had to list every weight among the inputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in weights]:
        model.graph.input.remove(value)
    model.ir_version = max(model.ir_version, 4)


def _fix_sides(model: onnx.ModelProto, preprocessing: Preprocessing, classes: int) -> bool:
    """All but the batch: the images' own, whatever the file calls them. Inner shapes are inferred from there.

    Whether the file has channels last.
    """
    del model.graph.value_info[:]
    batch, *sides = model.graph.input[0].type.tensor_type.shape.dim
    said = tuple(side.dim_value if side.dim_value > 0 else None for side in (batch, *sides))
    channels_last = lint.channels_last(said, (preprocessing.channels,))
    for side, length in zip(sides, lint.sides(preprocessing, channels_last), strict=True):
        side.dim_value = length
    answer = model.graph.output[0].type.tensor_type
    answer.ClearField("shape")
    for dim in (batch, answer.shape.dim.add()):
        if said[0]:
            dim.dim_value = said[0]
        else:
            dim.dim_param = "batch"
    answer.shape.dim.add().dim_value = classes
    return channels_last


def _new_enough(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    if version(model) >= OLDEST:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except (version_converter.ConvertError, RuntimeError) as problem:
        raise ModelError(
            f"{path} is of opset {version(model)}, and onnx cannot raise it to {OPSET}: {first_line(problem)}",
            hint=f"export it again with opset {OLDEST} or newer",
        ) from problem
