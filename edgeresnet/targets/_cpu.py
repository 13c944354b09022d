"""What the CPU targets share: thread counts, and INT8 as the CPU that will run it can take it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ModelError, TargetError
from ..portable import machine, onnx_file
from ..portable.session import Dialect, Target
from . import _compiled

CPUS = ("this", "avx2", "vnni", "amx")
RESIDUALS = ("shortcut", "both")


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
    here = machine.versions(*target.libraries)
    _compiled.write_sidecar(out, target, options, onnx, here, weights=_weights(onnx))


def read_sidecar(compiled: Path, target: Target) -> dict[str, Any]:
    sidecar = _compiled.read_sidecar(compiled, target)
    if sidecar.get("weights") == "full" and sidecar["options"].get("fused", True) and not machine.has_int8():
        raise TargetError(
            "was quantized with the full range of INT8 weights, and this CPU has no VNNI: its sums would saturate",
            hint=f"quantize for it: `targets.{target.name}.cpu: avx2`",
        )
    _compiled.check_versions(sidecar, machine.versions(*target.libraries), compiled)
    return sidecar


def check_threads(threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")


def _weights(onnx: Path) -> str | None:
    """Which part of INT8's range our own quantizer used; None for other networks."""
    try:
        return json.loads(onnx_file.read(onnx).metadata.get("edgeresnet.dialect", "{}")).get("weights")
    except (ModelError, ValueError, AttributeError):
        return None
