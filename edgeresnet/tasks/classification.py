"""Classification: one class per image, learned by cross-entropy and validated by top-1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Classification:
    metric: str = "top-1"
    wanted: str = "one logit per class"
    last: tuple[str, ...] = ("Softmax", "LogSoftmax")

    def fits(self, shape: tuple[int, ...], images: int, classes: int) -> bool:
        return shape == (images, classes)

    def shown(self, images: int, classes: int) -> str:
        return str((images, classes))

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)

    def apart(self, found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import kl_div

        return kl_div(found, wanted, log_target=True, reduction="sum")

    def counts(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        correct = (logits.argmax(1) == labels).sum()
        return correct.new_tensor([correct.item(), len(labels)])

    def score(self, counts: torch.Tensor) -> float:
        correct, images = counts.tolist()
        return correct / max(images, 1)
