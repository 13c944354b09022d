"""What a set of images offers, wherever its files lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image


class ImageSource(Protocol):
    """Labelled images, wherever they are stored."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def numbered(self) -> bool:
        """Whether the classes are integers as they were written, which are not yet the network's answers."""

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def hashes(self) -> Sequence[bytes]: ...

    def name(self, index: int) -> str: ...
    def path(self, index: int) -> str | None: ...
    def open(self, index: int) -> Image.Image: ...

    def files(self) -> Sequence[str]:
        """Return the paths of the files that must be there to open the images."""

    def part(self, indices: Sequence[int]) -> ImageSource:
        """Return these images alone, which hold nothing of the others: small enough to travel."""
