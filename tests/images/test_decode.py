"""Pixels: as torchvision makes them, in order, from disk or from the cache."""

from __future__ import annotations

import fcntl
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from edgeresnet.errors import ImagesError
from edgeresnet.images import Samples, decode, read_image
from edgeresnet.images import cache as caches
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.store import Store

from .test_images import opened

INTERPOLATION = {
    "bilinear": transforms.InterpolationMode.BILINEAR,
    "bicubic": transforms.InterpolationMode.BICUBIC,
    "nearest": transforms.InterpolationMode.NEAREST,
}


def _photo(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * height)
    small = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (333, 251), (64, 64), (40, 200), (57, 58)])
@pytest.mark.parametrize("interpolation", list(INTERPOLATION))
def test_pixels_are_torchvisions(shape: tuple[int, int], interpolation: str) -> None:
    photo = _photo(*shape)
    ours = Preprocessing(48, (0.5,) * 3, (0.5,) * 3, resize=55, interpolation=interpolation)
    theirs = transforms.Compose([transforms.Resize(55, INTERPOLATION[interpolation]), transforms.CenterCrop(48)])
    np.testing.assert_array_equal(decode.prepare(photo, ours), np.asarray(theirs(photo)))


def test_squash_gives_up_the_aspect() -> None:
    ours = Preprocessing(48, (0.5,) * 3, (0.5,) * 3, crop="squash")
    theirs = transforms.Resize((48, 48))
    np.testing.assert_array_equal(decode.prepare(_photo(90, 50), ours), np.asarray(theirs(_photo(90, 50))))


@pytest.mark.parametrize(("shape", "sides"), [((90, 50), (48, 27)), ((31, 96), (16, 48)), ((2000, 3), (48, 1))])
def test_pad_keeps_the_aspect_and_fills_with_the_mean(shape: tuple[int, int], sides: tuple[int, int]) -> None:
    photo, (width, height) = _photo(*shape), sides
    ours = Preprocessing(48, (0.1, 0.5, 1.2), (0.5,) * 3, crop="pad")
    found = decode.prepare(photo, ours).copy()
    np.testing.assert_array_equal(found[:height, :width], np.asarray(transforms.Resize((height, width))(photo)))
    found[:height, :width] = (26, 128, 255)
    assert (found == (26, 128, 255)).all()


def test_a_padded_square_is_the_image_and_pixels_depend_on_the_mean() -> None:
    one, other = (
        Preprocessing(48, mean, (0.5,) * 3, crop="pad", order="bgr") for mean in ((0.2, 0.5, 1.0), (0.3,) * 3)
    )
    np.testing.assert_array_equal(
        decode.prepare(_photo(90, 90), one), np.asarray(transforms.Resize((48, 48))(_photo(90, 90)))
    )
    assert one.fill == (255, 128, 51)  # its mean is that of blue, green and red
    assert one.geometry != other.geometry
    assert "fill" not in Preprocessing(48, (0.5,) * 3, (0.5,) * 3).geometry


def test_grayscale_networks_get_one_channel() -> None:
    gray = Preprocessing(8, (0.5,), (0.5,))
    assert decode.prepare(_photo(8, 8), gray).shape == (8, 8, 1)
    assert decode.prepare(_photo(8, 8).convert("L"), Preprocessing(8, (0.5,) * 3, (0.5,) * 3)).shape == (8, 8, 3)


def test_sixteen_bit_images_are_refused_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ImagesError, match=r"have 16 bits, but `preprocessing\.bits` is 8"):
        read_image(tmp_path / "deep.png", Preprocessing(8, (0.5,), (0.5,)))
    (tmp_path / "colour.png").write_bytes(_deep_colour_png(8))
    with pytest.raises(ImagesError, match="16 bits, but edgeresnet reads 16 bits only from one unsigned channel"):
        read_image(tmp_path / "colour.png", Preprocessing(8, (0.5,) * 3, (0.5,) * 3))


