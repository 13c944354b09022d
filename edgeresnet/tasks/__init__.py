"""Tasks as networks see them: the shape of an answer, what is learned from it, and how good answers are in validation.

Each task is a file here; `portable/tasks` is its other half, which measures and compares on devices too. Nothing
outside asks which task it is. torch is imported in functions alone: planning reads this.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..portable.tasks.two_stage import AnyDetector

CLASSIFICATION = "classification"


class LearnedTask(Protocol):
    """What a network of one task answers, and what it learns from."""

    @property
    def metric(self) -> str:
        """The word for the score."""

    @property
    def wanted(self) -> str:
        """What the network must answer, in words."""

    @property
    def last(self) -> tuple[str, ...]:
        """The ONNX operators that turn logits into other answers: they are taken off."""

    @property
    def kinds(self) -> tuple[int, ...]:
        """ONNX's numbers of the types that answers may have next to float."""

    @property
    def detector(self) -> AnyDetector | None:
        """The anchors that answers are about; None: they are about none, or about ones that are not known."""

    def sides(self, classes: int) -> tuple[int | None, ...]:
        """Return the sides of one image's logits; None where any number will do."""

    def declares(self, shape: tuple[int | None, ...], classes: int) -> bool:
        """Return whether an ONNX file with this shape of its output may be one of the task's."""

    def channels_last(self, shape: tuple[int | None, ...], classes: int) -> bool:
        """Return whether a shape of an output, of square images, has its classes last."""

    def classes_in(self, shape: tuple[int | None, ...]) -> int | None:
        """Return the number of classes that such a shape shows."""

    def logits(self, found: np.ndarray, images: int) -> np.ndarray:
        """Return the logits before the operators that were taken off, in the shape of an answer."""

    def follows(self, answer: np.ndarray, logits: np.ndarray, last: str, within: float) -> bool:
        """Return whether an answer is what its last operator makes of logits, class by class."""

    def fits(self, shape: tuple[int, ...], images: int, classes: int) -> bool:
        """Return whether an answer of this shape is one of logits."""

    def shown(self, images: int, classes: int) -> str:
        """Return the shape of an answer as people read it."""

    def numbers(self, classes: int, size: int) -> int:
        """Return how many numbers the answer to one image of this size has."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
        """Return the loss, summed over images."""

    def apart(self, found: torch.Tensor, wanted: torch.Tensor, warm: float) -> torch.Tensor:
        """Return how far answers are from a teacher's, both softened by a temperature (Hinton et al. 2015), summed over
        images.
        """

    def counts(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return what the score is computed from: numbers that are added up over batches."""

    def score(self, counts: torch.Tensor) -> float:
        """Return how good the answers are, from 0 to 1."""


@cache
def of(name: str, detector: AnyDetector | None = None) -> LearnedTask:
    """Return a task by its name. What is learned needs the network's anchors, where its answers are about these."""
    from .classification import Classification
    from .detection import Detection
    from .segmentation import Segmentation

    found: dict[str, LearnedTask] = {
        CLASSIFICATION: Classification(),
        "segmentation": Segmentation(),
        "detection": Detection(detector),
    }
    return found[name]
