"""Intervals over images of a mean of ratios, each of which is summed over images first: mIoU, and what is lost of it.

Arrays in, intervals out. Rows are images, columns are classes; the ratio of a class is the sum of its tops over the sum
of its bottoms. Each image is left out once (the jackknife): that shows how much it matters.

Most images lose little, a few lose much, and a class may be in few images. There a bootstrap holds the truth too
rarely: percentiles, BCa and the studentized one were measured, and `benchmarks/coverage.py --masks` shows the first.
So an interval has two parts. One is Student's t by how images differ: if few of them matter, it has few degrees of
freedom. The other is half an image unlike all of these, which loses several times as much as any of them.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from ..intervals import Z95, Interval, t_point

_FEW = 10  # images: fewer that differ do not show what a difference can be
LEAST = 0.2  # of all there is to lose: so much may be lost by an image like none of these, however little others lose


def ratio(tops: np.ndarray, bottoms: np.ndarray, absent: float) -> np.ndarray:
    """Return tops over bottoms; `absent` where a bottom is 0."""
    return np.divide(tops, bottoms, out=np.full(np.shape(bottoms), absent), where=np.asarray(bottoms) > 0)


def mean_ratio(tops: np.ndarray, bottoms: np.ndarray) -> float:
    """Return the mean of ratios whose bottom is not 0; nan: there is none."""
    found = int((bottoms > 0).sum())
    return float(ratio(tops, bottoms, 0.0).sum()) / found if found else math.nan


def finest(images: int, z: float = Z95) -> float:
    """Return the least that this number of images can rule out to be lost, whatever comes out."""
    return 1.0 if images < 2 else min(1.0, _unseen(images, images, 0.0, z))


class Ratios(NamedTuple):
    """Tops and bottoms, image by image (rows) and class by class (columns)."""

    tops: np.ndarray
    bottoms: np.ndarray

    def of_column(self, number: int) -> Ratios:
        """Return those of one class."""
        return Ratios(self.tops[:, [number]], self.bottoms[:, [number]])

    def sums(self) -> Ratios:
        """Return the sums over images."""
        return Ratios(self.tops.sum(0), self.bottoms.sum(0))

    def without_each(self) -> Ratios:
        """Return the sums over all images but one, for each of them."""
        sums = self.sums()
        return Ratios(sums.tops - self.tops, sums.bottoms - self.bottoms)


class Spread(NamedTuple):
    """How much single images matter to a mean of ratios."""

    error: float  # the standard error
    freedom: float  # degrees of it
    largest: float  # how far the image is from the others that matters most


class Estimate:
    """A number between two ends that was measured on some images, and how much each of these matters to it."""

    ends: Interval
    images: int
    value: float
    further = 3.0  # times the most that an image is away: so far may be one like none of these
    bias = 0.0  # by which the value is too high, at most

    @property
    def spread(self) -> Spread:
        """How much single images matter."""
        raise NotImplementedError

    @property
    def differing(self) -> Interval:
        """How many images show how much lower the value may be, and how much higher."""
        raise NotImplementedError

    def interval(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the value; `times` as many images like these give its multiple."""
        if self.images < 2:
            return self.ends
        error, freedom, _ = self.spread
        known = t_point(math.erfc(z / math.sqrt(2)) / 2, freedom * times) * error / math.sqrt(times)
        low, high = (math.hypot(known, self.unseen(few, z, times)) for few in self.differing)
        low += self.bias / math.sqrt(times)
        return Interval(max(self.ends.low, self.value - low), min(self.ends.high, self.value + high))

    def unseen(self, differing: float, z: float, times: float) -> float:
        """Return how much images of a kind that is not among these may lose, or win."""
        return _unseen(self.images * times, differing * times, self.further * self.spread.largest, z)


def spread_of(without: np.ndarray, images: int | None = None) -> Spread:
    """Return how much single images matter, from what a number is without each of them. Of these, `images` count."""
    count, away = images or len(without), without - without.mean()
    squares = float((away**2).sum())
    if squares == 0:
        return Spread(0.0, count - 1, 0.0)
    excess = max(count * float((away**4).sum()) / squares**2 - 1, 1e-9)  # kurtosis: how few images matter
    freedom = max(1.0, min(1.0, 2 / excess) * (count - 1))
    return Spread(math.sqrt((count - 1) / count * squares), freedom, (count - 1) * float(np.abs(away).max()))


class Drop(Estimate):
    """The mean ratio before minus that of now, over the classes that occur in either."""

    ends = Interval(-1.0, 1.0)

    def __init__(self, before: Ratios, now: Ratios) -> None:
        there = (before.bottoms + now.bottoms).any(axis=1)
        self.before, self.now = (Ratios(each.tops[there], each.bottoms[there]) for each in (before, now))
        self.images = int(there.sum())
        self.value = float(_lost(self.before.sums(), self.now.sums()))  # nan: no image has anything to count

    @functools.cached_property
    def spread(self) -> Spread:
        """How much single images matter. A class of one image is compared with the other classes."""
        return spread_of(_lost(self.before.without_each(), self.now.without_each()))

    @functools.cached_property
    def differing(self) -> Interval:
        """How many images show how much lower the value may be, and how much higher: those that changed at all."""
        changed = float(np.any([one != other for one, other in zip(self.before, self.now, strict=True)], (0, 2)).sum())
        return Interval(changed, changed)


class Level(Drop):
    """A mean ratio by itself: what would be lost of it if nothing were left."""

    ends = Interval(0.0, 1.0)

    def __init__(self, now: Ratios) -> None:
        super().__init__(now, Ratios(np.zeros_like(now.tops), now.bottoms))

    @functools.cached_property
    def differing(self) -> Interval:
        """How many images have less than all, and how many have more than nothing."""
        tops, bottoms = self.before
        return Interval(float((tops < bottoms).any(axis=1).sum()), float((tops > 0).any(axis=1).sum()))


def _lost(before: Ratios, now: Ratios) -> np.ndarray:
    """Return the drop from sums over images; the last axis is that of the classes."""
    lost = ratio(*before, 0.0) - ratio(*now, 0.0)
    return ratio(lost.sum(-1), ((before.bottoms > 0) | (now.bottoms > 0)).sum(-1), math.nan)


def _unseen(images: float, differing: float, furthest: float, z: float) -> float:
    """Return how much may be lost, or won, by images of a kind that is not among these, each of which loses so much.

    Half an image of that kind counts as seen (Jeffreys). Where few images differ at all, such images may lose all they
    have, and be as many as the score interval of a proportion allows where none was seen.
    """
    half = z**2 / 2 / images * max(furthest, LEAST)
    return max(half, (1 - differing / _FEW) * z**2 / (images + z**2))
