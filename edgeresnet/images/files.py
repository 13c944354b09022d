"""Image files as a network's input, one after the other: for a latency that starts at the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..portable.preprocessing import Preprocessing
from . import decode
from .samples import Samples

FILES = 32  # different files that are read in turn


@dataclass(frozen=True)
class FromFiles:
    """Reads, decodes, prepares: everything between a file on the disk and the network. Small enough to travel."""

    paths: tuple[str, ...]
    preprocessing: Preprocessing
    pixels: bool = False  # as they are decoded, for a network with its preprocessing inside

    @staticmethod
    def of(samples: Samples, indices: Sequence[int]) -> FromFiles | None:
        """Return the files of these images; None where they are not files of their own."""
        paths = [path for path in map(samples.path, indices) if path is not None]
        return FromFiles(tuple(paths), samples.preprocessing) if paths else None

    def __call__(self, first: int, count: int) -> np.ndarray:
        """Return `count` images from number `first` on; after the last comes the first again."""
        wanted = (self.paths[number % len(self.paths)] for number in range(first, first + count))
        pixels = np.stack([decode.read(path, self.preprocessing) for path in wanted])
        return pixels if self.pixels else self.preprocessing.normalize(pixels)
