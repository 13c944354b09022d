"""Whether two image sets look alike: nine numbers of each image, compared between small samples of both sets.

The spread between images is the unit, so that two halves of one set are alike. What a set looks like is stored: the
next command decodes nothing. Knows no network, and what follows from a difference.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..errors import EdgeresnetError, ImagesError
from ..portable import codec, documents, limits, machine, manifest
from ..portable.codec import CodecError
from ..portable.frozen import dataclass
from ..store import write_bytes
from . import decode
from .samples import Samples

_VERSION = 1  # raised when the same images give other numbers
_FEWEST = 16  # of fewer images the spread is not known
_LEAST, _MOST = 64, 256  # images of a sample
_PIXELS = 96 * 224 * 224  # of a sample as it is prepared, between these two
_ENOUGH = 32  # images of a sample whose files have more pixels than these: large photographs
_PIXELS_IN_FILES = 200_000_000
_AT_A_TIME = 16
_ROWS = 64  # of an image: others are left out
_FLOOR = 0.02  # of pixels from 0 to 1: a smaller spread counts as this one
# The squared distance of two sets, in spreads between images. Halves of one set stay below 0.6 with 64 images each;
# inverted photographs are at 1.5 and more, gray ones, enlarged ones and brighter ones above 4.
_FAR = 1.0
_FAR_IN_ERRORS = 8.0  # standard errors: of small samples this is more than _FAR


class Trait(NamedTuple):
    """A number of an image, and what a set has whose images have more or less of it."""

    more: str
    less: str
    is_level: bool = True  # of pixels from 0 to 1


_GRAY = (
    Trait("are brighter", "are darker"),
    Trait("have more contrast", "have less contrast"),
    Trait("have brighter dark parts", "have darker dark parts"),
    Trait("have brighter light parts", "have darker light parts"),
    Trait("have brighter upper halves", "have darker upper halves"),
    Trait("are sharper", "are less sharp", is_level=False),
)
_COLOUR = (
    Trait("have more red", "have less red"),
    Trait("have more blue", "have less blue"),
    Trait("have more colour", "have less colour"),
)


@dataclass(frozen=True)
class Look:
    """What a sample of an image set looks like: the mean of each trait, and how traits vary together."""

    images: int
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "images")
        if {len(self.mean)} != {len(self.covariance), *map(len, self.covariance)}:
            raise CodecError("", "has a mean and a covariance of other sizes")


class Difference(NamedTuple):
    """How one set differs from another, in one trait."""

    words: str  # "are brighter"
    values: tuple[float, float] | None  # of pixels from 0 to 1: of the one set, of the other


def differences(one: Samples, other: Samples) -> list[Difference]:
    """Return how `one` differs from `other`, the largest difference first; nothing where they look alike.

    Both have the same preprocessing. Sets of few images count as alike: nothing can be known of them.
    """
    mine, theirs = look(one), look(other)
    if min(mine.images, theirs.images) < _FEWEST or not _are_far(mine, theirs):
        return []
    apart = (np.asarray(mine.mean) - theirs.mean) / np.sqrt(np.diag(_spread(mine, theirs)))
    traits = (_GRAY + _COLOUR)[: len(mine.mean)]
    order = np.argsort(-np.abs(apart), kind="stable")
    return [
        Difference(
            traits[at].more if apart[at] > 0 else traits[at].less,
            (mine.mean[at], theirs.mean[at]) if traits[at].is_level else None,
        )
        for at in order.tolist()
    ]


def look(samples: Samples) -> Look:
    """Return what a set looks like: as it is stored, or of a sample that is decoded now.

    Unreadable images are left out.
    """
    path = _place(samples)
    stored = _read(path) if path else None
    if stored is None:
        stored = _of(np.array([traits(pixels, samples.preprocessing.brightest) for pixels in _sample(samples)]))
        if path:
            _write(path, stored)
    return stored


def traits(pixels: np.ndarray, brightest: int) -> list[float]:
    """Return the numbers of one image HWC."""
    levels = pixels[:: max(1, len(pixels) // _ROWS)].astype(np.float32) / brightest
    gray = levels.mean(2)
    dark, light = np.percentile(gray, (5, 95))
    half, contrast = max(1, len(gray) // 2), gray.std()
    tilt = gray[:half].mean() - gray[-half:].mean()
    steps = np.abs(np.diff(gray, axis=1)).sum() / gray.size
    found = [gray.mean(), contrast, dark, light, tilt, np.log((steps + 0.005) / (contrast + _FLOOR))]
    if levels.shape[2] == 3:
        red, green, blue = levels.mean((0, 1))
        found += [red - green, blue - green, (levels.max(2) - levels.min(2)).mean()]
    return [float(each) for each in found]


def _are_far(one: Look, other: Look) -> bool:
    """Return whether two sets differ by more than images of one set do, and by more than chance explains."""
    degrees, number = one.images + other.images - 2, len(one.mean)
    error = 1 / one.images + 1 / other.images
    apart = np.asarray(one.mean) - other.mean
    squared = float(apart @ np.linalg.solve(_spread(one, other), apart))
    unbiased = squared * (degrees - number - 1) / degrees - number * error
    limit = max(_FAR, _FAR_IN_ERRORS * error * math.sqrt(2 * number))
    return unbiased >= limit


def _spread(one: Look, other: Look) -> np.ndarray:
    """Return how the traits vary between images, in both sets together."""
    weights = (one.images - 1) / (one.images + other.images - 2), (other.images - 1) / (one.images + other.images - 2)
    both = weights[0] * np.asarray(one.covariance) + weights[1] * np.asarray(other.covariance)
    return both + _FLOOR**2 * np.eye(len(both))


def _of(found: np.ndarray) -> Look:
    if len(found) < _FEWEST:
        return Look(len(found), (), ())
    covariance = np.cov(found.T)
    return Look(len(found), tuple(found.mean(0).tolist()), tuple(tuple(row) for row in covariance.tolist()))


def _sample(samples: Samples) -> Iterator[np.ndarray]:
    """Yield prepared images in the order of their content: by chance, and each once, whatever its name and copies."""
    distinct = {samples.hash(index): index for index in reversed(range(len(samples)))}
    most = max(_LEAST, min(_MOST, _PIXELS // samples.preprocessing.size**2))
    chosen = [distinct[content] for content in sorted(distinct)[:most]]
    seen, pixels_in_files = 0, 0
    with ThreadPoolExecutor(machine.cores(), thread_name_prefix="decode") as pool:
        for start in range(0, len(chosen), _AT_A_TIME):
            for pixels, in_file in pool.map(lambda index: _read_one(samples, index), chosen[start:][:_AT_A_TIME]):
                pixels_in_files += in_file
                if pixels is not None:
                    seen += 1
                    yield pixels
            if pixels_in_files > _PIXELS_IN_FILES and seen >= _ENOUGH:
                return


def _read_one(samples: Samples, index: int) -> tuple[np.ndarray | None, int]:
    """Return one prepared image, and how many pixels its file has. None: it cannot be read, which a run reports."""
    in_file = 0

    def opened(number: int) -> Image.Image:
        nonlocal in_file
        image = samples.source.open(number)
        in_file = image.width * image.height
        return image

    try:
        number = int(samples.chosen[index])
        return decode.decoded(opened, samples.source.name, number, samples.preprocessing), in_file
    except ImagesError:
        return None, in_file


def _place(samples: Samples) -> Path | None:
    """Return where the look of a set is stored."""
    if samples.store is None:
        return None
    key = manifest.digest_of([samples.digest, _VERSION, decode.VERSION, machine.versions("pillow")])
    return samples.store.cache / "pixels" / f"{key[:32]}.look.json"


def _read(path: Path) -> Look | None:
    with contextlib.suppress(ValueError):  # there is none, or it is damaged: it is made again
        sealed = documents.read_bytes(path, documents.SMALL)
        if documents.is_sealed(sealed, "digest"):
            return codec.decode(_Stored, documents.parse_json(sealed)).look
    return None


def _write(path: Path, found: Look) -> None:
    with contextlib.suppress(EdgeresnetError):  # a full disk costs the next command some time, nothing else
        write_bytes(path, documents.seal(json.dumps({"look": codec.encode(found)}).encode(), "digest"))


@dataclass(frozen=True)
class _Stored:
    look: Look
    digest: str
