"""Segmentation: one class per pixel. Its metric is the mean IoU, and images count by all of their pixels together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ArtifactError, TargetError
from .. import inference
from ..codec import CodecError
from ..frozen import dataclass
from ..result import Measured, Variant
from . import TaskName, overlap
from .image_scores import ClassScores
from .mask_accuracy import OF_CLASSES, MaskAccuracy
from .masks import IGNORED, Packed
from .task import AGAIN, Change, ClassAccuracy, Compare, OnHub, Outputs

_LABELS, _EXPECTED = "labels.npz", "expected.npz"
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
class Segmentation:
    """Labels are masks. Of a network's answers, masks and the logits of some pixels are kept."""

    name: TaskName = "segmentation"
    flipped: str = "pixels"
    has_masks: bool = True
    has_boxes: bool = False
    class_score: str = "IoU"
    on_hub: OnHub = OnHub("image-segmentation", "mean_iou", "A network that gives a class to each pixel")
    promises: tuple[str, ...] = ("max_drop_pp", "min_miou_pct", "min_iou_pct", "max_flips_pct")

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
        return Segmented(masks, np.zeros((len(answer), 0, 0), np.float32) if logits is None else _sampled(logits))

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

    def answers_in_words(self, classes: int) -> str:
        return (
            f"It answers with a map of {classes} logits for each pixel, in the order of `labels.txt`, or of classes. "
            "Where a map is smaller than the image, each pixel of the image has the nearest one's class"
        )

    def labels(self, samples: Any, indices: np.ndarray) -> Packed | None:
        found: Packed | None = samples.masks(indices.tolist()) if samples.has_masks else None
        return found

    def write_labels(self, labels: Packed, folder: Path) -> None:
        np.savez(folder / _LABELS, allow_pickle=False, **labels.arrays())

    def read_labels(self, folder: Path) -> Packed | None:
        if not (folder / _LABELS).is_file():
            return None
        with np.load(folder / _LABELS, allow_pickle=False) as stored:
            return Packed.from_arrays(stored)

    def write_expected(self, expected: Segmented, folder: Path) -> None:
        np.savez(folder / _EXPECTED, allow_pickle=False, **self.arrays(expected))

    def read_expected(self, folder: Path) -> Segmented:
        with np.load(folder / _EXPECTED, allow_pickle=False) as stored:
            return self.restored(stored.__getitem__)

    def against(self, expected: Segmented, labels: Packed | None, outputs: Outputs) -> Compare:
        before = _overlaps(labels, expected, outputs)

        def compare(given: Segmented) -> MaskAccuracy:
            known = _comparable(expected.sampled, given.sampled)
            return MaskAccuracy(
                agreement=overlap.agreement(expected.masks, given.masks),
                answers=_numbers(given.masks),
                before=before,
                now=_overlaps(labels, given, outputs),
                sqnr_db=inference.sqnr_db(expected.sampled, given.sampled) if known else None,
                has_sqnr=known,
            )

        return compare

    def of_variant(self, expected: Segmented, given: Segmented) -> dict[str, Any]:
        return {"predicted": ()}

    def of_result(self, expected: Segmented, labels: Packed | None, outputs: Outputs) -> dict[str, Any]:
        unrelated = None
        if labels is not None and len(labels) > 1:
            others = labels.taken([*range(1, len(labels)), 0])
            unrelated = overlap.overlaps(others, expected.masks, outputs.classes)
        return {"labels": None, "reference_predicted": (), "unrelated": unrelated}

    def changed(self, one: Segmented, other: Segmented) -> int:
        return sum(bool((a != b).any()) for a, b in zip(one.masks, other.masks, strict=True))

    def seen(self, given: Segmented, outputs: Outputs) -> tuple[np.ndarray, np.ndarray]:
        mask = given.masks[0]
        return np.bincount(mask.ravel(), minlength=outputs.classes) / mask.size, mask

    def has_labels(self, measured: Measured) -> bool:
        return measured.shipped.accuracy.has_labels

    def check(self, measured: Measured) -> None:
        images, classes = measured.shipped.accuracy.images, len(measured.classes)
        for name, variant in measured.every().items():
            found = variant.accuracy
            if not isinstance(found, MaskAccuracy):
                raise CodecError(f"{name}.accuracy", "is not one of masks")
            if found.images != images:
                raise CodecError(f"{name}.accuracy", f"is of {found.images} images, not of {images}")
            if found.now and found.now.classes != classes:
                raise CodecError(f"{name}.accuracy", f"is of {found.now.classes} classes, not of {classes}")
        if measured.labels is not None or measured.reference_predicted:
            raise CodecError("labels", "are classes of images, but the task is segmentation")
        if measured.unrelated and (measured.unrelated.images, measured.unrelated.classes) != (images, classes):
            raise CodecError("unrelated", "is of other images or classes")

    def check_counts(self, measured: Measured, expected: Segmented, labels: Packed | None, outputs: Outputs) -> None:
        before, pixels = _overlaps(labels, expected, outputs), [outputs.size**2] * len(expected)
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

    def no_better_than_chance(self, measured: Measured) -> bool:
        """Compare with the masks of other images: a network that does not look at its image overlaps as much."""
        found = measured.shipped.accuracy
        assert isinstance(found, MaskAccuracy)
        if found.before is None or measured.unrelated is None:
            return True
        return overlap.drop_interval(found.before, measured.unrelated).low <= 0

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
            what += f", and of {100 * measured.unrelated.miou:.2f} % with the masks of other images"
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

    def change(self, before: Measured, now: Measured, variant: str) -> Change:
        one, other = (each.variants[variant].accuracy for each in (before, now))
        assert isinstance(one, MaskAccuracy)
        assert isinstance(other, MaskAccuracy)
        if one.now is None or other.now is None:
            return Change(one.images)
        paired = replace(other, before=one.now)
        return Change(one.images, None, None, paired.lost, paired.won, paired.drop_pp, paired.drop_interval_pp())

    def details(self, measured: Measured, variant: str) -> list[str]:
        found = measured.variants[variant].accuracy
        assert isinstance(found, MaskAccuracy)
        return [f"pixel accuracy {100 * found.now.pixel_accuracy:.2f} %"] if found.now else []

    def builds_agree(self, builds: Sequence[Variant]) -> str:
        return ""

    def classes(self, measured: Measured, variant: str = "") -> list[ClassAccuracy]:
        found = measured.variants[variant or measured.ships].accuracy
        assert isinstance(found, MaskAccuracy)
        pair = found.before, found.now
        of = [ClassScores(*pair, number, OF_CLASSES) for number in range(len(measured.classes))]
        return [ClassAccuracy(label, each) for label, each in zip(measured.classes, of, strict=True)]


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


def _sampled(logits: np.ndarray) -> np.ndarray:
    """Return the logits of a lattice of pixels: images × pixels × classes."""
    rows, columns = (np.unique(np.linspace(0, side - 1, min(_EDGE, side)).astype(int)) for side in logits.shape[2:])
    found = logits[:, :, rows][:, :, :, columns]
    return np.ascontiguousarray(found.reshape(*found.shape[:2], -1).transpose(0, 2, 1), np.float32)


def _comparable(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and one.size > 0


def _overlaps(labels: Packed | None, given: Segmented, outputs: Outputs) -> overlap.Overlaps | None:
    return None if labels is None else overlap.overlaps(labels, given.masks, outputs.classes)


def _numbers(masks: Packed) -> tuple[int, ...]:
    """Return the classes that any pixel has."""
    found: set[int] = set()
    for mask in masks:
        found.update(np.unique(mask).tolist())
    return tuple(sorted(found))


TASK = Segmentation()