def _deep_colour_png(side: int) -> bytes:
    """16 bits a channel: Pillow writes none, and reads it as if it had eight."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(range(side * 6)) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def _all(samples: Samples, size: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    batches = list(samples.batches(size))
    return tuple(np.concatenate([batch[i] for batch in batches]) for i in range(3))  # type: ignore[return-value]


@pytest.mark.parametrize("worth", [0.0, 10.0])
def test_streams_keep_their_order_with_one_thread_and_many(
    colours: Callable[[str], Path], worth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_WORTH_MANY_THREADS_S", worth)
    samples = opened(colours("a"))
    indices, pixels, labels = _all(samples, 7)
    assert indices.tolist() == list(range(120))
    np.testing.assert_array_equal(pixels, samples.pixels(range(120)))
    np.testing.assert_array_equal(labels, samples.labels)


def test_the_second_pass_decodes_nothing(
    colours: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = opened(colours("a"), Store(tmp_path))
    first = _all(samples)

    def never(*_: object) -> Iterator:
        raise AssertionError("decoded once more")

    monkeypatch.setattr(decode, "stream", never)
    for found, expected in zip(_all(samples, 50), first, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert samples.table().mapped is not None


def test_a_pass_that_was_broken_off_leaves_no_cache_and_a_damaged_one_is_never_used(
    colours: Callable[[str], Path], tmp_path: Path
) -> None:
    samples = opened(colours("a"), Store(tmp_path))
    next(iter(samples.batches(16)))
    assert not list((tmp_path / "cache" / "pixels").glob("*"))
    first = _all(samples)
    (data,) = (tmp_path / "cache" / "pixels").glob("*.bin")
    held = bytearray(data.read_bytes())
    held[1000] ^= 1
    data.write_bytes(held)
    np.testing.assert_array_equal(_all(samples)[1], first[1])
    index = data.with_suffix(".json")
    index.write_bytes(index.read_bytes().replace(b"[0, 1,", b"[1, 0,", 1))
    np.testing.assert_array_equal(_all(samples)[0], first[0])


def test_parts_of_killed_processes_are_removed_and_those_of_others_stay(
    colours: Callable[[str], Path], tmp_path: Path
) -> None:
    pixels = tmp_path / "cache" / "pixels"
    pixels.mkdir(parents=True)
    abandoned, written = pixels / "a.1.part", pixels / "b.2.part"
    for path in (abandoned, written):
        path.write_bytes(b"pixels")
    with open(written, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _all(opened(colours("a"), Store(tmp_path)))
    assert [path.suffix for path in sorted(pixels.iterdir()) if path.stem == "b.2"] == [".part"]
    assert not abandoned.exists()
    assert list(pixels.glob("*.bin"))


def test_a_full_disk_only_costs_the_cache(
    colours: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "_LARGEST_PART_OF_DISK", 0)
    samples = opened(colours("a"), Store(tmp_path))
    assert len(_all(samples)[0]) == 120
    assert samples.table().mapped is None
    np.testing.assert_array_equal(samples.table().take(np.array([5, 3])), samples.pixels([5, 3]))


@pytest.mark.parametrize("kind", ["truncated", "text", "empty"])
def test_an_unreadable_file_is_named_or_skipped_and_counted(
    colours: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    shutil.copytree(colours("a"), tmp_path / "set")
    bad = tmp_path / "set" / "green" / "005.png"
    bad.write_bytes({"truncated": bad.read_bytes()[:100], "text": b"not an image", "empty": b""}[kind])
    with pytest.raises(ImagesError, match=r"005\.png cannot be decoded") as caught:
        _all(opened(tmp_path / "set"))
    assert "unreadable: skip" in caught.value.hint
    samples = opened(tmp_path / "set", Store(tmp_path / "store"), images__unreadable="skip")
    for _ in range(2):  # decoded, then from the cache
        indices, pixels, labels = _all(samples)
        assert len(indices) == len(pixels) == len(labels) == 119
        assert 45 not in indices
    assert len(samples.table()) == 119


def test_not_one_readable_image_is_an_error(tmp_path: Path) -> None:
    for label in ("a", "b", "c"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.png").write_text("no image")
    with pytest.raises(
        ImagesError, match=r"none of these 3 images could be decoded: .*x\.png cannot be decoded: it is not an image"
    ):
        opened(tmp_path, images__unreadable="skip").table()
