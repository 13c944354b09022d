"""Noise in place of images, where a recipe names none: two forms of a network can be compared on it, and no more."""

from __future__ import annotations

import numpy as np

from ..portable.preprocessing import Preprocessing
from .samples import Samples
from .sources import Arrays


class _Noise(Arrays):
    """Random pixels, without classes."""


def noise(preprocessing: Preprocessing, count: int, seed: int) -> Samples:
    """Return images of random pixels, the same ones for the same seed."""
    side, deep = preprocessing.size, (3,) if preprocessing.channels == 3 else ()
    random = np.random.default_rng(seed)
    pixels = random.integers(
        0, preprocessing.brightest, (count, side, side, *deep), preprocessing.pixel.type, endpoint=True
    )
    source = _Noise("noise", pixels, np.zeros(count), ())
    return Samples.of(source, preprocessing, "error", None)


def is_noise(samples: Samples) -> bool:
    """Return whether these images are noise."""
    return isinstance(samples.source, _Noise)
