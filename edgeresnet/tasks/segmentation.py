"""Segmentation: one class per pixel, learned by cross-entropy of each pixel and validated by mIoU.

Ignored pixels are in no loss and in no count. An image counts as much as any other, however many of its pixels have a
label. Logits on a coarser grid than the labels are enlarged by the nearest neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..portable.tasks.masks import IGNORED
from .probabilities import PROBABILITIES, probable

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class Segmentation:
    metric: str = "mIoU"
    wanted: str = "one logit per class and pixel"
    last: tuple[str, ...] = (*PROBABILITIES, "ArgMax")
    kinds: tuple[int, ...] = (2, 3, 6, 7)  # uint8, int8, int32, int64
    detector: None = None

    def sides(self, classes: int) -> tuple[int | None, ...]:
        return classes, None, None

    def declares(self, shape: tuple[int | None, ...], classes: int) -> bool:
        """Return whether it is a map of logits, or of classes: without their axis, or with one of length 1."""
        return len(shape) == 3 or (len(shape) == 4 and shape[1] in (None, 1, classes))

    def channels_last(self, shape: tuple[int | None, ...], classes: int) -> bool:
        return len(shape) == 4 and shape[1] == shape[2] not in (1, classes) and shape[3] in (1, classes)

    def classes_in(self, shape: tuple[int | None, ...]) -> int | None:
        return shape[1] if len(shape) == 4 and shape[1] != 1 else None

    def logits(self, found: np.ndarray, images: int) -> np.ndarray:
        return found

    def follows(self, answer: np.ndarray, logits: np.ndarray, last: str, within: float) -> bool:
        if last != "ArgMax":
            return probable(answer, logits, last, within)
        numbers = answer[:, 0] if answer.ndim == 4 else answer
        return numbers.shape == logits[:, 0].shape and bool((numbers == logits.argmax(1)).all())

    def fits(self, shape: tuple[int, ...], images: int, classes: int) -> bool:
        return len(shape) == 4 and shape[:2] == (images, classes) and min(shape[2:]) > 0

    def shown(self, images: int, classes: int) -> str:
        return f"({images}, {classes}, height, width)"

    def numbers(self, classes: int, size: int) -> int:
        return classes * size**2

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        logits = _as_large(logits, labels)
        each = cross_entropy(logits, labels, reduction="none", ignore_index=IGNORED, label_smoothing=smoothing)
        labelled = (labels != IGNORED).sum((1, 2)).clamp(min=1)
        return (each.sum((1, 2)) / labelled).sum()

    def apart(self, found: torch.Tensor, wanted: torch.Tensor, warm: float) -> torch.Tensor:
        from torch.nn.functional import kl_div, log_softmax

        pixels = found.shape[2] * found.shape[3]
        found, wanted = (log_softmax(each / warm, 1) for each in (found, wanted))
        return warm**2 * kl_div(found, wanted, log_target=True, reduction="sum") / pixels

    def counts(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return intersections, answered and labelled pixels of each class, one after the other."""
        import torch

        classes, known = logits.shape[1], labels != IGNORED
        answered, labelled = _as_large(logits, labels).argmax(1)[known], labels[known]
        found = (labelled[labelled == answered], answered, labelled)
        return torch.cat([torch.bincount(each, minlength=classes) for each in found])

    def score(self, counts: torch.Tensor) -> float:
        """Return the mean over classes of intersection / union; a class that occurs nowhere is left out."""
        both, answered, labelled = counts.double().chunk(3)
        union = answered + labelled - both
        occurs = union > 0
        return float((both[occurs] / union[occurs]).mean()) if occurs.any() else 0.0


def _as_large(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import interpolate

    sides = labels.shape[-2:]
    return logits if logits.shape[-2:] == sides else interpolate(logits, size=sides, mode="nearest-exact")
