"""One question to a machine, one answer: its files under a root, nvidia-smi, nvpmodel; None or empty where it has none.

Knows how each source writes its answer and when that answer is nonsense; `machine_files` has what the agent for devices
reads as well. `machine` puts the answers together; it does not know what they mean for a measurement. Nothing here
raises because of what a machine answers or does not answer.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

from . import machine_files
from .frozen import dataclass
from .machine_files import number as number
from .machine_files import numbers as numbers
from .machine_files import temperatures_c as temperatures_c

Ask = Callable[[list[str]], "str | None"]

# Without persistence mode nvidia-smi first loads the driver's state, for each GPU: seconds, and no fault.
_PATIENCE_S = 10.0

# Each Jetson generation: its GPU, compute capability (developer.nvidia.com/cuda-gpus), and the words by which the
# board's model, the device tree's "compatible" and devfreq name its chip.
_JETSONS = (
    ("Thor", 11.0, ("thor", "tegra264")),
    ("Orin", 8.7, ("orin", "tegra234", "ga10b")),
    ("Xavier", 7.2, ("xavier", "tegra194", "gv11b")),
)

# The bits of NVML's mask. Left out: idle (1), and the clocks a person chose for applications (2) or the display (256).
_REASONS = {
    0x04: "software power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
_NO_REASONS = 0x103

# MIDR_EL1's implementer and part, as Linux lists them in arch/arm64/include/asm/cputype.h.
_ARM_PARTS = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd83"): "Neoverse-V3AE",
    ("0x4e", "0x004"): "Carmel",
}


@dataclass(frozen=True)
class Gpu:
    """All that is known of one GPU."""

    name: str | None
    driver: str | None
    compute_capability: float | None
    memory_gb: float | None


@dataclass(frozen=True)
class GpuState:
    """A GPU's clocks and temperature, and what holds the clocks down."""

    sm_mhz: float | None
    memory_mhz: float | None
    temperature_c: float | None
    throttle: tuple[str, ...] = ()


AnyGpu = TypeVar("AnyGpu", Gpu, GpuState)


def text(path: Path) -> str | None:
    """Return a file's text; None where it cannot be read or is empty."""
    return machine_files.text(path) or None


def lines(path: Path) -> list[str]:
    return (text(path) or "").splitlines()


