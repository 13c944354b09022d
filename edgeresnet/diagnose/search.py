"""The search: alternatives evaluated on the same images, round by round, and the few of them that may be the best.

All alternatives see the first part of the images. Those that the leader beats for certain see no more (successive
elimination). The best of many was also lucky: nothing that is chosen here counts before other images confirm it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..portable import intervals
from .alternatives import Alternative, Axes
from .evaluator import FEW, Attempt, Counter, Evaluator, silent

Progress = Callable[[str], Counter]  # takes what begins, returns what counts it

_LIKELY = 4  # means at most, of those that may be the best, are tried with every crop
_GO_ON = 6  # alternatives at least go on to the next round, unless an interval excludes them
_FINALISTS = 3  # each look at the other images widens the interval of what they confirm


def unseen(words: str) -> Counter:
    """Show no progress."""
    return silent


@dataclass(frozen=True)
class SearchResult:
    """What the search found."""

    attempts: tuple[Attempt, ...]  # in the order in which they were tried; the first is what was given
    finalists: tuple[Attempt, ...]  # that these images do not tell apart, the simplest first
    reordered: bool  # they are the best in another order of the classes
    left: tuple[Attempt, ...]  # that no interval excludes
    images: int  # of the leader: others may have fewer

    def correct(self, attempt: Attempt) -> np.ndarray:
        """Return which answers are correct, in the order of classes that was found."""
        return attempt.correct_reordered if self.reordered else attempt.correct


def search_alternatives(
    images: Evaluator, axes: Axes, progress: Progress = unseen, only: Sequence[Alternative] = ()
) -> SearchResult:
    """Try all alternatives on the first part of the images, then those that may be the best on more and more.

    With `only`, these alternatives alone, and what was given.
    """
    count = len(only) + 1 if only else _most(axes)
    looks = count * (len(images.ends) + 1)  # Bonferroni: the best is lost in at most one search of twenty
    first = _First(images, intervals.z_for(looks), progress)
    start = Alternative(colours=axes.colours[0])
    if only:
        given = [start] if not start.changes else []
        first.attempt_all("the named alternatives", [*given, *(each for each in only if each not in given)])
    else:
        _attempt_usual(first, axes, start)
    return _narrowed(images, first.attempts, first.z, progress)


def _attempt_usual(first: _First, axes: Axes, start: Alternative) -> None:
    """Try one change at a time, then several together: a wrong mean hides what a crop does, and vice versa."""
    first.attempt_all("mean, std and order of channels", [start._replace(colours=one) for one in axes.colours])
    ranked = sorted(first.attempts.values(), key=lambda attempt: -int(attempt.score.sum()))
    level = [each for each in ranked if not is_better(ranked[0].score, each.score, intervals.Z95)]
    likely = [each.alternative for each in level if each.alternative != start][:_LIKELY]
    first.attempt_all("crop", [start._replace(crop=crop) for crop in axes.crops[1:]])
    first.attempt_all("interpolation", [start._replace(interpolation=one) for one in axes.interpolations[1:]])
    together = [each._replace(crop=crop) for crop in axes.crops[1:] for each in likely]
    first.attempt_all("two changes together", together)
    best = _result(first.attempts.values()).finalists[0].alternative
    others = [best._replace(interpolation=one) for one in axes.interpolations[1:]]
    first.attempt_all("interpolation of the best alternative", others)


class _First:
    """The alternatives that were tried on the first part of the images."""

    def __init__(self, images: Evaluator, z: float, progress: Progress):
        self.images, self.z, self.progress = images, z, progress
        self.attempts: dict[str, Attempt] = {}

    def attempt_all(self, words: str, alternatives: Sequence[Alternative]) -> None:
        each = self.images.ends[0]
        count = self.progress(f"{words}: {len(alternatives)} alternatives on {each} images")
        for number, alternative in enumerate(alternatives, 1):
            best = max(self.attempts.values(), key=lambda attempt: int(attempt.correct.sum()), default=None)
            hopeless = partial(_is_hopeless, best=best, z=self.z) if best else None
            attempt = self.images.evaluate(alternative, hopeless)
            self.attempts.setdefault(attempt.alternative.name, attempt)
            count(number * each, len(alternatives) * each, "images")


def _narrowed(images: Evaluator, attempts: dict[str, Attempt], z: float, progress: Progress) -> SearchResult:
    """Evaluate on more images what no interval excludes, until one alternative is left or the images are used up.

    Where many are level, half of them go on (successive halving): the simplest, then those with most correct answers.
    """
    given = next(iter(attempts))
    left, seen = _left(attempts.values(), z), images.ends[0]
    postponed: list[str] = []
    for stop in images.ends[1:]:
        most = max(_GO_ON, math.ceil(len(left) / 2))
        left, others = left[:most], left[most:]
        postponed += [attempt.alternative.name for attempt in others]
        if len(left) == 1:
            break
        more = {attempt.alternative.name for attempt in left}
        if not attempts[given].alternative.changes:
            more.add(given)  # what was given is what the others are compared with
        count = progress(f"images {seen + 1} to {stop}: {len(more)} alternatives that may be the best")
        for attempt in images.advance([attempts[name] for name in attempts if name in more], stop, count):
            attempts[attempt.alternative.name] = attempt
        left, seen = _left([attempts[each.alternative.name] for each in left], z), stop
    possible = (*left, *(attempts[name] for name in postponed if not _excluded(attempts[name], left[0], z)))
    return replace(_result(attempts.values()), left=possible, images=seen)


def is_better(one: np.ndarray, other: np.ndarray, z: float) -> bool:
    """Return whether `one` has more correct than `other` on the same images, by more than z standard errors."""
    won, lost = discordant(one, other)
    return won - lost > z * math.sqrt(won + lost)


def excludes(best: np.ndarray, other: np.ndarray, z: float) -> bool:
    """Return whether the paired interval shows that `best` has more correct than `other` on the same images."""
    won, lost = discordant(best, other)
    return won > lost and intervals.tango(lost, won, len(best), z).high < 0


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


def _most(axes: Axes) -> int:
    """Return how many alternatives a search tries at most."""
    crops, interpolations = len(axes.crops) - 1, len(axes.interpolations) - 1
    return len(axes.colours) + (1 + _LIKELY) * crops + 2 * interpolations


def _left(attempts: Iterable[Attempt], z: float) -> list[Attempt]:
    """Return those with all images so far that the best of them does not exclude: the simplest first."""
    ranked = sorted(attempts, key=lambda attempt: -int(attempt.score.sum()))
    best = ranked[0]
    complete = [attempt for attempt in ranked if np.array_equal(attempt.evaluated, best.evaluated)]
    left = [attempt for attempt in complete if not _excluded(attempt, best, z)]
    behind = {each.alternative.name: is_better(best.score, each.score, 1.0) for each in left}
    return sorted(left, key=lambda each: (behind[each.alternative.name], len(each.alternative.changes)))


def _excluded(attempt: Attempt, best: Attempt, z: float) -> bool:
    """Return whether the paired interval on the images of both shows that the attempt is worse."""
    both = attempt.evaluated & best.evaluated
    return excludes(best.score[both], attempt.score[both], z)


def _is_hopeless(attempt: Attempt, best: Attempt, z: float) -> bool:
    """Return whether the few answers show it. Nothing does where answers fit another order of the classes."""
    few = attempt.evaluated
    reordered = is_better(best.correct_reordered, best.correct, 1.0) or is_better(
        attempt.correct_reordered[few], attempt.correct[few], 1.0
    )
    return int(few.sum()) <= FEW and not reordered and excludes(best.correct[few], attempt.correct[few], z)


def _result(attempts: Iterable[Attempt]) -> SearchResult:
    """Choose the finalists. Another order of the classes must explain more than any preprocessing, beyond chance."""
    every = tuple(attempts)
    straight = max(every, key=lambda attempt: int(attempt.correct.sum()))
    reordered = max(every, key=lambda attempt: int(attempt.correct_reordered.sum()))
    found = SearchResult(every, (), is_better(reordered.correct_reordered, straight.correct, intervals.Z95), (), 0)
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
