"""How augmenting mirrors and shifts the images of a batch, wherever its parts are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..recipe import Augment


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
