"""Classification: one class per image. Its metric is top-1, and images are lost or won one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArtifactError
from .. import inference, limits, probabilities
from ..codec import CodecError
from ..frozen import dataclass
from ..intervals import Z95, better_than_chance, mcnemar, wilson
from ..result import Accuracy, Measured, Variant
from . import TaskName
from .class_accuracy import TOP1
from .image_scores import ScoreName
from .task import AGAIN, Change, ClassAccuracy, Compare, OnHub, Outputs, Seen

_LABELS, _EXPECTED = "labels.npy", "expected.npy"


@dataclass(frozen=True)
class Classification:
    """Labels are one number per image; what is kept of a network's answers are its logits, images × classes."""

    name: TaskName = "classification"
    flipped: str = "answers"
    has_masks: bool = False
    has_boxes: bool = False
    drawn: str = ""
    legend: str = ""
    score_name: ScoreName = TOP1
    class_score: str = "recall"
    on_hub: OnHub = OnHub("image-classification", "accuracy", "A classifier of images")
    promises: tuple[str, ...] = (
        "max_drop_pp",
        "min_top1_pct",
        "min_recall_pct",
        "max_flips_pct",
        "max_confidence_change",
    )

    def batch(self, outputs: Outputs, most: int) -> int:
        return most

    def kept(self, answer: np.ndarray, outputs: Outputs) -> np.ndarray:
        return answer

    def joined(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts)

    def arrays(self, given: np.ndarray) -> dict[str, np.ndarray]:
        return {"": given}

    def restored(self, array: Callable[[str], np.ndarray]) -> np.ndarray:
        return array("")

    def classes_of(self, expected: np.ndarray) -> int:
        return int(expected.shape[1])

    def answers_in_words(self, outputs: Outputs) -> str:
        return f"It answers with {outputs.classes} logits, in the order of `labels.txt`"

    def labels(self, samples: Any, indices: np.ndarray) -> np.ndarray:
        return np.asarray(samples.labels[indices])

    def write_labels(self, labels: np.ndarray, folder: Path) -> None:
        np.save(folder / _LABELS, labels)

    def read_labels(self, folder: Path) -> np.ndarray | None:
        known = (folder / _LABELS).is_file()
        return np.asarray(np.load(folder / _LABELS, mmap_mode="r", allow_pickle=False)) if known else None

    def write_expected(self, expected: np.ndarray, folder: Path) -> None:
        np.save(folder / _EXPECTED, expected)

    def read_expected(self, folder: Path) -> np.ndarray:
        return np.asarray(np.load(folder / _EXPECTED, mmap_mode="r", allow_pickle=False))

    def against(self, expected: np.ndarray, labels: np.ndarray | None, outputs: Outputs) -> Compare:
        return lambda given: compare(expected, given, labels)

    def of_variant(self, expected: np.ndarray, given: np.ndarray) -> dict[str, Any]:
        return {
            "predicted": tuple(given.argmax(1).tolist()),
            "probabilities": probabilities.of(expected, given),
        }

    def of_result(self, expected: np.ndarray, labels: np.ndarray | None, outputs: Outputs) -> dict[str, Any]:
        return {
            "labels": None if labels is None else tuple(labels.tolist()),
            "reference_predicted": tuple(expected.argmax(1).tolist()),
            "reference_probabilities": probabilities.of_reference(expected),
        }

    def changed(self, one: np.ndarray, other: np.ndarray) -> int:
        return int((one.argmax(1) != other.argmax(1)).sum())

    def seen(self, given: np.ndarray, outputs: Outputs, number: int = 0) -> Seen:
        return Seen(probabilities.softmax(given[number]))

    def labels_seen(self, labels: np.ndarray, outputs: Outputs) -> Seen:
        return Seen(np.eye(outputs.classes)[labels[0]])

    def has_labels(self, measured: Measured) -> bool:
        return measured.labels is not None

    def check(self, measured: Measured) -> None:
        for name, each in measured.every().items():
            if not isinstance(each.accuracy, Accuracy):
                raise CodecError(f"{name}.accuracy", "is one of masks, but the task is classification")
        count = len(measured.reference_predicted)
        known = measured.classes or measured.has_labels
        last = len(measured.classes) - 1 if known else limits.MANY  # the number of a class
        answers = {f"{name}.predicted": each.predicted for name, each in measured.every().items()}
        answers |= {"reference_predicted": measured.reference_predicted}
        answers |= {} if measured.labels is None else {"labels": measured.labels}
        for name, found in answers.items():
            if len(found) != count:
                raise CodecError(name, f"has {len(found)} entries for {count} images")
            limits.check_all(measured, 0, last, name, found)
        _check_probabilities(measured)

    def check_counts(
        self, measured: Measured, expected: np.ndarray, labels: np.ndarray | None, outputs: Outputs
    ) -> None:
        first = expected.argmax(1)
        known = None if labels is None else tuple(labels.tolist())
        if measured.labels != known or measured.reference_predicted != tuple(first.tolist()):
            raise ArtifactError("its images", "are not the bundle's", hint=AGAIN)
        _check_reference(measured, expected)
        for name, variant in measured.every_build():
            if len(variant.predicted) != len(first):
                raise ArtifactError(f"{name}'s answers", f"are not one for each of {len(first)} images", hint=AGAIN)
            found, counted = variant.accuracy, counts(first, np.asarray(variant.predicted), labels)
            assert isinstance(found, Accuracy)
            if replace(found, top5=None, sqnr_db=None) != counted:
                raise ArtifactError(f"{name}'s counts", "do not follow from its answers", hint=AGAIN)
            if (found.top5 is None) != (counted.top1 is None):
                raise ArtifactError(f"{name}'s counts", "are not those of this bundle's images", hint=AGAIN)

    def no_better_than_chance(self, measured: Measured) -> bool:
        classes = len(measured.classes)
        return not better_than_chance(measured.labels or (), measured.reference_predicted, classes)

    def chance_sentence(self, measured: Measured) -> str:
        if not measured.labels or not measured.classes or not self.no_better_than_chance(measured):
            return ""
        answers = measured.reference_predicted
        correct = sum(one == other for one, other in zip(measured.labels, answers, strict=True))
        return (
            f"FP32 answers {correct} of {len(answers)} images correctly: not clearly better than chance. "
            "Class order, preprocessing or architecture may differ from the training: `edgeresnet diagnose` finds out."
        )

    def finest(self, images: int, z: float = Z95) -> float:
        return wilson(0, images, z).high

    def only_answer(self, measured: Measured) -> str:
        given = measured.shipped.predicted
        return f"{measured.classes[given[0]]} for every image" if len(given) > 1 and len(set(given)) == 1 else ""

    def change(self, before: Measured, now: Measured, variant: str) -> Change:
        labels = None if before.labels is None else np.asarray(before.labels)
        one, other = (np.asarray(each.variants[variant].predicted) for each in (before, now))
        found = counts(one, other, labels)
        if not found.has_labels:
            return Change(found.images, found.agree)
        known = found.top1, found.lost, found.won, found.drop_pp
        return Change(found.images, found.agree, *known, found.drop_interval_pp())

    def details(self, measured: Measured, variant: str) -> list[str]:
        found = measured.variants[variant].accuracy
        assert isinstance(found, Accuracy)
        assert found.lost is not None
        assert found.won is not None
        scores = [each.of.score_pct for each in self.classes(measured, variant) if each.of.images]
        top5 = [] if found.top5 is None else [f"top-5 {100 * found.top5 / max(found.images, 1):.2f} %"]
        return [
            *top5,
            f"McNemar p {mcnemar(found.lost, found.won):.3g}",
            f"balanced accuracy {sum(scores) / max(len(scores), 1):.2f} %",
        ]

    def builds_agree(self, builds: Sequence[Variant]) -> str:
        answers = np.asarray([build.predicted for build in builds])
        same = 100 * float((answers == answers[0]).all(axis=0).mean())
        return f", all builds agree on {same:.2f} % of the images"

    def classes(self, measured: Measured, variant: str = "") -> list[ClassAccuracy]:
        labels = np.asarray(measured.labels, dtype=np.int64)
        predicted = np.asarray(measured.variants[variant or measured.ships].predicted)
        before, now = np.asarray(measured.reference_predicted) == labels, predicted == labels

        def per_class(chosen: np.ndarray) -> list[int]:
            return np.bincount(labels[chosen], minlength=len(measured.classes)).tolist()

        every = np.ones(len(labels), bool)
        columns = map(per_class, (every, now, before & ~now, now & ~before))
        return [
            ClassAccuracy(label, Accuracy(images, images - lost - won, top1=correct, lost=lost, won=won))
            for label, images, correct, lost, won in zip(measured.classes, *columns, strict=True)
        ]


