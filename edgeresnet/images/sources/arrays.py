"""Images that came as arrays: an .npz file, the shipped digits."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from ...errors import ImagesError, foreign, listed, shortened
from ...portable.documents import shown
from .. import place

PARTS = {"training": ("train",), "evaluation": ("test", "val", "valid"), "calibration": ("train",)}
_PAIRS = (
    ("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels"), ("data", "target"), ("arr_0", "arr_1"),
)  # fmt: skip
_MASKED = (("images", "masks"), ("x", "masks"), ("X", "masks"))
_LARGEST_PACKED = 1 << 34  # bytes
_SAVE = "save them as np.savez(FILE, images=…, labels=…): uint8 or uint16, N×H×W or N×H×W×3, and N integers or words"
_SAVE_MASKS = "save them as np.savez(FILE, images=…, masks=…): masks are N×H×W integers, one class number per pixel"
_EVERY = ("", "train", *PARTS["evaluation"])


class Arrays:
    """Images in an array: uint8, N×H×W or N×H×W×3, or uint16, N×H×W. `numbered`: the classes are integers."""

    def __init__(
        self,
        title: str,
        pixels: np.ndarray,
        labels: np.ndarray,
        classes: Sequence[str],
        *,
        numbered: bool = False,
    ):
        self._title, self._pixels = title, pixels
        self.labels = labels.astype(np.int64)
        self.classes, self.numbered = tuple(classes), numbered
        self.hashes = [hashlib.sha256(image.tobytes()).digest() for image in pixels]
        self._numbers: Sequence[int] = range(len(pixels))

    def name(self, index: int) -> str:
        return f"{self._title}[{self._numbers[index]}]"

    def path(self, index: int) -> None:
        return None

    def open(self, index: int) -> Image.Image:
        return Image.fromarray(self._pixels[index])

    def files(self) -> Sequence[str]:
        return ()

    def part(self, indices: Sequence[int]) -> Arrays:
        found = copy.copy(self)
        found._pixels, found.labels = np.array(self._pixels[indices]), self.labels[indices]
        found.hashes = [self.hashes[index] for index in indices]
        found._numbers = [self._numbers[index] for index in indices]
        return found


class ArrayMasks:
    """Masks in an array, N×H×W. `ignored` is the number of pixels without a label."""

    def __init__(self, title: str, numbers: np.ndarray, ignored: int):
        self._title, self._numbers, self.ignored = title, numbers, ignored
        self.hashes = [hashlib.sha256(mask.tobytes()).digest() for mask in numbers]
        self._places: Sequence[int] = range(len(numbers))

    def name(self, index: int) -> str:
        return f"{self._title}[{self._places[index]}]"

    def read(self, index: int, size: tuple[int, int]) -> np.ndarray:
        return np.asarray(self._numbers[index], np.int64)

    def files(self) -> Sequence[str]:
        return ()

    def part(self, indices: Sequence[int]) -> ArrayMasks:
        found = copy.copy(self)
        found._numbers = np.array(self._numbers[indices])
        found.hashes = [self.hashes[index] for index in indices]
        found._places = [self._places[index] for index in indices]
        return found


def digits(*, evaluation: bool) -> Arrays:
    """Return the shipped handwritten digits: 1,797, of which 450 are set aside for evaluation."""
    path = shipped("calibration_data") / "digits.npz"
    with np.load(path) as file:
        mine = file["evaluation"] == evaluation
        return Arrays("digits", file["images"][mine], file["labels"][mine], [str(n) for n in range(10)])


def shipped(folder: str) -> Path:
    """Return a folder that ships with the project: inside an installed package, next to it in a checkout."""
    package = Path(__file__).parent.parent.parent
    installed, checkout = package / folder, package.parent / folder
    return installed if installed.is_dir() else checkout


def npz(path: Path, slot: str) -> Arrays:
    """Read an .npz file. Where it has parts, training and calibration use `train`, evaluation `test`, else `val`."""
    labelled = slot != "calibration"
    keys = _keys(path)
    for part in ("", *PARTS[slot]):
        pair = _pair(keys, part, labelled)
        if pair:
            return _arrays(path, *pair)
    what = f"{slot} images" + (" with labels" if labelled else "")
    raise ImagesError(shown(path), f"holds {_some(keys)}, but no {what} under these names", hint=_SAVE)


def has_masks(path: Path) -> bool:
    """Return whether an .npz file has masks next to its images."""
    keys = _keys(path)
    return any(_pair(keys, part, True, _MASKED) for part in _EVERY)


def masked(path: Path, slot: str | None, ignored: int) -> tuple[Arrays, ArrayMasks]:
    """Read the images and masks of an .npz file: those of a slot, or the first ones that there are."""
    keys = _keys(path)
    for part in ("", *PARTS[slot]) if slot else _EVERY:
        pair = _pair(keys, part, True, _MASKED)
        if pair and pair[1]:
            images, masks, title = _arrays(path, pair[0], None), _array(path, pair[1]), f"{shown(path)}:{pair[1]}"
            if masks.ndim != 3 or len(masks) != len(images.labels) or masks.dtype.kind not in "iu":
                problem = f"is {_words(masks)}, but {pair[0]} has {len(images.labels)} images"
                raise ImagesError(title, problem, hint="give masks as N×H×W integers, one for each image")
            return images, ArrayMasks(title, masks, ignored)
    what = f"{slot} images with masks" if slot else "images with masks"
    raise ImagesError(shown(path), f"holds {_some(keys)}, but no {what} under these names", hint=_SAVE_MASKS)


def parts(path: Path) -> dict[str, Arrays]:
    """Read all that an .npz file holds, by part; by the file's own name where it has no parts."""
    keys = _keys(path)
    pairs = {part or path.name: _pair(keys, part, False) for part in _EVERY}
    found = {part: _arrays(path, *pair) for part, pair in pairs.items() if pair}
    if not found:
        raise ImagesError(shown(path), f"holds {_some(keys)}, but no images under these names", hint=_SAVE)
    return found


