"""What a task is, as the interface of its members. Knows none of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, get_args

import numpy as np

from ..frozen import dataclass
from ..intervals import Z95, Interval
from . import DEFAULT, TaskName, member
from .average_precision import Detected
from .image_scores import ScoreName
from .two_stage import AnyDetector, SecondStage, TwoStage

if TYPE_CHECKING:
    from ..result import AnyAccuracy, Measured, Variant

Given: TypeAlias = Any  # what a network gave, as far as it is kept; each task has its own type, and all have a length
Labels: TypeAlias = Any  # of images; each task has its own type
Compare: TypeAlias = "Callable[[Given], AnyAccuracy]"


AGAIN = "run deploy.py again on the device"


class OnHub(NamedTuple):
    """What Hugging Face's hub calls a task and its metric, and what a card calls the network."""

    tag: str
    metric: str
    words: str


class Scored(Protocol):
    """How good answers are, before and now, and what that loses. Only with labels."""

    @property
    def images(self) -> int: ...
    @property
    def before_pct(self) -> float: ...
    @property
    def score_pct(self) -> float: ...
    @property
    def drop_pp(self) -> float: ...

    def before_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval: ...
    def score_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval: ...
    def drop_interval_pp(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the paired interval of the points lost; `times` as many images like these give its multiple."""


class ClassAccuracy(NamedTuple):
    """One class, and how well it is found."""

    label: str
    of: Scored


class Seen(NamedTuple):
    """What a network sees in one image: how much of each class, from 0 to 1; and where, as far as it answers that."""

    classes: np.ndarray
    mask: np.ndarray | None = None
    boxes: Detected | None = None
    crowd: np.ndarray | None = None  # of boxes that are labels: those that count neither for nor against a network


class Change(NamedTuple):
    """What one run's answers lose against another's, image by image; None: it is not known."""

    images: int
    agree: int | None = None  # images with the same answer
    correct: int | None = None
    lost: int | None = None  # images
    won: int | None = None
    drop_pp: float | None = None
    interval: Interval | None = None


class Task(Protocol):
    """What labels are, how outputs become predictions, which metric there is, and how two networks are compared."""

    @property
    def name(self) -> TaskName: ...

    @property
    def flipped(self) -> str:
        """The word for what changes between two networks: "answers"."""

    @property
    def has_masks(self) -> bool:
        """Whether labels are masks: one class for each pixel."""

    @property
    def has_boxes(self) -> bool:
        """Whether labels are boxes: any number of them in an image, each with a class."""

    @property
    def drawn(self) -> str:
        """The word for answers that are drawn over their image: "masks"; empty: none is."""

    @property
    def legend(self) -> str:
        """What the colours of these mean, in sentences; may be empty."""

    @property
    def score_name(self) -> ScoreName:
        """What the metric is called."""

    @property
    def class_score(self) -> str:
        """What the metric of one class is called: "recall"."""

    @property
    def on_hub(self) -> OnHub: ...

    @property
    def promises(self) -> tuple[str, ...]:
        """The promises about answers that a recipe of this task may have."""

    # What a network gave

    def batch(self, outputs: Outputs, most: int) -> int: ...
    def kept(self, answer: np.ndarray, outputs: Outputs) -> Given: ...
    def joined(self, parts: Sequence[Given]) -> Given: ...
    def arrays(self, given: Given) -> dict[str, np.ndarray]: ...
    def restored(self, array: Callable[[str], np.ndarray]) -> Given: ...

    def classes_of(self, expected: Given) -> int:
        """Return how many classes the answers are of, where no label shows it."""

    def answers_in_words(self, outputs: Outputs) -> str:
        """Return what a network answers with, for people who call it: a sentence without its full stop."""

    # Labels

    def labels(self, samples: Any, indices: np.ndarray) -> Labels | None:
        """Return the labels of some images; None where they have none."""

    def write_labels(self, labels: Labels, folder: Path) -> None:
        """Write labels for a device."""

    def read_labels(self, folder: Path) -> Labels | None:
        """Read what `write_labels` wrote; None where nothing was written."""

    def write_expected(self, expected: Given, folder: Path) -> None:
        """Write the reference's answers for a device."""

    def read_expected(self, folder: Path) -> Given:
        """Read what `write_expected` wrote."""

    # Comparing

    def against(self, expected: Given, labels: Labels | None, outputs: Outputs) -> Compare:
        """Return the function that compares answers with the reference's."""

    def of_variant(self, expected: Given, given: Given) -> dict[str, Any]:
        """Return what a variant records of each image."""

    def of_result(self, expected: Given, labels: Labels | None, outputs: Outputs) -> dict[str, Any]:
        """Return what a result records of each image: labels, and the reference's answers."""

    def changed(self, one: Given, other: Given) -> int:
        """Return how many images have another answer, any part of it."""

    def seen(self, given: Given, outputs: Outputs, number: int = 0) -> Seen:
        """Return what a network sees in an image."""

    def labels_seen(self, labels: Labels, outputs: Outputs) -> Seen:
        """Return what the labels of the first image say, in the same form."""

    # Results

    def has_labels(self, measured: Measured) -> bool: ...

    def check(self, measured: Measured) -> None:
        """Refuse a result whose parts do not fit each other."""

    def check_counts(self, measured: Measured, expected: Given, labels: Labels | None, outputs: Outputs) -> None:
        """Refuse what a device measured on other images than a bundle's, or counts that its answers do not give."""

    def no_better_than_chance(self, measured: Measured) -> bool:
        """Return whether nothing shows that the reference's answers have to do with the images."""

    def chance_sentence(self, measured: Measured) -> str:
        """Return that the reference is not clearly better than chance, and what to do; empty where it is."""

    def only_answer(self, measured: Measured) -> str:
        """Return what ships answers always, as in "cat for every image"; empty where it answers several classes."""

    def change(self, before: Measured, now: Measured, variant: str) -> Change:
        """Compare a variant in two results of the same images."""

    def details(self, measured: Measured, variant: str) -> list[str]:
        """Return what else labels show of a variant, each a part of a sentence. Only with labels."""

    def builds_agree(self, builds: Sequence[Variant]) -> str:
        """Return how far builds of one network agree, as the end of a clause; empty where that is not known."""

    def finest(self, images: int, z: float = Z95) -> float:
        """Return the least part of a score that this number of images can rule out to be lost, whatever comes out."""

    def classes(self, measured: Measured, variant: str = "") -> list[ClassAccuracy]:
        """Return how well a variant (what would ship) finds each class, in order. Only with labels."""


@dataclass(frozen=True)
class Outputs:
    """How a network's answers are read. `size` is the side of an image. All but `task` matter to some tasks alone."""

    task: TaskName = DEFAULT
    classes: int = 0
    size: int = 0
    detector: AnyDetector | None = None
    second: SecondStage | None = None  # the weights of a detector's second stage

    @property
    def of_task(self) -> Task:
        return task_of(self.task)

    def with_second(self, folder: Path | None) -> Outputs:
        """Return it with the weights of the second stage, which are next to the network; None: there are none."""
        return replace(self, second=SecondStage.read(folder)) if folder else self

    def batch(self, most: int) -> int:
        """Return how many images to infer at once: their answers must fit into memory."""
        return self.of_task.batch(self, most)

    def kept(self, answer: np.ndarray) -> Given:
        """Return what is kept of the answer to one batch."""
        return self.of_task.kept(answer, self)

    def detections(self, answer: np.ndarray) -> list[Detected]:
        """Return the boxes that a detector's answer to some images has."""
        if isinstance(self.detector, TwoStage):
            assert self.second is not None, "its weights are not loaded"
            return self.detector.detections(answer, self.second)
        assert self.detector is not None, "this is of another task"
        return self.detector.detections(answer)

    def joined(self, parts: Sequence[Given]) -> Given:
        """Put the answers to several batches together, in order."""
        return self.of_task.joined(parts)

    def arrays(self, given: Given, name: str = "") -> dict[str, np.ndarray]:
        """Return answers as arrays, to be stored under a name."""
        return {f"{name}{key}": each for key, each in self.of_task.arrays(given).items()}

    def restored(self, stored: Any, name: str = "") -> Given:
        """Return answers that were stored under a name: `stored` maps names to arrays."""
        return self.of_task.restored(lambda key: stored[f"{name}{key}"])


@cache
def of_answers() -> frozenset[str]:
    """Return the promises about answers, of all tasks."""
    return frozenset(kind for name in get_args(TaskName) for kind in task_of(name).promises)


def outputs_of(measured: Measured, size: int) -> Outputs:
    """Return what the outputs of a result's networks mean; `size` is the side of an image."""
    return Outputs(measured.task, len(measured.classes), size, measured.detector)


def task_of(name: str) -> Task:
    """Return a task by its name."""
    found: Task = member(name)
    return found
