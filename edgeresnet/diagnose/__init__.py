"""Why is accuracy not what was expected? Other preprocessings, and another order of the classes, tried on a few images.

variants (what is tried) → trials (which is best on some images) → confirmed on others, or not. Only tells:
nothing is changed, stored or judged. `labels` knows the order of the classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import ImagesError, ModelError
from ..images import Samples, choose
from ..portable import intervals
from ..portable.preprocessing import Preprocessing
from ..portable.session import Session
from . import labels
from .trials import Found, Images, Tell, Trial, beaten, discordant, gain, search, simplest
from .variants import Axes, stand_in

__all__ = ["COUNT", "explain", "stand_in"]

COUNT = 100  # images to try on
_OTHERS = 3  # times as many to confirm on: few variants come so far, and what they gain is to be told from chance
# What came out: something else explains the accuracy; or fits best where nothing was given; it seemed to, and other
# images do not confirm it; nothing does.
EXPLAINED, FITS, CHANCE, NOTHING = "explained", "fits", "chance", "nothing"
_OF_A_CLASS = 4  # images on each side at least, or no order of classes is to be told


def explain(
    session: Session, samples: Samples, *, said: bool, count: int, seed: int, tell: Tell = lambda words: None
) -> dict[str, Any]:
    """`samples` are all that there are, with the preprocessing that was given; `said`: its mean and std were, too."""
    given = samples.preprocessing
    if (session.signature.channels, session.signature.size) != (given.channels, given.size):
        takes = f"{session.signature.channels}×{session.signature.size}×{session.signature.size}"
        raise ModelError(
            f"the network takes {takes} images, preprocessing makes {given.channels}×{given.size}×{given.size}",
            hint="its size and channels are fixed: give those",
        )
    first, second = apart(samples, count, seed)
    trying, others = Images(session, first, given), Images(session, second, given)
    found = search(trying, Axes.around(given, said=said), tell)
    tell(f"confirming on {len(others)} other images")
    best = _chosen(found, trying, others)
    before = found.trials[0] if said else best.trial
    looks = max(1, sum(found.reordered or trial is not before for trial in found.finalists))
    was = others.ask(before.variant).right
    same = before is best.trial and not found.reordered
    gained = None if same else [float(best.right.mean() - was.mean()), *gain(best.right, was, looks)]
    return {
        "outcome": _outcome(said=said, gained=gained),
        "classes": list(samples.classes),
        "classes_seen": len({*trying.labels.tolist(), *others.labels.tolist()}),
        "images": {"there": len(samples), "tried": len(trying), "confirmed": len(others), "asked": count},
        "given": {"said": said, "preprocessing": given.to_json(), **_counted(was)},
        "variants": [_row(trial, before, len(found.trials)) for trial in found.trials],
        "best": {
            "name": best.trial.variant.name,
            "changes": list(best.trial.variant.changes),
            "write": _written(best.trial, given, said=said),
            "preprocessing": best.trial.preprocessing.to_json(),
            **_counted(best.right),
            "gain": gained,
            "alike": [trial.variant.name for trial in _alike(found, best.trial)],
        },
        "order": _order(best, others, samples.classes) if found.reordered else None,
        "least_gain": least_gain(len(others), looks),
        "chance": float(np.bincount(others.labels).max() / len(others)),
    }


class _Chosen(NamedTuple):
    trial: Trial
    order: np.ndarray  # of the classes, as the images told that were tried on
    predicted: np.ndarray  # of the other images
    right: np.ndarray


def _chosen(found: Found, trying: Images, others: Images) -> _Chosen:
    """Of the finalists the simplest that is not beaten on all images together."""
    known: dict[str, _Chosen] = {}
    for trial in found.finalists:
        predicted, order = others.ask(trial.variant).predicted, np.arange(trying.classes)
        if found.reordered:
            order = labels.order_of(trying.labels, trial.predicted, trying.classes)
        known[trial.variant.name] = _Chosen(trial, order, predicted, order[others.labels] == predicted)
    taken = simplest(
        found.finalists, lambda trial: np.concatenate([found.right(trial), known[trial.variant.name].right])
    )
    return known[taken.variant.name]


def apart(samples: Samples, count: int, seed: int) -> tuple[Samples, Samples]:
    """Images to try on and others to confirm on, balanced over the classes, with copies of one image on one side.

    Of many classes some, chosen by the seed: several images of a class tell what the network calls it.
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
            f"{len(samples)} images are too few to try something on some and confirm it on others",
            hint=f"give {(1 + _OTHERS) * COUNT} or more, of every class",
        )
    return every.subset(chosen), every.subset(left)


def least_gain(images: int, looks: int = 1) -> float:
    """The smallest gain that so many images can show: all of it won, and nothing lost."""
    z = intervals.z_for(looks)
    won = next((won for won in range(1, images + 1) if intervals.tango(0, won, images, z).high < 0), None)
    return 1.0 if won is None else won / images


def _outcome(*, said: bool, gained: list[float] | None) -> str:
    if gained is None:
        return NOTHING if said else FITS
    return EXPLAINED if gained[1] > 0 else CHANCE


def _counted(right: np.ndarray) -> dict[str, Any]:
    low, high = intervals.wilson(int(right.sum()), len(right))
    return {"top1": int(right.sum()), "images": len(right), "low": low, "high": high}


def _row(trial: Trial, before: Trial, looks: int) -> dict[str, Any]:
    """On the images that were tried on, as many as it was asked about; its interval is corrected for how many rows
    there are.
    """
    right, was = trial.right[trial.asked], before.right[trial.asked]
    won, lost = discordant(right, was)
    low, high = gain(right, was, looks)
    return {
        "name": trial.variant.name,
        "changes": list(trial.variant.changes),
        "preprocessing": trial.preprocessing.to_json(),
        "images": len(right),
        "top1": int(right.sum()),
        "reordered_top1": int(trial.ordered.sum()),
        "won": won,
        "lost": lost,
        "low": low,
        "high": high,
    }


def _alike(found: Found, best: Trial) -> list[Trial]:
    """What explains as much with no more changes, as far as these images tell."""
    return [
        trial
        for trial in found.trials
        if trial is not best
        and len(trial.variant.changes) <= len(best.variant.changes)
        and not beaten(found.right(best), found.right(trial), intervals.Z95)
    ]


def _written(best: Trial, given: Preprocessing, *, said: bool) -> Mapping[str, Any]:
    """What a recipe's `preprocessing` would have to say instead; all of it where mean and std were not given."""
    wanted = best.preprocessing
    now, was = wanted.to_json(), given.to_json()
    if said:
        return {key: value for key, value in now.items() if value != was[key]}
    usual = Preprocessing(wanted.size, wanted.mean, wanted.std).to_json()
    return {key: value for key, value in now.items() if key in ("size", "mean", "std") or value != usual[key]}


def _order(best: _Chosen, others: Images, classes: tuple[str, ...]) -> dict[str, Any]:
    """Which folder is which of the network's classes, where other images say so too."""
    moved = []
    for folder, answer in enumerate(best.order.tolist()):
        mine = others.labels == folder
        as_told = int((best.predicted[mine] == answer).sum())
        if as_told > int((best.predicted[mine] == folder).sum()):
            about = {"folder": classes[folder], "answer": answer, "called": classes[answer]}
            moved.append({**about, "right": as_told, "images": int(mine.sum())})
    straight = int((best.predicted == others.labels).sum())
    return {"moved": moved, "straight_top1": straight, "images": len(others)}
