"""The device's own decoding, compared with the host's on the same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeresnet.images import decode
from edgeresnet.portable import decoding
from edgeresnet.portable.preprocessing import Preprocessing

pytestmark = pytest.mark.unit

HOW = [
    Preprocessing(16, (0.5,) * 3, (0.2,) * 3, resize=20),
    Preprocessing(16, (0.5,) * 3, (0.2,) * 3, resize=20, interpolation="bicubic"),
    Preprocessing(16, (0.5,) * 3, (0.2,) * 3, crop="squash"),
    Preprocessing(16, (0.5,), (0.2,), interpolation="nearest"),
    Preprocessing(16, (0.1, 0.9, 0.4), (0.2,) * 3, crop="pad", order="bgr"),
    Preprocessing(16, (0.9,), (0.2,), crop="pad"),
]


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    files = []
    for number, (width, height) in enumerate([(37, 53), (53, 37), (16, 16)]):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 5, 3)).astype(np.uint8)
        path = tmp_path / f"{number}.jpg"
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(path, quality=95)
        files.append(path)
    return files


@pytest.mark.parametrize("how", HOW)
def test_pillow_gives_what_the_host_gives(photographs: list[Path], how: Preprocessing) -> None:
    found = decoding.decoded("pillow", photographs, how)
    assert found is not None
    assert (found == np.stack([decode.read(str(path), how) for path in photographs])).all()


@pytest.mark.parametrize("how", HOW)
def test_opencv_gives_nearly_that_in_the_same_colours(photographs: list[Path], how: Preprocessing) -> None:
    pytest.importorskip("cv2")
    found = decoding.decoded("opencv", photographs, how)
    assert found is not None
    host = np.stack([decode.read(str(path), how) for path in photographs])
    assert found.shape == host.shape
    assert np.abs(found.astype(int) - host).mean() < 12
    assert np.corrcoef(found.ravel(), host.ravel())[0, 1] > 0.9


def test_a_library_that_is_not_here_is_none(monkeypatch: pytest.MonkeyPatch, photographs: list[Path]) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    assert decoding.decoded("opencv", photographs, HOW[0]) is None


def test_an_old_pillow_has_its_names_in_another_place(photographs: list[Path]) -> None:
    """Ubuntu 22.04's, on every Jetson of JetPack 6, is 9.0.1: the filters became an enumeration in 9.1."""

    class Old:
        open = staticmethod(Image.open)
        BILINEAR = Image.Resampling.BILINEAR

    found = decoding._with_pillow(Old, photographs[0], HOW[0])
    assert (found == decode.read(str(photographs[0]), HOW[0])).all()


def test_an_opencv_that_cannot_read_a_file_says_which(photographs: list[Path]) -> None:
    class Silent:
        IMREAD_COLOR, IMREAD_IGNORE_ORIENTATION = 1, 128

        @staticmethod
        def imread(path: str, how: int) -> None:
            return None

    with pytest.raises(ValueError, match=r"0\.jpg cannot be read"):
        decoding._with_opencv(Silent, photographs[0], HOW[0])


@pytest.mark.parametrize("turned", [False, True])
def test_opencv_turns_photographs_only_on_request(tmp_path: Path, turned: bool) -> None:
    """Left alone, it always does."""
    pytest.importorskip("cv2")
    exif = Image.Exif()
    exif[0x0112] = 6
    shades = np.linspace(0, 255, 32 * 32).reshape(32, 32).astype(np.uint8)
    Image.fromarray(shades).save(tmp_path / "x.jpg", exif=exif, quality=100)
    for how in (Preprocessing(32, (0.5,), (0.2,), exif=turned), Preprocessing(32, (0.5,) * 3, (0.2,) * 3, exif=turned)):
        found = decoding.decoded("opencv", [tmp_path / "x.jpg"], how)
        assert found is not None
        assert np.abs(found[0].astype(int) - decode.read(str(tmp_path / "x.jpg"), how)).max() < 6


def test_opencv_keeps_16_bits(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    pixels = np.random.default_rng(0).integers(0, 2**16, (9, 9), np.uint16)
    for name in ("x.png", "x.tiff"):
        Image.fromarray(pixels).save(tmp_path / name)
        found = decoding.decoded("opencv", [tmp_path / name], Preprocessing(9, (0.5,), (0.2,), bits=16))
        assert found is not None
        assert (found[0, ..., 0] == pixels).all()
