"""Boxes of objects: moved as their images are turned, resized and cropped.

A box is left, top, width and height. Files have it in pixels of the image as it is stored; a network sees it in pixels
of its input. A box ends at the edge of its image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..portable.preprocessing import Preprocessing
from ..portable.tasks.average_precision import Labelled
from . import decode
from .decode import Contradiction

_FAR = 1e6  # pixels: no image is as large
_LEAST_LEFT = 0.25  # of an object's area inside the crop; of a smaller part nothing can be said
_Corners = np.ndarray  # of boxes: left, top, right and bottom
_TURNS: dict[int, Callable[[_Corners, float, float], _Corners]] = {  # by EXIF's tag, as Pillow turns images
    2: lambda box, width, height: _corners(width - box[2], box[1], width - box[0], box[3]),
    3: lambda box, width, height: _corners(width - box[2], height - box[3], width - box[0], height - box[1]),
    4: lambda box, width, height: _corners(box[0], height - box[3], box[2], height - box[1]),
    5: lambda box, width, height: _corners(box[1], box[0], box[3], box[2]),
    6: lambda box, width, height: _corners(height - box[3], box[0], height - box[1], box[2]),
    7: lambda box, width, height: _corners(height - box[3], width - box[2], height - box[1], width - box[0]),
    8: lambda box, width, height: _corners(box[1], width - box[2], box[3], width - box[0]),
}


@dataclass(frozen=True)
class Drawn:
    """The objects of one image, as its labels give them: in pixels of the image as it is stored."""

    name: str  # of the labels, for people
    size: tuple[int, int] | None  # width and height of the image by its labels; None: they do not have it
    objects: Labelled
    flat: int = 0  # boxes without area, which are left out


class Reading:
    """The objects of one image while its labels are read, one after the other."""

    def __init__(self) -> None:
        self._boxes, self._numbers, self._crowd = list[tuple[float, ...]](), list[int](), list[bool]()
        self._flat = 0

    def add(self, box: tuple[float, ...], number: int, *, crowd: bool) -> None:
        """Add one box; raise ValueError for one that cannot be right."""
        if not all(map(math.isfinite, box)) or max(map(abs, box)) > _FAR:
            raise ValueError("has a box of numbers that are not pixels")
        if min(box[2:]) < 0:
            raise ValueError(f"has a box of {box[2]:g}×{box[3]:g} pixels: a side is negative")
        if 0 in box[2:]:
            self._flat += 1
            return
        self._boxes.append(box)
        self._numbers.append(number)
        self._crowd.append(crowd)

    def drawn(self, name: str, size: tuple[int, int] | None) -> Drawn:
        """Return what was read."""
        boxes = np.array(self._boxes, np.float64).reshape(-1, 4)
        objects = Labelled(boxes, np.array(self._numbers, np.int64), np.array(self._crowd, bool))
        return Drawn(name, size, objects, self._flat)


def check_size(drawn: Drawn, image: Image.Image, name: str) -> None:
    """Refuse labels that are of an image of another size."""
    if drawn.size in (None, image.size):
        return
    width, height = drawn.size or image.size
    hint = "give the image that was labelled, or label this one"
    if (height, width) == image.size and decode.turned(image):
        hint = "EXIF turns this photograph, and it was labelled so: turn its pixels and remove the tag"
    problem = f"is about {width}×{height} pixels, but its image {name} has {image.width}×{image.height}"
    raise Contradiction(drawn.name, problem, hint=hint)


def fitted(objects: Labelled, image: Image.Image, preprocessing: Preprocessing) -> Labelled:
    """Return objects as their image is prepared: turned, resized and cropped. The image must not be turned yet.

    One of which the crop leaves less than a quarter becomes a crowd; one outside is left out.
    """
    width, height = image.size
    corners = clipped(objects.boxes, (width, height))
    turn = _TURNS.get(image.getexif().get(0x0112, 1)) if preprocessing.exif else None
    if turn:
        corners = turn(corners, width, height)
        width, height = (width, height) if image.getexif()[0x0112] < 5 else (height, width)
    sides, (left, top) = preprocessing.fit(width, height)
    corners *= np.array([[sides[0] / width], [sides[1] / height]] * 2)
    corners -= np.array([[left], [top]] * 2)
    whole, seen = _areas(corners), corners.clip(0, preprocessing.size)
    part = _areas(seen)
    there = part > 0
    boxes = np.concatenate([seen[:2], seen[2:] - seen[:2]]).T.astype(np.float32)
    crowd = objects.crowd | (part < _LEAST_LEFT * whole)
    return Labelled(boxes[there], objects.numbers[there], crowd[there])


def placed(boxes: np.ndarray, size: tuple[int, int], preprocessing: Preprocessing) -> np.ndarray:
    """Return boxes of a network's input as they lie in an image of this (width, height): the inverse of `fitted`.

    Where the preprocessing turns photographs, it is the turned image.
    """
    sides, (left, top) = preprocessing.fit(*size)
    found = np.asarray(boxes, np.float64).reshape(-1, 4) + np.array([left, top, 0, 0])
    found *= np.array([size[0] / sides[0], size[1] / sides[1]] * 2)
    corners = clipped(found, size)
    return np.concatenate([corners[:2], corners[2:] - corners[:2]]).T


def clipped(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the corners of boxes inside an image of this (width, height): 4×N, in double precision."""
    corners = np.asarray(boxes, np.float64).reshape(-1, 4).T.copy()
    corners[2:] += corners[:2]
    return corners.clip(0, np.array([[size[0]], [size[1]]] * 2))


def _areas(corners: _Corners) -> np.ndarray:
    return np.asarray((corners[2] - corners[0]).clip(0) * (corners[3] - corners[1]).clip(0))


def _corners(*each: np.ndarray) -> _Corners:
    return np.stack(each)
