"""What a file holds: an ONNX file and each target's problems with it, a checkpoint, or images. Runs nothing.

Reads images in folders, lists, arrays and archives, too. Compiles and changes nothing. Where TensorRT-RTX is installed,
its parser reads ONNX files as well, and its answer is shown apart.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import targets
from .errors import ModelError, TargetError, first_line
from .graph import accepts, lint, quantized, sane
from .graph.accepts import Finding
from .images import sources, survey
from .images.survey import Survey
from .models import conventions, hub, keras, plans, recognise, records, shapes, sharded, unwrap
from .models import names as architectures
from .models.hub import Labels
from .models.recognise import Recognised
from .models.records import Record
from .portable import machine, onnx_file
from .portable.frozen import OMIT
from .portable.onnx_file import Value
from .targets import tensorrt_rtx
from .targets.tensorrt_rtx import Complaint

if TYPE_CHECKING:
    import onnx

CHECKPOINTS = (".pt", ".pth", ".pt2", ".th", ".ckpt", ".safetensors", ".bin", ".pth.tar", ".pt.tar")  # not tar archives
_OTHERS = dict.fromkeys((".engine", ".plan", ".trt"), "an engine")
_TENSORRT = ("tensorrt", "tensorrt_rtx")
_FIRST_NAMES = 5


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


@dataclass(frozen=True)
class CheckpointReport:
    """A checkpoint: which network its tensors belong to, and its publisher's record."""

    file: str
    tensors: int
    parameters: int
    kinds: Mapping[str, int]
    recognised: Recognised | None
    named: str = field(metadata={"key": "says"})  # the architecture that the file names itself
    average: bool  # it holds an average of its weights, too
    record: Record | None
    doubt: str  # why a file with a published file's name is not that file
    missing_library: str
    first: tuple[str, ...]  # names of tensors
    labels: Labels | None = field(default=None, metadata=OMIT)  # class names that lie next to the weights


@dataclass(frozen=True, kw_only=True)
class ImagesReport(Survey):
    """Images, and whether something must be corrected before they are used."""

    wrong: bool


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


def inspect_checkpoint(path: Path) -> CheckpointReport:
    """Inspect a checkpoint by its tensors' names and shapes, and its publisher's record.

    Loads no weights, and torch only for a published file's record.
    """
    contents = shapes.look(path)
    weights = contents.networks[unwrap.MODEL]
    found = conventions.decided(recognise.recognise(weights, contents.arch), contents.convention)
    labels = hub.labels_of(path)
    return CheckpointReport(
        file=str(path),
        tensors=len(weights),
        parameters=sum(math.prod(each.shape) for each in weights.values()),
        kinds=dict(Counter(each.kind for each in weights.values())),
        recognised=found,
        named=contents.arch,
        average=unwrap.AVERAGE in contents.networks,
        record=records.of(path, found.archs if found else ()),
        doubt=records.doubt(path),
        missing_library=architectures.missing_library(found.archs[0]) if found and found.archs else "",
        first=tuple(name for name in weights if not name.endswith(plans.COUNTER))[:_FIRST_NAMES],
        labels=hub.fitting(labels, found.classes if found else 0) if labels else None,
    )


def inspect_images(path: Path) -> ImagesReport:
    """Inspect a folder of images, a list of them, a .tar or an .npz."""
    found = survey.survey(path)
    wrong = bool(found.shared) or any(split.unreadable or split.too_deep for split in found.splits.values())
    return ImagesReport(**vars(found), wrong=wrong)


def is_named_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint by its name, so that a spelling mistake is reported as that; or a folder
    that holds one.
    """
    if os.path.isdir(path):
        return hub.is_folder(path)
    return path.name.lower().endswith((*CHECKPOINTS, *keras.ENDINGS)) or sharded.is_index(path)


def holds_images(path: Path) -> bool:
    """Return whether a path is a folder, or a list or an archive of images by its name."""
    return os.path.isdir(path) or sources.is_named_so(path)


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
