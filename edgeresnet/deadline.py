"""The time that is left, and how many more steps fit into it, by how long the last steps took."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_RECENT = 6  # steps whose mean says how long the next ones take: machines slow down, and become fast again


class OutOfTime(Exception):
    """Another step does not fit into the time."""


class Deadline:
    """A moment by which all work has ended, checks and what follows them included."""

    def __init__(self, seconds: float):
        self._began = self._last = time.monotonic()
        self._seconds = seconds
        self._took: deque[float] = deque(maxlen=_RECENT)
        self._least = math.inf  # of the mean of recent steps

    @property
    def elapsed(self) -> float:
        """The seconds since the beginning."""
        return time.monotonic() - self._began

    @property
    def left(self) -> float:
        """The seconds that are left: less than zero where work took longer."""
        return self._seconds - self.elapsed

    def part(self, share: float, reserved: float = 0.0) -> Deadline:
        """Return a deadline after this share of what is left without the `reserved` seconds."""
        return Deadline(max(0.0, share * (self.left - reserved)))

    def start(self) -> None:
        """Begin a step; leave out what happened since the last one."""
        self._last = time.monotonic()

    def took(self) -> float:
        """End a step, and return its seconds."""
        now = time.monotonic()
        found, self._last = now - self._last, now
        self._took.append(found)
        self._least = min(self._least, self._mean)
        return found

    def take(self, step: Callable[[], T]) -> T:
        """Take a step and return what it gives, or raise OutOfTime where it does not fit."""
        if self.fits() == 0:
            raise OutOfTime
        self.start()
        found = step()
        self.took()
        return found

    @property
    def slower(self) -> float:
        """How many times as long as before a step takes now: at least 1."""
        return self._mean / self._least if 0 < self._least < math.inf else 1.0

    @property
    def _mean(self) -> float:
        return sum(self._took) / len(self._took)

    def fits(self, reserved: float = 0.0) -> int | None:
        """Return how many more steps fit before the end, if `reserved` seconds go to other work; None: not known yet.

        A last step that was far slower than those before it may be the first of many: it must fit once more.
        """
        left = self.left - reserved
        if left <= 0:
            return 0
        if not self._took or not self._mean:
            return None
        return int(left / self._mean) if self._took[-1] <= left else 0
