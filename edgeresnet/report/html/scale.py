"""Numbers to places on an axis, and the round numbers that are written along it. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...portable.frozen import dataclass

_LOG_FROM = 4.0  # times: where the largest is that much more than the smallest


@dataclass(frozen=True)
class Scale:
    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return 0 at the low end, 1 at the high one; what lies beyond stays at the end."""
        low, high, value = self._bent(self.low), self._bent(self.high), self._bent(value)
        return min(1.0, max(0.0, (value - low) / (high - low)))

    def back(self, part: float) -> float:
        """Return the number whose place that is: `at`, the other way round."""
        low, high = self._bent(self.low), self._bent(self.high)
        bent = low + part * (high - low)
        return math.exp(bent) if self.log else bent

    def across(self, value: float) -> str:
        """Return the place from left to right, in percent of whatever room there is."""
        return f"{100 * self.at(value):.2f}%"

    def ticks(self, most: int = 5) -> list[float]:
        return _decades(self.low, self.high, most) if self.log else _round(self.low, self.high, most)

    def _bent(self, value: float) -> float:
        return math.log(max(value, 1e-12)) if self.log else value


def around(values: Iterable[float], *, room: float = 0.06, log: bool | None = None) -> Scale:
    """Return a scale with room for all values. Logarithmic where they span much, or where `log` is set."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if (log is None and low > 0 and high > _LOG_FROM * low) or (log and low > 0):
        times = (high / low) ** room if high > low else 1.25
        return Scale(low / times, high * times, log=True)
    more = (high - low) * room or abs(high) * 0.05 or 1.0
    return Scale(low - more, high + more)


def spelled(value: float) -> str:
    """Return a tick's number with as few digits as it needs."""
    return "0" if value == 0 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def _round(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    unit = 10 ** math.floor(math.log10(rough))
    step = unit * next(times for times in (1, 2, 5, 10) if times * unit >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _decades(low: float, high: float, most: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for parts in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [part * 10.0**power for power in powers for part in parts if low <= part * 10.0**power <= high]
        if len(found) <= most:
            break
    return [float(f"{value:.6g}") for value in (found if len(found) > 1 else _round(low, high, most))]
