"""How often a tensor takes which values, in bounded memory, whatever the order of the images.

A bin is a power of two wide and starts at a multiple of its width. A value beyond the last bin doubles the width, and
pairs of bins become one: exactly what counting with the wider bins from the start would have given. So the result
depends on the values alone, and two histograms add up exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SIDE = 4096  # bins on each side of zero: the largest value lies in the outer half, so INT8 has 8 to 32 of them a step
_NARROWEST = -120  # exponent of the narrowest bin: all zero stays in it


@dataclass(frozen=True)
class StoredHistogram:
    """A histogram in JSON: its counts without the empty bins at either end."""

    exponent: int
    first: int
    counts: tuple[int, ...]


@dataclass
class Histogram:
    """How often each bin was hit: `SIDE` bins below zero, and `SIDE` from zero on."""

    exponent: int = _NARROWEST
    counts: np.ndarray = field(default_factory=lambda: np.zeros(2 * SIDE, np.int64))

    def add(self, values: np.ndarray) -> None:
        """Count finite values, of any shape."""
        if not values.size:
            return
        self._widen(_exponent(float(values.max()), float(values.min())))
        # A power of two changes no digit. But where it makes values smaller, the smallest negative ones would become 0
        # in 32 bits, and change sides.
        precise = np.float32 if self.exponent <= 0 else np.float64
        bins = np.multiply(values.ravel(), precise(2.0**-self.exponent), dtype=precise)
        np.floor(bins, out=bins)
        bins += SIDE
        self.counts += np.bincount(bins.astype(np.intp), minlength=2 * SIDE)

    def plus(self, other: Histogram) -> Histogram:
        """Return the histogram of both together."""
        one, two = (Histogram(h.exponent, h.counts.copy()) for h in (self, other))
        one._widen(two.exponent)
        two._widen(one.exponent)
        return Histogram(one.exponent, one.counts + two.counts)

    def __len__(self) -> int:
        return int(self.counts.sum())

    @property
    def centres(self) -> np.ndarray:
        return (np.arange(-SIDE, SIDE) + 0.5) * 2.0**self.exponent

    def stored(self) -> StoredHistogram:
        """Return what is written to a file."""
        there = np.flatnonzero(self.counts)
        first, last = (int(there[0]), int(there[-1]) + 1) if len(there) else (0, 0)
        return StoredHistogram(self.exponent, first, tuple(self.counts[first:last].tolist()))

    @staticmethod
    def restored(stored: StoredHistogram) -> Histogram:
        """Return the histogram that was written to a file."""
        found = Histogram(stored.exponent)
        found.counts[stored.first : stored.first + len(stored.counts)] = stored.counts
        return found

    def _widen(self, exponent: int) -> None:
        while self.exponent < exponent:
            if not self.counts.any():
                self.exponent = exponent
                return
            pairs = self.counts.reshape(SIDE, 2).sum(1)
            self.counts = np.zeros_like(self.counts)
            self.counts[SIDE // 2 : SIDE // 2 + SIDE] = pairs
            self.exponent += 1


def _exponent(highest: float, lowest: float) -> int:
    """Return the least e with highest < SIDE·2^e and lowest ≥ −SIDE·2^e: the narrowest bins that hold both."""
    found = _NARROWEST
    for value, is_lowest in ((highest, False), (-lowest, True)):
        if value > 0:
            _, power = np.frexp(value)  # value < 2^power
            needed = int(power) - SIDE.bit_length() + 1
            if is_lowest and value == 2.0 ** (int(power) - 1):
                needed -= 1  # exactly the lower edge belongs to the last bin
            found = max(found, needed)
    return found
