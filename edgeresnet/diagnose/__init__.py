"""Why is accuracy not what was expected? Other preprocessings, and another order of the classes, tried on a few images.

alternatives (what is tried) → search (which is best on some images) → confirmed on other images, or not. Changes,
stores and judges nothing. `class_order` finds the order of the classes; `diagnosis` is the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..errors import ImagesError, ModelError
from ..images import Samples, choose
from ..portable import intervals
from ..portable.preprocessing import Preprocessing
from ..portable.session import Session
from .alternatives import Axes, stand_in
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
from .search import (
    Attempt,
    Evaluator,
    Progress,
    SearchResult,
    discordant,
    gain_interval,
    is_better,
    search_alternatives,
    simplest,
)

__all__ = ["COUNT", "Diagnosis", "diagnose", "stand_in"]

COUNT = 100  # images to try on
_OTHERS = 3  # times as many to confirm on: few alternatives come so far, and their gain must stand out from chance
_OF_A_CLASS = 4  # images on each side at least, or no order of classes can be found


def diagnose(
    session: Session,
    samples: Samples,
    *,
    network: str,
    mean_given: bool,
    count: int,
    seed: int,
    progress: Progress = lambda words: None,
) -> Diagnosis:
    """Find which preprocessing, or order of the classes, explains the accuracy of a network.

    `samples` are all images that there are, with the preprocessing that was given; without `mean_given` its mean and
    std are only stand-ins. `progress` receives a line of progress.
    """
    given = samples.preprocessing
    _check_input(session, given)
    first, second = split_images(samples, count, seed)
    trying, others = Evaluator(session, first, given), Evaluator(session, second, given)
    found = search_alternatives(trying, Axes.around(given, mean_given=mean_given), progress)
    progress(f"confirming on {len(others)} other images")
    best = _confirmed(found, trying, others)
    before = found.attempts[0] if mean_given else best.attempt
    looks = max(1, sum(found.reordered or attempt is not before for attempt in found.finalists))
    was = others.evaluate(before.alternative).correct
    same = before is best.attempt and not found.reordered
    gain = None if same else Gain(float(best.correct.mean() - was.mean()), *gain_interval(best.correct, was, looks))
    return Diagnosis(
        network=network,
        outcome=_outcome(mean_given=mean_given, gain=gain),
        classes=tuple(samples.classes),
        classes_seen=len({*trying.labels.tolist(), *others.labels.tolist()}),
        images=ImageCounts(len(samples), len(trying), len(others), count),
        given=GivenPreprocessing(*_score(was), mean_given, given.to_json()),
        tried=tuple(_tried(attempt, before, len(found.attempts)) for attempt in found.attempts),
        best=_best(best, given, gain, found, mean_given=mean_given),
        order=_class_order(best, others, tuple(samples.classes)) if found.reordered else None,
        least_gain=least_gain(len(others), looks),
        chance=float(np.bincount(others.labels).max() / len(others)),
    )


def split_images(samples: Samples, count: int, seed: int) -> tuple[Samples, Samples]:
    """Return images to try on and others to confirm on, balanced over the classes, copies of one image on one side.

    Of many classes some, chosen by the seed: several images of a class show what the network calls it.
    """
    present = np.unique(samples.labels)
    shuffled = np.random.default_rng(seed).permutation(present)
    there = np.cumsum(np.bincount(samples.labels)[shuffled])
    most = (1 + _OTHERS) * count
    wanted = max(count // _OF_A_CLASS, int(np.searchsorted(there, most)) + 1, 2)
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


class _Confirmed(NamedTuple):
    """An attempt with its answers to the images that confirm."""

    attempt: Attempt
    order: np.ndarray  # of the classes, as the images show that were tried on
    predicted: np.ndarray
    correct: np.ndarray


def _check_input(session: Session, given: Preprocessing) -> None:
    takes = session.signature
    if (takes.channels, takes.size) != (given.channels, given.size):
        raise ModelError(
            "the network",
            f"takes {takes.channels}×{takes.size}×{takes.size} images, but preprocessing makes "
            f"{given.channels}×{given.size}×{given.size}",
            hint="set the size and the channels that the network takes",
        )


def _confirmed(found: SearchResult, trying: Evaluator, others: Evaluator) -> _Confirmed:
    """Return of the finalists the simplest that is not beaten on all images together."""
    known: dict[str, _Confirmed] = {}
    for attempt in found.finalists:
        predicted, order = others.evaluate(attempt.alternative).predicted, np.arange(trying.classes)
        if found.reordered:
            order = match_classes(trying.labels, attempt.predicted, trying.classes)
        known[attempt.alternative.name] = _Confirmed(attempt, order, predicted, order[others.labels] == predicted)
    taken = simplest(
        found.finalists,
        lambda attempt: np.concatenate([found.correct(attempt), known[attempt.alternative.name].correct]),
    )
    return known[taken.alternative.name]


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


def _best(best: _Confirmed, given: Preprocessing, gain: Gain | None, found: SearchResult, *, mean_given: bool) -> Best:
    return Best(
        *_score(best.correct),
        name=best.attempt.alternative.name,
        changes=best.attempt.alternative.changes,
        write=_changed_keys(best.attempt, given, mean_given=mean_given),
        preprocessing=best.attempt.preprocessing.to_json(),
        gain=gain,
        alike=tuple(attempt.alternative.name for attempt in _alike(found, best.attempt)),
    )


def _alike(found: SearchResult, best: Attempt) -> list[Attempt]:
    """Return what explains as much with no more changes, as far as these images show."""
    return [
        attempt
        for attempt in found.attempts
        if attempt is not best
        and len(attempt.alternative.changes) <= len(best.alternative.changes)
        and not is_better(found.correct(best), found.correct(attempt), intervals.Z95)
    ]


def _changed_keys(best: Attempt, given: Preprocessing, *, mean_given: bool) -> Mapping[str, object]:
    """Return what a recipe's `preprocessing` needs instead; all of it where mean and std were not given."""
    wanted = best.preprocessing
    now, was = wanted.to_json(), given.to_json()
    if mean_given:
        return {key: value for key, value in now.items() if value != was[key]}
    usual = Preprocessing(wanted.size, wanted.mean, wanted.std).to_json()
    return {key: value for key, value in now.items() if key in ("size", "mean", "std") or value != usual[key]}


def _class_order(best: _Confirmed, others: Evaluator, classes: tuple[str, ...]) -> ClassOrder:
    """Return which folder is which of the network's classes, where other images confirm it."""
    moved = []
    for folder, answer in enumerate(best.order.tolist()):
        mine = others.labels == folder
        correct = int((best.predicted[mine] == answer).sum())
        if correct > int((best.predicted[mine] == folder).sum()):
            moved.append(MovedClass(classes[folder], answer, classes[answer], correct, int(mine.sum())))
    straight = int((best.predicted == others.labels).sum())
    return ClassOrder(tuple(moved), straight, len(others))
