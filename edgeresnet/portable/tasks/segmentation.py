"""Segmentation: one class per pixel. Its metric is the mean IoU, and images count by all of their pixels together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ...errors import ArtifactError, TargetError
from ..frozen import dataclass
from ..result import Measured
from . import TaskName, overlap
from .agreement import Agreement
from .image_scores import ClassStatistics, ScoreName
from .mask_accuracy import MIOU, OF_CLASSES, MaskAccuracy
from .masks import IGNORED, Packed
from .overlap import Overlaps
from .scored_images import ScoredImages
from .task import AGAIN, OnHub, Outputs, Seen

_LARGEST = 1 << 26  # bytes of the answers to one batch
_EDGE = 32  # of a lattice of pixels whose logits are kept


@dataclass(frozen=True)
class Segmented:
    """What a network gave: the mask of each image, as large as the image, and the logits of some pixels.

    `sampled` is images × pixels × classes, on a lattice of the network's own answers; without pixels where the network
    answers classes and no logits.
    """

    masks: Packed
    sampled: np.ndarray

    def __len__(self) -> int:
        return len(self.masks)


@dataclass(frozen=True)
class Segmentation(ScoredImages):
    """Labels are masks. Of a network's answers, masks and the logits of some pixels are kept."""

    name: TaskName = "segmentation"
    flipped: str = "pixels"
    has_masks: bool = True
    has_boxes: bool = False
    drawn: str = "masks"
    legend: str = ""
    score_name: ScoreName = MIOU
    class_score: str = "IoU"
    on_hub: OnHub = OnHub("image-segmentation", "mean_iou", "A network that gives a class to each pixel")
    promises: tuple[str, ...] = ("max_drop_pp", "min_miou_pct", "min_iou_pct", "max_flips_pct")
    accuracy: ClassVar[type[MaskAccuracy]] = MaskAccuracy
    counted: ClassVar[type[Overlaps]] = Overlaps
    labelled: ClassVar[type[Packed]] = Packed
    of_classes: ClassVar[ClassStatistics] = OF_CLASSES

    def batch(self, outputs: Outputs, most: int) -> int:
        """Return a power of two: where a part of the images begins, a batch begins as well."""
        found = max(1, min(most, _LARGEST // max(1, 4 * outputs.classes * outputs.size**2)))
        return 1 << (found.bit_length() - 1)

    def kept(self, answer: np.ndarray, outputs: Outputs) -> Segmented:
        logits = _logits(answer, outputs)
        numbers = _classes(answer) if logits is None else logits.argmax(1)
        if numbers.size and outputs.classes and numbers.max() >= outputs.classes:
            raise TargetError(
                "the network",
                f"answers class {int(numbers.max())}, but there are {outputs.classes} classes, from 0 on",
                hint="set `model.classes` to the number of classes with the background",
            )
        rows, columns = (_nearest(side, outputs.size) for side in numbers.shape[1:])
        masks = Packed.of(mask.astype(np.uint16)[np.ix_(rows, columns)] for mask in numbers)
        return Segmented(masks, np.zeros((len(answer), 0, 0), np.float32) if logits is None else sampled(logits))

    def joined(self, parts: Sequence[Segmented]) -> Segmented:
        sampled = np.concatenate([each.sampled for each in parts])
        return Segmented(Packed.joined(each.masks for each in parts), sampled)

    def arrays(self, given: Segmented) -> dict[str, np.ndarray]:
        found = {**given.masks.arrays(), "sampled": given.sampled}
        return {f".{key}": array for key, array in found.items()}

    def restored(self, array: Callable[[str], np.ndarray]) -> Segmented:
        names = ("masks", "mask_lengths", "mask_shapes")
        return Segmented(Packed.from_arrays({name: array(f".{name}") for name in names}), array(".sampled"))

    def classes_of(self, expected: Segmented) -> int:
        most = max((int(mask.max()) for mask in expected.masks if mask.size), default=-1)
        return expected.sampled.shape[2] or most + 1

    def answers_in_words(self, outputs: Outputs) -> str:
        return (
            f"It answers with a map of {outputs.classes} logits for each pixel, in the order of `labels.txt`, or of "
            "classes. Where a map is smaller than the image, each pixel of the image has the nearest one's class"
        )

    def labels(self, samples: Any, indices: np.ndarray) -> Packed | None:
        found: Packed | None = samples.masks(indices.tolist()) if samples.has_masks else None
        return found

    def agreement(self, expected: Segmented, given: Segmented) -> Agreement:
        return overlap.agreement(expected.masks, given.masks)

    def numbers(self, given: Segmented) -> tuple[int, ...]:
        found: set[int] = set()
        for mask in given.masks:
            found.update(np.flatnonzero(np.bincount(mask.ravel())).tolist())
        return tuple(sorted(found))

    def counts(self, labels: Packed, given: Segmented, outputs: Outputs) -> Overlaps:
        return overlap.overlaps(labels, given.masks, outputs.classes)

    def counts_of_others(self, labels: Packed, given: Segmented, outputs: Outputs) -> Overlaps:
        others = given.masks.taken([*range(1, len(labels)), 0])
        return overlap.overlaps(labels, others, outputs.classes)

    def seen(self, given: Segmented, outputs: Outputs, number: int = 0) -> Seen:
        return _seen(given.masks[number], outputs)

    def labels_seen(self, labels: Packed, outputs: Outputs) -> Seen:
        return _seen(labels[0], outputs)

    def check_counts(self, measured: Measured, expected: Segmented, labels: Packed | None, outputs: Outputs) -> None:
        before = None if labels is None else self.counts(labels, expected, outputs)
        pixels = [outputs.size**2] * len(expected)
        for name, variant in measured.every_build():
            found = variant.accuracy
            if not isinstance(found, MaskAccuracy) or found.before != before:
                raise ArtifactError("its images or the reference", "are not the bundle's", hint=AGAIN)
            fits = list(found.agreement.parts) == pixels
            if found.now and before:
                one, other = found.now.counts, before.counts
                same = np.array_equal(one.labelled, other.labelled)
                fits = fits and same and np.array_equal(one.answered.sum(1), other.answered.sum(1))
            if not fits:
                raise ArtifactError(f"{name}'s counts", "are not those of this bundle's images", hint=AGAIN)

    def chance_sentence(self, measured: Measured) -> str:
        found = measured.shipped.accuracy
        assert isinstance(found, MaskAccuracy)
        if found.before is None or not self.no_better_than_chance(measured):
            return ""
        answered = np.flatnonzero(found.before.counts.answered.sum(0))
        what = f"FP32 has a mIoU of {found.before_pct:.2f} %"
        if len(answered) == 1:
            what = f"FP32 answers {measured.classes[int(answered[0])]} for every pixel"
        elif measured.unrelated:
            what += f", and of {100 * measured.unrelated.score:.2f} % with the masks of other images"
        return (
            f"{what}: not clearly better than chance. Check that masks belong to their images, the order of the "
            "classes, the preprocessing and the architecture."
        )

    def only_answer(self, measured: Measured) -> str:
        found = measured.shipped.accuracy
        assert isinstance(found, MaskAccuracy)
        if len(found.answers) != 1:
            return ""
        number = found.answers[0]
        return f"{measured.classes[number] if measured.classes else number} for every pixel of every image"

    def details(self, measured: Measured, variant: str) -> list[str]:
        found = measured.variants[variant].accuracy
        assert isinstance(found, MaskAccuracy)
        return [f"pixel accuracy {100 * found.now.pixel_accuracy:.2f} %"] if found.now else []


def _seen(mask: np.ndarray, outputs: Outputs) -> Seen:
    known = mask[mask != IGNORED]
    return Seen(np.bincount(known, minlength=outputs.classes) / max(mask.size, 1), mask)


def _logits(answer: np.ndarray, outputs: Outputs) -> np.ndarray | None:
    """Return logits as images × classes × height × width; None where the network answers classes."""
    if answer.ndim != 4 or answer.dtype.kind != "f" or (1 in answer.shape[1::2] and outputs.classes != 1):
        return None
    first, last = answer.shape[1] == outputs.classes, answer.shape[3] == outputs.classes
    return answer.transpose(0, 3, 1, 2) if last and not first else answer


def _classes(answer: np.ndarray) -> np.ndarray:
    """Return a network's own class numbers as images × height × width."""
    for axis in (1, -1):
        if answer.ndim == 4 and answer.shape[axis] == 1:
            answer = answer.squeeze(axis)
    if answer.ndim != 3 or (answer.size and not 0 <= answer.min() <= answer.max() < IGNORED):
        raise TargetError(
            "the network",
            f"answers a map of shape {answer.shape} that holds neither logits nor classes",
            hint="export it with one output: batch × classes × height × width, or batch × height × width",
        )
    return np.asarray(np.rint(answer)).astype(np.int64)


def _nearest(side: int, size: int) -> np.ndarray:
    """Return which of the answer's rows each row of the image is nearest to."""
    return np.minimum(((np.arange(size) + 0.5) * side / max(size, 1)).astype(np.int64), side - 1)


def sampled(logits: np.ndarray) -> np.ndarray:
    """Return the logits of a lattice of pixels: images × pixels × classes."""
    rows, columns = (np.unique(np.linspace(0, side - 1, min(_EDGE, side)).astype(int)) for side in logits.shape[2:])
    found = logits[:, :, rows][:, :, :, columns]
    return np.ascontiguousarray(found.reshape(*found.shape[:2], -1).transpose(0, 2, 1), np.float32)


TASK = Segmentation()