def ask(command: list[str], timeout_s: float = _PATIENCE_S) -> str | None:
    """Return what a program prints, or None where it is absent, fails or does not come to an end."""
    import subprocess  # only where a program is started: who reads a run starts none

    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        running = subprocess.Popen(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError:
        return None
    try:
        printed, _ = running.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        running.kill()
        # subprocess.run would now wait without end: a program that hangs inside a driver cannot be killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(1.0)
        if running.stdout:
            running.stdout.close()
        return None
    return printed if running.returncode == 0 else None


def board(root: Path) -> str | None:
    return machine_files.board(root) or None


def l4t(root: Path) -> str | None:
    """Return the line that names a Jetson's system release, which is its GPU driver's version too."""
    return next(iter(lines(root / "etc/nv_tegra_release")), None)


def power_mode(ask: Ask) -> str | None:
    return machine_files.power_mode(ask(["nvpmodel", "-q"]) or "") or None


def arm_cpu(root: Path) -> str | None:
    """Return the names of an ARM machine's cores, or the numbers of those that this file cannot name."""
    implementer, found = "", []
    for line in lines(root / "proc/cpuinfo"):
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "CPU implementer":
            implementer = value.lower()
        elif key == "CPU part" and value:
            part = value.lower()
            found.append(_ARM_PARTS.get((implementer, part)) or f"ARM {implementer} part {part}".replace("  ", " "))
    # two kinds of cores are two names: the slower ones come first on boards such as the RK3588
    return " + ".join(dict.fromkeys(found)) or None


@functools.cache
def gpus(root: Path, ask: Ask) -> tuple[Gpu, ...]:
    """Return name, driver, compute capability and memory of each GPU, read once per process: none of it changes."""
    columns = ("driver_version", "memory.total", "compute_cap", "name")
    # drivers up to 470 do not know compute_cap, and then answer nothing at all (huggingface/candle#733)
    rows = _nvidia_smi(ask, columns) or [[a, b, "N/A", c] for a, b, c in _nvidia_smi(ask, (*columns[:2], columns[3]))]
    found = []
    for driver, memory, capability, name in rows:
        mib = number(memory)
        found.append(
            Gpu(
                name=(_known(name) or "").removesuffix("(nvgpu)").strip() or None,
                driver=_known(driver),
                compute_capability=number(capability),
                memory_gb=None if mib is None else round(mib / 1024, 1),
            )
        )
    own = _jetson(root)
    if own and not found:
        return (own,)
    if own and len(found) == 1 and _is_own(found[0], own):
        return (_filled(found[0], own),)
    return tuple(found)


def gpu_states(root: Path, ask: Ask) -> tuple[GpuState, ...]:
    """Return clocks, temperature and what holds the clocks down, now; no reasons where the GPU does not report any."""
    columns = _clock_columns(ask)
    found = [
        GpuState(number(sm), number(memory), number(temperature), _reasons(reasons))
        for sm, memory, temperature, reasons in (_nvidia_smi(ask, columns) if columns else [])
    ]
    own = _jetson_state(root)
    if not own or len(found) > 1:
        return tuple(found)
    return (_filled(found[0], own) if found else own,)


@functools.cache
def _clock_columns(ask: Ask) -> tuple[str, ...] | None:
    """Return the columns that this nvidia-smi knows; None where it has no numbers, so that it is not run every second.

    Driver 535 renamed throttle reasons to event reasons (influxdata/telegraf#19455).
    """
    for word in ("event", "throttle"):
        columns = ("clocks.sm", "clocks.mem", "temperature.gpu", f"clocks_{word}_reasons.active")
        if any(number(cell) is not None for row in _nvidia_smi(ask, columns) for cell in row[:3]):
            return columns
    return None


def _nvidia_smi(ask: Ask, columns: Sequence[str]) -> list[list[str]]:
    """Return a row for each GPU. nvidia-smi prints complaints where rows are expected: they are left out."""
    answer = ask(["nvidia-smi", f"--query-gpu={','.join(columns)}", "--format=csv,noheader,nounits"]) or ""
    rows = [[cell.strip() for cell in line.split(",", len(columns) - 1)] for line in answer.splitlines()]
    return [row for row in rows if len(row) == len(columns) and all(map(_is_cell, row, columns))]


def _is_cell(cell: str, column: str) -> bool:
    if column == "name" or not cell:
        return bool(cell)
    return _known(cell) is None or re.fullmatch(r"0x[0-9a-fA-F]+|\d[\d.]*", cell) is not None


def _known(cell: str) -> str | None:
    """Return None for [N/A], [Not Supported], [Unknown Error] and the like; a Jetson writes some without brackets."""
    return None if cell == "N/A" or cell.startswith("[") else cell


def _reasons(mask: str) -> tuple[str, ...]:
    known = _known(mask)
    bits = int(known, 16) & ~_NO_REASONS if known and known.startswith("0x") else 0
    unknown = bits & ~sum(_REASONS)
    found = tuple(word for bit, word in _REASONS.items() if bits & bit)
    return (*found, f"unknown {unknown:#x}") if unknown else found  # a reason that NVML learned after us is still one


def _jetson(root: Path) -> Gpu | None:
    """Return the GPU of a Jetson, whose nvidia-smi is absent before JetPack 6 and nearly mute since.

    Its memory is shared. Docker hides the device tree, not devfreq, whose devices up to JetPack 5 bear the chip's name.
    """
    model = board(root) or ""
    names = " ".join([model, text(root / "proc/device-tree/compatible") or "", *(path.name for path in _devfreq(root))])
    # with a chip's or the maker's name, since others call their boards Thor too
    ours = re.search(r"(?i)nvidia|jetson|tegra|ga10b|gv11b", names)
    for name, capability, words in _JETSONS:
        if ours and re.search(rf"(?i)(?<![a-z])({'|'.join(words)})(?![a-z])", names):
            return Gpu(name, None, capability, None)
    return Gpu(model, None, None, None) if "jetson" in model.lower() else None


def _jetson_state(root: Path) -> GpuState | None:
    if not (_jetson(root) or l4t(root)):
        return None  # another maker's GPU: its clock is not one of those that gpus() names
    devices = [path for path in _devfreq(root) if re.search(r"gpu|ga10b|gv11b|gb10b", path.name)]
    # Thor has two clocks; gpu-nvd's is the video engine's
    hertz = next((hz for path in devices if "nvd" not in path.name for hz in numbers(path, "cur_freq")), None)
    if hertz is None:
        return None
    return GpuState(hertz / 1e6, None, max(temperatures_c(root, "gpu"), default=None))


def _devfreq(root: Path) -> list[Path]:
    return [Path(path) for path in machine_files.matching(root, "sys/class/devfreq/*")]


def _is_own(found: Gpu, own: Gpu) -> bool:
    """Return whether nvidia-smi reports the board's own GPU: an IGX Orin may carry a card, which is another."""
    if found.compute_capability is not None:
        return found.compute_capability == own.compute_capability
    return found.name is None or (own.name or "") in found.name


def _filled(found: AnyGpu, own: AnyGpu) -> AnyGpu:
    """Return what was reported, with the board's own values where nothing was."""
    missing = [field.name for field in fields(found) if getattr(found, field.name) is None]
    return replace(found, **{name: getattr(own, name) for name in missing})
