"""One side of the training images as batches, and how they are mirrored and shifted, labels with them.

A batch depends on the seed and on its number alone, not on which process makes which part of it.
"""

from __future__ import annotations

import numpy as np
import torch

from ..images import Samples
from ..tasks import LearnedTask
from .labels import labels_of
from .moves import Moves

_LOGITS = 1 << 26  # numbers that all answers to a batch may have


class Split:
    """Training or validation images. Pixels are normalised where the network is: a GPU receives bytes, not floats."""

    def __init__(self, samples: Samples):
        self._table = samples.table()
        self._labels, self._classes = labels_of(samples, self._table.indices), len(samples.classes)
        self._flip_channels = samples.preprocessing.order == "bgr"
        self._side, channels = samples.preprocessing.size, samples.preprocessing.channels
        self._none = np.empty((0, self._side, self._side, channels), np.uint8)  # a process's part of a very small batch
        scale, shift = samples.preprocessing.scale_and_shift()
        self._scale, self._shift = (torch.from_numpy(each)[:, None, None] for each in (scale, shift))

    def __len__(self) -> int:
        return len(self._table)

    def at_once(self, most: int, task: LearnedTask) -> int:
        """Return how many images to answer at once: of a map of logits fewer fit into memory than of single answers."""
        return max(1, min(most, _LOGITS // task.numbers(self._classes, self._side)))

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images as the network takes them, channels last in memory, and their labels."""
        pixels = self._table.take(rows) if len(rows) else self._none
        held = torch.from_numpy(pixels if pixels.dtype == np.uint8 else pixels.astype(np.float32))
        images = held.to(device, non_blocking=True).permute(0, 3, 1, 2).float()
        if self._flip_channels:
            images = images.flip(1)
        images = images.mul_(self._scale.to(device)).add_(self._shift.to(device))
        return images, self._labels.of(rows).to(device)

    def moved(
        self, images: torch.Tensor, labels: torch.Tensor, moves: Moves, largest: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images mirrored and shifted, and their labels with them."""
        return moves.on(images, largest), self._labels.moved(labels, moves, largest)
