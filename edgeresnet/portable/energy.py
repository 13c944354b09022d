"""The energy of inferences: what a sensor reported while windows were timed, and joules per inference made of it.

A meter reads its sensor all the time that windows are timed, in a thread of the process that waits for them: the timed
process does nothing more than before. The power of a window is that between the first and the last reading inside it,
so that neither warming up nor a neighbour's window counts. What a meter cannot know is a sentence, and never zero.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import NamedTuple

from . import intervals, limits, sensors
from .codec import CodecError
from .frozen import OMIT, dataclass
from .intervals import Interval
from .sensors import Sensor

OLD = "an older edgeresnet measured it, without energy: measure again with `edgeresnet run RECIPE --again verify`"
_SAME = 1e-9  # part by which powers differ that one stuck number gives
_MOST_W = 1e6
_LONGEST_GAP_S = 0.25  # between two readings of a window
_COVERED = 0.5  # of a window, at least, by the time from its first reading to its last

Span = tuple[float, float]  # when the inferences of a window began and ended, by a clock of the machine


@dataclass(frozen=True)
class ProcessEnergy:
    """What one process' windows took of which sensor: the mean power of each, and how long its inferences took."""

    sensor: str
    watts: tuple[float, ...]
    seconds: tuple[float, ...]
    idle_w: float | None = field(default=None, metadata=OMIT)  # before the process started

    def check_read(self) -> None:
        limits.check(self, 0, _MOST_W, "idle_w")
        limits.check_all(self, 0, _MOST_W, "watts", self.watts)
        limits.check_all(self, 0, limits.LONGEST_MS, "seconds", self.seconds)
        if len(self.watts) != len(self.seconds):
            raise CodecError("watts", f"has {len(self.watts)} values for {len(self.seconds)} windows")

    @property
    def joules(self) -> float:
        return sum(watts * seconds for watts, seconds in zip(self.watts, self.seconds, strict=True))


class Energy(NamedTuple):
    """Millijoules per inference with the 95 % interval over processes, and the mean power of the timed windows."""

    sensor: str
    mj: float
    interval: Interval
    watts: float
    idle_w: float | None  # the median over processes
    each: tuple[float, ...]  # process by process, in millijoules


class _Reading(NamedTuple):
    at: float
    values: tuple[float, ...]  # rail by rail: joules since the meter began, or watts


