"""A machine whose sensors are files that tick by script: what networks take is known, and no time passes."""

from __future__ import annotations

import contextlib
import ctypes
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgeresnet.portable import measure, sensors
from edgeresnet.portable.energy import Meter
from edgeresnet.portable.times import Latency

from .scripted import Scripted, here, job

IDLE_W = 4.0
TICK_S = 0.05  # of a card's counter


class Machine:
    """What it takes changes with what runs, and a little by itself. `write` puts what its sensors show into files."""

    def __init__(self, root: Path, seed: int = 0, write: Callable[[Machine], None] = lambda machine: None):
        self.root, self.now, self.joules, self.watts = root, 0.0, 0.0, IDLE_W
        self.random, self.write_all = random.Random(seed), write
        self.meter: Meter | None = None
        self.shown: dict[str, object] = {}  # path → what is written there
        self.next = 0.0  # when its sensor is read again
        self.counted, self.next_tick = 0.0, TICK_S  # what a card's counter shows, and until when

    def clock(self) -> float:
        return self.now

    def run(self, seconds: float, watts: float) -> float:
        """Let time pass at a power that varies by 3 %; return the joules of it."""
        wave = np.sin(20.0 * self.now) + self.random.uniform(-1, 1)
        self.watts = watts * (1 + 0.015 * float(wave))
        end, before = self.now + seconds, self.joules
        while self.now < end:
            until = min(end, self.next_tick, max(self.next, self.now) if self.meter else end)
            self.joules, self.now = self.joules + self.watts * (until - self.now), until
            if self.now >= self.next_tick:
                self.counted, self.next_tick = self.joules, self.next_tick + TICK_S
            if self.meter and self.now >= self.next:
                self.next = self.now + self.meter.sensor.interval_s * self.random.uniform(0.9, 1.3)
                self.meter.read()
        return self.joules - before

    def idle(self, seconds: float) -> None:
        self.run(seconds, IDLE_W)

    def put(self, path: str, value: object) -> None:
        if self.shown.get(path) == value:
            return
        self.shown[path], file = value, self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")


class Stepped(Meter):
    """Read by the script of its machine, and not by a thread."""

    def __init__(self, machine: Machine, **how: Any):
        self.machine = machine
        machine.write_all(machine)
        found = sensors.find(machine.root, **how)
        assert isinstance(found, sensors.Sensor), found
        super().__init__(found, machine.clock, machine.idle)
        machine.meter = self

    def read(self) -> None:
        self.machine.write_all(self.machine)
        super().read()

    @contextlib.contextmanager
    def sampling(self) -> Iterator[None]:
        self.begin()
        yield


class Network(Scripted):
    """Takes this power for this long, and counts what it took."""

    def __init__(self, machine: Machine, watts: float, seconds: float = 0.002):
        super().__init__()
        self.machine, self.power, self.seconds = machine, watts, seconds
        self.joules, self.count = 0.0, 0

    def infer(self, batch: np.ndarray) -> np.ndarray:
        self.joules += self.machine.run(self.seconds, self.power)
        self.count += 1
        return np.zeros((len(batch), 3), np.float32)

    def clock(self) -> float:
        return self.machine.now

    @property
    def mj(self) -> float:
        return 1000 * self.joules / self.count


def timed(meter: Meter | str | None, networks: dict[str, Network], processes: int = 2) -> dict[str, Latency]:
    jobs = {name: job(each) for name, each in networks.items()}
    clock = next(iter(networks.values())).machine.clock
    return measure.latency(
        jobs, processes=processes, seconds=5 * processes, window_s=0.5, start=here, clock=clock, meter=meter
    )


# What sensors show.


def rails(**parts: float) -> Callable[[Machine], None]:
    """Rails of a Jetson, each of which carries a part of the power; millivolts and milliamperes, in steps of 8."""

    def write(machine: Machine) -> None:
        for number, (name, part) in enumerate(parts.items()):
            folder = f"sys/bus/i2c/drivers/ina3221/1-004{number // 3}/hwmon/hwmon{number // 3}"
            channel = number % 3 + 1
            machine.put(f"{folder}/in{channel}_label", name)
            machine.put(f"{folder}/in{channel}_input", 5000)
            machine.put(f"{folder}/curr{channel}_input", 8 * round(machine.watts * part / 5 * 1000 / 8))

    return write


def iio_rails(**parts: float) -> Callable[[Machine], None]:
    """The same on a Jetson's kernel 4.9 (JetPack 4): channels from 0 on, in milliwatts, voltage and current as well."""

    def write(machine: Machine) -> None:
        for number, (name, part) in enumerate(parts.items()):
            folder = f"sys/bus/i2c/drivers/ina3221x/6-004{number // 3}/iio:device{number // 3}"
            channel = number % 3
            milliamperes = 8 * round(machine.watts * part / 5 * 1000 / 8)
            machine.put(f"{folder}/rail_name_{channel}", name)
            machine.put(f"{folder}/in_voltage{channel}_input", 5000)
            machine.put(f"{folder}/in_current{channel}_input", milliamperes)
            machine.put(f"{folder}/in_power{channel}_input", 5 * milliamperes)

    return write


def rapl(range_j: float | None = 50.0, **zones: float) -> Callable[[Machine], None]:
    """A CPU's counters of microjoules, by name; the name's underscore stands for a hyphen."""

    def write(machine: Machine) -> None:
        for number, (name, part) in enumerate((zones or {"package_0": 1.0}).items()):
            folder = f"sys/class/powercap/intel-rapl:{number}"
            machine.put(f"{folder}/name", name.replace("_", "-"))
            counted = machine.joules * part + 49.9
            if range_j:
                machine.put(f"{folder}/max_energy_range_uj", int(range_j * 1e6))
                counted %= range_j
            machine.put(f"{folder}/energy_uj", int(counted * 1e6))

    return write


class Nvml:
    """NVIDIA's library, as far as it is used. `lacks` is what it answers NOT_SUPPORTED to."""

    def __init__(self, machine: Machine | None = None, lacks: tuple[str, ...] = (), cards: int = 1):
        self.machine, self.lacks, self.cards = machine, lacks, cards

    def nvmlInit_v2(self) -> int:  # noqa: N802 - NVIDIA's name
        return 0

    def nvmlErrorString(self, code: int) -> bytes:  # noqa: N802
        return {2: b"Invalid Argument", 3: b"Not Supported"}[code]

    def nvmlDeviceGetCount_v2(self, found: Any) -> int:  # noqa: N802
        return _put(found, self.cards)

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:  # noqa: N802
        return 0 if index < self.cards else 2

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:  # noqa: N802
        return 0 if uuid == b"GPU-1" else 2

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, found: Any) -> int:  # noqa: N802
        if "energy" in self.lacks:
            return 3
        return _put(found, int(1000 * self.machine.counted) if self.machine else 0)

    def nvmlDeviceGetPowerUsage(self, handle: Any, found: Any) -> int:  # noqa: N802
        if "power" in self.lacks:
            return 3
        return _put(found, int(1000 * self.machine.watts) if self.machine else 0)


def _put(reference: Any, value: int) -> int:
    assert isinstance(reference._obj, ctypes._SimpleCData)
    reference._obj.value = value
    return 0
