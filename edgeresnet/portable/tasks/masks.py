"""Masks: one class number per pixel, many of them packed into little memory.

A mask is an array of unsigned 16-bit integers, height by width. Knows no files and no networks.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field

import numpy as np

from ..frozen import dataclass

IGNORED = 0xFFFF  # a pixel without a label
_LEVEL = 1  # of zlib: higher levels take several times as long for masks, and save little
_LARGEST = 1 << 15  # pixels along an edge: no network's input is larger
_STORED = np.dtype("<u2")


@dataclass(frozen=True)
class Packed:
    """Masks of many images, each compressed by itself, so that one of them can be read alone."""

    parts: tuple[bytes, ...] = ()
    shapes: tuple[tuple[int, int], ...] = field(default=())

    @staticmethod
    def of(masks: Iterable[np.ndarray]) -> Packed:
        """Return masks packed. Each is taken and compressed before the next one is made."""
        parts, shapes = [], []
        for mask in masks:
            if mask.ndim != 2:
                raise ValueError(f"a mask has height and width, and not the shape {mask.shape}")
            parts.append(zlib.compress(np.ascontiguousarray(mask, _STORED).tobytes(), _LEVEL))
            shapes.append((int(mask.shape[0]), int(mask.shape[1])))
        return Packed(tuple(parts), tuple(shapes))

    @staticmethod
    def joined(several: Iterable[Packed]) -> Packed:
        """Return the masks of all, in order."""
        found = list(several)
        return Packed(
            tuple(part for each in found for part in each.parts),
            tuple(shape for each in found for shape in each.shapes),
        )

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> Packed:
        """Return what `arrays` returned; raise ValueError for arrays that are not so."""
        try:
            data, lengths, shapes = (arrays[name] for name in ("masks", "mask_lengths", "mask_shapes"))
        except KeyError as error:
            raise ValueError(f"packed masks lack the array {error}") from None
        if data.dtype != np.uint8 or data.ndim != 1 or lengths.ndim != 1 or shapes.shape != (len(lengths), 2):
            raise ValueError("packed masks are not arrays of bytes, lengths and shapes")
        whole = [lengths.dtype.kind in "iu", shapes.dtype.kind in "iu"]
        if not all(whole) or (lengths < 0).any() or int(lengths.sum()) != len(data):
            raise ValueError("the lengths of packed masks do not fit their bytes")
        if len(shapes) and not 0 <= int(shapes.min()) <= int(shapes.max()) <= _LARGEST:
            raise ValueError("the shape of a packed mask is not possible")
        ends = np.cumsum(lengths).tolist()
        raw = data.tobytes()
        parts = tuple(raw[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)) if ends else ()
        return Packed(parts, tuple((int(height), int(width)) for height, width in shapes))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return arrays for a .npz file."""
        return {
            "masks": np.frombuffer(b"".join(self.parts), np.uint8),
            "mask_lengths": np.array([len(part) for part in self.parts], np.int64),
            "mask_shapes": np.array(self.shapes, np.int32).reshape(-1, 2),
        }

    def taken(self, indices: Sequence[int]) -> Packed:
        """Return the masks at these places, in this order."""
        return Packed(tuple(self.parts[each] for each in indices), tuple(self.shapes[each] for each in indices))

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return one mask; raise ValueError where its bytes are damaged."""
        height, width = self.shapes[index]
        wanted, reader = height * width * _STORED.itemsize, zlib.decompressobj()
        try:
            raw = reader.decompress(self.parts[index], wanted + 1)
        except zlib.error as error:
            raise ValueError(f"the packed mask {index} is damaged: {error}") from None
        if len(raw) != wanted:
            raise ValueError(f"the packed mask {index} has not the {height}×{width} pixels that it should have")
        return np.frombuffer(raw, _STORED).reshape(height, width).astype(np.uint16, copy=False)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))
