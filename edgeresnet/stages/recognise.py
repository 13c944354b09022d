"""Which network weights are, where their tensors fit several: each of these is run on a few labelled images.

The best is taken. Where chance explains its distance to the likeliest, the likeliest is. Knows no tensors, and no
reasons why a network is a candidate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .. import models
from ..context import Context
from ..errors import ModelError
from ..images import Samples
from ..models import checkpoint, names
from ..notes import Candidate, RecogniseNotes
from ..portable import intervals, machine
from ..portable.preprocessing import Preprocessing
from ..store import write_bytes
from .candidates import RecogniseInputs, RecogniseSpec
from .specs import Architecture, NetworkFile

FILE = "answers.json"
_PARTS = (32, 64)  # images after which candidates that are surely worse are left out
# Largest p-values, for all candidates together: of a difference that ends a comparison early, and at the end of it;
# and of an accuracy that chance does not explain. Above the last, nothing speaks against chance.
_SURE, _SHOWN, _CHANCE, _LIKELY_CHANCE = 0.001, 0.05, 0.01, 0.1
_FEWEST_DIFFERENT = 8  # images, for a mean to be compared with its spread
_MOST_LEFT = 6  # candidates after the first images
_ROUNDS = 3  # of candidates that differ in one thing more
_AT_ONCE, _PIXELS_AT_ONCE = 64, 8 * 224 * 224


class _Images(NamedTuple):
    """Labelled images as decoded, in an order of which every beginning is drawn."""

    pixels: np.ndarray
    labels: np.ndarray
    preprocessing: Preprocessing
    classes: int


@dataclass(frozen=True, eq=False)
class _Attempt:
    """What one candidate answers to the first images, as far as it was run; and why it cannot be run."""

    candidate: Architecture
    predicted: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    certainty: np.ndarray = field(default_factory=lambda: np.empty(0))  # the logarithm of each label's probability
    problem: ModelError | None = None

    @property
    def arch(self) -> str:
        return str(self.candidate.arch)

    def correct(self, labels: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.predicted == labels[: len(self.predicted)]
        return found

    def rank(self, labels: np.ndarray, end: int | None = None) -> tuple[int, float]:
        """Return its correct answers, of the images before `end`, and how sure it is of the labels."""
        return int(self.correct(labels)[:end].sum()), float(self.certainty[:end].mean())


def recognise(inputs: RecogniseInputs, spec: RecogniseSpec, out: Path, ctx: Context) -> RecogniseNotes:
    """Run each candidate on a few labelled images, and take the best of them."""
    torch.set_num_threads(machine.cores())
    images = _decoded(inputs.images.value, spec.seed)
    attempts = _searched(spec.candidates, inputs, images, ctx)
    level = _level(attempts, images.labels, _SHOWN)
    beats_chance = any(_beats_chance(each, images, len(attempts)) for each in level)
    surest = _surest(level) if beats_chance else level
    by_certainty, level = len(surest) < len(level), surest
    taken = level[0] if beats_chance else next(each for each in attempts if each.problem is None)
    found = RecogniseNotes(
        arch=taken.arch,
        candidates=tuple(_candidate(each, images.labels) for each in attempts),
        shown=beats_chance and len(level) == 1,
        better_than_chance=beats_chance,
        by_certainty=by_certainty,
        unclear=not beats_chance and any(_may_beat_chance(each, images) for each in level),
    )
    _warn(found, level, ctx)
    answers = {each.arch: each.predicted.tolist() for each in attempts}
    write_bytes(out / FILE, json.dumps({"labels": images.labels.tolist(), "answers": answers}).encode())
    return found


def _decoded(samples: Samples, seed: int) -> _Images:
    batches = list(replace(samples, store=None).batches(_AT_ONCE))  # decoded once: not worth storing
    pixels, labels = (np.concatenate([each[part] for each in batches]) for part in (1, 2))
    drawn = np.random.default_rng(seed).permutation(len(labels))
    return _Images(pixels[drawn], labels[drawn], samples.preprocessing, len(samples.classes))


def _searched(
    candidates: Sequence[Architecture], inputs: RecogniseInputs, images: _Images, ctx: Context
) -> list[_Attempt]:
    """Return the candidates with their answers; where the usual one is not the best, also what differs in more.

    Candidates differ from the usual network in one thing. A network of unknown code may differ in several.
    """
    attempts = _compared(list(map(_Attempt, candidates)), inputs, images, ctx)
    if not any(names.is_of_unknown_code(each.arch) for each in attempts):
        return attempts
    usual, in_two = attempts[0].arch, False
    for _ in range(_ROUNDS):
        best = _best(attempts, images)
        shown, is_usual = _beats_chance(best, images, len(attempts)), best.arch == usual
        if (shown and is_usual and _is_good(best, images)) or (in_two and not shown):
            break
        things = 1 if shown and not is_usual else 2  # one difference may not be enough to be better
        base, in_two = usual if things == 2 else best.arch, in_two or things == 2
        following = names.neighbours(base, [each.arch for each in attempts], things)
        others = [_Attempt(replace(best.candidate, arch=arch, libraries={}, sources_sha256=())) for arch in following]
        again = _compared([best, *others], inputs, images, ctx)
        attempts = [*(again[0] if each is best else each for each in attempts), *again[1:]]
        if shown and _best(attempts, images).arch == best.arch:
            break
    return attempts


def _best(attempts: Sequence[_Attempt], images: _Images) -> _Attempt:
    """Return the candidate that is taken so far; the most correct one where none is better than chance."""
    level = _level(attempts, images.labels, _SHOWN)
    if any(_beats_chance(each, images, len(attempts)) for each in level):
        return _surest(level)[0]
    return max(level, key=lambda each: each.rank(images.labels))


def _compared(attempts: list[_Attempt], inputs: RecogniseInputs, images: _Images, ctx: Context) -> list[_Attempt]:
    """Return the candidates with their answers: to all images, or as far as these show that one is surely worse."""
    count, left = len(images.labels), list(range(len(attempts)))
    for end in [*(part for part in _PARTS if 2 * part <= count), count]:
        for number, place in enumerate(left):
            attempts[place] = _answered(attempts[place], inputs.network, images, end)
            ctx.progress(len(left) * (end - 1) + number + 1, len(left) * count, "images")
        level = _level(attempts, images.labels, _SURE, end)
        level = sorted(level, key=lambda each: each.rank(images.labels, end), reverse=True)[:_MOST_LEFT]
        left = [place for place in left if attempts[place] in level]
        if len(level) == 1 and _beats_chance(level[0], images, len(attempts)):
            break
    most = max(len(each.predicted) for each in attempts)  # one may have answered more before
    return [
        _answered(each, inputs.network, images, most) if place in left else each for place, each in enumerate(attempts)
    ]


def _answered(attempt: _Attempt, given: NetworkFile, images: _Images, end: int) -> _Attempt:
    """Return a candidate with its answers to all images before `end`, or why it cannot answer."""
    if attempt.problem or len(attempt.predicted) >= end:
        return attempt
    made = images.preprocessing
    batch = max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // made.size**2))
    try:
        network = checkpoint.network_of(given, attempt.candidate)
        models.check_answer(network, attempt.candidate, made.size)
    except ModelError as problem:
        return replace(attempt, problem=problem)
    answers, certainty = [attempt.predicted], [attempt.certainty]
    with torch.no_grad():
        for start in range(len(attempt.predicted), end, batch):
            part = slice(start, min(start + batch, end))
            logits = network(torch.from_numpy(made.normalize(images.pixels[part])))
            answers.append(logits.argmax(1).numpy())
            chances = logits.double().log_softmax(1).numpy()
            certainty.append(chances[np.arange(len(chances)), images.labels[part]])
    return replace(attempt, predicted=np.concatenate(answers), certainty=np.concatenate(certainty))


def _level(attempts: Sequence[_Attempt], labels: np.ndarray, p: float, end: int | None = None) -> list[_Attempt]:
    """Return the best candidate, and those that are worse by no more than chance explains (exact McNemar).

    `end`: on the images before it; else on as many as the best has answered.
    """
    able = [each for each in attempts if each.problem is None]
    if not able:
        raise attempts[0].problem or AssertionError
    end = end or max(len(each.predicted) for each in able)
    running = [(each, each.correct(labels)[:end]) for each in able if len(each.predicted) >= end]
    _, best = max(running, key=lambda pair: int(pair[1].sum()))
    limit = p / max(1, len(able) - 1)
    return [
        each
        for each, correct in running
        if intervals.mcnemar(int((best & ~correct).sum()), int((correct & ~best).sum())) >= limit
    ]


def _surest(level: list[_Attempt]) -> list[_Attempt]:
    """Return the candidate that gives the labels the highest probability on average, and those that do not give them a
    lower one, as far as these images show (paired z-test of logarithms).

    Two candidates may have the same answers and other logits: training made the labels probable for one of them. Larger
    logits alone are surer of most labels, but lose more where they are wrong.
    """
    best = max(level, key=lambda each: float(each.certainty.mean()))
    limit = _SHOWN / max(1, len(level) - 1)
    return [each for each in level if _p_of_mean(best.certainty - each.certainty) >= limit]


def _p_of_mean(differences: np.ndarray) -> float:
    """Return how probable such a mean is where the true one is zero; 1 where too few images differ."""
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if np.count_nonzero(differences) < _FEWEST_DIFFERENT or not spread:
        return 1.0
    return math.erfc(abs(float(differences.mean())) * math.sqrt(len(differences) / 2) / spread)


def _beats_chance(attempt: _Attempt, images: _Images, among: int) -> bool:
    """Return whether a candidate is better than chance, which had a try with each of them."""
    labels = images.labels[: len(attempt.predicted)]
    return intervals.better_than_chance(labels, attempt.predicted, images.classes, _CHANCE / max(1, among))


def _is_good(attempt: _Attempt, images: _Images) -> bool:
    """Return whether answers are nearer to all correct ones than to those of chance."""
    labels = images.labels[: len(attempt.predicted)]
    chance = intervals.chance_of(labels, attempt.predicted, images.classes)
    return float(attempt.correct(images.labels).mean()) > (1 + chance) / 2


def _may_beat_chance(attempt: _Attempt, images: _Images) -> bool:
    """Return whether more images might show that: something speaks for it, or a good network could answer these so."""
    labels, count = images.labels[: len(attempt.predicted)], len(attempt.predicted)
    chance = intervals.chance_of(labels, attempt.predicted, images.classes)
    correct = int(attempt.correct(images.labels).sum())
    unlikely = intervals.at_least(correct, count, chance) < _LIKELY_CHANCE
    return unlikely or intervals.wilson(correct, count).high > (1 + chance) / 2


def _candidate(attempt: _Attempt, labels: np.ndarray) -> Candidate:
    problem = attempt.problem.message if attempt.problem else ""
    return Candidate(attempt.arch, len(attempt.predicted), int(attempt.correct(labels).sum()), problem)


def _warn(found: RecogniseNotes, level: Sequence[_Attempt], ctx: Context) -> None:
    """Report what the images do not show: that the network is better than chance, or than another candidate."""
    if not found.better_than_chance:
        several = len(found.candidates) > 1
        none = "no candidate is clearly" if several else "the network that was recognised is not clearly"
        most_usual = "The most usual one is used: " if several else ""
        ctx.warn(
            "recognised-at-chance",
            f"{none} better than chance. {most_usual}{found.sentence()}. "
            "Class order, preprocessing or architecture may differ from the training: `edgeresnet diagnose` finds out",
        )
    elif not found.shown:
        others = ", ".join(names.unlike(found.arch, each.arch) for each in level[1:])
        ctx.warn(
            "recognised-by-convention",
            f"these images do not tell {found.arch} from {others}. The most usual of these is used: "
            f"{found.sentence()}. Set `model.arch` if it is another",
        )
