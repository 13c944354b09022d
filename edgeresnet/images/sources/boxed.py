"""Images with objects in boxes, any number of them in each, wherever images and boxes come from."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from ...errors import ImagesError
from ...portable.preprocessing import Preprocessing
from ...portable.tasks.average_precision import Labelled
from .. import boxes, decode
from ..boxes import Drawn
from .image_source import ImageSource


class Boxed:
    """A source of images with their objects. All labels are 0: there are no classes of images."""

    numbered = False

    def __init__(self, source: ImageSource, drawn: Sequence[Drawn], classes: Sequence[str]):
        self.source, self.drawn, self.classes = source, drawn, tuple(classes)
        self.labels = np.zeros(len(source.labels), np.int64)
        self.name, self.path, self.open = source.name, source.path, source.open

    @property
    def hashes(self) -> Sequence[bytes]:
        return self.source.hashes

    def files(self) -> Sequence[str]:
        return self.source.files()

    def part(self, indices: Sequence[int]) -> Boxed:
        return Boxed(self.source.part(indices), [self.drawn[index] for index in indices], self.classes)

    def label_content(self, index: int) -> bytes:
        """Return what objects are, apart from how many classes there are."""
        found = self.drawn[index].objects
        parts = (found.boxes.astype("<f8"), found.numbers.astype("<i8"), found.crowd.astype("u1"))
        return sha256(b"".join([len(found.boxes).to_bytes(8, "little"), *(part.tobytes() for part in parts)])).digest()

    def objects(self, index: int, preprocessing: Preprocessing) -> Labelled:
        """Return the objects of an image, prepared as it is."""
        try:
            with self.open(index) as image:
                return boxes.fitted(self.drawn[index].objects, image, preprocessing)
        except decode.BROKEN as problem:
            hint = "remove or replace it, or skip such files with `images: {unreadable: skip}`"
            raise ImagesError(self.name(index), f"cannot be decoded: {decode.reason(problem)}", hint=hint) from problem
