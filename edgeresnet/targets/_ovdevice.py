"""Which device OpenVINO compiles for: what each accepts, what INT8 must look like for it, and whether it is here.

From OpenVINO's sources and issues. GPU: computes floats in f16 by default, and an INT8 network may then give
the same class for every image (openvino#30507) or answers without relation to the CPU's (openvino#37446); f32 mends it.
NPU: floats in f16 alone, static shapes alone. AUTO: the device that OpenVINO chooses, reported after compiling.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from ..errors import TargetError
from ..portable import machine
from ..portable.frozen import OMIT, described
from ..portable.session import Dialect

DEVICES = ("CPU", "GPU", "NPU", "AUTO")
PRECISIONS = ("f32", "bf16", "f16", "auto")
DEVICE = {**described("Device that runs the network. AUTO: the one that OpenVINO chooses.", *DEVICES), **OMIT}
_COMPUTES = {"CPU": PRECISIONS, "GPU": ("f32", "f16", "auto"), "NPU": ("f16", "auto"), "AUTO": PRECISIONS}
_THERE = "to measure it on another machine: `openvino: {device: %s, where: bundle}`"


def check(device: str, precision: str, threads: int | None, cpu: str) -> None:
    """Check what a recipe sets against what the device has."""
    if device not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {device!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"float_parts must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision not in _COMPUTES[device]:
        raise ValueError(f"float_parts must be one of {', '.join(_COMPUTES[device])} with device {device}")
    if device != "CPU" and threads is not None:
        raise ValueError(f"threads can be set with device CPU only, not with {device}")
    if device in ("GPU", "NPU") and cpu != "this":
        raise ValueError(f"cpu has no meaning with device {device}: leave it out")


def default_precision(device: str) -> str:
    """Return the number type of what is not INT8 where a recipe has none."""
    return "f16" if device == "NPU" else "f32"


def spoken(dialect: Dialect, device: str) -> Dialect:
    """Return the CPU's dialect as another device wants it.

    No device but an old x86 CPU adds INT8 products in 16 bits, so weights use their full range; what AUTO chooses may
    be one. Symmetric values alone: zero points cost a GPU further sums, and the NPU's documents name none.
    """
    if device == "CPU":
        return dialect
    weights = dialect.weights if device == "AUTO" else "full"
    return replace(dialect, weights=weights, zero_points="never", sums_in_float=False, image_zeros="one")


def half_precision(device: str) -> str | None:
    """Return the half precision to compare INT8 with; None where there is none, or where FP32 runs in it already."""
    if device == "GPU" or (device == "CPU" and machine.is_arm()):
        return "f16"  # where an Arm CPU has no f16, OpenVINO refuses it by name
    return "bf16" if device == "CPU" and machine.has_bf16() else None


def settings(device: str, streams: int, threads: int | None) -> dict[str, Any]:
    """Return the properties to compile with."""
    if device == "CPU":
        return {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": threads or machine.cores()}
    found: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT"}
    if device == "GPU":
        found["NUM_STREAMS"] = streams
    if device == "AUTO":  # else the CPU would answer, and be timed, while the chosen device still compiles
        found["ENABLE_STARTUP_FALLBACK"] = False
    return found


def absent(device: str, found: Sequence[str]) -> tuple[str, str]:
    """Return why a device cannot be used where OpenVINO finds these, and what to do; empty where it can."""
    kinds = {name.partition(".")[0] for name in found}
    if device in kinds or (device == "AUTO" and kinds):
        return "", ""
    named = f"only {', '.join(found)}" if found else "no device at all"
    install = f"install the {device}'s driver" if device != "AUTO" else "install a driver"
    return f"OpenVINO finds no {device} here, {named}", f"{install}, or, {_THERE % device}"


def refuse_absent(core: Any, device: str) -> None:
    """Refuse a device that is not here, with what is."""
    problem, hint = absent(device, core.available_devices)
    if problem:
        raise TargetError("the network", f"cannot be compiled: {problem}", hint=hint)


def refuse_absent_precision(core: Any, device: str, precision: str) -> None:
    """Refuse a precision that OpenVINO would silently replace: an option is accepted or refused."""
    if device == "AUTO" or precision not in ("bf16", "f16"):
        return
    has = {word.lower().replace("fp", "f") for word in core.get_property(device, "OPTIMIZATION_CAPABILITIES")}
    if precision not in has:
        subject, hint = f"this {device}", "use `float_parts: f32` or `auto`"
        raise TargetError(subject, f"has no {precision} instructions", hint=hint)


def check_precision(wanted: str, found: str, devices: Iterable[str]) -> None:
    """Refuse what was compiled in another precision than was wanted, as the compiled network itself reports it."""
    if wanted != "auto" and found and found != wanted:
        where = ", ".join(devices) or "the device"
        raise TargetError(
            "the network",
            f"computes in {found} on {where}, and not in {wanted}: OpenVINO replaced it",
            hint=f"use `float_parts: {found}`, or `auto`",
        )


def precision_of(compiled: Any) -> str:
    """Return the precision of what is not INT8, as the compiled network reports it; empty where it does not."""
    found = _property(compiled, "INFERENCE_PRECISION_HINT")
    return "" if found is None else str(found.to_string() if hasattr(found, "to_string") else found)


def devices_of(compiled: Any) -> tuple[str, ...]:
    """Return the devices that the compiled network runs on: of AUTO, the one that it chose."""
    found = _property(compiled, "EXECUTION_DEVICES") or ()
    return (found,) if isinstance(found, str) else tuple(map(str, found))


def called(core: Any, devices: Iterable[str]) -> str:
    """Return the devices with their full names: "GPU.0 (Intel(R) Arc(TM) Graphics)"."""
    shown = []
    for device in devices:
        name = _property(core, device, "FULL_DEVICE_NAME")
        shown.append(f"{device} ({name})" if name else device)
    return ", ".join(shown)


def _property(of: Any, *names: str) -> Any:
    try:
        return of.get_property(*names)
    except RuntimeError:  # a plug-in without it
        return None


def remarks(device: str, precision: str, cpu: str) -> tuple[str, ...]:
    """Return what a person should know of INT8 there, a sentence each."""
    found = []
    if device == "GPU" and precision != "f32":
        found.append(
            f"a GPU that computes floats in {'its own choice, f16' if precision == 'auto' else precision} gave wrong "
            "answers of INT8 networks (openvino#37446, openvino#30507): `float_parts: f32` is safe"
        )
    if device == "NPU":
        found.append("an NPU computes what is not INT8 in f16, the FP32 network too")
    if device == "CPU" and cpu.startswith("arm"):
        found.append(
            "OpenVINO 2026.4 computes most INT8 convolutions of a ResNet in float on Arm: measure onnxruntime, too"
        )
    return tuple(found)
