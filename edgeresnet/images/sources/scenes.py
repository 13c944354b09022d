"""Small scenes with known masks and boxes: handwritten digits, pasted on textures at random sizes and places.

Made when they are needed, always the same ones: whole numbers alone, which every machine computes alike. Scenes for the
evaluation have digits of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ...portable.tasks.average_precision import Labelled
from ...portable.tasks.masks import IGNORED
from ..boxes import Drawn
from . import boxed
from .arrays import ArrayMasks, Arrays, digits
from .boxed import Boxed
from .masked import Masked

SCENES = "digits-scenes"
DIGITS = tuple(map(str, range(10)))
CLASSES = ("background", *DIGITS)
SIDE = 64  # pixels
_COUNTS = {"training": (800, 1), "calibration": (256, 2), "evaluation": (240, 3)}  # scenes, and their seed
_MOST = 5  # digits in a scene
_TRIES = 10  # places for a digit
_SIZES = (14, 28)  # of a digit, in pixels
_GRAINS = (4, 8, 16, SIDE)  # of a texture: values to a side
_INSIDE = 112  # of 255: ink from which a pixel is the digit's


def scenes(slot: str) -> Masked:
    """Return the scenes of a slot: gray, with masks of eleven classes, of which 0 is the background."""
    pixels, numbers, _ = _drawn(slot)
    return Masked(_images(pixels), ArrayMasks(f"{SCENES} masks", numbers, IGNORED), CLASSES)


def boxed_scenes(slot: str, names: Sequence[str] | None = None, classes: int | None = None) -> Boxed:
    """Return the same scenes with the box of each digit: as large as its part of the mask.

    `names` are the classes in the network's order, and `classes` is how many it has, where these are known.
    """
    pixels, _, objects = _drawn(slot)
    ordered, numbers = boxed.numbered(dict(enumerate(DIGITS)), names, classes, SCENES)
    places = np.array([numbers[digit] for digit in range(len(DIGITS))])
    drawn = [
        Drawn(f"{SCENES} boxes[{at}]", (SIDE, SIDE), each._replace(numbers=places[each.numbers]))
        for at, each in enumerate(objects)
    ]
    return Boxed(_images(pixels), drawn, ordered)


def _images(pixels: np.ndarray) -> Arrays:
    return Arrays(SCENES, pixels, np.zeros(len(pixels)), ())


@functools.lru_cache(maxsize=len(_COUNTS))
def _drawn(slot: str) -> tuple[np.ndarray, np.ndarray, list[Labelled]]:
    count, seed = _COUNTS[slot]
    ink, random = digits(evaluation=slot == "evaluation"), np.random.default_rng(seed)
    pixels, numbers = np.empty((count, SIDE, SIDE), np.uint8), np.zeros((count, SIDE, SIDE), np.uint8)
    objects = []
    for picture, mask in zip(pixels, numbers, strict=True):
        picture[...] = _texture(random)
        pasted = [_paste(picture, mask, ink, random) for _ in range(int(random.integers(1, _MOST, endpoint=True)))]
        found = [each for each in pasted if each]
        boxes, labels = np.array([box for box, _ in found], np.float64), np.array([label for _, label in found])
        objects.append(Labelled(boxes, labels, np.zeros(len(found), bool)))
    return pixels, numbers, objects


def _texture(random: np.random.Generator) -> np.ndarray:
    """Return values between 0 and about 150: noise of several grains, one over the other."""
    grains = [random.integers(0, 255, (grain, grain), np.uint8, endpoint=True) for grain in _GRAINS]
    weights = random.integers(1, 5, len(grains))
    layers = [_resized(grain, SIDE).astype(np.int64) * weight for grain, weight in zip(grains, weights, strict=True)]
    return np.asarray(sum(layers) * int(random.integers(70, 150)) // (255 * int(weights.sum())), np.uint8)


def _paste(
    picture: np.ndarray, mask: np.ndarray, ink: Arrays, random: np.random.Generator
) -> tuple[tuple[int, ...], int] | None:
    """Add one digit, brighter than the texture below it, where no other digit lies; none where no place is free.

    Return its box and its label.
    """
    which, size = int(random.integers(len(ink.labels))), int(random.integers(*_SIZES, endpoint=True))
    bright, places = int(random.integers(170, 255, endpoint=True)), random.integers(0, SIDE - size, (_TRIES, 2))
    boxes = [np.s_[top : top + size, left : left + size] for top, left in places.tolist()]
    here = next((box for box in boxes if not mask[box].any()), None)
    if here is None:
        return None
    with ink.open(which) as image:
        drawn = _resized(np.asarray(image), size).astype(np.int64)
    picture[here] = (picture[here] * (255 - drawn) + bright * drawn) // 255
    inside = drawn >= _INSIDE
    mask[here][inside] = ink.labels[which] + 1
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    corner = int(here[1].start + columns[0]), int(here[0].start + rows[0])
    return (*corner, int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)), int(ink.labels[which])


def _resized(values: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(values).resize((side, side), Image.Resampling.BILINEAR))
