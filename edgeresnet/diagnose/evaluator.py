"""What a network answers to some images under each alternative, part by part: later parts are for those that are left.

Decodes a part of the images once for each geometry, and evaluates the same pixels once. Chooses nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..images import Samples
from ..portable import inference, manifest
from ..portable.evaluation import as_failure
from ..portable.preprocessing import Preprocessing
from ..portable.session import Session
from . import class_order
from .alternatives import Alternative

Counter = Callable[[int, int, str], None]  # how much is done, of how much, of what

FIRST = 100  # images of the first part; each later part ends at twice as many
FEW = inference.BATCH  # images that show what is hopeless
OF_A_CLASS = 4  # images of a class in a row where classes are many, or no order of classes can be found
_CACHE_BYTES = 1 << 28  # of decoded images, for as many geometries as that is enough for


def silent(done: int, total: int, word: str) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Attempt:
    """One alternative's answers to the first images, as far as it was evaluated.

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


class _Decoded(NamedTuple):
    """One part of the images in one geometry. `places` are those that can be read."""

    places: np.ndarray
    pixels: np.ndarray
    content: str


class Evaluator:
    """A network and some labelled images, in an order whose every beginning is balanced over the classes.

    `ends` are where the parts end. `limit` is how many images are used at most.
    """

    def __init__(
        self, session: Session, samples: Samples, given: Preprocessing, *, seed: int = 0, limit: int | None = None
    ):
        self._session, self._given = session, given
        chosen = samples.subset(balanced_order(samples, seed)[:limit])
        self._samples = replace(chosen, store=None)  # a few images, each decoded a few times: not worth storing
        self._decoded: dict[tuple[str, int], _Decoded] = {}
        self._attempts: dict[tuple[object, ...], Attempt] = {}
        self.labels = self._samples.labels
        self.classes = len(samples.classes)
        self.ends = part_ends(len(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def evaluate(self, alternative: Alternative, is_hopeless: Callable[[Attempt], bool] | None = None) -> Attempt:
        """Return the answers to the first part, or to a few images where these show that it is hopeless.

        Alternatives that give the same pixels are evaluated once, under the name of the first.
        """
        attempt = self._unevaluated(alternative)
        decoded = self._pixels(attempt.preprocessing, 0)
        key = decoded.content, attempt.preprocessing.mean, attempt.preprocessing.std, attempt.preprocessing.order
        attempt = self._attempts.get(key) or attempt
        if is_hopeless and self.ends[0] > 2 * FEW and not attempt.evaluated.any():
            attempt = self._answered(attempt, decoded, FEW)
        if not is_hopeless or not is_hopeless(attempt):
            attempt = self._answered(attempt, decoded)
        self._attempts[key] = attempt
        return attempt

    def advance(self, attempts: Sequence[Attempt], stop: int, count: Counter = silent) -> list[Attempt]:
        """Return the attempts with answers to all images before `stop`, the end of a part."""
        now = list(attempts)
        missing = sum(int((attempt.predicted[:stop] < 0).sum()) for attempt in now)
        done = 0
        for part, end in enumerate(self.ends[: self.ends.index(stop) + 1]):
            for place, attempt in enumerate(now):
                left = int((attempt.predicted[self._start(part) : end] < 0).sum())
                if left:
                    now[place] = self._answered(attempt, self._pixels(attempt.preprocessing, part))
                    done += left
                    count(done, missing, "images")
        return now

    def evaluate_all(self, alternatives: Sequence[Alternative], count: Counter = silent) -> list[Attempt]:
        """Return the answers to all images under each alternative."""
        return self.advance([self._unevaluated(each) for each in alternatives], len(self), count)

    def _start(self, part: int) -> int:
        return self.ends[part - 1] if part else 0

    def _unevaluated(self, alternative: Alternative) -> Attempt:
        none = np.zeros(len(self), bool)
        return Attempt(alternative, alternative.applied_to(self._given), np.full(len(self), -1), none, none)

    def _answered(self, attempt: Attempt, decoded: _Decoded, most: int | None = None) -> Attempt:
        """Return the attempt with answers to these images too, or to the first `most` of them."""
        predicted, reordered = attempt.predicted.copy(), np.zeros(len(self), bool)
        rows = np.flatnonzero(predicted[decoded.places[:most]] < 0)
        for start in range(0, len(rows), inference.BATCH):
            some = rows[start : start + inference.BATCH]
            places, batch = decoded.places[some], attempt.preprocessing.normalize(decoded.pixels[some])
            with as_failure(lambda: int(places[0])):  # noqa: B023  # called before the next part
                predicted[places] = inference.infer(self._session, batch, first=int(places[0])).argmax(1)
        known = predicted >= 0
        reordered[known] = class_order.correct_when_matched(self.labels[known], predicted[known], self.classes)
        return replace(attempt, predicted=predicted, correct=predicted == self.labels, correct_reordered=reordered)

    def _pixels(self, preprocessing: Preprocessing, part: int) -> _Decoded:
        key = manifest.digest_of(preprocessing.geometry), part
        if key not in self._decoded:
            start = self._start(part)
            chosen = self._samples.subset(np.arange(start, self.ends[part]))
            found = list(replace(chosen, preprocessing=preprocessing).batches(inference.BATCH))
            pixels = np.concatenate([batch.pixels for batch in found])
            places = start + np.concatenate([batch.indices for batch in found])
            while self._decoded and pixels.nbytes + self._cached_bytes > _CACHE_BYTES:
                self._decoded.pop(next(iter(self._decoded)))
            self._decoded[key] = _Decoded(places, pixels, hashlib.sha256(pixels.data).hexdigest())
        return self._decoded[key]

    @property
    def _cached_bytes(self) -> int:
        return sum(decoded.pixels.nbytes for decoded in self._decoded.values())


def part_ends(images: int) -> tuple[int, ...]:
    """Return where parts end: each is at least half as large as all before it together."""
    ends, end = [], FIRST
    while 3 * end <= 2 * images:
        ends.append(end)
        end *= 2
    return (*ends, images)


def balanced_order(samples: Samples, seed: int) -> np.ndarray:
    """Return an order of the images: classes in turn. Of many classes several images follow each other.

    Their contents and the seed decide, not their names.
    """
    key = str(seed).encode()
    lots = [hashlib.blake2b(samples.hash(index), key=key, digest_size=16).digest() for index in range(len(samples))]
    drawn = np.asarray(sorted(range(len(samples)), key=lots.__getitem__), np.int64)
    labels = samples.labels[drawn]
    turns = class_order.index_in_class(labels)
    ranks = np.random.default_rng(seed).permutation(len(samples.classes))[labels]
    each = 1 if min(FIRST, len(labels)) >= 2 * len(np.unique(labels)) else OF_A_CLASS
    return drawn[np.lexsort((turns, ranks, turns // each))]
