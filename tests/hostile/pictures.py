"""Row of damaged images: every format that is read, flipped, cut and dishonest about its size, in class folders."""

from __future__ import annotations

import functools
import io
import itertools
import random
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from . import binary
from .case import Case, Row
from .world import World

_HOWS = ("inspect", "decode", "skip", "inspect a tar")


def _plain() -> dict[str, bytes]:
    """Return an image of each format and mode."""
    found = {}
    for kind, modes in (
        ("PNG", ("L", "RGB", "P", "RGBA", "1")), ("JPEG", ("L", "RGB", "CMYK")), ("BMP", ("L", "RGB", "P")),
        ("TIFF", ("L", "RGB", "1", "CMYK")), ("GIF", ("L", "P")), ("WEBP", ("RGB", "RGBA")), ("PPM", ("L", "RGB")),
        ("TGA", ("L", "RGB")), ("ICO", ("RGBA",)), ("PCX", ("L",)), ("SGI", ("L",)), ("DDS", ("RGB",)),
        ("ICNS", ("RGBA",)),
        ("JPEG2000", ("RGB",)), ("AVIF", ("RGB",)), ("IM", ("L",)), ("MPO", ("RGB",)), ("XBM", ("1",)),
        ("QOI", ("RGB",)),
    ):  # fmt: skip
        for mode in modes:
            try:
                found[f"{mode}.{kind.lower()}"] = _saved(kind, mode)
            except (KeyError, OSError, ValueError):
                continue  # this Pillow does not write it
    return found


def _saved(kind: str, mode: str, **options: object) -> bytes:
    pixels = np.random.default_rng(len(kind)).integers(0, 256, (24, 24, 3), np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(held, kind, **options)
    return held.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, bits: int = 8, colour: int = 0, *more: bytes, data: bytes | None = None) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    packed = zlib.compress(bytes(1000)) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _bmp(width: int, height: int, bits: int = 24, size: int = 40, packing: int = 0) -> bytes:
    head = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, packing, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 100, 0, 0, 54) + head + bytes(100)


