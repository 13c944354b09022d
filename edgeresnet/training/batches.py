"""One side of the training images as batches, and how they are mirrored and shifted, labels with them.

A batch depends on the seed and on its number alone, not on which process makes which part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..images import Samples
from ..recipe import Augment
from ..tasks import LearnedTask
from .labels import labels_of

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


@dataclass(frozen=True)
class Moves:
    """What augmenting does to each image of a batch; drawn for the complete batch, wherever its parts are."""

    mirrored: torch.Tensor | None
    shifts: torch.Tensor | None  # downwards and to the right, 0 to twice the largest

    @staticmethod
    def drawn(count: int, how: Augment, rng: np.random.Generator) -> Moves:
        """Draw the moves of `count` images."""
        mirrored = torch.from_numpy(rng.random(count) < 0.5) if how.flip else None
        shifts = torch.from_numpy(rng.integers(0, 2 * how.shift + 1, size=(2, count))) if how.shift else None
        return Moves(mirrored, shifts)

    def of(self, part: slice) -> Moves:
        """Return the moves of a part of the batch."""
        return Moves(
            None if self.mirrored is None else self.mirrored[part],
            None if self.shifts is None else self.shifts[:, part],
        )

    def on(self, images: torch.Tensor, largest: int) -> torch.Tensor:
        """Return a mirrored and shifted copy; the edge is repeated where a shift uncovers it."""
        if self.mirrored is not None:
            images = torch.where(self.mirrored.to(images.device)[:, None, None, None], images.flip(3), images)
        if self.shifts is not None:
            height, width = images.shape[2:]
            down, right = (self.shifts - largest).to(images.device)
            rows = (down[:, None] + torch.arange(height, device=images.device)).clamp(0, height - 1)
            columns = (right[:, None] + torch.arange(width, device=images.device)).clamp(0, width - 1)
            which = torch.arange(len(images), device=images.device)[:, None, None]
            images = images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return images.contiguous(memory_format=torch.channels_last)
