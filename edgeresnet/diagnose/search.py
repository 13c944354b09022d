"""The search: alternatives evaluated on the same images, and the few of them that may be the best.

The best of many was also lucky: nothing that is chosen here counts before other images have confirmed it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import ImagesError
from ..images import Samples
from ..portable import inference, intervals, manifest
from ..portable.evaluation import as_failure
from ..portable.preprocessing import Preprocessing
from ..portable.session import Session
from . import class_order
from .alternatives import Alternative, Axes

Progress = Callable[[str], None]

_LIKELY = 4  # means at most, of those that may be the best, are tried with every crop
_FINALISTS = 3  # each look at the other images widens the interval of what they confirm
_FEW = inference.BATCH  # images that show what is hopeless
_HOPELESS = 3.0  # standard errors behind the best, on these few
_CACHE_BYTES = 1 << 28  # of decoded images, for as many geometries as that is enough for


@dataclass(frozen=True)
class Attempt:
    """One alternative's answers to every image, or to a few where these were hopeless.

    `predicted` is -1 for images that were not evaluated, and these are not correct either. `correct_reordered` are the
    answers that are correct in the order of classes that the answers show.
    """

    alternative: Alternative
    preprocessing: Preprocessing
    predicted: np.ndarray
    correct: np.ndarray
    correct_reordered: np.ndarray

    @property
    def evaluated(self) -> np.ndarray:
        return self.predicted >= 0

    @property
    def score(self) -> np.ndarray:
        """The correct answers in the one order or in the other, whichever are more."""
        return max(self.correct, self.correct_reordered, key=np.sum)


@dataclass(frozen=True)
class SearchResult:
    """What the search found."""

    attempts: tuple[Attempt, ...]  # in the order in which they were tried; the first is what was given
    finalists: tuple[Attempt, ...]  # that these images do not tell apart, the simplest first
    reordered: bool  # they are the best in another order of the classes

    def correct(self, attempt: Attempt) -> np.ndarray:
        """Return which answers are correct, in the order of classes that was found."""
        return attempt.correct_reordered if self.reordered else attempt.correct


class Evaluator:
    """A network and some labelled images: what it answers to them under each alternative."""

    def __init__(self, session: Session, samples: Samples, given: Preprocessing):
        self._session, self._given = session, given
        self._samples = replace(samples, store=None)  # a few images, each decoded a few times: not worth storing
        self._decoded: dict[str, tuple[np.ndarray, str]] = {}
        self._attempts: dict[tuple[object, ...], Attempt] = {}
        self.labels = samples.labels
        self.classes = len(samples.classes)

    def __len__(self) -> int:
        return len(self.labels)

    def evaluate(self, alternative: Alternative, best: Attempt | None = None) -> Attempt:
        """Return the answers under one alternative.

        Alternatives that give the same pixels are evaluated once. Where a few images show that the `best` so far is
        better beyond doubt, the others are not evaluated.
        """
        preprocessing = alternative.applied_to(self._given)
        pixels, content = self._pixels(preprocessing)
        key = content, preprocessing.mean, preprocessing.std, preprocessing.order
        attempt = self._attempts.get(key) or self._unevaluated(alternative, preprocessing)
        if best is not None and len(self) > 2 * _FEW and not attempt.evaluated.any():
            attempt = self._evaluated(attempt, pixels, np.linspace(0, len(self) - 1, _FEW).round().astype(np.int64))
        if best is None or not _is_hopeless(attempt, best):
            attempt = self._evaluated(attempt, pixels, np.flatnonzero(~attempt.evaluated))
        self._attempts[key] = attempt
        return attempt

    def _unevaluated(self, alternative: Alternative, preprocessing: Preprocessing) -> Attempt:
        none = np.zeros(len(self), bool)
        return Attempt(alternative, preprocessing, np.full(len(self), -1), none, none)

    def _evaluated(self, attempt: Attempt, pixels: np.ndarray, places: np.ndarray) -> Attempt:
        """Return the attempt with answers to these images, too."""
        predicted, reordered = attempt.predicted.copy(), np.zeros(len(self), bool)
        for start in range(0, len(places), inference.BATCH):
            part = places[start : start + inference.BATCH]
            batch = attempt.preprocessing.normalize(pixels[part])
            with as_failure(lambda: int(part[0])):  # noqa: B023  # called before the next part
                predicted[part] = inference.infer(self._session, batch, first=int(part[0])).argmax(1)
        known = predicted >= 0
        reordered[known] = class_order.correct_when_matched(self.labels[known], predicted[known], self.classes)
        return replace(attempt, predicted=predicted, correct=predicted == self.labels, correct_reordered=reordered)

    def _pixels(self, preprocessing: Preprocessing) -> tuple[np.ndarray, str]:
        geometry = manifest.digest_of(preprocessing.geometry)
        if geometry not in self._decoded:
            found = list(replace(self._samples, preprocessing=preprocessing).batches(inference.BATCH))
            if not found:
                raise ImagesError("none of these images", "can be decoded", hint="check the image files")
            pixels = np.concatenate([batch.pixels for batch in found])
            self.labels = np.concatenate([batch.labels for batch in found])
            while self._decoded and pixels.nbytes * (len(self._decoded) + 1) > _CACHE_BYTES:
                self._decoded.pop(next(iter(self._decoded)))
            self._decoded[geometry] = pixels, hashlib.sha256(pixels.data).hexdigest()
        return self._decoded[geometry]


def search_alternatives(images: Evaluator, axes: Axes, progress: Progress) -> SearchResult:
    """Try one change at a time, then several together: a wrong mean hides what a crop does, and vice versa."""
    start = Alternative(colours=axes.colours[0])
    attempts: dict[str, Attempt] = {}

    def attempt_all(words: str, alternatives: Iterable[Alternative]) -> None:
        alternatives = list(alternatives)
        progress(f"{words}: {len(alternatives)} alternatives on {len(images)} images")
        for alternative in alternatives:
            best = max(attempts.values(), key=lambda attempt: int(attempt.correct.sum()), default=None)
            attempt = images.evaluate(alternative, best)
            attempts.setdefault(attempt.alternative.name, attempt)

    attempt_all("mean, std and order of channels", (start._replace(colours=one) for one in axes.colours))
    ranked = sorted(attempts.values(), key=lambda attempt: -int(attempt.score.sum()))
    level = [each for each in ranked if not is_better(ranked[0].score, each.score, intervals.Z95)]
    likely = [each.alternative for each in level if each.alternative != start][:_LIKELY]
    attempt_all("crop", (start._replace(crop=crop) for crop in axes.crops[1:]))
    attempt_all("interpolation", (start._replace(interpolation=one) for one in axes.interpolations[1:]))
    attempt_all("two changes together", (each._replace(crop=crop) for crop in axes.crops[1:] for each in likely))
    best = _result(attempts.values()).finalists[0].alternative
    attempt_all(
        "interpolation of the best alternative", (best._replace(interpolation=one) for one in axes.interpolations[1:])
    )
    return _result(attempts.values())


def is_better(one: np.ndarray, other: np.ndarray, z: float) -> bool:
    """Return whether `one` has more correct than `other` on the same images, by more than z standard errors."""
    won, lost = discordant(one, other)
    return won - lost > z * math.sqrt(won + lost)


def gain_interval(now: np.ndarray, before: np.ndarray, looks: int = 1) -> intervals.Interval:
    """Return the 95 % interval of what is gained, corrected for the number of looks."""
    won, lost = discordant(now, before)
    drop = intervals.tango(lost, won, len(now), intervals.z_for(looks))
    return intervals.Interval(-drop.high, -drop.low)


def discordant(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Return how many are correct only in one, and how many only in the other."""
    return int((one & ~other).sum()), int((~one & other).sum())


def simplest(attempts: Sequence[Attempt], correct: Callable[[Attempt], np.ndarray]) -> Attempt:
    """Return the one with the fewest changes that the best one does not beat by more than a standard error."""
    level = _level(attempts, correct, 1.0)
    return min(level, key=lambda attempt: (len(attempt.alternative.changes), -int(correct(attempt).sum())))


def _is_hopeless(attempt: Attempt, best: Attempt) -> bool:
    """Return whether the few answers show it. Nothing does where answers fit another order of the classes."""
    few = attempt.evaluated
    reordered = is_better(best.correct_reordered, best.correct, 1.0) or is_better(
        attempt.correct_reordered[few], attempt.correct[few], 1.0
    )
    return not few.all() and not reordered and is_better(best.correct[few], attempt.correct[few], _HOPELESS)


def _result(attempts: Iterable[Attempt]) -> SearchResult:
    """Choose the finalists. Another order of the classes must explain more than any preprocessing, beyond chance."""
    every = tuple(attempts)
    straight = max(every, key=lambda attempt: int(attempt.correct.sum()))
    reordered = max(every, key=lambda attempt: int(attempt.correct_reordered.sum()))
    found = SearchResult(every, (), is_better(reordered.correct_reordered, straight.correct, intervals.Z95))
    alike: dict[tuple[object, ...], list[Attempt]] = {}
    for attempt in every:
        alike.setdefault(_but_for_means(attempt), []).append(attempt)
    # Of means that are level the most usual, which is tried first, stands for all.
    usual = [_level(those, found.correct, 1.0)[0] for those in alike.values()]
    first = simplest(usual, found.correct)
    others = [attempt for attempt in _level(usual, found.correct, intervals.Z95) if attempt is not first]
    others.sort(key=lambda attempt: -int(found.correct(attempt).sum()))
    return replace(found, finalists=(first, *others[: _FINALISTS - 1]))


def _level(attempts: Sequence[Attempt], correct: Callable[[Attempt], np.ndarray], z: float) -> list[Attempt]:
    """Return those that the best of them does not beat by more than z standard errors, as they were tried."""
    best = max(attempts, key=lambda attempt: int(correct(attempt).sum()))
    return [attempt for attempt in attempts if not is_better(correct(best), correct(attempt), z)]


def _but_for_means(attempt: Attempt) -> tuple[object, ...]:
    return attempt.preprocessing.order, attempt.alternative.crop.words, attempt.alternative.interpolation.words
