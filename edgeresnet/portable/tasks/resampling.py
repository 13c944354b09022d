"""Intervals over images of a mean of ratios, each of which is summed over images first: mIoU, and what is lost of it.

Arrays in, intervals out. Rows are images, columns are classes; the ratio of a class is the sum of its tops over the sum
of its bottoms. Images are left out one by one (the jackknife), which shows how much each of them matters.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ..intervals import Z95, Interval, t_point

_FEW = 10  # images: fewer that differ do not show what a difference can be


def ratio(tops: np.ndarray, bottoms: np.ndarray, absent: float) -> np.ndarray:
    """Return tops over bottoms; `absent` where a bottom is 0."""
    return np.divide(tops, bottoms, out=np.full(np.shape(bottoms), absent), where=np.asarray(bottoms) > 0)


def mean_ratio(tops: np.ndarray, bottoms: np.ndarray) -> float:
    """Return the mean of ratios whose bottom is not 0; nan: there is none."""
    found = int((bottoms > 0).sum())
    return float(ratio(tops, bottoms, 0.0).sum()) / found if found else math.nan


class Ratios:
    """Tops and bottoms of images that have any."""

    def __init__(self, tops: np.ndarray, bottoms: np.ndarray) -> None:
        self.tops, self.bottoms = tops, bottoms

    def of_column(self, number: int) -> Ratios:
        """Return one class by itself."""
        return Ratios(self.tops[:, [number]], self.bottoms[:, [number]])

    def __len__(self) -> int:
        return len(self.tops)


class Drop:
    """The mean ratio before minus that of now, over the classes that occur in either."""

    lowest, highest = -1.0, 1.0

    def __init__(self, before: Ratios, now: Ratios) -> None:
        there = (before.bottoms + now.bottoms).any(axis=1)
        self.sides = [(each.tops[there], each.bottoms[there]) for each in (before, now)]
        self.images = int(there.sum())

    @property
    def value(self) -> float:
        return float(self._of([(tops.sum(0), bottoms.sum(0)) for tops, bottoms in self.sides]))

    def _of(self, sums: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Return the drop from sums of tops and bottoms; the last axis is that of the classes."""
        lost = ratio(*sums[0], 0.0) - ratio(*sums[1], 0.0)
        classes = ((sums[0][1] > 0) | (sums[1][1] > 0)).sum(-1)
        return ratio(lost.sum(-1), classes, math.nan)

    @functools.cached_property
    def without_each(self) -> np.ndarray:
        """What is found without each of the images."""
        return self._of([(tops.sum(0) - tops, bottoms.sum(0) - bottoms) for tops, bottoms in self.sides])

    @functools.cached_property
    def differing(self) -> tuple[int, int]:
        """How many images speak for a lower value, and for a higher one: those that changed at all."""
        (tops, bottoms), (tops_now, bottoms_now) = self.sides
        changed = int(((tops != tops_now) | (bottoms != bottoms_now)).any(axis=1).sum())
        return changed, changed

    def interval(self, z: float = Z95, times: float = 1.0) -> Interval:
        return _interval(self.value, self.without_each, self.differing, (self.lowest, self.highest), z, times)


class Level(Drop):
    """A mean ratio itself: what is lost of it where nothing is left."""

    lowest, highest = 0.0, 1.0

    def __init__(self, now: Ratios) -> None:
        super().__init__(now, Ratios(np.zeros_like(now.tops), now.bottoms))

    @functools.cached_property
    def differing(self) -> tuple[int, int]:
        (tops, bottoms), _ = self.sides
        return int((tops < bottoms).any(axis=1).sum()), int((tops > 0).any(axis=1).sum())


def _interval(
    value: float,
    without_each: np.ndarray,
    differing: tuple[int, int],
    ends: tuple[float, float],
    z: float,
    times: float,
) -> Interval:
    n = len(without_each)
    if n == 0 or math.isnan(value):
        return Interval(*ends)
    kept = without_each[~np.isnan(without_each)]
    if len(kept) < 2:
        return Interval(*ends)
    away = kept - kept.mean()
    variance = (n - 1) / n * float((away**2).sum())
    reach = 0.0
    if variance > 0:
        kurtosis = n * float((away**4).sum()) / float((away**2).sum()) ** 2
        freedom = max(1.0, min(n - 1, 2 * (n - 1) / max(kurtosis - 1, 1e-9))) * times
        reach = t_point(_beyond(z), freedom) * math.sqrt(variance / times)
    low, high = (max(reach, _unseen(n * times, few * times, z)) for few in differing)
    return Interval(max(ends[0], value - low), min(ends[1], value + high))


def _unseen(images: float, differing: float, z: float) -> float:
    """Return how much may be lost, or won, by images of a kind that these did not show, each of them all that it has.

    As many as the score interval of a proportion allows where none was seen. Some images that differ show how large
    differences are: the more of them, the less is left to that.
    """
    return max(0.0, 1 - differing / _FEW) * z**2 / (images + z**2)


def _beyond(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))
