"""Masks to class numbers: read from files, compared with their images, and turned, resized and cropped as they are.

A mask is one number per pixel. Files hold it in a palette or in grays; a resized mask takes the nearest pixel, since
numbers of classes have no mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from PIL import Image

from ..errors import ImagesError
from ..portable.preprocessing import Preprocessing
from ..portable.tasks.masks import IGNORED
from . import decode
from .decode import Contradiction

_FORMATS = ("PNG", "TIFF", "BMP", "GIF")  # without loss
_MODES = ("1", "P", "L", "I;16", "I;16B", "I")
_STRETCHED = {"L;2": 85, "L;4": 17}  # Pillow makes grays of 2 and 4 bits as bright as those of 8
_RAW = re.compile(r"'((?:1|P|L)(?:;\w+)?)'")  # in Pillow's words for what a file holds
_HINT = "save it as a PNG with a palette or in grays: the number of a pixel is its class"
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # by EXIF's tag, as Pillow turns images
    2: lambda mask: mask[:, ::-1],
    3: lambda mask: mask[::-1, ::-1],
    4: lambda mask: mask[::-1],
    5: lambda mask: mask.T,
    6: lambda mask: np.rot90(mask, 3),
    7: lambda mask: mask[::-1, ::-1].T,
    8: lambda mask: np.rot90(mask, 1),
}


def read(open_mask: Callable[[], Image.Image], name: str, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read one mask file: the number of each pixel, H×W. Refuse colours, and what loses numbers.

    Of another (width, height) than `size` nothing is decoded: `check_size` refuses it.
    """
    try:
        with open_mask() as image:
            if size not in (None, image.size):
                return np.broadcast_to(np.uint8(0), image.size[::-1])
            return _numbers(image, name)
    except decode.BROKEN as problem:
        hint = "remove or replace it, or leave out such pairs with `images: {unreadable: skip}`"
        raise ImagesError(name, f"cannot be decoded: {decode.reason(problem)}", hint=hint) from problem


def _numbers(image: Image.Image, name: str) -> np.ndarray:
    raw = next(iter(_RAW.findall(str(getattr(image, "tile", "")))), "")
    if image.format not in (None, *_FORMATS) or image.info.get("compression") == "jpeg":
        what = "a JPEG" if image.format in ("JPEG", "MPO", "TIFF") else f"in the format {image.format}"
        raise Contradiction(name, f"is {what}, which does not keep the numbers of classes", hint=_HINT)
    if image.mode not in _MODES:
        what = (
            "a colour image" if image.mode[:3] in ("RGB", "CMY", "YCb", "HSV", "LAB") else f"of the mode {image.mode}"
        )
        raise Contradiction(name, f"is {what}, not a mask with one number per pixel", hint=_HINT)
    if raw.endswith("I"):
        raise Contradiction(name, "has inverted grays, so its numbers are not those of classes", hint=_HINT)
    found = np.asarray(image)
    found = found.astype(np.uint8) if found.dtype == bool else found
    return found // np.uint8(_STRETCHED[raw]) if raw in _STRETCHED else found


def check_size(mask: np.ndarray, image: Image.Image, names: tuple[str, str]) -> None:
    """Refuse a mask of another size than its image. `names` are the mask's and the image's."""
    height, width = mask.shape
    if (width, height) == image.size:
        return
    sizes = f"{width}×{height} pixels, but its image {names[1]} has {image.width}×{image.height}"
    hint = "give each image a mask of its own size"
    if (height, width) == image.size and decode.turned(image):
        hint = "EXIF turns this photograph: turn its pixels and remove the tag, or draw the mask as pixels are stored"
    raise Contradiction(names[0], f"has {sizes}", hint=hint)


def with_ignored(mask: np.ndarray, ignored: int, classes: int, name: str) -> np.ndarray:
    """Return class numbers with IGNORED where a mask says so; refuse a number that is not of a class."""
    known = mask != ignored
    outside = mask[known & ((mask < 0) | (mask >= classes))]
    if len(outside):
        words = f"has the number {outside[0]} in {len(outside)} pixels, but there are {classes} classes, from 0 to"
        hint = (
            f"correct the masks or `model.classes`; `images: {{ignore_index: {outside[0]}}}` ignores these pixels "
            f"instead of those with {ignored}"
        )
        raise Contradiction(name, f"{words} {classes - 1}", hint=hint)
    return np.where(known, mask, np.uint16(IGNORED)).astype(np.uint16, copy=False)


def fitted(mask: np.ndarray, image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Return a mask as its image is prepared: turned, resized and cropped. The image must not be turned yet.

    What is around a padded one has no label.
    """
    if preprocessing.exif:
        mask = _TURNS.get(image.getexif().get(0x0112, 1), lambda kept: kept)(mask)
    square = decode.resized(Image.fromarray(mask.astype(np.int32)), preprocessing, "nearest", (IGNORED,))
    return np.asarray(square).astype(np.uint16)
