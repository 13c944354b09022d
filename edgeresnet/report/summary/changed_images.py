"""Which images are answered differently than in FP32, and how often each way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ...portable.frozen import dataclass
from ...portable.result import Accuracy, Measured


@dataclass(frozen=True)
class ChangedImage:
    """One image: its number, its label, FP32's answer, and each target's."""

    number: int
    label: str
    before: str
    now: Mapping[str, str]


def changed_images(measured: Sequence[Measured]) -> list[ChangedImage]:
    """Return the images that what would ship answers differently, those first that most targets lost."""
    lost: Counter[int] = Counter()
    other: Counter[int] = Counter()
    for result in _labelled(measured):
        before, now = np.asarray(result.reference_predicted), np.asarray(result.shipped.predicted)
        labels = np.asarray(result.labels)
        differ = before != now
        lost.update(np.flatnonzero(differ & (before == labels)).tolist())
        other.update(np.flatnonzero(differ & (before != labels)).tolist())
    numbers = sorted({*lost, *other}, key=lambda number: (-lost[number], -other[number], number))
    return [_changed(_labelled(measured), number) for number in numbers]


def changes_sentence(measured: Sequence[Measured]) -> str:
    """Return how many images each target lost and won, and how many stay incorrect with another answer."""
    return "; ".join(
        f"on {result.target} {accuracy.lost} lost, {accuracy.won} won, "
        f"{accuracy.images - accuracy.agree - (accuracy.lost or 0) - (accuracy.won or 0)} incorrect both times"
        for result in _labelled(measured)
        if isinstance(accuracy := result.shipped.accuracy, Accuracy)
    )


def _labelled(measured: Sequence[Measured]) -> list[Measured]:
    return [result for result in measured if result.labels]


def _changed(labelled: Sequence[Measured], number: int) -> ChangedImage:
    first = labelled[0]
    assert first.labels is not None
    label, before = first.classes[first.labels[number]], first.classes[first.reference_predicted[number]]
    now = {result.target: result.classes[result.shipped.predicted[number]] for result in labelled}
    return ChangedImage(number, label, before, now)
