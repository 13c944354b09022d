"""One question to a machine, one answer: its files under a root, nvidia-smi, nvpmodel; None or empty where it has none.

Knows how each source writes its answer and when that answer is nonsense. `machine` puts the answers together; what they
mean for a measurement is judged elsewhere. Nothing here raises because of what a machine says or does not say.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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


def text(path: Path) -> str | None:
    """A file's text; device trees end or part theirs with NUL bytes."""
    try:
        return path.read_text().replace("\0", " ").strip()
    except (OSError, ValueError):
        return None


def lines(path: Path) -> list[str]:
    return (text(path) or "").splitlines()


def number(words: str | None) -> float | None:
    try:
        found = float(words or "")
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def numbers(folder: Path, pattern: str) -> list[float]:
    """What all the files say that match and hold a number."""
    found = [number(text(path)) for path in _glob(folder, pattern)]
    return [value for value in found if value is not None]


def ask(command: list[str], timeout_s: float = _PATIENCE_S) -> str | None:
    """What a program prints, or None where it is absent, fails or does not come to an end."""
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
    return text(root / "proc/device-tree/model") or None


def l4t(root: Path) -> str | None:
    """The line that names a Jetson's system release, which is its GPU driver's version too."""
    return next(iter(lines(root / "etc/nv_tegra_release")), None)


def power_mode(ask: Ask) -> str | None:
    # the name, since the number below it means another mode on each board
    found = re.search(r"NV Power Mode:[ \t]*(\S.*)", ask(["nvpmodel", "-q"]) or "")
    return found.group(1).strip() if found else None


def arm_cpu(root: Path) -> str | None:
    """The names of an ARM machine's cores, or the numbers of those that this file cannot name."""
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


def temperatures_c(root: Path, kind: str = "") -> list[float]:
    """Those that a chip at work can have, of the thermal zones with this word in their name."""
    found = []
    for zone in _glob(root / "sys/class/thermal", "thermal_zone*"):
        name, value = (text(zone / "type") or "").lower(), number(text(zone / "temp"))
        # PMIC-Die on Jetsons up to Xavier is a constant 50 or 100 °C: a limit, not a sensor.
        if value is not None and 0 < value < 150_000 and kind in name and "pmic" not in name:
            found.append(value / 1000)
    return found


def gpus(root: Path, ask: Ask) -> list[dict[str, Any]]:
    """Name, driver, compute capability and memory of each GPU: asked once for a process, since none of it changes."""
    return [dict(found) for found in _gpus(root, ask)]


def gpu_states(root: Path, ask: Ask) -> list[dict[str, Any]]:
    """Clocks, temperature and what holds the clocks down, now; no reasons where the GPU does not tell any."""
    fields = _clock_fields(ask)
    found = [
        {
            "sm_mhz": number(sm),
            "memory_mhz": number(memory),
            "temperature_c": number(temperature),
            "throttle": _reasons(reasons),
        }
        for sm, memory, temperature, reasons in (_nvidia_smi(ask, fields) if fields else [])
    ]
    own = _jetson_state(root)
    if not own or len(found) > 1:
        return found
    return [_filled(found[0], own) if found else own]


@functools.cache
def _gpus(root: Path, ask: Ask) -> list[dict[str, Any]]:
    fields = ("driver_version", "memory.total", "compute_cap", "name")
    # drivers up to 470 do not know compute_cap, and then answer nothing at all (huggingface/candle#733)
    rows = _nvidia_smi(ask, fields) or [[a, b, "N/A", c] for a, b, c in _nvidia_smi(ask, (*fields[:2], fields[3]))]
    found = []
    for driver, memory, capability, name in rows:
        mib = number(memory)
        found.append(
            {
                "name": (_told(name) or "").removesuffix("(nvgpu)").strip() or None,
                "driver": _told(driver),
                "compute_capability": number(capability),
                "memory_gb": None if mib is None else round(mib / 1024, 1),
            }
        )
    own = _jetson(root)
    if not own or len(found) > 1:
        return found
    return [_filled(found[0], own) if _same(found[0], own) else found[0]] if found else [own]


