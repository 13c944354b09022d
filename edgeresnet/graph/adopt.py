"""A user's ONNX file → the canonical form. Changes how the graph is written, never what it computes.

Images come in channels first and logits go out, of complete images or of pixels; `Adopted` records where the file
differs. The batch stays as it is; open sides become those of the images. Compares no answers: the caller does that.
`lint` refuses what it can before anything runs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import onnx
from onnx import checker, helper, inliner, shape_inference, version_converter

from .. import tasks
from ..errors import ModelError, first_line, foreign, listed
from ..portable import onnx_file
from ..portable.documents import shown
from ..portable.preprocessing import Preprocessing
from ..portable.tasks.detector import Detector
from ..tasks import LearnedTask
from ..tasks.probabilities import PROBABILITIES
from . import about, canonical, joining, layout, lint, one_output, sane
from .joining import Parts

OLDEST = 13  # below it Q/DQ knows no axis, so no INT8 could be written from this network
OPSET = 18  # what our own exports are written in, and old enough for TensorRT 10.3 and JetPack 6
_IR = 10  # likewise
_CLASSES = tasks.of(tasks.CLASSIFICATION)


class Adopted(NamedTuple):
    """The canonical network, and the file that it is made of."""

    model: onnx.ModelProto  # canonical
    original: onnx.ModelProto  # the file's own graph; its logits are a second output where it ends in probabilities
    channels_last: bool  # how `original` takes its images
    last: str  # the operator that ends the file and not `model`, since it turns logits into other answers; or nothing
    parts: Parts | None = (
        None  # of a detector: what the outputs of `original` are, which has no Sigmoid at its end either
    )


def adopt(
    path: Path,
    preprocessing: Preprocessing,
    classes: int,
    task: LearnedTask = _CLASSES,
    *,
    as_probabilities: bool = False,
) -> Adopted:
    """Adopt a file. `as_probabilities`: keep a Softmax at the end, since the network compared with this one has it."""
    hint = "export it again; `onnx.checker` reports more"
    with foreign(lambda reason: ModelError(shown(path), f"is not a valid ONNX model: {reason}", hint=hint)):
        return _adopted(path, preprocessing, classes, task, as_probabilities)


def _adopted(
    path: Path, preprocessing: Preprocessing, classes: int, task: LearnedTask, as_probabilities: bool
) -> Adopted:
    original = onnx.load(path)  # with external weights
    if original.functions:
        original = inliner.inline_local_functions(original)
    sane.check(original, path)
    _open_batch(original)
    _refuse_unknown(original, path)
    parts = _parts(path, classes, task)
    ended = parts is not None and one_output.without_sigmoids(original, parts, path)
    model = onnx.ModelProto()
    model.CopyFrom(original)
    kept = PROBABILITIES if as_probabilities else ()
    last, logits = _take_off(model, [operator for operator in task.last if operator not in kept])
    if last:
        original.graph.output.append(helper.make_tensor_value_info(logits, onnx.TensorProto.FLOAT, None))
    if parts:
        last = one_output.SIGMOID if ended else ""
        one_output.join(model, parts)
    _weights_are_no_inputs(model)
    turned = _fix_sides(model, preprocessing, task.sides(classes))
    checker.check_model(model)
    if turned:
        layout.take_first(model)
    model = canonical.canonical(shape_inference.infer_shapes(_new_enough(model, path)))
    if version(model) > OPSET:
        model = canonical.canonical(shape_inference.infer_shapes(lowered(model)))
    about.clear(model)  # entries of an earlier adoption: they are written again
    return Adopted(model, original, turned, last, parts)


def _parts(path: Path, classes: int, task: LearnedTask) -> Parts | None:
    """Return what the outputs of a detector are; None for other tasks."""
    if not isinstance(task.detector, Detector):
        return None
    return joining.parts(path, onnx_file.read(path).outputs, classes, task.detector)


def parameters(model: onnx.ModelProto) -> int:
    """Count the float parameters."""
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return sum(math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in kinds)


def version(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators."""
    return next((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), OLDEST)


def lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model for older runtimes; the model itself where onnx cannot convert it."""
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
            shown(path),
            f"has opset {version(model)}, but onnx {onnx.__version__} supports at most {newest}",
            hint=f"export it with opset {OPSET}, or install a newer onnx",
        )
    others = sorted(
        {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    )
    if others:
        raise ModelError(
            shown(path),
            f"uses operators outside the ONNX standard: {listed(others[:3], 100, len(others))}",
            hint="export the network again, without the optimizations of one runtime",
        )


def _open_batch(model: onnx.ModelProto) -> None:
    """Give a batch of 0 or less a name, in place: some exporters write so that it may vary."""
    for dim in model.graph.input[0].type.tensor_type.shape.dim[:1]:
        if dim.HasField("dim_value") and dim.dim_value <= 0:
            dim.dim_param = "batch"


def _take_off(model: onnx.ModelProto, operators: Sequence[str]) -> tuple[str, str]:
    """Remove what turns logits into other answers at the end, in place, since INT8 works on logits; return the last
    such operator, and the logits' name.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    answer = model.graph.output[0]
    numbers = _maker(makers, answer.name, (*onnx_file.ONLY_SHAPES, "Cast"))
    if numbers is not None and numbers.op_type == "ArgMax" and "ArgMax" in operators and _axis(numbers) in (1, -3):
        answer.name = numbers.input[0]
        answer.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        _, logits = _take_off(model, PROBABILITIES)
        return "ArgMax", logits or answer.name
    node = _maker(makers, answer.name, onnx_file.ONLY_SHAPES)
    if node is None or node.op_type not in operators or node.op_type == "ArgMax":
        return "", ""
    kind, node.op_type = node.op_type, "Identity"
    del node.attribute[:]
    return kind, node.input[0]


def _maker(makers: Mapping[str, onnx.NodeProto], name: str, but: Collection[str]) -> onnx.NodeProto | None:
    """Return the node that makes a value, before those that `but` names."""
    node = makers.get(name)
    while node is not None and node.op_type in but:
        node = makers.get(node.input[0])
    return node


def _axis(node: onnx.NodeProto) -> int:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == "axis"), 0)


def _weights_are_no_inputs(model: onnx.ModelProto) -> None:
    """Remove weights from the inputs, where exporters before IR version 4 had to list them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in weights]:
        model.graph.input.remove(value)
    model.ir_version = max(model.ir_version, 4)


def _fix_sides(model: onnx.ModelProto, preprocessing: Preprocessing, answers: Sequence[int | None]) -> bool:
    """Set all sides but the batch to the images' own; return whether the file has channels last.

    Inner shapes are inferred from there.
    """
    del model.graph.value_info[:]
    batch, *sides = model.graph.input[0].type.tensor_type.shape.dim
    shape = tuple(side.dim_value if side.dim_value > 0 else None for side in (batch, *sides))
    channels_last = lint.channels_last(shape, (preprocessing.channels,))
    for side, length in zip(sides, lint.sides(preprocessing, channels_last), strict=True):
        side.dim_value = length
    answer = model.graph.output[0].type.tensor_type
    answer.ClearField("shape")
    for dim in (batch, answer.shape.dim.add()):
        if shape[0]:
            dim.dim_value = shape[0]
        else:
            dim.dim_param = "batch"
    for count in answers:
        length = answer.shape.dim.add()
        if count is not None:
            length.dim_value = count
    return channels_last


def _new_enough(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    if version(model) >= OLDEST:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except (version_converter.ConvertError, RuntimeError) as problem:
        raise ModelError(
            shown(path),
            f"has opset {version(model)}, and onnx cannot convert it to {OPSET}: {first_line(problem)}",
            hint=f"export it again with opset {OLDEST} or newer",
        ) from problem
