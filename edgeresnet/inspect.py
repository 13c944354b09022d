"""A file that somebody holds: what it is, and what each target would say to it. Compiles, runs and changes nothing.

Reads ONNX files, checkpoints and images, in folders, lists, arrays and archives. Where TensorRT-RTX is installed its
parser is asked, too, and its word stays its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import targets
from .errors import ModelError, TargetError, first_line
from .graph import accepts, lint, quantized
from .images import sources, survey
from .models import names as architectures
from .models import recognise, records, shapes, unwrap
from .portable import machine, onnx_file
from .targets import tensorrt_rtx

CHECKPOINTS = (".pt", ".pth", ".th", ".ckpt", ".safetensors", ".bin", ".pth.tar", ".pt.tar")  # the last are no archives
_OTHERS = dict.fromkeys((".engine", ".plan", ".trt"), "an engine")


def inspect(path: Path, names: Iterable[str] = ()) -> dict[str, Any]:
    """All targets by default. `refused_by` are those that would refuse the file or misread it."""
    wanted = {name: targets.get(name) for name in dict.fromkeys(names or targets.discover())}
    file = _read(path)
    model = _loaded(path)
    summary = quantized.Plan(model).summary()
    found = {name: accepts.findings(model, name, target.dialect) for name, target in wanted.items()}
    parser = _parser(path) if {"tensorrt", "tensorrt_rtx"} & wanted.keys() else None
    refused = [name for name, each in found.items() if any(one.severity == accepts.ERROR for one in each)]
    if parser and parser["accepted"] is False:
        refused += [name for name in ("tensorrt", "tensorrt_rtx") if name in wanted and name not in refused]
    return {
        "file": str(path),
        "opset": next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), None),
        "producer": " ".join(filter(None, (model.producer_name, model.producer_version))),
        "inputs": [value._asdict() for value in file.inputs],
        "outputs": [value._asdict() for value in file.outputs],
        **asdict(summary),
        "otherwise": [] if summary.quantized else lint.otherwise(_channels_last(file), file.last),
        "targets": {name: [asdict(each) for each in one] for name, one in found.items()},
        "tensorrt_rtx_parser": parser,
        "refused_by": refused,
    }


def checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, as far as its tensors' names and shapes tell, and what its publisher's record says.

    Loads no weights, and no torch but for a published file's record.
    """
    held = shapes.look(path)
    weights = held.networks[unwrap.MODEL]
    found = recognise.recognise(weights, held.arch)
    record = records.of(path, found.archs if found else ())
    kinds = Counter(each.kind for each in weights.values())
    return {
        "file": str(path),
        "tensors": len(weights),
        "parameters": sum(math.prod(each.shape) for each in weights.values()),
        "kinds": dict(kinds),
        "recognised": asdict(found) if found else None,
        "says": held.arch,
        "average": unwrap.AVERAGE in held.networks,
        "record": asdict(record) if record else None,
        "doubt": records.doubt(path),
        "missing_library": architectures.missing_library(found.archs[0]) if found and found.archs else "",
        "first": list(weights)[:5],
    }


def is_named_checkpoint(path: Path) -> bool:
    """A slip in such a name is told as that."""
    return path.name.lower().endswith(CHECKPOINTS) and not path.is_dir()


def holds_images(path: Path) -> bool:
    return path.is_dir() or sources.is_named_so(path)


def images(path: Path) -> dict[str, Any]:
    """A folder of images, a list of them, a .tar, an .npz. `wrong`: something must be mended before they are used."""
    found = survey.survey(path)
    splits = {name: asdict(split) for name, split in found["splits"].items()}
    wrong = bool(found["shared"]) or any(split["unreadable"] or split["too_deep"] for split in splits.values())
    return {**found, "splits": splits, "wrong": wrong}


def _read(path: Path) -> onnx_file.OnnxFile:
    if path.suffix.lower() in _OTHERS:
        raise ModelError(
            f"{path} is {_OTHERS[path.suffix.lower()]} by its name, and only ONNX files and checkpoints are inspected",
            hint="target.json beside an engine of ours tells what it is",
        )
    try:
        return onnx_file.read(path)
    except ModelError as problem:
        if path.suffix.lower() == ".onnx" or not path.is_file():
            raise
        raise ModelError(
            f"{path} is no ONNX file, nor anything else by its name",
            hint=f"checkpoints are called {' '.join(CHECKPOINTS)}; images are a folder, or {' '.join(sources.KINDS)}",
        ) from problem


def _channels_last(file: onnx_file.OnnxFile) -> bool:
    return bool(file.inputs) and lint.channels_last(file.inputs[0].shape or (), (1, 3))


def _loaded(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        onnx.checker.check_model(str(path))  # by its path: weights may lie beside it
        return onnx.load(path)
    except (onnx.checker.ValidationError, DecodeError, OSError, ValueError) as problem:
        raise ModelError(
            f"{path} is no valid ONNX model: {first_line(problem)}", hint="export it again; `onnx.checker` tells more"
        ) from problem


def _parser(path: Path) -> dict[str, Any]:
    """What TensorRT-RTX's parser makes of it. `accepted` is None where it could not be asked."""
    nobody: dict[str, Any] = {"version": "", "accepted": None, "complaints": []}
    if not machine.versions(*tensorrt_rtx.TARGET.libraries):
        return {**nobody, "reason": "TensorRT-RTX is not installed", "hint": "pip install 'edgeresnet[tensorrt-rtx]'"}
    try:
        return {**asdict(tensorrt_rtx.read(path.resolve())), "reason": "", "hint": ""}
    except TargetError as problem:
        return {**nobody, "reason": problem.message, "hint": problem.hint}
