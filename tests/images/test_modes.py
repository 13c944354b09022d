"""Images of every kind that Pillow writes become the pixels that torchvision's loader gives; EXIF where configured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets, transforms

from edgeresnet.images import decode, read_image
from edgeresnet.images.survey import survey
from edgeresnet.portable import decoding
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.store import Store

from .test_images import opened

COLOUR = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, resize=28)
GRAY = Preprocessing(24, (0.5,), (0.5,), resize=28)


def photo() -> Image.Image:
    rng = np.random.default_rng(3)
    return Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((50, 40), Image.Resampling.BICUBIC)


def _alpha(mode: str) -> Image.Image:
    image = photo().convert(mode)
    image.putalpha(Image.fromarray(np.tile(np.arange(50, dtype=np.uint8) * 5, (40, 1))))
    return image


def _palette() -> Image.Image:
    return photo().quantize(32)


FILES: dict[str, Callable[[Path], None]] = {
    "gray.png": lambda path: photo().convert("L").save(path),
    "gray.jpg": lambda path: photo().convert("L").save(path),
    "bilevel.png": lambda path: photo().convert("1").save(path),
    "bilevel.tiff": lambda path: photo().convert("1").save(path, compression="group4"),
    "palette.png": lambda path: _palette().save(path),
    "palette.gif": lambda path: _palette().save(path),
    "one-transparent.png": lambda path: _palette().save(path, transparency=3),
    "many-transparent.png": lambda path: _palette().save(path, transparency=bytes(range(0, 256, 8))),
    "rgba.png": lambda path: _alpha("RGB").save(path),
    "la.png": lambda path: _alpha("L").save(path),
    "cmyk.jpg": lambda path: photo().convert("CMYK").save(path, quality=90),
    "cmyk.tiff": lambda path: photo().convert("CMYK").save(path),
    "rgb.tiff": lambda path: photo().save(path, compression="tiff_lzw"),
    "rgb.bmp": lambda path: photo().save(path),
    "rgb.webp": lambda path: photo().save(path),
    "progressive.jpg": lambda path: photo().save(path, progressive=True),
    "ycbcr.tiff": lambda path: photo().convert("YCbCr").save(path),
    "turned.jpg": lambda path: photo().save(path, exif=_orientation(6)),
}


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")  # torchvision's loader gets it
@pytest.mark.parametrize("name", list(FILES))
def test_a_file_becomes_what_torchvisions_loader_makes_of_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    path = tmp_path / "set" / "a" / name
    FILES[name](path)
    theirs = transforms.Compose([transforms.Resize(28), transforms.CenterCrop(24)])
    data = datasets.ImageFolder(tmp_path / "set", transform=theirs, is_valid_file=lambda path: True)
    expected = np.asarray(data[0][0])
    np.testing.assert_array_equal(read_image(path, COLOUR), expected)
    on_device = decoding.decoded("pillow", [path], COLOUR)
    assert on_device is not None
    np.testing.assert_array_equal(on_device[0], expected)


def test_no_warning_of_ours_on_transparency(tmp_path: Path) -> None:
    """pytest turns warnings into errors here."""
    FILES["many-transparent.png"](tmp_path / "x.png")
    assert read_image(tmp_path / "x.png", GRAY).shape == (24, 24, 1)


def test_bitmaps_of_15_and_16_bits_are_8_bit_colours(tmp_path: Path) -> None:
    """BMP's own old form, 5 bits a colour, which Pillow reads and does not write."""
    pixels = np.random.default_rng(0).integers(0, 2**15, (4, 4), np.uint16)
    head = b"BM" + (14 + 40 + 32).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    head += (40).to_bytes(4, "little") + (4).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little")
    head += (16).to_bytes(2, "little") + bytes(24)
    (tmp_path / "x.bmp").write_bytes(head + pixels[::-1].tobytes())
    found = read_image(tmp_path / "x.bmp", Preprocessing(4, (0.5,) * 3, (0.5,) * 3))
    red = (pixels >> 10) & 31
    np.testing.assert_array_equal(found[..., 0], red * 255 // 31)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_where_that_is_configured(tmp_path: Path, orientation: int) -> None:
    photo().save(tmp_path / "x.jpg", exif=_orientation(orientation), quality=95)
    with Image.open(tmp_path / "x.jpg") as image:
        lies = np.asarray(image)
    turned = {1: lies, 2: lies[:, ::-1], 3: lies[::-1, ::-1], 4: lies[::-1], 5: lies.transpose(1, 0, 2)}
    turned |= {6: np.rot90(lies, -1), 7: lies[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(lies)}
    wanted = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, resize=28, exif=True)
    expected = decode.prepare(Image.fromarray(np.ascontiguousarray(turned[orientation])), COLOUR)
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg", wanted), expected)
    np.testing.assert_array_equal(decoding.decoded("pillow", [tmp_path / "x.jpg"], wanted)[0], expected)  # type: ignore[index]
    as_it_lies = decode.prepare(Image.fromarray(lies), COLOUR)
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg", COLOUR), as_it_lies)


def test_turning_is_part_of_every_key_and_off_adds_nothing(tmp_path: Path) -> None:
    wanted = Preprocessing(24, (0.5,) * 3, (0.5,) * 3, resize=28, exif=True)
    assert wanted.digest != COLOUR.digest
    assert wanted.geometry != COLOUR.geometry
    assert "exif" not in COLOUR.to_json()
    assert Preprocessing.from_json(wanted.to_json()) == wanted


def test_a_cache_of_pixels_that_lie_is_not_taken_for_turned_ones(tmp_path: Path) -> None:
    for label in ("a", "b", "c"):
        (tmp_path / "set" / label).mkdir(parents=True)
        photo().save(tmp_path / "set" / label / "x.jpg", exif=_orientation(3))
    store, found = Store(tmp_path / "store"), []
    for _ in range(2):
        for turned in (False, True):
            samples = opened(tmp_path / "set", store, preprocessing__exif=turned)
            found.append(next(samples.batches(3)).pixels)
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[3])
    assert not np.array_equal(found[0], found[1])


def test_inspecting_counts_what_would_be_turned(tmp_path: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    for number, orientation in enumerate((1, 3, 6, 0, 9)):
        photo().save(tmp_path / "set" / "a" / f"{number}.jpg", exif=_orientation(orientation))
    photo().save(tmp_path / "set" / "a" / "none.jpg")
    photo().save(tmp_path / "set" / "a" / "odd.jpg", exif=b"Exif\0\0no tags")
    (split,) = survey(tmp_path / "set").splits.values()
    assert (split.images, split.turned, split.unreadable) == (7, 2, [])
