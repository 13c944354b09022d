"""Detection: objects with a box, a class and a score. Its metric is the mAP, over all images together.

A network answers with logits and offsets for each anchor; what becomes of these is `detector`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TargetError
from ..frozen import dataclass
from . import TaskName
from .objects import Found, Objects
from .task import OnHub, Outputs

_LABELS, _EXPECTED = "labels.npz", "expected.npz"
_LARGEST = 1 << 26  # bytes of the answers to one batch
_ROWS, _NUMBERS = 1024, 1 << 17  # of an image's answer that are kept as they are, at most


@dataclass(frozen=True)
class Detections:
    """What a network gave: the boxes found in each image, and some rows of its answers as they were.

    `sampled` is images × rows × numbers, at a fixed lattice of anchors.
    """

    found: Found
    sampled: np.ndarray

    def __len__(self) -> int:
        return len(self.found)


@dataclass(frozen=True)
class Detection:
    """Labels are boxes. Of a network's answers, the boxes found and some rows are kept."""

    name: TaskName = "detection"
    flipped: str = "boxes"
    has_masks: bool = False
    has_boxes: bool = True
    class_score: str = "AP"
    on_hub: OnHub = OnHub("object-detection", "mean_average_precision", "A network that finds objects in an image")
    promises: tuple[str, ...] = ("max_drop_pp", "min_map_pct", "min_ap_pct", "max_flips_pct")

    def batch(self, outputs: Outputs, most: int) -> int:
        """Return a power of two: where a part of the images begins, a batch begins as well."""
        numbers = outputs.detector.rows * outputs.detector.columns if outputs.detector else 0
        found = max(1, min(most, _LARGEST // max(1, 4 * numbers)))
        return 1 << (found.bit_length() - 1)

    def kept(self, answer: np.ndarray, outputs: Outputs) -> Detections:
        detector = outputs.detector
        assert detector is not None  # a recipe of detection has one
        wanted = (detector.rows, detector.columns)
        if answer.shape[1:] != wanted:
            raise TargetError(
                "the network",
                f"answers {' × '.join(map(str, answer.shape[1:]))} numbers, and its anchors are of "
                f"{' × '.join(map(str, wanted))}",
                hint="set `model.classes` and `model.anchors` to those of the network",
            )
        return Detections(Found.of(outputs.detections(answer)), np.ascontiguousarray(_sampled(answer), np.float32))

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
        return int(expected.sampled.shape[2]) - 4

    def answers_in_words(self, classes: int) -> str:
        return (
            f"It answers with a row for each anchor: {classes} logits in the order of `labels.txt`, then four offsets. "
            "`edgeresnet/portable/tasks/detector.py` turns them into boxes, with the numbers of `bundle.json`"
        )

    def labels(self, samples: Any, indices: np.ndarray) -> Objects | None:
        found: Objects | None = samples.boxes(indices.tolist()) if samples.has_boxes else None
        return found

    def write_labels(self, labels: Objects, folder: Path) -> None:
        np.savez(folder / _LABELS, allow_pickle=False, **labels.arrays())

    def read_labels(self, folder: Path) -> Objects | None:
        if not (folder / _LABELS).is_file():
            return None
        with np.load(folder / _LABELS, allow_pickle=False) as stored:
            return Objects.from_arrays(stored)

    def write_expected(self, expected: Detections, folder: Path) -> None:
        np.savez(folder / _EXPECTED, allow_pickle=False, **self.arrays(expected))

    def read_expected(self, folder: Path) -> Detections:
        with np.load(folder / _EXPECTED, allow_pickle=False) as stored:
            return self.restored(stored.__getitem__)


def _sampled(answer: np.ndarray) -> np.ndarray:
    """Return some rows of each image: a lattice, the same for every network of these anchors."""
    rows, columns = answer.shape[1:]
    most = min(_ROWS, rows, max(1, _NUMBERS // max(columns, 1)))
    return answer[:, np.unique(np.linspace(0, rows - 1, most).astype(int))] if rows else answer


TASK = Detection()
