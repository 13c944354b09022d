"""What the CPU targets share: availability by import, the sidecar of what was compiled, thread counts, signatures."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..device import machine, manifest, onnx_file
from ..device.session import Availability, Dialect, Signature, Target
from ..errors import ModelError, TargetError, first_line

SIDECAR = "target.json"
CPUS = ("this", "avx2", "vnni", "amx")
RESIDUALS = ("shortcut", "both")

_EXPORT = "export one batch of images in, batch × classes logits out, with every side but the batch fixed"

Sides = Sequence[int | None] | None  # None for a side that may vary, and where not even their number is known


def availability(module: str, libraries: tuple[str, ...]) -> Availability:
    """Imports the runtime for real: a wheel that is installed but cannot load is not available."""
    try:
        importlib.import_module(module)
    except Exception as problem:  # noqa: BLE001 - the one place where any failure becomes a reason
        return Availability(
            False, f"cannot import {module}: {first_line(problem)}", hint=f"pip install {' '.join(libraries)}"
        )
    return Availability(True, versions=machine.versions(*libraries))


def check_int8(cpu: str, residual: str | None) -> None:
    """Of the options that decide how INT8 is written: judged when they are given."""
    if cpu not in CPUS:
        raise ValueError(f"cpu must be one of {', '.join(CPUS)}, not {cpu!r}")
    if residual is not None and residual not in RESIDUALS:
        raise ValueError(f"residual must be one of {', '.join(RESIDUALS)}, not {residual!r}")


def spoken(dialect: Dialect, cpu: str, residual: str | None) -> Dialect:
    """`cpu` is the one that will run it: INT8 weights keep to half their range where it has no VNNI."""
    half = not machine.has_int8() if cpu == "this" else cpu == "avx2"
    return replace(dialect, residual=residual or dialect.residual, weights="half" if half else "full")


def write_sidecar(out: Path, target: Target, options: Any, onnx: Path) -> None:
    """What was compiled, from what, by which version: read before anything is loaded."""
    about = {
        "target": target.name,
        "options": asdict(options),
        "versions": machine.versions(*target.libraries),
        "source_sha256": manifest.sha256_of(onnx),
        "weights": _weights(onnx),
    }
    (out / SIDECAR).write_text(json.dumps(about, indent=1))


def read_sidecar(compiled: Path, target: Target) -> dict[str, Any]:
    try:
        sidecar = json.loads((compiled / SIDECAR).read_text())
    except (OSError, ValueError) as problem:
        raise TargetError(
            f"{compiled} was not compiled by edgeresnet: its {SIDECAR} cannot be read", hint="run the recipe again"
        ) from problem
    if sidecar.get("weights") == "full" and not machine.has_int8():
        raise TargetError(
            "was quantized with the full range of INT8 weights, and this CPU has no VNNI: its sums would saturate",
            hint=f"quantize for it: `targets.{target.name}.cpu: avx2`",
        )
    here = machine.versions(*target.libraries)
    if sidecar["target"] != target.name:
        raise TargetError(f"{compiled} was compiled for {sidecar['target']}, not {target.name}", hint="compile again")
    if sidecar["versions"] != here:
        raise TargetError(
            f"{compiled} was compiled by {_words(sidecar['versions'])}, and {_words(here)} is installed",
            hint="run the recipe again: it compiles anew for the installed version",
        )
    return sidecar


def _weights(onnx: Path) -> str | None:
    """Which part of INT8's range our own quantizer used; None for other networks."""
    try:
        return json.loads(onnx_file.read(onnx).metadata.get("edgeresnet.dialect", "{}")).get("weights")
    except (ModelError, ValueError, AttributeError):
        return None


def check_threads(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")


def signature(inputs: Sequence[tuple[str, Sides]], outputs: Sequence[tuple[str, Sides]]) -> Signature:
    """Of a network as its runtime tells of it, each value by name and sides; refuses what a Signature cannot say."""
    if len(inputs) != 1 or len(outputs) != 1:
        raise TargetError(
            f"finds {len(inputs)} inputs and {len(outputs)} outputs in the network instead of one each", hint=_EXPORT
        )
    (image, sides), (logits, answers) = inputs[0], outputs[0]
    known = [side for side in (sides or ())[1:] if side is not None]
    if not sides or len(sides) != 4 or len(known) != 3 or known[1] != known[2]:
        raise TargetError(
            f"reads the network's input as {_shown(sides)}, not as square images of one known size", hint=_EXPORT
        )
    classes = answers[1] if answers and len(answers) > 1 else None
    if classes is None:
        raise TargetError(
            f"reads the network's answer as {_shown(answers)}, not as batch × so many classes", hint=_EXPORT
        )
    return Signature(image, sides[0], known[0], known[1], logits, classes)


def _shown(sides: Sides) -> str:
    return "×".join("?" if side is None else str(side) for side in sides) if sides else "an unknown shape"


def _words(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
