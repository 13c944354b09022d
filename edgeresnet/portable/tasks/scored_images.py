"""What tasks have in common whose images have scores of their own: masks and boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np

from .. import inference
from ..codec import CodecError
from ..intervals import Z95
from ..result import Measured, Variant
from . import TaskName, resampling
from .agreement import Agreement
from .image_scores import ClassScores, ClassStatistics, Counted, ImageScores
from .task import Change, ClassAccuracy, Compare, Outputs

Given: TypeAlias = Any  # has `sampled`: raw answers, some of each image
Labels: TypeAlias = Any  # have `arrays` and `from_arrays`
_LABELS, _EXPECTED = "labels.npz", "expected.npz"


class ScoredImages:
    """A part of a Task: how labels are stored, how networks are compared, and what is read of results."""

    name: TaskName
    accuracy: ClassVar[type[Any]]  # of ImageScores
    counted: ClassVar[type[Any]]  # what that has before and now
    labelled: ClassVar[type[Any]]
    of_classes: ClassVar[ClassStatistics]

    # What each task has of its own

    def arrays(self, given: Given) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def restored(self, array: Callable[[str], np.ndarray]) -> Given:
        raise NotImplementedError

    def agreement(self, expected: Given, given: Given) -> Agreement:
        """Return how many parts of answers agree with the reference's, image by image."""
        raise NotImplementedError

    def numbers(self, given: Given) -> tuple[int, ...]:
        """Return the classes that any part of an answer has."""
        raise NotImplementedError

    def counts(self, labels: Labels, given: Given, outputs: Outputs) -> Counted:
        """Return what scores are computed from."""
        raise NotImplementedError

    def counts_of_others(self, labels: Labels, given: Given, outputs: Outputs) -> Counted:
        """Return the same of answers to other images than those of the labels."""
        raise NotImplementedError

    # Labels

    def write_labels(self, labels: Labels, folder: Path) -> None:
        np.savez(folder / _LABELS, allow_pickle=False, **labels.arrays())

    def read_labels(self, folder: Path) -> Labels | None:
        if not (folder / _LABELS).is_file():
            return None
        with np.load(folder / _LABELS, allow_pickle=False) as stored:
            return self.labelled.from_arrays(stored)

    def write_expected(self, expected: Given, folder: Path) -> None:
        np.savez(folder / _EXPECTED, allow_pickle=False, **self.arrays(expected))

    def read_expected(self, folder: Path) -> Given:
        with np.load(folder / _EXPECTED, allow_pickle=False) as stored:
            return self.restored(stored.__getitem__)

    # Comparing

    def against(self, expected: Given, labels: Labels | None, outputs: Outputs) -> Compare:
        before = None if labels is None else self.counts(labels, expected, outputs)

        def compare(given: Given) -> Any:
            known = expected.sampled.shape == given.sampled.shape and expected.sampled.size > 0
            return self.accuracy(
                agreement=self.agreement(expected, given),
                answers=self.numbers(given),
                before=before,
                now=None if labels is None else self.counts(labels, given, outputs),
                sqnr_db=inference.sqnr_db(expected.sampled, given.sampled) if known else None,
                has_sqnr=known,
            )

        return compare

    def of_variant(self, expected: Given, given: Given) -> dict[str, Any]:
        return {"predicted": ()}

    def of_result(self, expected: Given, labels: Labels | None, outputs: Outputs) -> dict[str, Any]:
        several = labels is not None and len(labels) > 1
        unrelated = self.counts_of_others(labels, expected, outputs) if several else None
        return {"labels": None, "reference_predicted": (), "unrelated": unrelated}

    def changed(self, one: Given, other: Given) -> int:
        return int((self.agreement(one, other).changed() > 0).sum())

    # Results

    def found(self, measured: Measured, variant: str = "") -> ImageScores:
        """Return a variant's accuracy, by default that of what would ship."""
        accuracy = measured.variants[variant or measured.ships].accuracy
        assert isinstance(accuracy, ImageScores)
        return accuracy

    def has_labels(self, measured: Measured) -> bool:
        return measured.shipped.accuracy.has_labels

    def check(self, measured: Measured) -> None:
        images, classes = measured.shipped.accuracy.images, len(measured.classes)
        for name, variant in measured.every().items():
            found = variant.accuracy
            if not isinstance(found, self.accuracy):
                raise CodecError(f"{name}.accuracy", f"is not one of {self.name}")
            if found.images != images:
                raise CodecError(f"{name}.accuracy", f"is of {found.images} images, not of {images}")
            if found.now is not None and found.now.classes != classes:
                raise CodecError(f"{name}.accuracy", f"is of {found.now.classes} classes, not of {classes}")
        if measured.labels is not None or measured.reference_predicted:
            raise CodecError("labels", f"are classes of images, but the task is {self.name}")
        other = measured.unrelated
        if other is not None and not isinstance(other, self.counted):
            raise CodecError("unrelated", f"is not of {self.name}")
        if other is not None and (other.images, other.classes) != (images, classes):
            raise CodecError("unrelated", "is of other images or classes")

    def no_better_than_chance(self, measured: Measured) -> bool:
        """Compare with the labels of other images: a network that does not look at its image is as good there."""
        found = self.found(measured)
        if found.before is None or measured.unrelated is None:
            return True
        low, _ = found.statistics.drop_interval(found.before, measured.unrelated, Z95, 1.0)
        return not low > 0

    def change(self, before: Measured, now: Measured, variant: str) -> Change:
        one, other = self.found(before, variant), self.found(now, variant)
        if one.now is None or other.now is None:
            return Change(one.images)
        paired = other.compared_with(one.now)
        return Change(one.images, None, None, paired.lost, paired.won, paired.drop_pp, paired.drop_interval_pp())

    def finest(self, images: int, z: float = Z95) -> float:
        return resampling.finest(images, z)

    def builds_agree(self, builds: Sequence[Variant]) -> str:
        return ""

    def classes(self, measured: Measured, variant: str = "") -> list[ClassAccuracy]:
        found = self.found(measured, variant)
        of = [ClassScores(found.before, found.now, number, self.of_classes) for number in range(len(measured.classes))]
        return [ClassAccuracy(label, each) for label, each in zip(measured.classes, of, strict=True)]
