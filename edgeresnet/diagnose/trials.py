"""Variants tried on the same images, and the few of them that may be the best.

What is best of many was also lucky: nothing that is chosen here counts before other images have confirmed it.
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
from . import labels
from .variants import Axes, Variant

Tell = Callable[[str], None]

_LIKELY = 4  # so many means, of those that may be the best, are tried under every cut
_FINALISTS = 3  # each look at the other images widens the interval of what they confirm
_FEW = inference.BATCH  # images that show what is hopeless
_HOPELESS = 3.0  # standard errors behind the best, on these few
_HELD_BYTES = 1 << 28  # of decoded images, for as many geometries as that is enough for


@dataclass(frozen=True)
class Trial:
    """One variant's answers to every image, or to a few where these were hopeless: -1 for those that were not asked,
    which are not right either. `ordered` are right in the order of classes that the answers tell.
    """

    variant: Variant
    preprocessing: Preprocessing
    predicted: np.ndarray
    right: np.ndarray
    ordered: np.ndarray

    @property
    def asked(self) -> np.ndarray:
        return self.predicted >= 0

    @property
    def score(self) -> np.ndarray:
        """Right in the one order or in the other, whichever is more."""
        return max(self.right, self.ordered, key=np.sum)


class Images:
    """Some labelled images and a network: what it answers to them, prepared this way or that."""

    def __init__(self, session: Session, samples: Samples, given: Preprocessing):
        self._session, self._given = session, given
        self._samples = replace(samples, store=None)  # a few images, decoded so once: not worth keeping
        self._held: dict[str, tuple[np.ndarray, str]] = {}
        self._asked: dict[tuple, Trial] = {}
        self.labels = samples.labels
        self.classes = len(samples.classes)

    def __len__(self) -> int:
        return len(self.labels)

    def ask(self, variant: Variant, best: Trial | None = None) -> Trial:
        """What was asked before in other words, on these images, is not asked again; nor are all of them where a few
        show that the `best` so far is better beyond doubt.
        """
        preprocessing = variant.of(self._given)
        pixels, content = self._pixels(preprocessing)
        about = content, preprocessing.mean, preprocessing.std, preprocessing.order
        trial = self._asked.get(about) or self._none(variant, preprocessing)
        if best is not None and len(self) > 2 * _FEW and not trial.asked.any():
            trial = self._answered(trial, pixels, np.linspace(0, len(self) - 1, _FEW).round().astype(np.int64))
        if best is None or not _is_hopeless(trial, best):
            trial = self._answered(trial, pixels, np.flatnonzero(~trial.asked))
        self._asked[about] = trial
        return trial

    def _none(self, variant: Variant, preprocessing: Preprocessing) -> Trial:
        wrong = np.zeros(len(self), bool)
        return Trial(variant, preprocessing, np.full(len(self), -1), wrong, wrong)

    def _answered(self, trial: Trial, pixels: np.ndarray, places: np.ndarray) -> Trial:
        """With answers to these images, too."""
        predicted, ordered = trial.predicted.copy(), np.zeros(len(self), bool)
        for start in range(0, len(places), inference.BATCH):
            part = places[start : start + inference.BATCH]
            batch = trial.preprocessing.normalize(pixels[part])
            with as_failure(lambda: int(part[0])):  # noqa: B023  # called before the next part
                predicted[part] = inference.infer(self._session, batch, first=int(part[0])).argmax(1)
        asked = predicted >= 0
        ordered[asked] = labels.right_in_order(self.labels[asked], predicted[asked], self.classes)
        return replace(trial, predicted=predicted, right=predicted == self.labels, ordered=ordered)

    def _pixels(self, preprocessing: Preprocessing) -> tuple[np.ndarray, str]:
        geometry = manifest.digest_of(preprocessing.geometry)
        if geometry not in self._held:
            found = list(replace(self._samples, preprocessing=preprocessing).batches(inference.BATCH))
            if not found:
                raise ImagesError("not one of these images could be decoded", hint="look at the images' files")
            pixels = np.concatenate([batch.pixels for batch in found])
            self.labels = np.concatenate([batch.labels for batch in found])
            while self._held and pixels.nbytes * (len(self._held) + 1) > _HELD_BYTES:
                self._held.pop(next(iter(self._held)))
            self._held[geometry] = pixels, hashlib.sha256(pixels.data).hexdigest()
        return self._held[geometry]


def _is_hopeless(trial: Trial, best: Trial) -> bool:
    """What was asked shows it; nothing does where the answers are right in another order of the classes."""
    few = trial.asked
    reordered = beaten(best.ordered, best.right, 1.0) or beaten(trial.ordered[few], trial.right[few], 1.0)
    return not few.all() and not reordered and beaten(best.right[few], trial.right[few], _HOPELESS)


@dataclass(frozen=True)
class Found:
    trials: tuple[Trial, ...]  # in the order in which they were tried; the first is what was given
    finalists: tuple[Trial, ...]  # that these images do not tell apart, the simplest first
    reordered: bool  # they are so in another order of the classes

    def right(self, trial: Trial) -> np.ndarray:
        return trial.ordered if self.reordered else trial.right


def search(images: Images, axes: Axes, tell: Tell) -> Found:
    """One change at a time from what was given, then together: a wrong mean hides what a wrong cut does, and the other
    way round.
    """
    start = Variant(colours=axes.colours[0])
    trials: dict[str, Trial] = {}

    def attempt(words: str, variants: Iterable[Variant]) -> None:
        variants = list(variants)
        tell(f"{words}: {len(variants)} on {len(images)} images")
        for variant in variants:
            best = max(trials.values(), key=lambda trial: int(trial.right.sum()), default=None)
            trial = images.ask(variant, best)
            trials.setdefault(trial.variant.name, trial)

    attempt("mean, std and order of channels", (start._replace(colours=one) for one in axes.colours))
    ranked = sorted(trials.values(), key=lambda trial: -int(trial.score.sum()))
    level = [each for each in ranked if not beaten(ranked[0].score, each.score, intervals.Z95)]
    likely = [trial.variant for trial in level if trial.variant != start][:_LIKELY]
    attempt("how images are cut", (start._replace(cut=cut) for cut in axes.cuts[1:]))
    attempt("interpolation", (start._replace(interpolation=one) for one in axes.interpolations[1:]))
    attempt("two at once", (variant._replace(cut=cut) for cut in axes.cuts[1:] for variant in likely))
    best = _found(trials.values()).finalists[0].variant
    attempt("interpolation of the best", (best._replace(interpolation=one) for one in axes.interpolations[1:]))
    return _found(trials.values())


def beaten(one: np.ndarray, other: np.ndarray, z: float) -> bool:
    """Whether `one` has more right than `other` on the same images, by more than z standard errors."""
    won, lost = discordant(one, other)
    return won - lost > z * math.sqrt(won + lost)


def gain(now: np.ndarray, before: np.ndarray, looks: int = 1) -> intervals.Interval:
    """95 % interval of what is gained, corrected for so many looks."""
    won, lost = discordant(now, before)
    drop = intervals.tango(lost, won, len(now), intervals.z_for(looks))
    return intervals.Interval(-drop.high, -drop.low)


def discordant(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """(right only in one, right only in the other)."""
    return int((one & ~other).sum()), int((~one & other).sum())


def simplest(trials: Sequence[Trial], right: Callable[[Trial], np.ndarray]) -> Trial:
    """The one with the fewest changes that the best one does not beat by more than a standard error."""
    level = _level(trials, right, 1.0)
    return min(level, key=lambda trial: (len(trial.variant.changes), -int(right(trial).sum())))


def _found(trials: Iterable[Trial]) -> Found:
    """Another order of the classes is taken up only where it tells more than any preprocessing, beyond chance."""
    every = tuple(trials)
    straight = max(every, key=lambda trial: int(trial.right.sum()))
    ordered = max(every, key=lambda trial: int(trial.ordered.sum()))
    found = Found(every, (), beaten(ordered.ordered, straight.right, intervals.Z95))
    alike: dict[tuple, list[Trial]] = {}
    for trial in every:
        alike.setdefault(_but_for_means(trial), []).append(trial)
    # Of means that are level the most usual, which is tried first, stands for all.
    usual = [_level(those, found.right, 1.0)[0] for those in alike.values()]
    first = simplest(usual, found.right)
    others = [trial for trial in _level(usual, found.right, intervals.Z95) if trial is not first]
    others.sort(key=lambda trial: -int(found.right(trial).sum()))
    return replace(found, finalists=(first, *others[: _FINALISTS - 1]))


def _level(trials: Sequence[Trial], right: Callable[[Trial], np.ndarray], z: float) -> list[Trial]:
    """Those that the best of them does not beat by more than z standard errors, in the order of trial."""
    best = max(trials, key=lambda trial: int(right(trial).sum()))
    return [trial for trial in trials if not beaten(right(best), right(trial), z)]


def _but_for_means(trial: Trial) -> tuple:
    return trial.preprocessing.order, trial.variant.cut.words, trial.variant.interpolation.words