def compare(reference: np.ndarray, candidate: np.ndarray, labels: np.ndarray | None) -> Accuracy:
    """Compare logits with the reference's. Without labels, only how far the answers are from the reference's."""
    found = replace(
        counts(reference.argmax(1), candidate.argmax(1), labels),
        sqnr_db=inference.sqnr_db(reference, candidate),
    )
    return found if labels is None else replace(found, top5=_top5(candidate, labels))


def counts(expected: np.ndarray, given: np.ndarray, labels: np.ndarray | None) -> Accuracy:
    """Count what follows from the first answer to each image alone."""
    if given.shape != expected.shape:
        raise ValueError(f"{len(given)} answers to {len(expected)} images")
    images, agree = len(given), int((expected == given).sum())
    if labels is None:
        return Accuracy(images, agree)
    before, now = expected == labels, given == labels
    lost, won = int((before & ~now).sum()), int((~before & now).sum())
    return Accuracy(images, agree, top1=int(now.sum()), lost=lost, won=won)


def _top5(logits: np.ndarray, labels: np.ndarray) -> int:
    k = min(5, logits.shape[1])
    best = np.argpartition(-logits, k - 1, axis=1)[:, :k]
    return int((best == labels[:, None]).any(1).sum())


def _check_probabilities(measured: Measured) -> None:
    """Refuse probabilities that are not one for each image, and for each other answer than the reference's."""
    limits.check_all(measured, 0, 1, "reference_probabilities", measured.reference_probabilities)
    builds = [*measured.every().items(), *((f"{measured.ships} (rebuilt)", each) for each in measured.rebuilds)]
    known = [(name, each.probabilities, each.predicted) for name, each in builds if each.probabilities]
    count = len(measured.reference_predicted)
    if known and len(measured.reference_probabilities) != count:
        raise CodecError("reference_probabilities", "are not one for each image")
    for name, found, predicted in known:
        assert found is not None
        others = sum(now != before for now, before in zip(predicted, measured.reference_predicted, strict=False))
        if (len(predicted), len(found.own), len(found.reference)) != (count, count, others):
            raise CodecError(f"{name}.probabilities", "are not one for each answer")


def _check_reference(measured: Measured, expected: np.ndarray) -> None:
    """Refuse other probabilities of the reference than its logits give. Code of an older edgeresnet gives none."""
    found = np.asarray(measured.reference_probabilities)
    wanted = np.asarray(probabilities.of_reference(expected))
    if len(found) and (found.shape != wanted.shape or np.abs(found - wanted).max() > 1e-5):
        raise ArtifactError("the reference's probabilities", "do not follow from its answers", hint=AGAIN)


TASK = Classification()
