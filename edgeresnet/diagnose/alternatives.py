"""What is tried in place of the preprocessing that was given: a table in words, one change at a time. Runs no network.

Every alternative is a `Preprocessing` that a recipe can hold.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from itertools import product, starmap
from typing import NamedTuple, TypedDict

import numpy as np

from ..errors import EdgeresnetError
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


class Fields(TypedDict, total=False):
    """Fields of a Preprocessing that get other values."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: str
    crop: str
    resize: int | None
    interpolation: str


class Choice(NamedTuple):
    """Other values of some fields, a word for each change; no words for what was given."""

    words: tuple[str, ...]
    fields: Fields


AS_GIVEN = Choice((), {})


@dataclass(frozen=True)
class Axes:
    """What can be chosen independently of each other. Each begins with what was given."""

    colours: tuple[Choice, ...]
    crops: tuple[Choice, ...]
    interpolations: tuple[Choice, ...]

    @staticmethod
    def around(given: Preprocessing, *, mean_given: bool) -> Axes:
        """Return the choices around a preprocessing. Without `mean_given` its mean and std are only stand-ins."""
        return Axes(colours(given, mean_given=mean_given), crops(given), interpolations(given))


class Alternative(NamedTuple):
    """One choice on each axis: another preprocessing, and its name in words."""

    colours: Choice = AS_GIVEN
    crop: Choice = AS_GIVEN
    interpolation: Choice = AS_GIVEN

    @property
    def changes(self) -> tuple[str, ...]:
        return tuple(word for choice in self for word in choice.words)

    @property
    def name(self) -> str:
        return ", ".join(self.changes) or "as given"

    def applied_to(self, given: Preprocessing) -> Preprocessing:
        """Return the given preprocessing with these changes."""
        for choice in self:
            given = replace(given, **choice.fields)
        return given


def named(axes: Axes, name: str) -> Alternative:
    """Return the alternative of this name. Another name is refused."""
    every = {each.name: each for each in starmap(Alternative, product(axes.colours, axes.crops, axes.interpolations))}
    if name not in every:
        near = difflib.get_close_matches(name, every, 1, 0.4)
        hint = f"did you mean {near[0]!r}?" if near else "names are in the table that `edgeresnet diagnose` prints"
        raise EdgeresnetError(repr(name), "is not a candidate for this network", hint=hint)
    return every[name]


def stand_in(channels: int) -> Numbers:
    """Return the mean and std that stand in where none were given: the first of those that are tried."""
    return (COLOUR if channels == 3 else GRAY)[0]


def colours(given: Preprocessing, *, mean_given: bool) -> tuple[Choice, ...]:
    """Return every mean and std in both orders of the channels.

    A known mean follows its colour when the order changes; given numbers stay where they were written.
    """
    found: list[Choice] = []
    orders = ("bgr", "rgb") if given.order == "bgr" else ("rgb", "bgr")
    for order in orders if given.channels == 3 else orders[:1]:
        turned = (order.upper(),) if order != given.order else ()
        if mean_given:
            mean, std = (tuple(value / _LEVELS for value in values) for values in (given.mean, given.std))
            found.append(Choice(turned, {"order": order} if turned else {}))
            words = ("the given numbers divided by 255", *turned)
            found.append(Choice(words, {"mean": mean, "std": std, "order": order}))
        step = -1 if order == "bgr" else 1
        for known in COLOUR if given.channels == 3 else GRAY:
            fields = Fields(mean=known.mean[::step], std=known.std[::step], order=order)
            found.append(Choice((known.words, *turned), fields))
    return _distinct(found, given)


def crops(given: Preprocessing) -> tuple[Choice, ...]:
    """Return how a photograph can become a square."""
    found = [AS_GIVEN]
    center = [round(given.size * border) for border in _BORDERS]
    for side in (given.size, *center):
        words = (
            f"shorter side {side}, then cropped" if side != given.size else f"shorter side {side}, no border cropped"
        )
        found.append(Choice((words,), {"crop": "center", "resize": side}))
    found.append(Choice(("squashed to a square",), {"crop": "squash", "resize": None}))
    now = _crop(given)
    return tuple(choice for choice in found if not choice.words or _crop(replace(given, **choice.fields)) != now)


def interpolations(given: Preprocessing) -> tuple[Choice, ...]:
    """Return the given interpolation, then the others."""
    others = [word for word in INTERPOLATIONS if word != given.interpolation]
    return (AS_GIVEN, *(Choice((word,), {"interpolation": word}) for word in others))


def _crop(preprocessing: Preprocessing) -> tuple[str, int]:
    cropped = preprocessing.crop == "center"
    return preprocessing.crop, preprocessing.resize or preprocessing.size if cropped else preprocessing.size


def _distinct(choices: list[Choice], given: Preprocessing) -> tuple[Choice, ...]:
    """Return the choices without those that equal an earlier one."""
    distinct: list[Choice] = []
    known: list[tuple[str, np.ndarray]] = []
    for choice in choices:
        made = replace(given, **choice.fields)
        numbers = np.asarray([made.mean, made.std])
        if not any(made.order == order and np.allclose(numbers, n, rtol=_SAME, atol=1e-6) for order, n in known):
            distinct.append(choice)
            known.append((made.order, numbers))
    return tuple(distinct)
