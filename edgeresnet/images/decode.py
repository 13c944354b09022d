"""Files to pixels: open, convert, resize and crop exactly as torchvision does on PIL images; several at a time.

Pixels have 8 bits, or 16 where the preprocessing wants that: these are resized in float, and lose nothing.

Photographs are decoded in threads: the image library works outside Python's lock, and nothing has to be pickled.
Thumbnails are decoded in one thread: opening one takes longer than decoding it, opening holds the lock, and two threads
that fight for it are slower than one (`benchmarks/evaluate.py`).
"""

from __future__ import annotations

import collections
import io
import itertools
import re
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import ImagesError, first_line
from ..portable import machine
from ..portable.preprocessing import Preprocessing
from . import place

Reader = Callable[[int], np.ndarray]  # an image's number → its pixels; ImagesError where it cannot be read
Chunk = tuple[np.ndarray, np.ndarray]  # indices, pixels
_Found = TypeVar("_Found")

# What Pillow raises over a file that is damaged or not its own: seen by damaging some hundreds of each format.
BROKEN = (
    OSError, SyntaxError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, EOFError,
    RuntimeError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
VERSION = 1  # raised when the same file gives other pixels
_INTERPOLATION = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
_ORIENTATION = 0x0112  # EXIF's tag: 1 is as it lies
_DEPTH = re.compile(r"(?<!BGR);(\d+)")  # in Pillow's words for what a file holds: I;16B, RGB;16L; BGR;16 has 5, 6 and 5
_WORTH_MANY_THREADS_S = 0.0005
_AHEAD = 2  # chunks in flight per core: enough to keep the cores busy, little enough to hold in memory


# Pillow warns of what is damaged in a file, once for each: here it is an error, or it has no effect on pixels.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def stream(read: Reader, count: int, size: int, *, skip: bool) -> Iterator[Chunk]:
    """Yield (indices, pixels NHWC) of images 0 to count, in order; with `skip`, without unreadable ones.

    The first chunk, decoded alone, shows whether threads would help.
    """
    starts = iter(range(0, count, size))

    def chunk(start: int) -> Chunk:
        return _chunk(read, range(start, min(start + size, count)), skip)

    began = time.perf_counter()
    first = [chunk(start) for start in itertools.islice(starts, 1)]
    each_s = (time.perf_counter() - began) / size
    threads = machine.cores() if each_s > _WORTH_MANY_THREADS_S else 1
    for indices, images in itertools.chain(first, _ahead(chunk, starts, threads)):
        if len(indices):
            yield indices, images


def some(read: Callable[[int], _Found], indices: Iterable[int]) -> Iterator[_Found]:
    """Yield what is read of some images, in any order, several at a time."""
    with ThreadPoolExecutor(machine.cores(), thread_name_prefix="decode") as pool:
        yield from pool.map(read, map(int, indices))


def read(path: str, preprocessing: Preprocessing) -> np.ndarray:
    """Read one file by itself."""
    return decoded(lambda _: open_file(path), lambda _: path, 0, preprocessing, hint="give another image")


def open_file(path: str) -> Image.Image:
    """Read a file at once and open it: the image library would read its header in dozens of small steps."""
    place.check_image(path)
    with open(path, "rb", buffering=0) as file:
        return Image.open(io.BytesIO(file.read()))


def decoded(
    open_image: Callable[[int], Image.Image],
    name: Callable[[int], str],
    index: int,
    preprocessing: Preprocessing,
    hint: str = "remove or replace it, or skip such files with `images: {unreadable: skip}`",
) -> np.ndarray:
    """Open and prepare one image; name it where that fails."""
    try:
        with open_image(index) as image:
            return prepare(image, preprocessing)
    except BROKEN as problem:
        hint = getattr(problem, "hint", hint)
        raise ImagesError(name(index), f"cannot be decoded: {reason(problem)}", hint=hint) from problem


def prepare(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Convert, resize and crop an image: HWC. It must not be loaded yet: its depth is lost then."""
    _check_depth(image, preprocessing.bits)
    image = ImageOps.exif_transpose(image) if preprocessing.exif else image
    if preprocessing.bits == 16:
        return _deep(image, preprocessing)
    image = resized(
        plain(image, preprocessing.channels), preprocessing, preprocessing.interpolation, preprocessing.fill
    )
    # numpy's own conversion takes longer than decoding a thumbnail
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, preprocessing.channels)


def plain(image: Image.Image, channels: int) -> Image.Image:
    """Return colours or grays of 8 bits, as torchvision's loader does: transparency is dropped."""
    mode = "RGB" if channels == 3 else "L"
    if image.mode == mode:
        return image
    if image.mode == "P":
        image.info.pop("transparency", None)  # Pillow would warn that it is lost, each time
    return image.convert(mode)


def depth(image: Image.Image) -> int:
    """Return the bits of each channel in the file: Pillow reduces a colour's sixteen to eight, without a warning."""
    held = max(map(int, _DEPTH.findall(str(getattr(image, "tile", "")))), default=0)
    if image.mode.startswith("I;16"):
        return held or 16
    if image.mode in ("I", "F"):
        return held or 32
    return max(held, 8)


def has_bits(image: Image.Image, bits: int) -> bool:
    """Return whether an image can be read with this `preprocessing.bits`. It must not be loaded yet."""
    try:
        _check_depth(image, bits)
        return True
    except ValueError:
        return False


def turned(image: Image.Image) -> bool:
    """Return whether an image's EXIF tag turns it; a damaged tag is ignored."""
    try:
        return image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except BROKEN:
        return False


class Contradiction(ImagesError):
    """A file that can be read, and cannot be right: it is never left out without a word."""


class _OtherBits(ValueError):
    def __init__(self, held: int, bits: int):
        super().__init__(f"its pixels have {held} bits, but `preprocessing.bits` is {bits}")
        other = "set `bits: 16` (--bits 16) if the network was trained with 16 bits" if held == 16 else "convert it"
        self.hint = f"{other}; or skip such files with `images: {{unreadable: skip}}`"


def _check_depth(image: Image.Image, bits: int) -> None:
    held = depth(image)
    if held == 16 and (len(image.getbands()) > 1 or re.search(r";16\w*S", str(getattr(image, "tile", "")))):
        raise ValueError("its pixels have 16 bits, but edgeresnet reads 16 bits only from one unsigned channel")
    if held != bits:
        raise _OtherBits(held, bits)


def _deep(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    levels = Image.fromarray(np.asarray(image).astype(np.float32))  # 65535 is exact in it, and Pillow can resize it
    found = np.rint(np.asarray(resized(levels, preprocessing, preprocessing.interpolation, preprocessing.fill)))
    return found.clip(0, preprocessing.brightest).astype(preprocessing.pixel)[..., None]


def resized(image: Image.Image, preprocessing: Preprocessing, interpolation: str, fill: tuple[int, ...]) -> Image.Image:
    """Return the square of an image that the network sees; `fill` is around a padded one."""
    size, how = preprocessing.size, _INTERPOLATION[interpolation]
    sides, (left, top) = preprocessing.fit(*image.size)
    image = image if image.size == sides else image.resize(sides, how)
    if image.size == (size, size):
        return image
    if preprocessing.crop != "pad":
        return image.crop((left, top, left + size, top + size))
    square = Image.new(image.mode, (size, size), fill if len(fill) > 1 else fill[0])
    square.paste(image)
    return square


def _ahead(chunk: Callable[[int], Chunk], starts: Iterator[int], threads: int) -> Iterator[Chunk]:
    """Yield chunks in order, decoded while the caller is busy with the ones before."""
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        waiting: collections.deque[Future[Chunk]] = collections.deque()
        try:
            for start in itertools.islice(starts, threads * _AHEAD):
                waiting.append(pool.submit(chunk, start))
            while waiting:
                done = waiting.popleft().result()
                for start in itertools.islice(starts, 1):
                    waiting.append(pool.submit(chunk, start))
                yield done
        finally:
            for future in waiting:
                future.cancel()


def _chunk(read: Reader, numbers: range, skip: bool) -> Chunk:
    indices, images = [], []
    for index in numbers:
        try:
            images.append(read(index))
        except ImagesError as problem:
            if not skip or isinstance(problem, Contradiction):
                raise
            continue
        indices.append(index)
    return np.asarray(indices, dtype=np.int64), np.stack(images) if images else np.empty(0, np.uint8)


def reason(problem: BaseException) -> str:
    """Return why an image cannot be decoded, as a clause."""
    if isinstance(problem, UnidentifiedImageError):
        return "it is not an image of a known format"
    return first_line(problem)
