"""How far a device's own decoding and resizing are from the host's: the same JPEG files, through the libraries it has.

The host uses Pillow. OpenCV resizes otherwise, and JPEG decoders differ by a few levels; a network may feel both.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .preprocessing import Preprocessing

LIBRARIES = ("pillow", "opencv")


def decoded(library: str, files: Sequence[Path], preprocessing: Preprocessing) -> np.ndarray | None:
    """Return pixels NHWC, in RGB or grayscale; None where the library is not here."""
    try:
        module = importlib.import_module({"pillow": "PIL.Image", "opencv": "cv2"}[library])
    except ImportError:
        return None
    one = {"pillow": _with_pillow, "opencv": _with_opencv}[library]
    return np.stack([one(module, file, preprocessing) for file in files])


def _with_pillow(pil: Any, file: Path, preprocessing: Preprocessing) -> np.ndarray:
    with pil.open(file) as opened:
        image = importlib.import_module("PIL.ImageOps").exif_transpose(opened) if preprocessing.exif else opened
        if preprocessing.bits == 16:
            image = pil.fromarray(np.asarray(image).astype(np.float32))  # resized as it is, and nothing is cut off
        else:
            image = image.convert("RGB" if preprocessing.channels == 3 else "L")
    sides, (left, top) = preprocessing.fit(*image.size)
    names = getattr(pil, "Resampling", pil)  # before Pillow 9.1, Ubuntu 22.04's, they were the module's own
    resized = np.asarray(image.resize(sides, getattr(names, preprocessing.interpolation.upper())))
    if preprocessing.bits == 16:
        resized = np.rint(resized).clip(0, preprocessing.brightest)
    return _square(resized.astype(preprocessing.pixel), left, top, preprocessing)


def _with_opencv(cv2: Any, file: Path, preprocessing: Preprocessing) -> np.ndarray:
    """Decode as people write it: OpenCV's own names for the interpolations, which differ when images shrink."""
    colour = preprocessing.channels == 3
    how = cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE
    how |= 0 if preprocessing.exif else cv2.IMREAD_IGNORE_ORIENTATION  # it turns photographs by default
    how |= cv2.IMREAD_ANYDEPTH if preprocessing.bits == 16 else 0
    image = cv2.imread(str(file), how)
    if image is None:  # it gives no reason
        raise ValueError(f"{file.name} cannot be read")
    sides, (left, top) = preprocessing.fit(image.shape[1], image.shape[0])
    names = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}
    image = cv2.resize(image, sides, interpolation=names[preprocessing.interpolation])
    return _square(cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if colour else image, left, top, preprocessing)


def _square(image: np.ndarray, left: int, top: int, preprocessing: Preprocessing) -> np.ndarray:
    size = preprocessing.size
    seen = image[top : top + size, left : left + size]
    square = np.empty((size, size, preprocessing.channels), image.dtype)
    square[...] = preprocessing.fill
    square[: seen.shape[0], : seen.shape[1]] = seen.reshape(*seen.shape[:2], -1)
    return square
