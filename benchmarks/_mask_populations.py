"""Populations of images with masks, as pixel counts: known truths for intervals of mIoU. Used by `coverage.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edgeresnet.portable.tasks.resampling import Drop, Level, Ratios, mean_ratio, ratio

SIZE = 20_000  # images in a population; samples are drawn with replacement
PIXELS = 10_000  # of an image
RARE = 0.02  # of the images have the rarest class, and the most frequent one is in 0.4 of them
RESAMPLES = 500

# What an image loses and wins between two networks, as parts of its correct and wrong pixels, by class.
Change = Callable[[np.random.Generator, np.ndarray], "tuple[np.ndarray, np.ndarray]"]


class Population(NamedTuple):
    """Intersections and unions of all images, before and now."""

    before: Ratios
    now: Ratios

    def drawn(self, images: np.ndarray) -> Population:
        return Population(*(Ratios(side.tops[images], side.bottoms[images]) for side in self))


class Cell(NamedTuple):
    """How often intervals held the truth, and how wide they were."""

    drop: float
    width: float
    miou: float
    iou: float  # of each class that occurs
    plain: float  # of the drop, by percentiles of a bootstrap
    plain_width: float


def _gamma(shape: float, mean: np.ndarray | float) -> Callable[[np.random.Generator, np.ndarray], np.ndarray]:
    return lambda rng, often: rng.gamma(shape, 1 / shape, (SIZE, len(often))) * mean


def same(rng: np.random.Generator, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels change, and as many are won as lost, but for what other classes lose by that."""
    return _gamma(0.5, 0.006)(rng, often), _gamma(0.5, 0.006)(rng, often)


def small(rng: np.random.Generator, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All classes lose about a hundredth; some images several times as much as others, and some classes."""
    hard = rng.gamma(0.5, 2, (SIZE, 1)) * rng.uniform(0.2, 2, len(often))
    return _gamma(1.0, 0.01)(rng, often) * hard, _gamma(0.5, 0.006)(rng, often)


def rare(rng: np.random.Generator, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rare classes lose 2 to 3 points, the others nearly nothing."""
    return _gamma(1.0, np.where(often < 3 * RARE, 0.03, 0.005))(rng, often), _gamma(0.5, 0.005)(rng, often)


def broken(rng: np.random.Generator, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Three images of a hundred lose up to 60 %, the others nearly nothing: whoever has seen none cannot know it."""
    bad = (rng.random((SIZE, 1)) < 0.03) * rng.uniform(0, 0.6, (SIZE, 1))
    return _gamma(0.5, 0.004)(rng, often) + bad, _gamma(0.5, 0.004)(rng, often)


CHANGES: dict[str, Change] = {each.__name__: each for each in (same, small, rare, broken)}


def population(classes: int, change: Change, rng: np.random.Generator) -> Population:
    """Return images with a background and classes of very different frequency and size; some images are hard."""
    often = np.append(1.0, rng.permutation(np.geomspace(RARE, 0.4, classes - 1)) if classes > 2 else [0.3])
    there = rng.random((SIZE, classes)) < often
    sizes = np.exp(rng.normal(-3, 1, there.shape)) * there
    sizes[:, 0] = 0
    total = sizes.sum(1, keepdims=True)
    labelled = np.floor(PIXELS * sizes * np.minimum(1, 0.8 / np.maximum(total, 1e-9)))
    labelled[:, 0] = PIXELS - labelled.sum(1)
    hard = rng.beta(0.8, 6, (SIZE, 1)) * rng.uniform(0.3, 1.5, classes)
    missed = np.floor(labelled * np.clip(hard * _gamma(1.5, 1.0)(rng, often), 0, 1))
    wrong = np.exp(rng.normal(math.log(60), 1.2, there.shape)) * (rng.random(there.shape) < np.where(there, 0.7, 0.03))
    wrong = np.floor(np.minimum(wrong, 0.5 / classes * labelled[:, :1]))
    lost, won = (np.clip(each, 0, 1) for each in change(rng, often))
    now = missed + np.round((labelled - missed) * lost) - np.round(missed * won)
    wrong_now = np.maximum(wrong + np.round(wrong * rng.normal(0, 0.1, there.shape)), 0)
    return Population(_ratios(labelled, missed, wrong), _ratios(labelled, now, wrong_now))


def _ratios(labelled: np.ndarray, missed: np.ndarray, wrong: np.ndarray) -> Ratios:
    """Return overlaps: what a class misses is answered as background, and what it has wrongly was background."""
    both, answered = labelled - missed, labelled - missed + wrong
    both[:, 0] = labelled[:, 0] - wrong[:, 1:].sum(1)
    answered[:, 0] = both[:, 0] + missed[:, 1:].sum(1)
    return Ratios(both, answered + labelled - both)


def cell(
    classes: int, images: int, change: Change, draws: int, populations: int, z: float, *, plain: bool = True
) -> Cell:
    """Return how often intervals of samples hold the truth: that of the classes which a sample shows."""
    rng = np.random.default_rng([classes, images, list(CHANGES.values()).index(change)])
    found = []
    for _ in range(populations):
        everyone = population(classes, change, rng)
        for _ in range(draws // populations):
            sample = everyone.drawn(rng.integers(0, SIZE, images))
            found.append(_covered(everyone, sample, z, rng if plain else None))
    return Cell(*np.mean(found, axis=0))


def _covered(everyone: Population, sample: Population, z: float, rng: np.random.Generator | None) -> Sequence[float]:
    seen = np.flatnonzero((sample.before.bottoms + sample.now.bottoms).any(axis=0))
    before, now = (Ratios(*(values[seen] for values in side.sums())) for side in everyone)
    true = mean_ratio(*before) - mean_ratio(*now)
    drop, level = Drop(*sample).interval(z), Level(sample.now).interval(z)
    each = [Level(sample.now.of_column(number)).interval(z) for number in seen.tolist()]
    ious = [low <= value <= high for (low, high), value in zip(each, ratio(*now, 0.0), strict=True)]
    low, high = _percentiles(sample, z, rng) if rng else (math.nan, math.nan)
    return (
        drop.low <= true <= drop.high,
        drop.high - drop.low,
        level.low <= mean_ratio(*now) <= level.high,
        float(np.mean(ious)),
        low <= true <= high,
        high - low,
    )


def _percentiles(sample: Population, z: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return the interval that is plain: percentiles of the drop over resampled images."""
    images = len(sample.now.tops)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(float)
    before, now = (Ratios(weights @ side.tops, weights @ side.bottoms) for side in sample)
    classes = ((before.bottoms > 0) | (now.bottoms > 0)).sum(1)
    drops = (ratio(*before, 0.0) - ratio(*now, 0.0)).sum(1) / classes
    beyond = math.erfc(z / math.sqrt(2)) / 2
    low, high = np.quantile(drops, [beyond, 1 - beyond])
    return float(low), float(high)
