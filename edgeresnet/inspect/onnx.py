"""What an ONNX file holds, and each target's problems with it. Runs and compiles nothing.

Where TensorRT-RTX is installed, its parser reads the file as well, and its answer is shown apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .. import targets
from ..errors import ModelError, TargetError, first_line
from ..graph import accepts, lint, quantized, sane
from ..graph.accepts import Finding
from ..images import sources
from ..portable import machine, onnx_file
from ..portable.frozen import OMIT
from ..portable.onnx_file import Value
from ..targets import tensorrt_rtx
from ..targets.tensorrt_rtx import Complaint
from .kinds import CHECKPOINTS

if TYPE_CHECKING:
    import onnx

_OTHERS = dict.fromkeys((".engine", ".plan", ".trt"), "an engine")
_TENSORRT = ("tensorrt", "tensorrt_rtx")


@dataclass(frozen=True)
class GraphValue:
    """An input or output of an ONNX file: ONNX's number of its type; None for what is not known or may vary."""

    name: str
    kind: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class ParserReport:
    """What TensorRT-RTX's parser made of a file. `accepted` is None where it could not read it, for the `reason`."""

    version: str
    accepted: bool | None
    complaints: tuple[Complaint, ...]
    reason: str
    hint: str
    inputs: tuple[tuple[str, tuple[int | None, ...]], ...] = field(default=(), metadata=OMIT)
    outputs: tuple[tuple[str, tuple[int | None, ...]], ...] = field(default=(), metadata=OMIT)


@dataclass(frozen=True)
class OnnxReport:
    """An ONNX file, and what each target has against it."""

    file: str
    opset: int | None
    producer: str
    inputs: tuple[GraphValue, ...]
    outputs: tuple[GraphValue, ...]
    operators: Mapping[str, int]
    quantized: bool
    int8: int  # convolutions and Gemms whose data and weights are both INT8
    weighted: int  # all convolutions and Gemms
    differences: tuple[str, ...] = field(metadata={"key": "otherwise"})  # of what would be made of it, in sentences
    targets: Mapping[str, tuple[Finding, ...]]
    tensorrt_rtx_parser: ParserReport | None
    refused_by: tuple[str, ...]  # targets that would refuse the file or misread it


def inspect_onnx(path: Path, names: Iterable[str] = ()) -> OnnxReport:
    """Inspect an ONNX file for these targets, or for all of them."""
    wanted = {name: targets.get(name) for name in dict.fromkeys(names or targets.discover())}
    file = _read(path)
    model = _loaded(path)
    summary = quantized.Plan(model).summary()
    found = {name: tuple(accepts.findings(model, name, target.dialect)) for name, target in wanted.items()}
    parser = _parsed(path) if set(_TENSORRT) & wanted.keys() else None
    refused = [name for name, each in found.items() if any(one.severity == accepts.ERROR for one in each)]
    if parser and parser.accepted is False:
        refused += [name for name in _TENSORRT if name in wanted and name not in refused]
    return OnnxReport(
        file=str(path),
        opset=next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), None),
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        inputs=_values(file.inputs),
        outputs=_values(file.outputs),
        operators=summary.operators,
        quantized=summary.quantized,
        int8=summary.int8,
        weighted=summary.weighted,
        differences=() if summary.quantized else tuple(lint.otherwise(_channels_last(file), file.last)),
        targets=found,
        tensorrt_rtx_parser=parser,
        refused_by=tuple(refused),
    )


def _values(values: Iterable[Value]) -> tuple[GraphValue, ...]:
    return tuple(GraphValue(*value) for value in values)


def _read(path: Path) -> onnx_file.OnnxFile:
    if path.suffix.lower() in _OTHERS:
        raise ModelError(
            str(path),
            f"is {_OTHERS[path.suffix.lower()]} by its name, but inspect reads only ONNX files and checkpoints",
            hint="for an engine of edgeresnet, read the target.json next to it",
        )
    try:
        return onnx_file.read(path)
    except ModelError as problem:
        if path.suffix.lower() == ".onnx" or not os.path.isfile(path):
            raise
        raise ModelError(
            str(path),
            "is not an ONNX file, and its name has no known ending",
            hint=f"checkpoints end in {' '.join(CHECKPOINTS)}; images are a folder, or {' '.join(sources.KINDS)}",
        ) from problem


def _channels_last(file: onnx_file.OnnxFile) -> bool:
    return bool(file.inputs) and lint.channels_last(file.inputs[0].shape or (), (1, 3))


def _loaded(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        onnx.checker.check_model(str(path))  # by its path: weights may be in a file next to it
        model = onnx.load(path)
        sane.check(model, path)
        return model
    except (onnx.checker.ValidationError, DecodeError, OSError, ValueError) as problem:
        raise ModelError(
            str(path),
            f"is not a valid ONNX model: {first_line(problem)}",
            hint="export it again; `onnx.checker` shows more",
        ) from problem


def _parsed(path: Path) -> ParserReport:
    """Return what TensorRT-RTX's parser makes of a file, or why it could not read it."""
    if not machine.versions(*tensorrt_rtx.TARGET.libraries):
        reason, hint = "TensorRT-RTX is not installed", "pip install 'edgeresnet[tensorrt-rtx]'"
        return ParserReport("", None, (), reason, hint)
    try:
        reading = tensorrt_rtx.read(path.resolve())
    except TargetError as problem:
        return ParserReport("", None, (), problem.message, problem.hint)
    return ParserReport(**vars(reading), reason="", hint="")
