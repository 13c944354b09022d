"""Populations of images with boxes, as matches: known truths for intervals of mAP. Used by `coverage.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edgeresnet.portable.tasks.average_precision import THRESHOLDS, Matches, average_precision
from edgeresnet.portable.tasks.precision_spread import Measure, PrecisionDrop, PrecisionLevel

SIZE = 20_000  # images in a population; samples are drawn with replacement
RARE = 0.02  # of the images have the rarest class, and the most frequent one is in 0.4 of them
RESAMPLES = 300


class Answers(NamedTuple):
    """What one network found: for each box its image, class, score and IoU with its object (0: there is none)."""

    image: np.ndarray
    number: np.ndarray
    score: np.ndarray
    iou: np.ndarray


# What becomes of boxes between two networks: logits of their scores and IoUs, changed in place.
Change = Callable[[np.random.Generator, "Answers", np.ndarray], "tuple[np.ndarray, np.ndarray]"]


def same(rng: np.random.Generator, boxes: Answers, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and IoUs change, and nothing is lost but for what chance costs: the networks are equally good."""
    return _moved(rng, boxes, 0.0, 0.0)


def small(rng: np.random.Generator, boxes: Answers, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All classes lose a few points; some images several times as much as others, and some classes."""
    hard = rng.gamma(0.5, 2, SIZE)[boxes.image] * rng.uniform(0.2, 2, len(often))[boxes.number]
    return _moved(rng, boxes, 0.15 * hard, 0.008 * hard)


def rare(rng: np.random.Generator, boxes: Answers, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rare classes lose several points, the others nearly nothing."""
    lost = (often < 3 * RARE)[boxes.number] * 1.0
    return _moved(rng, boxes, 0.8 * lost, 0.04 * lost)


def broken(rng: np.random.Generator, boxes: Answers, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Three images of a hundred lose most of their boxes, the others nothing: who has seen none cannot know it."""
    bad = (rng.random(SIZE) < 0.03)[boxes.image]
    gone = bad & (rng.random(len(bad)) < 0.6)
    logits, iou = _moved(rng, boxes, 0.0, 0.0)
    return np.where(gone, -12.0, logits), np.where(gone, 0.0, iou)


def alike(rng: np.random.Generator, boxes: Answers, often: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores differ by a little, as by another runtime: no loss at all."""
    logits = np.log(boxes.score / (1 - boxes.score))
    return logits + rng.normal(0, 0.02, len(logits)), boxes.iou


CHANGES: dict[str, Change] = {each.__name__: each for each in (same, small, rare, broken, alike)}


class Population(NamedTuple):
    """Objects of all images (rows) and classes, and the boxes that two networks found."""

    objects: np.ndarray
    before: Answers
    now: Answers

    def drawn(self, images: np.ndarray) -> tuple[list[Matches], list[Matches]]:
        """Return the matches of some images, by class; an image may be drawn several times."""
        before, now = (_drawn(each, images, self.objects) for each in (self.before, self.now))
        return before, now


class Cell(NamedTuple):
    """How often intervals held the truth, and how wide they were."""

    drop: float
    width: float
    map: float
    of_class: float  # of each class that occurs: what it lost, and what it has
    plain: float  # of the drop, by percentiles of a bootstrap
    plain_width: float


def population(classes: int, change: Change, rng: np.random.Generator) -> Population:
    """Return images with classes of very different frequency; some images are hard, and some classes."""
    often = rng.permutation(np.geomspace(RARE, 0.4, classes)) if classes > 1 else np.array([0.4])
    many = 1 + rng.geometric(0.5, (SIZE, classes)) * (rng.random((SIZE, 1)) < 0.4)
    objects = np.where(rng.random((SIZE, classes)) < often, many, 0)
    quality = rng.normal(rng.choice([0.5, 3.0]), 0.7, classes)  # a hard task, or an easy one
    hard = rng.gamma(1, 1, SIZE)
    image, number = _places(objects)
    good = quality[number] - hard[image] + rng.normal(0, 1, len(image))
    iou = 0.95 * _score(0.9 + 0.5 * good + rng.normal(0, 0.5, len(good)))
    logits = good - 0.5 + rng.normal(0, 1, len(good))
    there = rng.random(len(good)) < _score(2.0 + good)
    wrong = _places(rng.poisson((0.1 + 0.5 * (objects > 0)) * (0.5 + hard[:, None])))  # boxes that are not objects
    nothing = np.zeros(len(wrong[0]))
    parts = [image[there], wrong[0]], [number[there], wrong[1]], [logits[there], nothing], [iou[there], nothing]
    image, number, logits, iou = map(np.concatenate, parts)
    logits[len(logits) - len(nothing) :] = rng.normal(-1.5, 1, len(nothing))
    before = Answers(image, number, _score(logits), iou)
    logits, iou = change(rng, before, often)
    return Population(objects, before, before._replace(score=_score(logits), iou=iou))


def cell(classes: int, images: int, change: Change, draws: int, populations: int, z: float, every: int = 4) -> Cell:
    """Return how often intervals of samples hold the truth: that of the classes which a sample shows.

    The plain interval takes long, so it is of one in `every` samples; 0: of none.
    """
    rng = np.random.default_rng([classes, images, list(CHANGES.values()).index(change)])
    found = []
    for _ in range(populations):
        everyone = population(classes, change, rng)
        truth = [average_precision(each).of_classes for each in everyone.drawn(np.arange(SIZE))]
        for draw in range(draws // populations):
            sample = everyone.drawn(rng.integers(0, SIZE, images))
            found.append(_covered(truth, sample, z, rng if every and draw % every == 0 else None))
    columns = [column[~np.isnan(column)] for column in np.array(found).T]
    return Cell(*(float(column.mean()) if len(column) else math.nan for column in columns))


def _covered(
    truth: Sequence[np.ndarray],
    sample: tuple[list[Matches], list[Matches]],
    z: float,
    rng: np.random.Generator | None,
) -> Sequence[float]:
    images = len(sample[0][0].objects)
    seen = [number for number, each in enumerate(sample[0]) if each.objects.any()]
    before, now = ([side[number] for number in seen] for side in sample)
    values = [average_precision(side) for side in (before, now)]
    one, other = (Measure(each.mean, images, side) for each, side in zip(values, (before, now), strict=True))
    true = [float(side[seen].mean()) for side in truth]
    drop, level = PrecisionDrop(one, other).interval(z), PrecisionLevel(other).interval(z)
    each = []
    for place, number in enumerate(seen):
        pair = [
            Measure(side.of_classes[place], images, [of[place]]) for side, of in zip(values, (before, now), strict=True)
        ]
        wanted = [side[number] for side in truth]
        lost, left = PrecisionDrop(*pair).interval(z), PrecisionLevel(pair[1]).interval(z)
        each += [lost.low <= wanted[0] - wanted[1] <= lost.high, left.low <= wanted[1] <= left.high]
    low, high = _percentiles(before, now, z, rng) if rng else (math.nan, math.nan)
    return (
        drop.low <= true[0] - true[1] <= drop.high,
        drop.high - drop.low,
        level.low <= true[1] <= level.high,
        float(np.mean(each)),
        low <= true[0] - true[1] <= high if rng else math.nan,
        high - low,
    )


def _percentiles(
    before: Sequence[Matches], now: Sequence[Matches], z: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the interval that is plain: percentiles of the drop over resampled images."""
    images = len(now[0].objects)
    weights = rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(float)
    pairs = zip(before, now, strict=True)
    drops = np.array([_weighted(one, weights) - _weighted(other, weights) for one, other in pairs])
    there = ~np.isnan(drops)  # a class may be in no image of a sample
    some = there.any(axis=0)
    means = np.where(there, drops, 0.0).sum(axis=0)[some] / there.sum(axis=0)[some]
    beyond = math.erfc(z / math.sqrt(2)) / 2
    low, high = np.quantile(means, [beyond, 1 - beyond])
    return float(low), float(high)


def _weighted(found: Matches, weights: np.ndarray) -> np.ndarray:
    """Return the average precision of resampled images: how often each one was drawn is a row of the weights."""
    each, total = weights[:, found.image], weights @ found.objects
    boxes, sums = np.maximum(np.cumsum(each, axis=1), 1), np.zeros(len(weights))
    for correct in found.correct:
        places = np.flatnonzero(correct)
        if len(places):
            precision = np.cumsum(each[:, places], axis=1) / boxes[:, places]
            best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            sums += (best * each[:, places]).sum(axis=1)
    return np.divide(sums / len(found.correct), total, out=np.full(len(weights), np.nan), where=total > 0)


def _drawn(answers: Answers, images: np.ndarray, objects: np.ndarray) -> list[Matches]:
    order = np.argsort(answers.image, kind="stable")
    first, end = (np.searchsorted(answers.image[order], images, side) for side in ("left", "right"))
    image = np.repeat(np.arange(len(images)), end - first)
    rows = order[np.arange(len(image)) - np.repeat(np.cumsum(end - first) - end, end - first)]
    best = np.argsort(-answers.score[rows], kind="stable")
    image, rows = image[best], rows[best]
    found = []
    for number in range(objects.shape[1]):
        part = answers.number[rows] == number
        correct = answers.iou[rows][part] >= THRESHOLDS[:, None]
        scores = answers.score[rows][part]
        found.append(Matches(image[part], scores, correct, np.zeros_like(correct), objects[images, number]))
    return found


def _places(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return images and classes, each as often as the counts say."""
    image, number = (np.repeat(each.ravel(), counts.ravel()) for each in np.indices(counts.shape))
    return image, number


def _score(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def _moved(
    rng: np.random.Generator, boxes: Answers, less: np.ndarray | float, worse: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and IoUs with noise, those of objects lower by `less` and `worse`."""
    object_ = boxes.iou > 0
    logits = np.log(boxes.score / (1 - boxes.score)) + rng.normal(0, 0.3, len(object_)) - object_ * less
    iou = boxes.iou + object_ * (rng.normal(0, 0.03, len(object_)) - worse)
    return logits, np.where(object_, np.clip(iou, 0.01, 1), 0.0)
