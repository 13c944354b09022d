"""The answers of a Session over many images, and how they compare with expected ones.

Knows neither files nor recipes: batches come in, logits and counts go out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ..errors import TargetError
from .session import Session
from .tasks.task import Given, Outputs

BATCH = 32
CLASSES = Outputs()  # one class per image
REPEATED = 1e-3  # the largest change between two answers to the same image, as a part of the largest logit


def predict(
    session: Session,
    batches: Iterable[np.ndarray],
    on_batch: Callable[[int], None] | None = None,
    *,
    before: int = 0,
    repeat: bool = True,
    outputs: Outputs = CLASSES,
) -> Given:
    """Return what is kept of the answers to every image, in order. An unexpected shape, NaN or infinity ends the
    evaluation.

    With `repeat`, the first batch is evaluated again at the end: a network whose answers change has no accuracy to
    speak of. `before` is how many images of the set come before these.
    """
    found: list[Given] = []
    first: tuple[np.ndarray, np.ndarray] | None = None
    seen = before
    for batch in batches:
        answer = infer(session, batch, first=seen)
        first = (batch, answer) if first is None else first
        found.append(outputs.kept(answer))
        seen += len(batch)
        if on_batch:
            on_batch(len(batch))
    if first is None:
        return outputs.kept(np.empty((0, *session.signature.answer), np.float32))
    if repeat:
        _check_repeated(first[1], infer(session, first[0]), before)
    return outputs.joined(found)


def infer(session: Session, batch: np.ndarray, *, first: int = 0) -> np.ndarray:
    """Return the checked answer to one batch, which is split or filled up to what the network takes at once."""
    about = session.signature
    least, most = (about.batch, about.batch) if about.batch else (about.least, about.most or len(batch))
    if least <= len(batch) <= most:
        return _checked(session.infer(batch), len(batch), about.answer, first)
    parts = []
    for start in range(0, len(batch), most):
        part = batch[start : start + most]
        filled = np.concatenate([part, np.repeat(part[-1:], max(0, least - len(part)), axis=0)])
        answer = _checked(session.infer(filled), len(filled), about.answer, first + start)
        parts.append(answer[: len(part)])
    return np.concatenate(parts)


def sqnr_db(reference: np.ndarray, candidate: np.ndarray) -> float | None:
    """Return 10·log10(Σy² / Σ(y−ŷ)²) over all logits of all images; None where there is no difference at all."""
    signal = np.square(reference, dtype=np.float64).sum()
    return decibels(signal, np.square(reference.astype(np.float64) - candidate).sum())


def decibels(signal: float, noise: float) -> float | None:
    """Convert two sums of squares to decibels; None where there is no noise at all."""
    return float(10 * np.log10(max(signal, 1e-300) / noise)) if noise else None


def _check_repeated(once: np.ndarray, again: np.ndarray, first: int) -> None:
    """Refuse answers that changed by more than the last digits: threads may add in another order."""
    difference = np.abs(once - again).reshape(len(once), -1).max(axis=1)
    image = int(difference.argmax())
    if difference[image] > REPEATED * max(float(np.abs(once).max()), 1e-12):
        raise TargetError(
            "the network",
            f"gave other logits when image {first + image} was evaluated again: they differ by "
            f"{difference[image]:.3g}, the largest is {np.abs(once).max():.3g}",
            hint="its results depend on earlier inferences or on damaged memory: they cannot be judged",
        )


def _checked(answer: np.ndarray, images: int, sides: tuple[int, ...], first: int) -> np.ndarray:
    if answer.shape != (images, *sides):
        raise TargetError(
            "the network",
            f"returned logits of shape {answer.shape} instead of {(images, *sides)}, from image {first} on",
            hint="the compiled network differs from the traced one: compile again with `--again compile`",
        )
    finite = np.isfinite(answer).reshape(images, -1).all(axis=1)
    if not finite.all():
        image = first + int(np.argmin(finite))
        raise TargetError(
            "the network",
            f"returned NaN or infinity for image {image}",
            hint="a value was too large for its type: try `float_parts: f32`, or check this image",
        )
    return answer