@functools.cache
def _clock_fields(ask: Ask) -> tuple[str, ...] | None:
    """The fields that this nvidia-smi knows; None where it has no numbers, so that nobody asks it every second.

    Driver 535 renamed throttle reasons to event reasons (influxdata/telegraf#19455).
    """
    for word in ("event", "throttle"):
        fields = ("clocks.sm", "clocks.mem", "temperature.gpu", f"clocks_{word}_reasons.active")
        if any(number(cell) is not None for row in _nvidia_smi(ask, fields) for cell in row[:3]):
            return fields
    return None


def _nvidia_smi(ask: Ask, fields: Sequence[str]) -> list[list[str]]:
    """A row for each GPU. A complaint is no row, though nvidia-smi prints it where rows are expected."""
    answer = ask(["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]) or ""
    rows = [[cell.strip() for cell in line.split(",", len(fields) - 1)] for line in answer.splitlines()]
    return [row for row in rows if len(row) == len(fields) and all(map(_is_cell, row, fields))]


def _is_cell(cell: str, field: str) -> bool:
    if field == "name" or not cell:
        return bool(cell)
    return _told(cell) is None or re.fullmatch(r"0x[0-9a-fA-F]+|\d[\d.]*", cell) is not None


def _told(cell: str) -> str | None:
    """None for [N/A], [Not Supported], [Unknown Error] and the like; a Jetson writes some of them without brackets."""
    return None if cell == "N/A" or cell.startswith("[") else cell


def _reasons(mask: str) -> list[str]:
    told = _told(mask)
    bits = int(told, 16) & ~_NO_REASONS if told and told.startswith("0x") else 0
    unknown = bits & ~sum(_REASONS)
    # a reason that NVML learned after us is still one
    return [word for bit, word in _REASONS.items() if bits & bit] + ([f"unknown {unknown:#x}"] if unknown else [])


def _jetson(root: Path) -> dict[str, Any] | None:
    """The GPU of a Jetson, whose nvidia-smi is absent before JetPack 6 and nearly mute since. Its memory is shared.

    Docker hides the device tree, not devfreq, whose devices up to JetPack 5 bear the chip's name.
    """
    model = board(root) or ""
    told = " ".join([model, text(root / "proc/device-tree/compatible") or "", *(path.name for path in _devfreq(root))])
    # a chip's or the maker's name beside it, since others call their boards Thor too
    ours = re.search(r"(?i)nvidia|jetson|tegra|ga10b|gv11b", told)
    for name, capability, words in _JETSONS:
        if ours and re.search(rf"(?i)(?<![a-z])({'|'.join(words)})(?![a-z])", told):
            return {"name": name, "driver": None, "compute_capability": capability, "memory_gb": None}
    if "jetson" in model.lower():
        return {"name": model, "driver": None, "compute_capability": None, "memory_gb": None}
    return None


def _jetson_state(root: Path) -> dict[str, Any] | None:
    if not (_jetson(root) or l4t(root)):
        return None  # another maker's GPU: its clock is not one of those that gpus() names
    devices = [path for path in _devfreq(root) if re.search(r"gpu|ga10b|gv11b|gb10b", path.name)]
    # Thor has two clocks; gpu-nvd's is the video engine's
    hertz = next((hz for path in devices if "nvd" not in path.name for hz in numbers(path, "cur_freq")), None)
    if hertz is None:
        return None
    return {
        "sm_mhz": hertz / 1e6,
        "memory_mhz": None,
        "temperature_c": max(temperatures_c(root, "gpu"), default=None),
        "throttle": [],
    }


def _devfreq(root: Path) -> list[Path]:
    return _glob(root / "sys/class/devfreq", "*")


def _same(found: dict[str, Any], own: dict[str, Any]) -> bool:
    """Whether nvidia-smi speaks of the board's own GPU: an IGX Orin may carry a card, which is another."""
    if found["compute_capability"] is not None:
        return bool(found["compute_capability"] == own["compute_capability"])
    return found["name"] is None or own["name"] in found["name"]


def _filled(found: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return {key: own[key] if value is None else value for key, value in found.items()}


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []
