"""The energy sensors of a machine: rails of a board, counters of a CPU, the meter of a card; or why there is none.

`sensor_files` knows where files are and how each driver writes them. A sensor either counts joules or reports watts.
`energy` reads it while networks are timed, and does not know where the numbers come from. What cannot be read is a
sentence that says why, and what helps: it is never zero.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import documents, probe, sensor_files
from .frozen import dataclass
from .sensor_files import Channel

COUNTED_S, SAMPLED_S = 0.01, 0.05  # between two readings of a counter, and of a rail, which is read over a slow bus
# The rail that feeds all others, where a board has one: adding the others would count their energy twice.
_TOTALS = ("VDD_IN", "POM_5V_IN", "VIN")


@dataclass(frozen=True)
class Rail:
    """One number of a sensor. `read` raises OSError or ValueError where there is none now."""

    name: str
    read: Callable[[], float]  # joules since some moment, or watts now
    wraps_at: float | None = None  # the joules at which a counter starts again from 0


@dataclass(frozen=True)
class Sensor:
    """What a machine measures its energy with. The sum of its rails is meant."""

    name: str
    rails: tuple[Rail, ...]
    is_counter: bool

    @property
    def interval_s(self) -> float:
        """How long to wait between two readings."""
        return COUNTED_S if self.is_counter else SAMPLED_S


def find(root: Path = Path("/"), *, on_card: bool = False, nvml: Callable[[], Any] | None = None) -> Sensor | str:
    """Return the sensor that covers the processor which infers; or why none does.

    `on_card`: it is an NVIDIA GPU. A board's own rails cover its GPU, too. `nvml` loads the library of a card.
    """
    board = _board(root)
    if board is not None:
        return board
    if on_card:
        card = _card(nvml or _nvml_library)
        return card if isinstance(card, Sensor) else f"no energy sensor for this GPU: {card}"
    return _cpu(root) or "no energy sensor here (INA3221, INA238, RAPL)"


def _board(root: Path) -> Sensor | str | None:
    """Return the rails of a Jetson. None where there are none."""
    found, missing = {}, {}
    for channel in sensor_files.rails(str(root)):
        rail = Rail(channel.name, _reader(channel))
        try:
            rail.read()
            found[channel.name] = rail
        except (OSError, ValueError) as problem:
            missing[channel.name] = _why_not(channel, problem, f"{channel.name} of the board's rails")
    total = next((name for name in _TOTALS if name in found or name in missing), None)
    if total in found:
        return Sensor(f"the board's rail {total}", (found[total],), is_counter=False)
    if missing:  # a sum without it would be too small
        return missing.get(total or "") or next(iter(missing.values()))
    if not found:
        return None
    return Sensor(f"the board's rails {', '.join(found)}", tuple(found.values()), is_counter=False)


def _cpu(root: Path) -> Sensor | str | None:
    """Return the counters of a CPU's packages and of their memory, of Intel or AMD. None where there are none."""
    rails = []
    for channel in sensor_files.counters(str(root)):
        rail = Rail(channel.name, _reader(channel), _range_j(Path(channel.files[0]).parent))
        try:
            rail.read()
        except (OSError, ValueError) as problem:
            return _why_not(channel, problem, f"the CPU's counter {channel.name}")
        rails.append(rail)
    if not any(rail.name.startswith("package") for rail in rails):
        zones = sensor_files.zones(str(root))
        hidden = bool(zones) and not any(name for name, _ in zones)
        return "a container hides the CPU's counters (RAPL): measure outside of it" if hidden else None
    return Sensor(f"the CPU's counters {', '.join(rail.name for rail in rails)} (RAPL)", tuple(rails), is_counter=True)


def _reader(channel: Channel) -> Callable[[], float]:
    """Return what reads a channel: the product of the numbers in its files, in watts or joules."""
    paths = [Path(file) for file in channel.files]
    return lambda: math.prod(map(_number, paths)) / channel.per


def _why_not(channel: Channel, problem: OSError | ValueError, named: str) -> str:
    """Return why a channel cannot be read; where it may not be, how to allow it."""
    if isinstance(problem, PermissionError):
        allow = f"run as root, or allow it until the next start with `sudo chmod a+r {channel.pattern}`"
        return f"{problem.filename} may not be read: {allow}"
    return f"{named} cannot be measured: {why(problem)}"


def _range_j(zone: Path) -> float | None:
    """Return the joules at which a counter wraps; None where it does not say."""
    found = probe.number(probe.text(zone / "max_energy_range_uj"))
    return found / 1e6 if found and found > 0 else None


class _Nvml:
    """A card, as NVIDIA's library names it. Its calls return 0, or the number of a problem."""

    def __init__(self, library: Any):
        self.library = library
        self.check("nvmlInit_v2", library.nvmlInit_v2())
        self.handle = ctypes.c_void_p()

    def open(self, wanted: str) -> None:
        """Find the card that infers: the only one, or the one whose UUID CUDA_VISIBLE_DEVICES holds.

        A number there is not enough: CUDA and NVML count cards in different orders.
        """
        if wanted.startswith("MIG-"):
            raise OSError("a part of a card (MIG) has no meter of its own")
        if wanted.startswith("GPU-"):
            code = self.library.nvmlDeviceGetHandleByUUID(wanted.encode(), ctypes.byref(self.handle))
            return self.check(f"the GPU {wanted}", code)
        count = ctypes.c_uint()
        self.check("nvmlDeviceGetCount_v2", self.library.nvmlDeviceGetCount_v2(ctypes.byref(count)))
        if count.value != 1:
            raise OSError(f"there are {count.value} cards: set CUDA_VISIBLE_DEVICES to the UUID of the one that infers")
        return self.check("the GPU", self.library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self.handle)))

    def joules(self) -> float:
        found = ctypes.c_ulonglong()
        code = self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle, ctypes.byref(found))
        self.check("its total energy", code)
        return found.value / 1000

    def watts(self) -> float:
        found = ctypes.c_uint()
        self.check("its power", self.library.nvmlDeviceGetPowerUsage(self.handle, ctypes.byref(found)))
        return found.value / 1000

    def check(self, what: str, code: int) -> None:
        if code:
            words = self.library.nvmlErrorString(code)
            raise OSError(f"{what}: {words.decode() if isinstance(words, bytes) else f'error {code}'}")


def _card(nvml: Callable[[], Any]) -> Sensor | str:
    """Return the meter of the card that infers: its counter of joules, else its power; or why there is neither."""
    try:
        card = _Nvml(nvml())
        card.open(os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip())
    except (OSError, AttributeError) as problem:
        return f"NVML cannot be used: {problem}"
    found: list[str] = []
    for name, read, is_counter in (("energy", card.joules, True), ("power", card.watts, False)):
        try:
            read()
        except (OSError, AttributeError) as problem:
            found.append(str(problem))
            continue
        return Sensor(f"the card's {name} (NVML)", (Rail(f"the card's {name}", read),), is_counter)
    return f"NVML reports {', '.join(found)}"


def _nvml_library() -> Any:
    library = ctypes.CDLL("libnvidia-ml.so.1")
    library.nvmlErrorString.restype = ctypes.c_char_p
    return library


def _number(path: Path) -> float:
    """Return the number in a file; raise where there is none."""
    try:
        text = path.read_text()
    except OSError as problem:
        raise type(problem)(problem.errno, problem.strerror, str(path)) from problem
    found = probe.number(text)
    if found is None:
        raise ValueError(f"{path} holds no number")
    return found


def why(problem: OSError | ValueError) -> str:
    """Return why a rail cannot be read, with its file where there is one."""
    if isinstance(problem, OSError) and problem.filename:
        return f"{problem.filename} {documents.reason(problem)}"
    return str(problem)
