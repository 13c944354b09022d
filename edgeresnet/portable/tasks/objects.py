"""Boxes of many images as a few arrays: objects that labels name, and those that a network found.

A box is left, top, width and height, in pixels of the network's input. Knows no files and no networks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ..frozen import dataclass
from .average_precision import Detected, Labelled


class _OfImages:
    """Rows of arrays that belong to images, one image after the other."""

    counts: np.ndarray  # of each image

    def __len__(self) -> int:
        return len(self.counts)

    def part(self, index: int) -> slice:
        """Return the rows of an image."""
        end = int(self._ends[index])
        return slice(end - int(self.counts[index]), end)

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.counts)


@dataclass(frozen=True)
class Objects(_OfImages):
    """The objects of each image, by its labels."""

    counts: np.ndarray  # of each image
    boxes: np.ndarray  # of all images, one after the other
    numbers: np.ndarray  # of classes
    crowd: np.ndarray

    @staticmethod
    def of(images: Iterable[Labelled]) -> Objects:
        """Return the objects of images, in order."""
        found = list(images)
        return Objects(*_stacked([(each.boxes, each.numbers, each.crowd) for each in found], bool))

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> Objects:
        """Return what `arrays` returned; raise ValueError for arrays that are not so."""
        found = Objects(*(_array(arrays, name) for name in ("counts", "boxes", "numbers", "crowd")))
        _check(found.counts, found.boxes, found.numbers, found.crowd)
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """Return arrays for a .npz file."""
        return {"counts": self.counts, "boxes": self.boxes, "numbers": self.numbers, "crowd": self.crowd}

    def taken(self, indices: Sequence[int]) -> Objects:
        """Return the objects of these images, in this order."""
        return Objects.of(self[each] for each in indices)

    def __getitem__(self, index: int) -> Labelled:
        part = self.part(index)
        return Labelled(self.boxes[part], self.numbers[part], self.crowd[part])

    def __iter__(self) -> Iterator[Labelled]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Found(_OfImages):
    """The boxes that a network found in each image, the most probable first."""

    counts: np.ndarray
    boxes: np.ndarray
    numbers: np.ndarray
    scores: np.ndarray  # from 0 to 1

    @staticmethod
    def of(images: Iterable[Detected]) -> Found:
        """Return what was found in images, in order."""
        found = list(images)
        return Found(*_stacked([(each.boxes, each.numbers, each.scores) for each in found], np.float32))

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> Found:
        """Return what `arrays` returned; raise ValueError for arrays that are not so."""
        found = Found(*(_array(arrays, name) for name in ("counts", "boxes", "numbers", "scores")))
        _check(found.counts, found.boxes, found.numbers, found.scores)
        return found

    @staticmethod
    def joined(several: Iterable[Found]) -> Found:
        """Return what was found in the images of all, in order."""
        found = list(several)
        columns = zip(*((each.counts, each.boxes, each.numbers, each.scores) for each in found), strict=True)
        return Found(*(np.concatenate(column) for column in columns)) if found else Found.of(())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return arrays for a .npz file."""
        return {"counts": self.counts, "boxes": self.boxes, "numbers": self.numbers, "scores": self.scores}

    def __getitem__(self, index: int) -> Detected:
        part = self.part(index)
        return Detected(self.boxes[part], self.numbers[part], self.scores[part])

    def __iter__(self) -> Iterator[Detected]:
        return (self[index] for index in range(len(self)))


def _stacked(images: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], last: type) -> tuple[np.ndarray, ...]:
    boxes, numbers, others = zip(*images, strict=True) if images else ((), (), ())
    counts = np.array([len(each) for each in boxes], np.int64)
    flat = np.concatenate(
        [np.zeros((0, 4), np.float32), *(np.asarray(each, np.float32).reshape(-1, 4) for each in boxes)]
    )
    columns = [_column(numbers, np.int64), _column(others, last)]
    return counts, flat, *columns


def _column(parts: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, kind), *(np.asarray(each, kind).reshape(-1) for each in parts)])


def _array(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    try:
        return arrays[name]
    except KeyError as error:
        raise ValueError(f"packed boxes lack the array {error}") from None


def _check(counts: np.ndarray, boxes: np.ndarray, *others: np.ndarray) -> None:
    rows = len(boxes)
    same = counts.ndim == 1 and counts.dtype.kind in "iu" and boxes.shape == (rows, 4)
    if not same or (counts < 0).any() or int(counts.sum()) != rows or any(each.shape != (rows,) for each in others):
        raise ValueError("packed boxes are not arrays of counts, boxes and a value for each of these")
