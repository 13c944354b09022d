"""Why is accuracy not what was expected? Other preprocessings, and another order of the classes, tried on a few images.

alternatives (what is tried) → evaluator (what the network answers) → search (which is best on some images) → confirmed
on other images, or not. Changes, stores and judges nothing. `class_order` finds the order of the classes; `diagnosis`
is the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ImagesError, ModelError
from ..images import Samples, choose
from ..portable import intervals
from ..portable.preprocessing import Preprocessing
from ..portable.session import Session
from .alternatives import Axes, named, stand_in
from .class_order import match_classes
from .diagnosis import (
    Best,
    ClassOrder,
    Diagnosis,
    Gain,
    GivenPreprocessing,
    ImageCounts,
    MovedClass,
    Outcome,
    Tried,
)
from .evaluator import FIRST, OF_A_CLASS, Attempt, Counter, Evaluator
from .search import (
    Progress,
    SearchResult,
    discordant,
    excludes,
    gain_interval,
    search_alternatives,
    simplest,
    unseen,
)

__all__ = ["COUNT", "Diagnosis", "diagnose", "stand_in"]

COUNT = 100  # images to try on at most
_OTHERS = 3  # times as many to confirm on: few alternatives come so far, and their gain must stand out from chance
_ALIKE = 5  # at most, of those that may be as good, are compared on the other images too


def check_labels(samples: Samples) -> None:
    """Refuse masks and boxes: preprocessings are compared by one answer per image."""
    if samples.has_masks or samples.has_boxes:
        raise ImagesError(
            "preprocessing",
            "is searched by top-1 of complete images, not by masks or boxes",
            hint="set `preprocessing` as the network was trained; `edgeresnet diagnose --int8` shows layers of INT8",
        )


def diagnose(
    session: Session,
    samples: Samples,
    *,
    network: str,
    mean_given: bool,
    count: int,
    seed: int,
    only: Sequence[str] = (),
    progress: Progress = unseen,
) -> Diagnosis:
    """Find which preprocessing, or order of the classes, explains the accuracy of a network.

    `samples` are all images that there are, with the preprocessing that was given; without `mean_given` its mean and
    std are only stand-ins. `only` are names of alternatives: no others are tried. `progress` takes what begins.
    """
    check_labels(samples)
    given = samples.preprocessing
    _check_input(session, given)
    axes = Axes.around(given, mean_given=mean_given)
    wanted = [named(axes, name) for name in only]
    first, second = split_images(samples, count, seed)
    trying = Evaluator(session, first, given, seed=seed)
    found = search_alternatives(trying, axes, progress, wanted)
    others = Evaluator(session, second, given, seed=seed, limit=_OTHERS * max(found.images, FIRST))
    known = _confirming(found, trying, others, progress, mean_given=mean_given)
    taken = simplest(found.finalists, known.on_all)
    before = found.attempts[0] if mean_given else taken
    best, was = known.correct(taken), known.straight(before)
    looks = max(1, sum(found.reordered or attempt is not before for attempt in found.finalists))
    same = before is taken and not found.reordered
    gain = None if same else Gain(float(best.mean() - was.mean()), *gain_interval(best, was, looks))
    outcome = _outcome(mean_given=mean_given, gain=gain)
    chance = float(np.bincount(known.labels).max() / len(known.labels))
    is_advised = outcome in ("explained", "fits") and _score(best)[2] > chance
    alike = _alike(known, taken, before, outcome, progress) if is_advised else ()
    return Diagnosis(
        network=network,
        outcome=outcome,
        classes=tuple(samples.classes),
        classes_seen=len({*trying.labels[: found.images].tolist(), *known.labels.tolist()}),
        images=ImageCounts(len(samples), found.images, len(known.labels), count),
        given=GivenPreprocessing(*_score(was), mean_given, given.to_json()),
        tried=tuple(_tried(attempt, before, len(found.attempts)) for attempt in found.attempts),
        best=_best(taken, best, given, gain, alike, mean_given=mean_given),
        order=_class_order(known, taken, tuple(samples.classes)) if found.reordered else None,
        left=len(found.left),
        least_gain=least_gain(len(known.labels), looks),
        chance=chance,
    )


def split_images(samples: Samples, count: int, seed: int) -> tuple[Samples, Samples]:
    """Return images to try on and others to confirm on, balanced over the classes, copies of one image on one side.

    Of many classes some, chosen by the seed: several images of a class show what the network calls it.
    """
    present = np.unique(samples.labels)
    shuffled = np.random.default_rng(seed).permutation(present)
    there = np.cumsum(np.bincount(samples.labels)[shuffled])
    most = (1 + _OTHERS) * count
    wanted = max(count // OF_A_CLASS, int(np.searchsorted(there, most)) + 1, 2)
    some = samples.subset(np.flatnonzero(np.isin(samples.labels, shuffled[:wanted])))
    every = some.subset(choose.balanced(some, min(most, len(some)), seed))
    chosen = choose.balanced(every, min(count, max(len(every) // 2, 1)), seed)
    taken = {every.hash(index) for index in chosen}
    left = [index for index in range(len(every)) if every.hash(index) not in taken]
    if not left:
        raise ImagesError(
            f"{len(samples)} images",
            "are too few to search on some and confirm on others",
            hint=f"give {(1 + _OTHERS) * COUNT} or more images, from every class",
        )
    return every.subset(chosen), every.subset(left)


def least_gain(images: int, looks: int = 1) -> float:
    """Return the smallest gain that this number of images can show: all of it won, and nothing lost."""
    z = intervals.z_for(looks)
    won = next((won for won in range(1, images + 1) if intervals.tango(0, won, images, z).high < 0), None)
    return 1.0 if won is None else won / images


class _Known:
    """The answers of some attempts to the other images, those that can be read."""

    def __init__(self, found: SearchResult, trying: Evaluator, others: Evaluator):
        self.found, self._trying, self._others = found, trying, others
        self.labels = others.labels
        self._answers: dict[str, np.ndarray] = {}

    def evaluate(self, attempts: Sequence[Attempt], count: Counter) -> None:
        """Evaluate what was not evaluated yet."""
        named = {attempt.alternative.name: attempt.alternative for attempt in attempts}
        new = [alternative for name, alternative in named.items() if name not in self._answers]
        for answered in self._others.evaluate_all(new, count):
            self.labels = self._others.labels[answered.evaluated]
            self._answers[answered.alternative.name] = answered.predicted[answered.evaluated]

    def predicted(self, attempt: Attempt) -> np.ndarray:
        return self._answers[attempt.alternative.name]

    def order(self, attempt: Attempt) -> np.ndarray:
        """Return the order of the classes that the images show that were tried on."""
        if not self.found.reordered:
            return np.arange(self._trying.classes)
        seen = attempt.evaluated
        return match_classes(self._trying.labels[seen], attempt.predicted[seen], self._trying.classes)

    def straight(self, attempt: Attempt) -> np.ndarray:
        """Return which answers are correct with the classes in the order of the folders."""
        return self.predicted(attempt) == self.labels

    def correct(self, attempt: Attempt) -> np.ndarray:
        """Return which answers are correct, in the order of classes that was found."""
        return self.predicted(attempt) == self.order(attempt)[self.labels]

    def on_all(self, attempt: Attempt) -> np.ndarray:
        """Return the same for all images that were tried on or confirm."""
        return np.concatenate([self.found.correct(attempt), self.correct(attempt)])

    def tried(self, one: Attempt, other: Attempt) -> tuple[np.ndarray, np.ndarray]:
        """Return which answers are correct on the images that both were tried on."""
        both = one.evaluated & other.evaluated
        return self.found.correct(one)[both], self.found.correct(other)[both]

    def on_both(self, one: Attempt, other: Attempt) -> tuple[np.ndarray, np.ndarray]:
        """Return the same, and on the images that confirm."""
        pairs = zip(self.tried(one, other), (self.correct(one), self.correct(other)), strict=True)
        first, second = map(np.concatenate, pairs)
        return first, second


def _check_input(session: Session, given: Preprocessing) -> None:
    takes = session.signature
    if (takes.channels, takes.size) != (given.channels, given.size):
        raise ModelError(
            "the network",
            f"takes {takes.channels}×{takes.size}×{takes.size} images, but preprocessing makes "
            f"{given.channels}×{given.size}×{given.size}",
            hint="set the size and the channels that the network takes",
        )


def _confirming(
    found: SearchResult, trying: Evaluator, others: Evaluator, progress: Progress, *, mean_given: bool
) -> _Known:
    """Return the answers of the finalists to the other images, and those of what was given."""
    known = _Known(found, trying, others)
    count = progress(f"confirming on {len(others)} other images")
    known.evaluate([*(found.attempts[:1] if mean_given else ()), *found.finalists], count)
    return known


def _alike(known: _Known, best: Attempt, before: Attempt, outcome: Outcome, progress: Progress) -> tuple[str, ...]:
    """Return what explains as much with no more changes, as far as all images together show."""
    level = [
        attempt
        for attempt in known.found.left
        if attempt is not best
        and len(attempt.alternative.changes) <= len(best.alternative.changes)
        and not (attempt is before and outcome == "explained")  # it is confirmed to be worse
    ]
    if not level:
        return ()
    compared = level[:_ALIKE]
    known.evaluate(compared, progress(f"comparing {len(compared)} more on these images"))
    z = intervals.z_for(len(level))
    alike = [each for each in compared if not excludes(*known.on_both(best, each), z)]
    alike += [each for each in level[_ALIKE:] if not excludes(*known.tried(best, each), intervals.Z95)]
    return tuple(attempt.alternative.name for attempt in alike)


def _outcome(*, mean_given: bool, gain: Gain | None) -> Outcome:
    if gain is None:
        return "nothing" if mean_given else "fits"
    return "explained" if gain.low > 0 else "chance"


def _score(correct: np.ndarray) -> tuple[int, int, float, float]:
    """Return the fields of a `Score`."""
    low, high = intervals.wilson(int(correct.sum()), len(correct))
    return int(correct.sum()), len(correct), low, high


def _tried(attempt: Attempt, before: Attempt, looks: int) -> Tried:
    """Return how an attempt did on the images that it was evaluated on, its interval corrected for `looks`."""
    correct, was = attempt.correct[attempt.evaluated], before.correct[attempt.evaluated]
    won, lost = discordant(correct, was)
    low, high = gain_interval(correct, was, looks)
    return Tried(
        name=attempt.alternative.name,
        changes=attempt.alternative.changes,
        preprocessing=attempt.preprocessing.to_json(),
        images=len(correct),
        top1=int(correct.sum()),
        reordered_top1=int(attempt.correct_reordered.sum()),
        won=won,
        lost=lost,
        low=low,
        high=high,
    )


def _best(
    taken: Attempt,
    correct: np.ndarray,
    given: Preprocessing,
    gain: Gain | None,
    alike: tuple[str, ...],
    *,
    mean_given: bool,
) -> Best:
    return Best(
        *_score(correct),
        name=taken.alternative.name,
        changes=taken.alternative.changes,
        write=_changed_keys(taken, given, mean_given=mean_given),
        preprocessing=taken.preprocessing.to_json(),
        gain=gain,
        alike=alike,
    )


def _changed_keys(best: Attempt, given: Preprocessing, *, mean_given: bool) -> Mapping[str, object]:
    """Return what a recipe's `preprocessing` needs instead; all of it where mean and std were not given."""
    wanted = best.preprocessing
    now, was = wanted.to_json(), given.to_json()
    if mean_given:
        return {key: value for key, value in now.items() if value != was[key]}
    usual = Preprocessing(wanted.size, wanted.mean, wanted.std).to_json()
    return {key: value for key, value in now.items() if key in ("size", "mean", "std") or value != usual[key]}


def _class_order(known: _Known, best: Attempt, classes: tuple[str, ...]) -> ClassOrder:
    """Return which folder is which of the network's classes, where other images confirm it."""
    moved, predicted = [], known.predicted(best)
    for folder, answer in enumerate(known.order(best).tolist()):
        mine = known.labels == folder
        correct = int((predicted[mine] == answer).sum())
        if correct > int((predicted[mine] == folder).sum()):
            moved.append(MovedClass(classes[folder], answer, classes[answer], correct, int(mine.sum())))
    straight = int((predicted == known.labels).sum())
    return ClassOrder(tuple(moved), straight, len(known.labels))
