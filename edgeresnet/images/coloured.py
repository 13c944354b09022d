"""Masks as pictures: each class has a colour of its own, the same in every picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..portable.tasks.masks import IGNORED

_COLOURS = 256  # of a palette; the classes after that begin again with the second
_IGNORED = (224, 224, 224)


def coloured(mask: np.ndarray) -> Image.Image:
    """Return a mask as a picture with a palette: the number of a pixel is its class, and 255 is ignored."""
    known = np.where(mask < _COLOURS - 1, mask, (mask - 1) % (_COLOURS - 2) + 1)
    found = Image.fromarray(np.where(mask == IGNORED, _COLOURS - 1, known).astype(np.uint8), mode="L")
    found.putpalette([part for number in range(_COLOURS) for part in colour_of(number)])
    return found


def colour_of(number: int) -> tuple[int, int, int]:
    """Return the colour of a class, as PASCAL VOC gives it: black is class 0."""
    if number == _COLOURS - 1:
        return _IGNORED
    parts = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            parts[channel] |= ((number >> (3 * bit + channel)) & 1) << (7 - bit)
    return parts[0], parts[1], parts[2]
