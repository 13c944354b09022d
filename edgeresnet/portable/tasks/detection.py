"""Detection: objects with a box, a class and a score. Its metric is the mAP, over all images together.

A network answers with logits and offsets for each anchor; what becomes of these is `detector`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ...errors import ArtifactError, TargetError
from ..frozen import dataclass
from ..result import Measured
from . import TaskName, precision
from .agreement import Agreement
from .average_precision import Detected
from .box_accuracy import MAP, OF_CLASSES, BoxAccuracy
from .detector import COLUMNS, read_rows
from .image_scores import ClassStatistics, ScoreName
from .objects import Found, Objects
from .precision import Matched
from .scored_images import ScoredImages
from .task import AGAIN, OnHub, Outputs, Seen
from .two_stage import FILE as SECOND_STAGE
from .two_stage import TwoStage

_LARGEST = 1 << 26  # bytes of the answers to one batch
_ROWS, _NUMBERS = 1024, 1 << 17  # of an image's answer that are kept as they are, at most


@dataclass(frozen=True)
class Detections:
    """What a network gave: the boxes found in each image, and some rows of its answers as they were.

    `sampled` is images × rows × numbers, at a fixed lattice of anchors; without rows where a network answers boxes.
    """

    found: Found
    sampled: np.ndarray

    def __len__(self) -> int:
        return len(self.found)


@dataclass(frozen=True)
class Detection(ScoredImages):
    """Labels are boxes. Of a network's answers, the boxes found and some rows are kept."""

    name: TaskName = "detection"
    flipped: str = "boxes"
    has_masks: bool = False
    has_boxes: bool = True
    drawn: str = "boxes"
    legend: str = (
        "Boxes with a score of 0.5 or more are drawn. Labels are green. A box on an object of its class is blue, and "
        "any other is orange. Regions that count neither for nor against a network are gray, and so are boxes in them."
    )
    score_name: ScoreName = MAP
    class_score: str = "AP"
    on_hub: OnHub = OnHub("object-detection", "mean_average_precision", "A network that finds objects in an image")
    promises: tuple[str, ...] = ("max_drop_pp", "min_map_pct", "min_ap_pct", "max_flips_pct")
    accuracy: ClassVar[type[BoxAccuracy]] = BoxAccuracy
    counted: ClassVar[type[Matched]] = Matched
    labelled: ClassVar[type[Objects]] = Objects
    of_classes: ClassVar[ClassStatistics] = OF_CLASSES

    def batch(self, outputs: Outputs, most: int) -> int:
        """Return a power of two: where a part of the images begins, a batch begins as well."""
        numbers = outputs.detector.rows * outputs.detector.columns if outputs.detector else 0
        found = max(1, min(most, _LARGEST // max(1, 4 * numbers)))
        return 1 << (found.bit_length() - 1)

    def kept(self, answer: np.ndarray, outputs: Outputs) -> Detections:
        detector = outputs.detector
        assert detector is not None  # a recipe of detection has one
        wanted, given = (detector.rows, detector.columns), answer.shape[1:]
        if given == wanted:
            found, sampled = Found.of(outputs.detections(answer)), _sampled(answer)
        elif len(given) == 2 and given[1] == COLUMNS:  # it suppresses boxes itself
            found, sampled = Found.of(read_rows(answer)), np.zeros((len(answer), 0, 0))
            _check_numbers(found.numbers, outputs.classes)
        else:
            raise TargetError(
                "the network",
                f"answers {_sides(given)} numbers for an image, and its anchors need {_sides(wanted)}",
                hint="set `model.classes` and `model.anchors` to those of the network",
            )
        return Detections(found, np.ascontiguousarray(sampled, np.float32))

    def joined(self, parts: Sequence[Detections]) -> Detections:
        sampled = np.concatenate([each.sampled for each in parts])
        return Detections(Found.joined(each.found for each in parts), sampled)

    def arrays(self, given: Detections) -> dict[str, np.ndarray]:
        found = {**given.found.arrays(), "sampled": given.sampled}
        return {f".{key}": array for key, array in found.items()}

    def restored(self, array: Callable[[str], np.ndarray]) -> Detections:
        names = ("counts", "boxes", "numbers", "scores")
        return Detections(Found.from_arrays({name: array(f".{name}") for name in names}), array(".sampled"))

    def classes_of(self, expected: Detections) -> int:
        return int(expected.found.numbers.max(initial=-1)) + 1

    def answers_in_words(self, outputs: Outputs) -> str:
        about = outputs.detector
        if isinstance(about, TwoStage):
            return (
                f"It answers with a row for each cell of its maps: {about.features} features, {about.anchors_of_cell} "
                "logits of anchors, and four offsets for each. `edgeresnet/portable/tasks/two_stage.py` turns them "
                f"into boxes, with the numbers of `bundle.json` and the weights in `networks/{SECOND_STAGE}`"
            )
        return (
            f"It answers with a row for each anchor: {outputs.classes} logits in the order of `labels.txt`, then four "
            "offsets. `edgeresnet/portable/tasks/detector.py` turns them into boxes, with the numbers of `bundle.json`"
        )

    def labels(self, samples: Any, indices: np.ndarray) -> Objects | None:
        found: Objects | None = samples.boxes(indices.tolist()) if samples.has_boxes else None
        return found

    def agreement(self, expected: Detections, given: Detections) -> Agreement:
        return precision.agreement(expected.found, given.found)

    def numbers(self, given: Detections) -> tuple[int, ...]:
        return tuple(np.unique(given.found.numbers).tolist())

    def counts(self, labels: Objects, given: Detections, outputs: Outputs) -> Matched:
        return precision.matches(labels, given.found, outputs.classes)

    def counts_of_others(self, labels: Objects, given: Detections, outputs: Outputs) -> Matched:
        """Return which boxes of the next image are objects of this one: labels stay where they are."""
        others = Found.of([given.found[number] for number in [*range(1, len(labels)), 0]])
        return precision.matches(labels, others, outputs.classes)

    def seen(self, given: Detections, outputs: Outputs, number: int = 0) -> Seen:
        return _seen(given.found[number], outputs)

    def labels_seen(self, labels: Objects, outputs: Outputs) -> Seen:
        found = labels[0]
        boxes = Detected(found.boxes, found.numbers, np.ones(len(found.numbers), np.float32))
        return _seen(boxes, outputs)._replace(crowd=found.crowd.astype(bool))

    def check_counts(self, measured: Measured, expected: Detections, labels: Objects | None, outputs: Outputs) -> None:
        before = None if labels is None else self.counts(labels, expected, outputs)
        sure = self.agreement(expected, expected).parts
        for name, variant in measured.every_build():
            found = variant.accuracy
            if not isinstance(found, BoxAccuracy) or not _alike(found.before, before):
                raise ArtifactError("its images or the reference", "are not the bundle's", hint=AGAIN)
            pairs = zip(found.agreement.agree, found.agreement.parts, sure, strict=True)
            fits = len(found.agreement.parts) == len(sure) and all(agree <= own <= parts for agree, parts, own in pairs)
            if not fits or (found.now and before and not found.now.has_labels_of(before)):
                raise ArtifactError(f"{name}'s counts", "are not those of this bundle's images", hint=AGAIN)

    def chance_sentence(self, measured: Measured) -> str:
        found = self.found(measured)
        if found.before is None or not self.no_better_than_chance(measured):
            return ""
        what = f"FP32 has a mAP of {found.before_pct:.2f} %"
        if measured.unrelated:
            what += f", and of {100 * measured.unrelated.score:.2f} % with the boxes of other images"
        return (
            f"{what}: not clearly better than chance. Check that boxes belong to their images, the order of the "
            "classes, the anchors, the preprocessing and the architecture."
        )

    def only_answer(self, measured: Measured) -> str:
        found = measured.shipped.accuracy
        assert isinstance(found, BoxAccuracy)
        return "" if found.answers else "no box in any image"

    def details(self, measured: Measured, variant: str) -> list[str]:
        found = self.found(measured, variant)
        return [f"AP50 {100 * found.now.ap50:.2f} %"] if found.now else []


def _seen(boxes: Detected, outputs: Outputs) -> Seen:
    scores = np.zeros(outputs.classes, np.float32)
    np.maximum.at(scores, boxes.numbers, boxes.scores)
    return Seen(scores, boxes=boxes)


def _alike(one: Matched | None, other: Matched | None) -> bool:
    return one is other if one is None or other is None else one.is_like(other)


def _check_numbers(numbers: np.ndarray, classes: int) -> None:
    if len(numbers) and classes and numbers.max() >= classes:
        raise TargetError(
            "the network",
            f"answers class {int(numbers.max())}, but there are {classes} classes, from 0 on",
            hint="set `model.classes` to the number of classes of the network",
        )


def _sides(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _sampled(answer: np.ndarray) -> np.ndarray:
    """Return some rows of each image: a lattice, the same for every network of these anchors."""
    rows, columns = answer.shape[1:]
    most = min(_ROWS, rows, max(1, _NUMBERS // max(columns, 1)))
    return answer[:, np.unique(np.linspace(0, rows - 1, most).astype(int))] if rows else answer


TASK = Detection()
