"""What is tried in place of the preprocessing that was given: a table in words, one change at a time. Asks no network.

Every variant is a `Preprocessing` that a recipe can say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..portable.preprocessing import INTERPOLATIONS, Preprocessing

_LEVELS = 255.0
_SAME = 1e-3  # numbers that differ by less, as a part of them, are the same ones rounded


class Numbers(NamedTuple):
    """A mean and std that networks are trained with, in the order red, green, blue."""

    words: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = Numbers("ImageNet's mean and std", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CAFFE = tuple(level / _LEVELS for level in (123.68, 116.779, 103.939))
COLOUR = (
    IMAGENET,
    Numbers("pixels from 0 to 1", (0.0,) * 3, (1.0,) * 3),
    Numbers("pixels from -1 to 1", (0.5,) * 3, (0.5,) * 3),
    Numbers("pixels from 0 to 255", (0.0,) * 3, (1 / _LEVELS,) * 3),
    Numbers("Caffe's mean, pixels to 255", _CAFFE, (1 / _LEVELS,) * 3),
    Numbers("CIFAR-10's mean and std", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    Numbers("CIFAR-10's mean, std 0.2", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    Numbers("CIFAR-100's mean and std", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
)
GRAY = (
    Numbers("pixels from 0 to 1", (0.0,), (1.0,)),
    Numbers("pixels from -1 to 1", (0.5,), (0.5,)),
    Numbers("pixels from 0 to 255", (0.0,), (1 / _LEVELS,)),
    Numbers("MNIST's mean and std", (0.1307,), (0.3081,)),
    Numbers("FashionMNIST's mean and std", (0.2860,), (0.3530,)),
    Numbers("ImageNet's mean and std, gray", (0.449,), (0.226,)),
)
# The shorter side before the crop, as a part of the crop: what torchvision's and timm's recipes evaluate with.
_BORDERS = (256 / 224, 232 / 224)


class Choice(NamedTuple):
    """Some keys of a Preprocessing with other values, a word for each change; no words for what was given."""

    words: tuple[str, ...]
    keys: dict[str, Any]


AS_GIVEN = Choice((), {})


@dataclass(frozen=True)
class Axes:
    """What can be chosen independently of each other."""

    colours: tuple[Choice, ...]
    cuts: tuple[Choice, ...]
    interpolations: tuple[Choice, ...]

    @staticmethod
    def around(given: Preprocessing, *, said: bool) -> Axes:
        """Each begins with what was given; with `said` false its mean and std were not, and are none of the choices."""
        return Axes(colours(given, said=said), cuts(given), interpolations(given))


class Variant(NamedTuple):
    colours: Choice = AS_GIVEN
    cut: Choice = AS_GIVEN
    interpolation: Choice = AS_GIVEN

    @property
    def changes(self) -> tuple[str, ...]:
        return tuple(word for choice in self for word in choice.words)

    @property
    def name(self) -> str:
        return ", ".join(self.changes) or "as given"

    def of(self, given: Preprocessing) -> Preprocessing:
        return replace(given, **{key: value for choice in self for key, value in choice.keys.items()})


def stand_in(channels: int) -> Numbers:
    """The first of those that are tried where nothing was given."""
    return (COLOUR if channels == 3 else GRAY)[0]


def colours(given: Preprocessing, *, said: bool) -> tuple[Choice, ...]:
    """Every mean and std in both orders of the channels. A known mean goes with its colour when the order is turned;
    given numbers stay where they were written.
    """
    found: list[Choice] = []
    others = ("bgr", "rgb") if given.order == "bgr" else ("rgb", "bgr")
    for order in others if given.channels == 3 else others[:1]:
        turned = (order.upper(),) if order != given.order else ()
        if said:
            levels = {name: tuple(value / _LEVELS for value in getattr(given, name)) for name in ("mean", "std")}
            found.append(Choice(turned, {"order": order} if turned else {}))
            found.append(Choice(("these numbers for pixels to 255", *turned), {**levels, "order": order}))
        step = -1 if order == "bgr" else 1
        for known in COLOUR if given.channels == 3 else GRAY:
            keys = {"mean": known.mean[::step], "std": known.std[::step], "order": order}
            found.append(Choice((known.words, *turned), keys))
    return _unlike(found, given)


def cuts(given: Preprocessing) -> tuple[Choice, ...]:
    """How a photograph becomes a square."""
    found = [AS_GIVEN]
    center = [round(given.size * border) for border in _BORDERS]
    for side in (given.size, *center):
        words = f"shorter side {side}, then cropped" if side != given.size else f"shorter side {side}, no border cut"
        found.append(Choice((words,), {"crop": "center", "resize": side}))
    found.append(Choice(("squashed to a square",), {"crop": "squash", "resize": None}))
    now = _cut(given)
    return tuple(choice for choice in found if not choice.words or _cut(replace(given, **choice.keys)) != now)


def interpolations(given: Preprocessing) -> tuple[Choice, ...]:
    others = [word for word in INTERPOLATIONS if word != given.interpolation]
    return (AS_GIVEN, *(Choice((word,), {"interpolation": word}) for word in others))


def _cut(preprocessing: Preprocessing) -> tuple[str, int]:
    squashed = preprocessing.crop == "squash"
    return preprocessing.crop, preprocessing.size if squashed else preprocessing.resize or preprocessing.size


def _unlike(choices: list[Choice], given: Preprocessing) -> tuple[Choice, ...]:
    """Without those that say the same as one before them."""
    kept: list[Choice] = []
    known: list[tuple[str, np.ndarray]] = []
    for choice in choices:
        made = replace(given, **choice.keys)
        numbers = np.asarray([made.mean, made.std])
        if not any(made.order == order and np.allclose(numbers, n, rtol=_SAME, atol=1e-6) for order, n in known):
            kept.append(choice)
            known.append((made.order, numbers))
    return tuple(kept)
