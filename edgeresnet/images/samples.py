"""Samples: labelled images with the preprocessing that makes them a network's input. Streams batches in order."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from ..errors import ImagesError, MachineError
from ..portable import machine, manifest
from ..portable.documents import shown
from ..portable.preprocessing import Preprocessing
from ..portable.tasks.average_precision import Labelled
from ..portable.tasks.masks import Packed
from ..portable.tasks.objects import Objects
from ..store import Store
from . import decode
from .cache import DecodedCache
from .sources import Boxed, ImageSource, Masked
from .sources.naming import Named

_MASKS = 64  # decoded at a time: they are packed before the next ones


class Batch(NamedTuple):
    """Some images. `indices` are theirs: unreadable ones are left out where the recipe allows it."""

    indices: np.ndarray
    pixels: np.ndarray  # NHWC, uint8 or uint16
    labels: np.ndarray


@dataclass(frozen=True)
class Table:
    """Random access to decoded images, without keeping them in memory."""

    samples: Samples
    indices: np.ndarray  # the readable ones
    mapped: np.ndarray | None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> np.ndarray:
        return self.samples.labels[self.indices]

    def take(self, rows: np.ndarray) -> np.ndarray:
        return self.samples.pixels(self.indices[rows]) if self.mapped is None else self.mapped[rows]


@dataclass(frozen=True)
class Samples:
    """Labelled images, and how they are prepared for a network."""

    source: ImageSource
    chosen: np.ndarray  # indices into the source
    preprocessing: Preprocessing
    unreadable: str
    store: Store | None

    @staticmethod
    def of(source: ImageSource, preprocessing: Preprocessing, unreadable: str, store: Store | None) -> Samples:
        return Samples(source, np.arange(len(source.labels)), preprocessing, unreadable, store)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    @cached_property
    def labels(self) -> np.ndarray:
        return self.source.labels[self.chosen]

    def name(self, index: int) -> str:
        return self.source.name(int(self.chosen[index]))

    def path(self, index: int) -> str | None:
        """Return the path of the image's own file, for those that have one."""
        return self.source.path(int(self.chosen[index]))

    def hash(self, index: int) -> bytes:
        return self.source.hashes[int(self.chosen[index])]

    @property
    def has_masks(self) -> bool:
        """Whether the label of an image is a mask, with a class for each pixel."""
        return isinstance(self.source, Masked)

    @property
    def has_boxes(self) -> bool:
        """Whether the labels of an image are objects in boxes, each with a class."""
        return isinstance(self.source, Boxed)

    @property
    def has_parts(self) -> bool:
        """Whether labels are of parts of an image, and not of the image."""
        return isinstance(self.source, Masked | Boxed)

    def mask(self, index: int) -> np.ndarray:
        """Return one mask, decoded now: class numbers and IGNORED, uint16, of the size of the network's input."""
        return self._masked.mask(int(self.chosen[index]), self.preprocessing)

    def masks(self, indices: Iterable[int]) -> Packed:
        """Return some masks, decoded several at a time."""
        wanted = list(indices)
        blocks = (wanted[first : first + _MASKS] for first in range(0, len(wanted), _MASKS))
        return Packed.of(mask for block in blocks for mask in decode.some(self.mask, block))

    def objects(self, index: int) -> Labelled:
        """Return the objects of one image, in pixels of the network's input."""
        return self._boxed.objects(int(self.chosen[index]), self.preprocessing)

    def boxes(self, indices: Iterable[int]) -> Objects:
        """Return the objects of some images, in order."""
        return Objects.of(decode.some(self.objects, indices))

    def without_parts(self) -> Samples:
        """Return the images alone, without classes, where their labels are of parts; else themselves."""
        if isinstance(self.source, Masked | Boxed):
            return replace(self, source=Named(self.source.source, (), [0]))
        return self

    def check_labels(self, indices: Iterable[int]) -> None:
        """Read labels that come with each image, and refuse those that cannot be right."""
        if self.has_masks:
            self.masks(indices)
        elif self.has_boxes:
            self.boxes(indices)

    @cached_property
    def digest(self) -> str:
        """Digest of the images, their order, their classes and their preprocessing."""
        about = [self._content, self.labels.tolist(), list(self.classes), self.preprocessing.digest, self.unreadable]
        return manifest.digest_of([*about, *self._part_content])

    @cached_property
    def identity(self) -> str:
        """Digest of the images, their order and their labels, without preprocessing."""
        return manifest.digest_of([self._content, self.labels.tolist(), *self._part_content])

    def subset(self, indices: Sequence[int] | np.ndarray) -> Samples:
        return replace(self, chosen=self.chosen[np.asarray(indices, dtype=np.int64)])

    def part(self, first: int, stop: int) -> Samples:
        """Return the images from `first` to `stop`, which hold nothing of the others: small enough to travel."""
        source = self.source.part(self.chosen[first:stop].tolist())
        return replace(self, source=source, chosen=np.arange(len(source.labels)))

    def arrived(self) -> Samples:
        """Return a part that travelled, on the machine where it is now; refuse one whose files are not there.

        The store stays behind, unless this machine sees it too.
        """
        absent = [path for path in self.source.files() if not os.path.exists(path)]
        if absent:
            raise MachineError(
                f"the worker on {platform.node()}",
                f"does not see {len(absent)} of its images' files: {shown(absent[0])}",
                hint="mount the images under the same path on all nodes",
            )
        return replace(self, store=self.store if self.store and self.store.is_marked else None)

    def batches(self, size: int, *, may_be_none: bool = False) -> Iterator[Batch]:
        """Yield every image once, in order, as decoded; the first pass fills a cache on disk for the next ones.

        A batch holds the readable ones of `size` images in a row: what a batch holds does not depend on the pass, nor
        on where a part of these images begins. `may_be_none`: a part may hold no readable image.
        """
        seen = 0
        for indices, pixels in self._chunks(size):
            seen += len(indices)
            yield Batch(indices, pixels, self.labels[indices])
        if not (seen or may_be_none) and len(self):
            self._raise_why_none()

    def _chunks(self, size: int) -> Iterator[decode.Chunk]:
        cache = self._cache()
        stored = cache.stream(size) if cache else None
        if stored is not None:
            yield from stored
            return
        fresh = decode.stream(self._read_checked, len(self), size, skip=self.unreadable == "skip")
        yield from cache.fill(fresh, self._bytes) if cache else fresh

    def pixels(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return some images by index, decoded now. Raise for an unreadable one."""
        return np.stack(list(decode.some(self.read, indices)))

    def read(self, index: int) -> np.ndarray:
        """Return one image, decoded now: HWC. Raise for an unreadable one."""
        return decode.decoded(self.source.open, self.source.name, int(self.chosen[index]), self.preprocessing)

    def _read_checked(self, index: int) -> np.ndarray:
        """Read one image. Where unreadable ones are left out, its mask must be readable, too."""
        if self.has_masks and self.unreadable == "skip":
            self.mask(index)
        return self.read(index)

    def open(self, index: int, *, least: int | None = None) -> Image.Image:
        """Return one image at its own size, in colours or grays, turned as its pixels are.

        `least` is for thumbnails: a larger JPEG is decoded to a part of its size, at least this many pixels to a side.
        """
        with self.source.open(int(self.chosen[index])) as opened:
            if least:
                opened.draft(None, (least, least))
            image = ImageOps.exif_transpose(opened) if self.preprocessing.exif else opened.copy()
        if self.preprocessing.bits == 16:
            return Image.fromarray(np.asarray(image).astype(self.preprocessing.pixel))
        return decode.plain(image, self.preprocessing.channels)

    def table(self) -> Table:
        """Return the readable images for access in any order: from the cache on disk, or decoded when needed."""
        indices = np.concatenate([batch.indices for batch in self.batches(256)])
        cache = self._cache()
        return Table(self, indices, cache.mapped() if cache else None)

    @property
    def _bytes(self) -> int:
        one = self.preprocessing.size**2 * self.preprocessing.channels * self.preprocessing.pixel.itemsize
        return len(self) * one

    def _raise_why_none(self) -> None:
        try:
            self.read(0)
        except ImagesError as problem:
            raise problem.within(f"none of these {len(self)} images could be decoded") from problem

    @cached_property
    def _content(self) -> str:
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(self.hash(index))
        return digest.hexdigest()

    @property
    def _masked(self) -> Masked:
        assert isinstance(self.source, Masked), "these images have no masks"
        return self.source

    @property
    def _boxed(self) -> Boxed:
        assert isinstance(self.source, Boxed), "these images have no boxes"
        return self.source

    @cached_property
    def _part_content(self) -> list[str]:
        """Return a digest of all masks or boxes, in a list; nothing where there are none."""
        if not isinstance(self.source, Masked | Boxed):
            return []
        digest = hashlib.sha256()
        for number in self.chosen.tolist():
            digest.update(self.source.label_content(number))
        return [digest.hexdigest()]

    def _cache(self) -> DecodedCache | None:
        if self.store is None:
            return None
        about = [
            self._content,
            self.preprocessing.geometry,
            self.unreadable,
            decode.VERSION,
            machine.versions("pillow"),
        ]
        if self.unreadable == "skip" and self.has_masks:  # an image is left out with its mask
            about += [*self._part_content, list(self.classes)]
        key = manifest.digest_of(about)
        side = self.preprocessing.size
        return DecodedCache(self.store, key, (side, side, self.preprocessing.channels), self.preprocessing.pixel)