def _some(keys: Sequence[str]) -> str:
    return listed(keys, 80) or "nothing"


def _keys(path: Path) -> list[str]:
    place.check_file(path)
    with _readable(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _readable(path: Path) -> contextlib.AbstractContextManager[None]:
    return foreign(lambda reason: ImagesError(shown(path), f"cannot be read as an .npz file: {reason}", hint=_SAVE))


def _pair(
    keys: Sequence[str], part: str, labelled: bool, pairs: Sequence[tuple[str, str]] = _PAIRS
) -> tuple[str, str | None] | None:
    """Return the names under which images and their labels are stored; None where they are not."""
    spelled = ["{}"] if not part else [f"{part}_{{}}", f"{{}}_{part}"]
    for images, labels in pairs:
        for form in spelled:
            if form.format(images) in keys and (form.format(labels) in keys or not labelled):
                return form.format(images), form.format(labels) if form.format(labels) in keys else None
    return None


def _arrays(path: Path, image_key: str, label_key: str | None) -> Arrays:
    title = f"{shown(path)}:{image_key}"
    pixels = _checked(title, _array(path, image_key))
    if label_key is None:
        return Arrays(title, pixels, np.zeros(len(pixels), np.int64), ())
    labels = _array(path, label_key)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (len(pixels),) or labels.dtype.kind not in "iuU":
        raise ImagesError(
            f"{shown(path)}: {label_key}",
            f"is {_words(labels)}, but {image_key} has {len(pixels)} images",
            hint="give one integer or one word for each image",
        )
    if not len(labels):
        raise ImagesError(f"{shown(path)}: {image_key}", "holds no images", hint=_SAVE)
    words, numbers = np.unique(labels, return_inverse=True)
    return Arrays(title, pixels, numbers, [str(word) for word in words], numbered=labels.dtype.kind != "U")


def _checked(title: str, pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    colour = pixels.ndim == 4 and pixels.shape[3] in (3, 4)
    if not (pixels.ndim == 3 or colour):
        first = pixels.ndim == 4 and pixels.shape[1] in (1, 3)
        hint = "put the channels last: images.transpose(0, 2, 3, 1)" if first else _SAVE
        raise ImagesError(title, f"is {_words(pixels)}, which is not an array of images", hint=hint)
    if 0 in pixels.shape[1:]:
        raise ImagesError(title, f"is {_words(pixels)}: its images have no pixels", hint=_SAVE)
    if pixels.dtype not in (np.uint8, np.uint16) or (colour and pixels.dtype != np.uint8):
        problem = f"is {_words(pixels)}, but pixels have 8 bits, or 16 bits in one channel"
        raise ImagesError(title, problem, hint=_SAVE)
    return pixels


def _words(array: np.ndarray) -> str:
    return f"{shortened(str(array.dtype), 40)} {shortened('×'.join(map(str, array.shape)), 60) or 'alone'}"


def _array(path: Path, key: str) -> np.ndarray:
    """Read an array. It is mapped where the file is not compressed: what is not used takes no memory."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        about = archive.getinfo(f"{key}.npy")
        if about.flag_bits & 1:
            raise ValueError(f"{key} is encrypted")
        is_stored = about.compress_type == zipfile.ZIP_STORED
        with archive.open(about) as member:
            shape, columns_first, kind = _header(member)
            head = member.tell()
            if kind.hasobject:
                raise ValueError(f"{key} holds objects of Python, which would run code")
            if about.file_size - head != math.prod(shape) * kind.itemsize:
                raise ValueError(f"the header of {key} does not fit its {about.file_size:,} bytes")
            if not is_stored and about.file_size > _LARGEST_PACKED:
                raise ValueError(f"{key} would take {about.file_size:,} bytes of memory: save it without compression")
            if is_stored and not columns_first and kind.kind in "iu" and 0 not in shape:
                while member.read(1 << 22):
                    pass  # to its end: zipfile compares the checksum there
                return np.memmap(path, kind, "r", offset=_start(path, about) + head, shape=shape)
        with np.load(path, allow_pickle=False) as held:
            return np.asarray(held[key])


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return the shape of an array, whether its columns come first, and its type."""
    version = np.lib.format.read_magic(member)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"its format {version} is unknown")
    try:
        shape, columns_first, kind = read(member)
    except MemoryError as problem:  # Python's parser, over brackets in brackets: memory did not run out
        raise ValueError("its header is nested too deeply") from problem
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise ValueError(f"its shape {shortened(str(shape), 60)} is not one of an array")
    return shape, columns_first, kind


def _start(path: Path, about: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin in the file, behind its header."""
    with open(path, "rb") as file:
        file.seek(about.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return int(about.header_offset + 30 + name + extra)