class Meter:
    """Reads one sensor, and says what a span of time took of it. Clock and waiting are parameters, for tests."""

    def __init__(
        self,
        sensor: Sensor,
        clock: Callable[[], float] = time.perf_counter,  # of all processes on Linux the same
        wait: Callable[[float], None] = time.sleep,
    ):
        self.sensor = sensor
        self._clock, self._wait = clock, wait
        self._lock = threading.Lock()
        self._readings: list[_Reading] = []
        self._last: tuple[float, ...] | None = None  # as the sensor gave it
        self._gap = self._broken = ""  # why the last reading is missing; why none is of any use

    def read(self) -> None:
        """Take a reading. A rail that does not respond leaves a gap, and its reason."""
        with self._lock:
            before = self._clock()
            found = []
            for rail in self.sensor.rails:
                try:
                    found.append(rail.read())
                except (OSError, ValueError) as problem:
                    self._gap = f"{rail.name} stopped responding during the measurement: {sensors.why(problem)}"
                    return
            self._add((before + self._clock()) / 2, tuple(found))

    def _add(self, at: float, found: tuple[float, ...]) -> None:
        values = found
        if self.sensor.is_counter:
            before = self._readings[-1].values if self._readings else (0.0,) * len(found)
            passed = [self._passed(index, value) for index, value in enumerate(found)]
            values = tuple(joules + more for joules, more in zip(before, passed, strict=True))
        self._readings.append(_Reading(at, values))
        self._last = found

    def _passed(self, index: int, now: float) -> float:
        """Return what a counter counted since the last reading, across its wrap."""
        last = now if self._last is None else self._last[index]
        rail = self.sensor.rails[index]
        if now >= last:
            return now - last
        if rail.wraps_at is None:
            self._broken = f"{rail.name} went backwards during the measurement"
            return 0.0
        return now - last + rail.wraps_at

    @contextlib.contextmanager
    def sampling(self) -> Iterator[None]:
        """Take readings until this is left."""
        self.begin()
        over = threading.Event()
        thread = threading.Thread(target=self._poll, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def begin(self) -> None:
        """Take the first reading, and drop earlier ones."""
        with self._lock:
            self._readings = self._readings[-1:]  # a counter goes on from there
            self._gap = self._broken = ""
        self.read()

    def _poll(self, over: threading.Event) -> None:
        while not over.wait(self.sensor.interval_s):
            self.read()

    def idle_watts(self, seconds: float) -> float | None:
        """Return the power while nothing is timed; None where that cannot be measured."""
        with self.sampling():
            began = self._clock()
            self._wait(seconds)
            found = self.watts((began, self._clock()))
        return None if isinstance(found, str) else found

    def watts(self, span: Span) -> float | str:
        """Return the mean power of a span of time, or why it is not known."""
        self.read()
        with self._lock:
            inside = [reading for reading in self._readings if span[0] <= reading.at <= span[1]]
            if why_not := self._uncovered(inside, span):
                return why_not
            each = [self._rail_watts(index, inside) for index in range(len(self.sensor.rails))]
            found = 0.0
            for one in each:
                if isinstance(one, str):
                    return one
                found += one
            return found if found > 0 else f"{self.sensor.name} reported {found:g} W while the network ran"

    def _uncovered(self, inside: Sequence[_Reading], span: Span) -> str:
        """Return why these readings do not show what a span took; empty where they do."""
        length = span[1] - span[0]
        times = [reading.at for reading in inside]
        longest = max((later - earlier for earlier, later in itertools.pairwise(times)), default=length)
        if len(times) >= 2 and times[-1] - times[0] >= _COVERED * length and longest <= max(_LONGEST_GAP_S, length / 4):
            return self._broken
        few = f"{self.sensor.name} gave {len(times)} readings in a window of {length:.2g} s: too few"
        return self._broken or self._gap or few

    def _rail_watts(self, index: int, inside: Sequence[_Reading]) -> float | str:
        points = [(reading.at, reading.values[index]) for reading in inside]
        if not self.sensor.is_counter:
            pairs = list(itertools.pairwise(points))
            joules = sum((later - earlier) * (one + other) / 2 for (earlier, one), (later, other) in pairs)
            return joules / (points[-1][0] - points[0][0])
        # a counter moves in steps: from one step to another, not from one reading to another
        steps = [after for before, after in itertools.pairwise(points) if after[1] != before[1]]
        name, length = self.sensor.rails[index].name, points[-1][0] - points[0][0]
        if not steps:
            return f"{name} did not count while the network ran"
        if len(steps) < 2 or steps[-1][0] - steps[0][0] < _COVERED * length:
            return f"{name} counts too rarely for a window of {length:.2g} s"
        return (steps[-1][1] - steps[0][1]) / (steps[-1][0] - steps[0][0])


def of(processes: Sequence[tuple[ProcessEnergy | str | None, int]]) -> Energy | str:
    """Return the energy per inference, of what each process measured and how often it inferred; or why it is unknown.

    Each process is one observation, as of times. What one of them could not measure, none is taken to have measured.
    """
    found = []
    for energy, inferences in processes:
        if not isinstance(energy, ProcessEnergy):
            return OLD if energy is None else energy
        if not energy.watts or not inferences or min(energy.watts) <= 0 or energy.joules <= 0:
            return f"{energy.sensor} reported no energy while the network ran"
        found.append((energy, inferences))
    if not found:
        return "no process measured it"
    powers = [watts for energy, _ in found for watts in energy.watts]
    idle = [energy.idle_w for energy, _ in found if energy.idle_w is not None]
    if idle and max(*powers, *idle) - min(*powers, *idle) <= _SAME * max(powers):
        return f"{found[0][0].sensor} reported {powers[0]:.3g} W idle and working: it does not follow the load"
    each = [1000 * energy.joules / inferences for energy, inferences in found]
    mean, interval = intervals.mean_interval(each)
    seconds = sum(sum(energy.seconds) for energy, _ in found)
    watts = sum(energy.joules for energy, _ in found) / seconds
    middle = intervals.median(idle) if idle else None
    return Energy(found[0][0].sensor, mean, interval, watts, middle, tuple(each))


def meter(*, on_card: bool = False, root: Path = Path("/")) -> Meter | str:
    """Return the meter of this machine, or why it has none. `on_card`: an NVIDIA GPU infers."""
    found = sensors.find(root, on_card=on_card)
    return found if isinstance(found, str) else Meter(found)
