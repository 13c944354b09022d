"""What the CPU targets share: thread counts, and INT8 in the form that the CPU can run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ..errors import ModelError, TargetError
from ..portable import documents, machine, manifest, onnx_file
from ..portable.frozen import described
from ..portable.session import Dialect, Target
from . import _compiled

CPUS = ("this", "avx2", "vnni", "amx", "arm", "arm-dotprod")
RESIDUALS = ("shortcut", "both")
ZERO_POINTS = ("auto", "never")
# What the options of every CPU target mean, for the recipe's reference.
THREADS = described("Number of threads. Unset: as many cores as this machine grants.")
CPU = described(
    "CPU that the INT8 network is written for. arm: any 64-bit Arm. arm-dotprod: one with the dot product (asimddp), "
    "without which INT8 is slow there.",
    *CPUS,
)
MEASURED = "auto"
WITHOUT_DOT_PRODUCT = "an Arm CPU without the dot product (asimddp) may run INT8 slower than FP32; answers are the same"
RESIDUAL = described(
    "Inputs of a residual addition that are INT8. Unset: what usually runs best on the CPU. auto: a few placements of "
    "Q/DQ are timed, and the fastest is taken.",
    *RESIDUALS,
    MEASURED,
    None,
)
ZERO_POINT = described(
    "Zero points of signed activations. auto: where they are closer to FP32 or faster. never: all are 0.", *ZERO_POINTS
)

O = TypeVar("O")  # noqa: E741 - options


@dataclass(frozen=True)
class CpuSidecar(_compiled.Sidecar):
    """What was compiled for a CPU."""

    weights: str | None  # which part of INT8's range our quantizer used; None: another network


def check_int8(cpu: str, residual: str | None, zero_points: str) -> None:
    """Check the options that decide how INT8 is written."""
    if cpu not in CPUS:
        raise ValueError(f"cpu must be one of {', '.join(CPUS)}, not {cpu!r}")
    if residual is not None and residual not in (*RESIDUALS, MEASURED):
        raise ValueError(f"residual must be one of {', '.join((*RESIDUALS, MEASURED))}, not {residual!r}")
    if zero_points not in ZERO_POINTS:
        raise ValueError(f"zero_points must be one of {', '.join(ZERO_POINTS)}, not {zero_points!r}")


def check_threads(threads: int | None) -> None:
    """Check the number of threads."""
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")


def spoken(dialect: Dialect, cpu: str, residual: str | None, zero_points: str) -> Dialect:
    """Return the dialect as the options and the CPU change it: on x86 without VNNI, weights use half of their range.

    On Arm nothing saturates, with or without the dot product: onnxruntime's kernels add at most two products in 16
    bits, and two of 128 * 127 fit.
    """
    half = not machine.has_int8() if cpu == "this" else cpu == "avx2"
    return replace(
        dialect,
        residual=residual if residual in RESIDUALS else dialect.residual,
        weights="half" if half else "full",
        zero_points="never" if zero_points == "never" else dialect.zero_points,
    )


def write_sidecar(out: Path, target: Target, options: object, onnx: Path) -> None:
    """Record what was compiled."""
    here, source = machine.versions(*target.libraries), manifest.sha256_of(onnx)
    _compiled.write(out, CpuSidecar(target.name, options, here, source, weights=_weights(onnx)))


def checked_options(compiled: Path, target: Target, kind: type[O], saturates: Callable[[O], bool]) -> O:
    """Return the options of what was compiled; refuse what cannot run correctly on this machine."""
    sidecar = _compiled.read(compiled, target, CpuSidecar)
    options = _compiled.options_of(sidecar, kind, compiled)
    if sidecar.weights == "full" and saturates(options):
        raise TargetError(
            "the network",
            "uses the full range of INT8 weights, but this CPU has no VNNI: sums would saturate",
            hint=f"quantize for this CPU: `targets.{target.name}.cpu: avx2`",
        )
    slow = machine.is_arm() and not machine.has_dot_product() and not machine.emulated()
    if getattr(options, "cpu", "") == "arm-dotprod" and slow:
        raise TargetError(
            "the network",
            "is for a CPU with the dot product (`cpu: arm-dotprod`), and this one has none: INT8 is slow without it",
            hint=f"write it for any Arm: `targets.{target.name}.cpu: arm`; its answers are the same",
        )
    _compiled.check_versions(sidecar, machine.versions(*target.libraries), compiled)
    return options


def _weights(onnx: Path) -> str | None:
    """Return which part of INT8's range our quantizer used; None for other networks."""
    try:
        dialect = documents.parse_json(onnx_file.read(onnx).metadata.get("edgeresnet.dialect", "{}"))
    except (ModelError, ValueError):
        return None
    found = dialect.get("weights") if isinstance(dialect, dict) else None
    return found if isinstance(found, str) else None
