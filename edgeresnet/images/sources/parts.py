"""Images whose label has parts of its own: a mask for each, or objects in boxes. Images themselves have no classes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from ...errors import ImagesError
from .. import decode
from .image_source import ImageSource


class InParts:
    """A source of images with such labels. Its own labels are all 0."""

    numbered = False

    def __init__(self, source: ImageSource, classes: Sequence[str]):
        self.source, self.classes = source, tuple(classes)
        self.labels = np.zeros(len(source.labels), np.int64)
        self.name, self.path, self.open = source.name, source.path, source.open

    @property
    def hashes(self) -> Sequence[bytes]:
        return self.source.hashes

    @contextlib.contextmanager
    def opened(self, index: int) -> Iterator[Image.Image]:
        """Open an image to prepare its label. Name the image where it, or that, cannot be decoded."""
        try:
            with self.open(index) as image:
                yield image
        except decode.BROKEN as problem:
            hint = "remove or replace it, or skip such files with `images: {unreadable: skip}`"
            raise ImagesError(self.name(index), f"cannot be decoded: {decode.reason(problem)}", hint=hint) from problem
