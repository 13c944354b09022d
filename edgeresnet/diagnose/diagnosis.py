"""The document of `edgeresnet diagnose`: what was tried, what is best, and how sure that is. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

# explained: something else explains the accuracy. fits: it is best where no mean and std were given. chance: it seemed
# better, and other images do not confirm it. nothing: nothing that was tried is better.
Outcome = Literal["explained", "fits", "chance", "nothing"]


@dataclass(frozen=True)
class Score:
    """How many images were answered correctly, with the 95 % interval of that proportion."""

    top1: int
    images: int
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.top1 / self.images


@dataclass(frozen=True)
class ImageCounts:
    """How many images there are, and how many of them were used for what. `requested` is `--count`."""

    there: int
    tried: int
    confirmed: int
    requested: int = field(metadata={"key": "asked"})


@dataclass(frozen=True)
class GivenPreprocessing(Score):
    """The preprocessing that was given, in a recipe's words, on the images that confirm."""

    mean_given: bool = field(metadata={"key": "said"})  # false: its mean and std are only stand-ins
    preprocessing: Mapping[str, object]


@dataclass(frozen=True)
class Tried:
    """One alternative on the images of the search: what it gained and lost, corrected for how many were tried."""

    name: str
    changes: tuple[str, ...]
    preprocessing: Mapping[str, object]
    images: int
    top1: int
    reordered_top1: int  # with the classes in another order
    won: int
    lost: int
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.top1 / self.images

    @property
    def gain(self) -> float:
        return (self.won - self.lost) / self.images


class Gain(NamedTuple):
    """A difference of two proportions, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Best(Score):
    """The best alternative on the images that confirm."""

    name: str
    changes: tuple[str, ...]
    write: Mapping[str, object]  # what a recipe's `preprocessing` would need instead
    preprocessing: Mapping[str, object]
    gain: Gain | None  # None: it is what was given
    alike: tuple[str, ...]  # alternatives that so few images do not tell apart from it


@dataclass(frozen=True)
class MovedClass:
    """A class folder whose images the network calls something else."""

    folder: str
    answer: int
    called: str
    correct: int = field(metadata={"key": "right"})
    images: int


@dataclass(frozen=True)
class ClassOrder:
    """Which folder is which of the network's classes."""

    moved: tuple[MovedClass, ...]
    straight_top1: int  # correct with the classes in the folders' order
    images: int


@dataclass(frozen=True)
class Diagnosis:
    """Why a network's accuracy may not be what was expected."""

    network: str
    outcome: Outcome
    classes: tuple[str, ...]
    classes_seen: int
    images: ImageCounts
    given: GivenPreprocessing
    tried: tuple[Tried, ...] = field(metadata={"key": "variants"})
    best: Best
    order: ClassOrder | None
    left: int  # how many alternatives no interval excludes on the images of the search
    least_gain: float  # the smallest gain that this number of images can show
    chance: float  # the accuracy of a network that always answers with the most frequent class