def _tiff(*entries: tuple[int, int, int, int], start: int = 8) -> bytes:
    """Return a TIFF of one directory: tag, type, count, value."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", start) + struct.pack("<H", len(entries)) + body + struct.pack("<I", start)


def _gif(width: int, height: int, frames: int = 1) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08\x02\x4c\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + frame * frames + b";"


def _jpeg(width: int, height: int) -> bytes:
    plain = bytearray(_saved("JPEG", "L"))
    at = plain.index(b"\xff\xc0") + 5
    plain[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(plain)


@functools.cache
def _known() -> dict[str, bytes]:
    """Return images by what is wrong with them."""
    sizes = ((0, 0), (0, 8), (1, 2**31 - 1), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (30_000, 30_000), (12_000, 12_000))
    black = zlib.compress(bytes(12_001 * 12_000), 9)
    text = zlib.compress(bytes(50_000_000), 9)
    exif = Image.Exif()
    exif[0x0112] = 99
    found = {f"PNG of {width}×{height}": _png(width, height) for width, height in sizes}
    found |= {
        f"PNG of {bits} bits, colour {colour}": _png(8, 8, bits, colour)
        for bits in (0, 1, 16, 255)
        for colour in (0, 2, 3, 7)
    }
    found |= {
        f"BMP of {width}×{height}": _bmp(width, height)
        for width, height in ((0, 0), (-8, 8), (8, -8), (2**31 - 1, 2**31 - 1), (8, -(2**31)))
    }
    found |= {f"BMP of {bits} bits": _bmp(8, 8, bits) for bits in (0, 1, 7, 16, 65535)}
    found |= {f"BMP packed as {packing}": _bmp(8, 8, packing=packing) for packing in (1, 2, 3, 99)}
    found |= {f"BMP of a header of {size}": _bmp(8, 8, size=size) for size in (0, 12, 2**32 - 1)}
    found |= {f"GIF of {width}×{height}": _gif(width, height) for width, height in ((0, 0), (65535, 65535), (8, 0))}
    found |= {
        f"JPEG of {width}×{height}": _jpeg(width, height)
        for width, height in ((0, 0), (65535, 65535), (65535, 1), (0, 24))
    }
    found |= {
        f"TIFF of {value} for tag {tag}": _tiff(
            (256, 4, 1, 8),
            (257, 4, 1, 8),
            (258, 3, 1, 8),
            (262, 3, 1, 1),
            (273, 4, 1, 8),
            (277, 3, 1, 1),
            (279, 4, 1, 64),
            (tag, 4, count, value),
        )
        for tag in (256, 258, 273, 279, 317, 322, 34665)
        for count, value in ((1, 0), (1, 2**32 - 1), (2**32 - 1, 8))
    }
    return found | {
        "PNG of a bomb": _png(12_000, 12_000, data=black),
        "PNG of a bomb of text": _png(8, 8, 8, 0, _chunk(b"zTXt", b"a\0\0" + text)),
        "PNG of a bomb of a profile": _png(8, 8, 8, 0, _chunk(b"iCCP", b"a\0\0" + text)),
        "PNG of a bomb of Unicode": _png(8, 8, 8, 0, _chunk(b"iTXt", b"a\0\1\0\0\0" + text)),
        "PNG of 100000 chunks": _png(8, 8, 8, 0, *[_chunk(b"tEXt", b"a\0b")] * 100_000),
        "PNG of frames": _png(8, 8, 8, 0, _chunk(b"acTL", struct.pack(">II", 2**31, 0))),
        "PNG of an endless chunk": _png(8, 8)[:33] + b"\xff\xff\xff\xffIDAT" + bytes(100),
        "GIF of 20000 frames": _gif(8, 8, 20_000),
        "TIFF in a circle": _tiff((256, 4, 1, 8)),
        "TIFF of nothing": _tiff(),
        "TIFF far away": _tiff(start=2**32 - 1),
        "JPEG turned by 99": _saved("JPEG", "L", exif=exif),
        "JPEG of an EXIF of rubbish": _saved("JPEG", "L", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 500),
        "JPEG of an EXIF that is not TIFF": _saved("JPEG", "L", exif=b"Exif\0\0rubbish"),
        "JPEG of ten scans": _saved("JPEG", "RGB", progressive=True),
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(%pipe%touch code-ran) (w) file\n",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "HTML": b"<!DOCTYPE html>",
        "PDF": b"%PDF-1.4\n",
        "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "nothing": b"",
        "a byte": b"\0",
        "zeros": bytes(100_000),
        "16 bits": _deep(),
        "float": _float(),
    }  # fmt: skip


def _deep() -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24)).save(held, "PNG")
    return held.getvalue()


def _float() -> bytes:
    held = io.BytesIO()
    Image.fromarray(np.full((24, 24), np.nan, np.float32)).save(held, "TIFF")
    return held.getvalue()


def _among(name: str, data: bytes, how: str) -> Callable[[Path], Sequence[str]]:
    """Put an image among others in class folders, or in an archive of them, and decode it."""

    def write(folder: Path) -> Sequence[str]:
        binary.classes(folder / "images", each=1)
        (folder / "images" / "3" / name).write_bytes(data)
        if how == "inspect":
            return "inspect", "images"
        if how == "inspect a tar":
            with tarfile.open(folder / "images.tar", "w") as tar:
                tar.add(folder / "images", "images")
            return "inspect", "images.tar"
        unreadable = {"unreadable": "skip"} if how == "skip" else {}
        images = {"evaluation": "images", **unreadable}
        return "check", binary.recipe(folder, images), "--decode", "--store", "store"

    return write


def _cases(world: World, chance: random.Random) -> Iterator[Case]:
    hows = itertools.cycle(_HOWS)
    for title, data in _known().items():
        for how in _HOWS[:3]:
            yield Case(f"{how}, {title}", _among("x.png", data, how))
    for name, write in binary.endless(_plain(), chance, lambda name, data: _among(name, data, next(hows))):
        yield Case(name, write)


ROWS = (Row("images", _cases, ("edgeresnet.cli.inspect", "edgeresnet.cli.check", "edgeresnet.inspect")),)
