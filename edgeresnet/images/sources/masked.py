"""Images with a mask each: a folder of images and one of masks, or a list of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ...portable.preprocessing import Preprocessing
from ...store import Store
from .. import masks
from . import pairing
from .image_source import ImageSource
from .pairing import Partner, Pictures
from .parts import InParts

MASK = Partner("mask", "masks", ("mask", "mask_path", "mask_file"))


class Masks(Protocol):
    """Masks in the order of their images, wherever they are stored."""

    ignored: int  # the number of pixels without a label

    @property
    def hashes(self) -> Sequence[bytes]: ...

    def name(self, index: int) -> str: ...

    def read(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Return the number of each pixel, H×W, of the mask of an image of this (width, height)."""

    def files(self) -> Sequence[str]: ...
    def part(self, indices: Sequence[int]) -> Masks: ...


class Masked(InParts):
    """A source of images with a mask each."""

    def __init__(self, source: ImageSource, drawn: Masks, classes: Sequence[str]):
        super().__init__(source, classes)
        self.masks = drawn

    def files(self) -> Sequence[str]:
        return [*self.source.files(), *self.masks.files()]

    def part(self, indices: Sequence[int]) -> Masked:
        return Masked(self.source.part(indices), self.masks.part(indices), self.classes)

    def label_content(self, index: int) -> bytes:
        """Return what a mask's numbers depend on, apart from how many classes there are."""
        return self.masks.hashes[index] + self.masks.ignored.to_bytes(4, "little")

    def mask(self, index: int, preprocessing: Preprocessing | None = None) -> np.ndarray:
        """Return a mask's class numbers, prepared as its image is, or at its own size; refuse what cannot be right."""
        name = self.masks.name(index)
        with self.opened(index) as image:
            found = self.masks.read(index, image.size)
            masks.check_size(found, image, (name, self.name(index)))
            found = masks.with_ignored(found, self.masks.ignored, len(self.classes), name)
            return masks.fitted(found, image, preprocessing) if preprocessing else found


class Drawn:
    """Masks in files of their own, wherever these lie."""

    def __init__(self, source: ImageSource, ignored: int):
        self._source, self.ignored = source, ignored
        self.name = source.name

    @property
    def hashes(self) -> Sequence[bytes]:
        return self._source.hashes

    def read(self, index: int, size: tuple[int, int]) -> np.ndarray:
        return masks.read(lambda: self._source.open(index), self.name(index), size)

    def files(self) -> Sequence[str]:
        return self._source.files()

    def part(self, indices: Sequence[int]) -> Drawn:
        return Drawn(self._source.part(indices), self.ignored)


def of_folders(root: Path, mask_root: Path, store: Store | None, ignored: int) -> tuple[ImageSource, Masks]:
    """Return the images of a folder with the masks of another: the same paths, with other endings."""
    pairs = pairing.of_folders(root, mask_root, MASK)
    return Pictures(root, store, list(pairs)), Drawn(Pictures(mask_root, store, list(pairs.values())), ignored)


def of_list(path: Path, store: Store | None, ignored: int) -> tuple[ImageSource, Masks]:
    """Return the images of a list with the masks that it names next to them."""
    names, drawn = pairing.of_list(path, MASK)
    return Pictures(path.parent, store, names), Drawn(Pictures(path.parent, store, drawn), ignored)
