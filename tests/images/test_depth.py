"""Images of 16 bits: every level from the file to the network, resized as numbers are, and never taken for 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgeresnet.errors import ImagesError
from edgeresnet.images import FromFiles, read_image
from edgeresnet.images.survey import survey
from edgeresnet.portable import decoding
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.store import Store

from .test_decode import _deep_colour_png
from .test_images import opened

DEEP = Preprocessing(24, (0.4,), (0.2,), resize=28, bits=16)
WHOLE = Preprocessing(40, (0.4,), (0.2,), bits=16)


def levels(width: int = 50, height: int = 40) -> np.ndarray:
    """Smooth, and in every one of its low bits."""
    rows, columns = np.mgrid[:height, :width]
    return (32_000 + 20_000 * np.sin(rows / 7) * np.cos(columns / 9) + 13 * columns).astype(np.uint16)


FILES: dict[str, Callable[[Image.Image, Path], None]] = {
    "x.png": lambda image, path: image.save(path),
    "x.tiff": lambda image, path: image.save(path),
    "lzw.tiff": lambda image, path: image.save(path, compression="tiff_lzw"),
    "deflate.tiff": lambda image, path: image.save(path, compression="tiff_adobe_deflate"),
    "big-endian.tiff": lambda image, path: Image.fromarray(np.asarray(image).astype(">u2")).save(path),
    "x.pgm": lambda image, path: image.save(path),
}


@pytest.fixture(params=list(FILES))
def deep(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    FILES[request.param](Image.fromarray(levels()), tmp_path / request.param)
    return tmp_path / request.param


def test_every_level_comes_through(deep: Path) -> None:
    found = read_image(deep, WHOLE)
    assert (found.dtype, found.shape) == (np.dtype(np.uint16), (40, 40, 1))
    np.testing.assert_array_equal(found[..., 0], levels()[:, 5:45])
    np.testing.assert_allclose(WHOLE.normalize(found[None])[0, 0], (levels()[:, 5:45] / 65535.0 - 0.4) / 0.2, atol=2e-6)
    np.testing.assert_array_equal(decoding.decoded("pillow", [deep], WHOLE)[0], found)  # type: ignore[index]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [24, 64])
def test_resizing_is_that_of_numbers(deep: Path, interpolation: str, size: int) -> None:
    """Against torch's own, in float: within the half level that rounding costs."""
    ours = Preprocessing(size, (0.4,), (0.2,), interpolation=interpolation, crop="squash", bits=16)
    given = torch.from_numpy(levels().astype(np.float64))[None, None]
    theirs = torch.nn.functional.interpolate(
        given, (size, size), mode=interpolation, align_corners=False, antialias=True
    )
    found = read_image(deep, ours)
    expected = theirs.clamp(0, 65535).numpy()[0, 0]
    if interpolation == "bilinear" or size < 40:  # enlarging, torch and Pillow have cubics of other sharpness
        assert np.abs(found[..., 0] - expected).max() <= 0.51
    assert len(np.unique(found % 256)) > 100
    np.testing.assert_array_equal(decoding.decoded("pillow", [deep], ours)[0], found)  # type: ignore[index]


def test_what_overshoots_stays_black_and_white(tmp_path: Path) -> None:
    edge = np.zeros((40, 40), np.uint16)
    edge[:, 20:] = 65535
    Image.fromarray(edge).save(tmp_path / "x.png")
    found = read_image(tmp_path / "x.png", Preprocessing(90, (0.5,), (0.5,), interpolation="bicubic", bits=16))
    assert (found.min(), found.max()) == (0, 65535)
    assert (found[:, :40] < 1000).all()
    assert (found[:, 50:] > 64000).all()


def test_padding_has_as_many_bits(deep: Path) -> None:
    ours = Preprocessing(50, (0.25,), (0.2,), crop="pad", bits=16)
    found = read_image(deep, ours)
    assert {round(0.25 * 65535)} in (set(found[-1].ravel().tolist()), set(found[:, -1].ravel().tolist()))
    np.testing.assert_array_equal(decoding.decoded("pillow", [deep], ours)[0], found)  # type: ignore[index]


def _save(pixels: np.ndarray, path: Path) -> Path:
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("bits", [8, 16])
def test_other_bits_than_configured_are_an_error_both_ways(tmp_path: Path, bits: int) -> None:
    wanted = Preprocessing(8, (0.5,), (0.5,), bits=bits)
    gray = levels(8, 8)
    other = _save((gray // 256).astype(np.uint8) if bits == 16 else gray, tmp_path / "other.png")
    with pytest.raises(ImagesError, match=rf"other\.png cannot be .*have {24 - bits} bits, but .*\.bits` is {bits}"):
        read_image(other, wanted)
    for name, pixels in (("i.tiff", gray.astype(np.int32)), ("f.tiff", gray.astype(np.float32))):
        with pytest.raises(ImagesError, match=f"have 32 bits, but .* is {bits}"):
            read_image(_save(pixels, tmp_path / name), wanted)
    (tmp_path / "colour.png").write_bytes(_deep_colour_png(8))
    with pytest.raises(ImagesError, match="16 bits, but edgeresnet reads 16 bits only from one unsigned channel"):
        read_image(tmp_path / "colour.png", wanted)


def test_16_bits_are_of_one_channel() -> None:
    with pytest.raises(ValueError, match="images of 16 bits must have one channel"):
        Preprocessing(8, (0.5,) * 3, (0.5,) * 3, bits=16)
    with pytest.raises(ValueError, match="bits must be 8 or 16, not 12"):
        Preprocessing(8, (0.5,), (0.5,), bits=12)


def test_bits_are_part_of_every_key_and_8_adds_nothing() -> None:
    eight = Preprocessing(24, (0.4,), (0.2,), resize=28)
    assert eight.digest != DEEP.digest
    assert eight.geometry != DEEP.geometry
    assert "bits" not in eight.to_json()
    assert "bits" not in eight.geometry
    assert Preprocessing.from_json(DEEP.to_json()) == DEEP


def _folder(root: Path) -> Path:
    for number, label in enumerate(("a", "b", "c")):
        (root / label).mkdir(parents=True)
        for image in range(4):
            _save(levels() + np.uint16(100 * number + image), root / label / f"{image}.png")
    return root


SAID = {"size": 24, "resize": 28, "mean": [0.4], "std": [0.2], "bits": 16}


def test_they_stay_deep_in_the_cache_the_table_and_from_the_file_on(tmp_path: Path) -> None:
    samples = opened(_folder(tmp_path / "set"), Store(tmp_path / "store"), preprocessing=SAID)
    fresh = next(samples.batches(12)).pixels
    assert fresh.dtype == np.uint16
    stored = next(samples.batches(12)).pixels
    np.testing.assert_array_equal(stored, fresh)
    table = samples.table()
    assert table.mapped is not None
    np.testing.assert_array_equal(table.take(np.array([7, 2])), fresh[[7, 2]])
    files = FromFiles.of(samples, [3, 5])
    assert files is not None
    np.testing.assert_array_equal(files(0, 2), samples.preprocessing.normalize(fresh[[3, 5]]))


def test_inspecting_shows_depths_that_pillow_hides(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "set")
    (folder / "a" / "colour.png").write_bytes(_deep_colour_png(8))
    (split,) = survey(folder).splits.values()
    assert split.modes == {"I;16": 12, "RGB;16": 1}
