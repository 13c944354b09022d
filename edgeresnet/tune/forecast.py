"""What the verdict on the evaluation images will be, forecast on calibration images: their labels are not known.

The FP32 network's probabilities stand for the labels: where INT8's top class is another one, the accuracy lost is the
difference of both classes' probabilities. Each image gets the errors of some others too: a few images have few that
flip. The interval is that of as many images as will be evaluated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..portable import intervals
from ..portable.judging import ROUNDS
from ..portable.probabilities import softmax
from ..quantization.answers import Unit
from . import boxes

_QUANTILES = 128  # of the changes of a probability: they stand for those of all images
_RARE = 1e-4  # part of the pixels: a class with fewer occurs nowhere
_EXCHANGED = 16  # images whose errors each image gets, its own among them
_MARGINS = tuple(1.5**number for number in range(ROUNDS))  # times as many changes as were seen, in each round


@dataclass(frozen=True)
class Goals:
    """The promises that can be forecast without labels, and how many images will be evaluated."""

    max_drop_pp: float | None
    max_flips_pct: float | None
    max_confidence_change: float | None
    images: int
    round: int = 1  # of verdicts
    networks: int = 1  # that are judged at once
    wider: int = 0  # margins, than that of the round

    @property
    def margin(self) -> float:
        """Return how many times as many changes are expected as are seen."""
        return _MARGINS[self.round - 1 + self.wider]

    @property
    def z(self) -> float:
        """Return how wide the verdict's interval will be."""
        return intervals.z_for(self.networks * (1 if self.round == 1 else ROUNDS - 1))

    def with_wider(self) -> list[Goals]:
        """Return the same goals with each wider margin, the widest first."""
        return [replace(self, wider=number) for number in range(ROUNDS - self.round, 0, -1)]


@dataclass(frozen=True)
class Seen:
    """How answers to calibration images differ from the FP32 network's. Depends on no promise."""

    flips: float  # the part of images whose top class changes
    drop: float  # the probability that this costs on average
    change: float  # of the top class's probability, on average
    changes: tuple[float, ...]  # quantiles of it


@dataclass(frozen=True)
class Forecast:
    """What is expected on the evaluation images. `excess` is how far the worst goal is: at most 1 is kept."""

    flips_pct: float
    drop_pp: float
    confidence_change: float
    excess: float

    @property
    def kept(self) -> bool:
        return self.excess <= 1


def look(exact: np.ndarray, given: np.ndarray, unit: Unit = "image") -> Seen:
    """Compare a network's logits with the FP32 network's, on the same images.

    Where rows are pixels, the drop is that of the mIoU; where they are anchors, that of the mAP.
    """
    if unit == "anchor":
        found = boxes.compared(exact, given)
        return Seen(found.flips, found.drop, float(found.change.mean()), _quantiles(found.change))
    before, after = softmax(exact), softmax(given)
    rows, top = np.arange(len(before)), exact.argmax(1)
    changes = [_changed(before, exact + np.roll(given - exact, k, axis=0)) for k in range(min(_EXCHANGED, len(rows)))]
    flips, drop = (float(each) for each in np.mean(changes, axis=0))
    if unit == "pixel":
        drop = _expected_miou(before, top) - _expected_miou(before, given.argmax(1))
    change = np.abs(before[rows, top] - after[rows, top])
    return Seen(flips, drop, float(change.mean()), _quantiles(change))


def expect(seen: Seen, goals: Goals) -> Forecast:
    """Return what the verdict of a network will be."""
    parts = [
        _part(goals.max_drop_pp, 100 * _drop_end(seen, goals), 100 * intervals.finest_drop(goals.images)),
        _part(goals.max_flips_pct, 100 * _flips_end(seen, goals), 100 * intervals.wilson(0, goals.images).high),
        _part(goals.max_confidence_change, _change_end(seen, goals), intervals.finest_mean(goals.images, goals.z)),
    ]
    return Forecast(100 * seen.flips, 100 * seen.drop, seen.change, max(parts))


def _quantiles(change: np.ndarray) -> tuple[float, ...]:
    return tuple(np.quantile(change, (np.arange(_QUANTILES) + 0.5) / _QUANTILES).tolist())


def _changed(before: np.ndarray, given: np.ndarray) -> tuple[float, float]:
    """Return the part of images whose top class changes, and the probability that this costs on average."""
    rows, top, new = np.arange(len(before)), before.argmax(1), given.argmax(1)
    return float((top != new).mean()), float((before[rows, top] - before[rows, new]).mean())


def _expected_miou(probable: np.ndarray, answers: np.ndarray) -> float:
    """Return the mIoU that answers have if the FP32 network's probabilities are those of the labels."""
    classes, rows = probable.shape[1], np.arange(len(answers))
    both = np.bincount(answers, probable[rows, answers], classes)
    union = np.bincount(answers, minlength=classes) + probable.sum(0) - both
    occurs = union > _RARE * len(answers)
    return float((both[occurs] / union[occurs]).mean()) if occurs.any() else 1.0


def _drop_end(seen: Seen, goals: Goals) -> float:
    """Return the upper end of the drop's interval."""
    flips, drop = min(1.0, goals.margin * seen.flips), min(1.0, goals.margin * seen.drop)
    lost, won = (max(0.0, goals.images * part / 2) for part in (flips + drop, flips - drop))
    return intervals.tango(lost, won, goals.images, goals.z).high


def _flips_end(seen: Seen, goals: Goals) -> float:
    return intervals.wilson(goals.images * min(1.0, goals.margin * seen.flips), goals.images, goals.z).high


def _change_end(seen: Seen, goals: Goals) -> float:
    values = np.resize(np.minimum(goals.margin * np.array(seen.changes), 1.0), max(goals.images, 1))
    return intervals.unit_mean(values, goals.z).high


def _part(limit: float | None, end: float, finest: float) -> float:
    """Return the part of a limit that is used up. A limit finer than the images can show counts as what they can."""
    if limit is None:
        return 0.0
    reachable = max(limit, finest)
    return end / reachable if reachable > 0 else (math.inf if end > 0 else 0.0)
