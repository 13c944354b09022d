"""Which network weights are, where their tensors fit several: each of these is run on a few labelled images.

The best is taken. Where chance explains its distance to the likeliest, the likeliest is. Knows no tensors, and no
reasons why a network is a candidate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .. import models
from ..context import Context
from ..errors import ModelError
from ..images import Samples
from ..models import checkpoint
from ..notes import Candidate, RecogniseNotes
from ..portable import intervals, machine
from ..portable.preprocessing import Preprocessing
from ..store import write_bytes
from .candidates import RecogniseInputs, RecogniseSpec
from .specs import Architecture, NetworkFile

FILE = "answers.json"
_PARTS = (32, 64)  # images after which candidates that are surely worse are left out
# Largest p-values, for all candidates together: of a difference that ends a comparison early, and at the end of it;
# and of an accuracy that chance does not explain.
_SURE, _SHOWN, _CHANCE = 0.001, 0.05, 0.01
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
    predicted: np.ndarray
    certainty: np.ndarray  # the logarithm of each label's probability
    problem: ModelError | None = None

    @property
    def arch(self) -> str:
        return str(self.candidate.arch)

    def correct(self, labels: np.ndarray) -> np.ndarray:
        found: np.ndarray = self.predicted == labels[: len(self.predicted)]
        return found


def recognise(inputs: RecogniseInputs, spec: RecogniseSpec, out: Path, ctx: Context) -> RecogniseNotes:
    """Run each candidate on a few labelled images, and take the best of them."""
    torch.set_num_threads(machine.cores())
    images = _decoded(inputs.images.value, spec.seed)
    attempts = _compared(
        [_Attempt(each, np.empty(0, np.int64), np.empty(0)) for each in spec.candidates], inputs, images, ctx
    )
    level = _level(attempts, images.labels, _SHOWN)
    beats_chance = any(_beats_chance(each, images) for each in level)
    surest = _surest(level) if beats_chance else level
    by_certainty, level = len(surest) < len(level), surest
    taken = level[0] if beats_chance else next(each for each in attempts if each.problem is None)
    found = RecogniseNotes(
        arch=taken.arch,
        candidates=tuple(_candidate(each, images.labels) for each in attempts),
        shown=beats_chance and len(level) == 1,
        better_than_chance=beats_chance,
        by_certainty=by_certainty,
    )
    _warn(found, level, ctx)
    answers = {each.arch: each.predicted.tolist() for each in attempts}
    write_bytes(out / FILE, json.dumps({"labels": images.labels.tolist(), "answers": answers}).encode())
    return found


def better_than_chance(labels: np.ndarray, predicted: np.ndarray, classes: int) -> bool:
    """Return whether answers are better than such as have nothing to do with the images (exact binomial, one side).

    Those would be as often of each class as the answers are, or of each class equally often.
    """
    often = [np.bincount(each, minlength=classes) / max(len(labels), 1) for each in (labels, predicted)]
    chance = max(1 / classes, float(often[0] @ often[1]))
    return _at_least(int((labels == predicted).sum()), len(labels), chance) <= _CHANCE


def _at_least(hits: int, images: int, chance: float) -> float:
    """Return the probability of as many hits or more, where each image is one by this chance."""
    if hits == 0 or chance >= 1:
        return 1.0
    logs = [
        math.lgamma(images + 1) - math.lgamma(k + 1) - math.lgamma(images - k + 1)
        + k * math.log(chance) + (images - k) * math.log1p(-chance)
        for k in range(hits, images + 1)
    ]  # fmt: skip
    return min(1.0, sum(map(math.exp, logs)))


def _decoded(samples: Samples, seed: int) -> _Images:
    batches = list(replace(samples, store=None).batches(_AT_ONCE))  # decoded once: not worth storing
    pixels, labels = (np.concatenate([each[part] for each in batches]) for part in (1, 2))
    drawn = np.random.default_rng(seed).permutation(len(labels))
    return _Images(pixels[drawn], labels[drawn], samples.preprocessing, len(samples.classes))


def _compared(attempts: list[_Attempt], inputs: RecogniseInputs, images: _Images, ctx: Context) -> list[_Attempt]:
    """Return the candidates with their answers: to all images, or as far as these show that one is surely worse."""
    count, done = len(images.labels), 0
    for end in [*(part for part in _PARTS if 2 * part <= count), count]:
        left = _level(attempts, images.labels, _SURE)
        if done and len(left) == 1 and _beats_chance(left[0], images):
            break
        for number, attempt in enumerate(left):
            attempts[attempts.index(attempt)] = _answered(attempt, inputs.network, images, end)
            ctx.progress(len(left) * done + (number + 1) * (end - done), len(left) * count, "images")
        done = end
    return attempts


def _answered(attempt: _Attempt, given: NetworkFile, images: _Images, end: int) -> _Attempt:
    """Return a candidate with its answers to all images before `end`, or why it cannot answer."""
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


def _level(attempts: Sequence[_Attempt], labels: np.ndarray, p: float) -> list[_Attempt]:
    """Return the best candidate, and those that are worse by no more than chance explains (exact McNemar)."""
    able = [each for each in attempts if each.problem is None]
    if not able:
        raise attempts[0].problem or AssertionError
    most = max(len(each.predicted) for each in able)
    running = [(each, each.correct(labels)) for each in able if len(each.predicted) == most]
    _, best = max(running, key=lambda pair: int(pair[1].sum()))
    limit = p / max(1, len(able) - 1)
    return [
        each
        for each, correct in running
        if intervals.mcnemar(int((best & ~correct).sum()), int((correct & ~best).sum())) >= limit
    ]


def _surest(level: list[_Attempt]) -> list[_Attempt]:
    """Return the candidate that gives the labels most, and those that do not for fewer images (exact sign test).

    Two candidates may have the same answers and other logits: the network that was trained is surer of the labels.
    """
    best = max(level, key=lambda each: float(np.median(each.certainty)))
    limit = _SHOWN / max(1, len(level) - 1)

    def alike(each: _Attempt) -> bool:
        more, less = (int(part.sum()) for part in (best.certainty > each.certainty, best.certainty < each.certainty))
        return intervals.mcnemar(more, less) >= limit

    return [each for each in level if alike(each)]


def _beats_chance(attempt: _Attempt, images: _Images) -> bool:
    return better_than_chance(images.labels[: len(attempt.predicted)], attempt.predicted, images.classes)


def _candidate(attempt: _Attempt, labels: np.ndarray) -> Candidate:
    problem = attempt.problem.message if attempt.problem else ""
    return Candidate(attempt.arch, len(attempt.predicted), int(attempt.correct(labels).sum()), problem)


def _warn(found: RecogniseNotes, level: Sequence[_Attempt], ctx: Context) -> None:
    """Report what the images do not show: that the network is better than chance, or than another candidate."""
    if not found.better_than_chance:
        ctx.warn(
            "recognised-at-chance",
            f"no candidate is clearly better than chance. The most usual one is used: {found.sentence()}. "
            "Class order, preprocessing or architecture may differ from the training: `edgeresnet diagnose` finds out",
        )
    elif not found.shown:
        others = ", ".join(each.arch for each in level[1:])
        ctx.warn(
            "recognised-by-convention",
            f"these images do not tell {found.arch} from {others}. The most usual of these is used: "
            f"{found.sentence()}. Set `model.arch` if it is another",
        )
