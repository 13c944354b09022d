"""Classification: one class per image, learned by cross-entropy and validated by top-1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .probabilities import PROBABILITIES, probable

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class Classification:
    metric: str = "top-1"
    wanted: str = "one logit per class"
    last: tuple[str, ...] = PROBABILITIES
    kinds: tuple[int, ...] = ()
    detector: None = None

    def sides(self, classes: int) -> tuple[int | None, ...]:
        return (classes,)

    def declares(self, shape: tuple[int | None, ...], classes: int) -> bool:
        return len(shape) == 2 and shape[1] in (None, classes)

    def channels_last(self, shape: tuple[int | None, ...], classes: int) -> bool:
        return False

    def classes_in(self, shape: tuple[int | None, ...]) -> int | None:
        return shape[-1] if shape else None

    def logits(self, found: np.ndarray, images: int) -> np.ndarray:
        return found.reshape(images, -1)

    def follows(self, answer: np.ndarray, logits: np.ndarray, last: str, within: float) -> bool:
        return probable(answer, logits, last, within)

    def fits(self, shape: tuple[int, ...], images: int, classes: int) -> bool:
        return shape == (images, classes)

    def shown(self, images: int, classes: int) -> str:
        return str((images, classes))

    def numbers(self, classes: int, size: int) -> int:
        return classes

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)

    def apart(self, found: torch.Tensor, wanted: torch.Tensor, warm: float) -> torch.Tensor:
        from torch.nn.functional import kl_div, log_softmax

        found, wanted = (log_softmax(each / warm, 1) for each in (found, wanted))
        return warm**2 * kl_div(found, wanted, log_target=True, reduction="sum")

    def counts(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        correct = (logits.argmax(1) == labels).sum()
        return correct.new_tensor([correct.item(), len(labels)])

    def score(self, counts: torch.Tensor) -> float:
        correct, images = counts.tolist()
        return correct / max(images, 1)
