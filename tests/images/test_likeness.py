"""Two image sets look alike, or differ in a way that a person can see. Halves of one set never differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeresnet.images import Samples, decode, likeness, sources
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.store import Store

pytestmark = pytest.mark.unit

SIDE = 32
COLOUR = Preprocessing(SIDE, (0.4,) * 3, (0.2,) * 3)
GRAY = Preprocessing(8, (0.3,), (0.3,))


def scenes(count: int, seed: int) -> np.ndarray:
    """Make coloured scenes, lighter at the top: patches of four sizes, each image with its own light and colours."""
    rng = np.random.default_rng(seed)
    found = np.empty((count, SIDE, SIDE, 3))
    for image in found:
        image[:] = (
            rng.normal(0.45, 0.1) + rng.normal((0.04, 0, -0.04), 0.05) - np.linspace(-0.05, 0.05, SIDE)[:, None, None]
        )
        for cells in (2, 4, 8, 16):
            patch = rng.normal(0, 0.35 / cells, (cells, cells, 1)) + rng.normal(0, 0.2 / cells, (cells, cells, 3))
            image += patch.repeat(SIDE // cells, 0).repeat(SIDE // cells, 1)
    return (found.clip(0, 1) * 255).astype(np.uint8)


def samples(pixels: np.ndarray, preprocessing: Preprocessing = COLOUR, store: Store | None = None) -> Samples:
    source = sources.Arrays("made", pixels, np.zeros(len(pixels)), ())
    return Samples.of(source, preprocessing, "error", store)


def enlarged(pixels: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(each).resize((8, 8)).resize((SIDE, SIDE))) for each in pixels])


def test_halves_of_one_set_look_alike() -> None:
    rng = np.random.default_rng(0)
    digits = sources.digits(evaluation=False)
    every = Samples.of(digits, GRAY, "error", None)
    made = samples(scenes(320, seed=3))
    for whole, size in ((every, 32), (every, 400), (made, 32), (made, 160)):
        for _ in range(3):
            chosen = rng.permutation(len(whole))[: 2 * size]
            assert likeness.differences(whole.subset(chosen[:size]), whole.subset(chosen[size:])) == []
    judged = Samples.of(sources.digits(evaluation=True), GRAY, "error", None)
    assert likeness.differences(every, judged) == []


KINDS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "gray": (lambda x: x.mean(3, keepdims=True).repeat(3, 3).astype(np.uint8), "have less colour"),
    "inverted": (lambda x: 255 - x, "have less red"),
    "bright": (lambda x: (2 * x.astype(int)).clip(0, 255).astype(np.uint8), "are brighter"),
    "dark": (lambda x: x // 2, "have darker light parts"),
    "enlarged": (enlarged, "are less sharp"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_of_images_is_seen(kind: str) -> None:
    change, words = KINDS[kind]
    found = likeness.differences(samples(change(scenes(100, seed=1))), samples(scenes(100, seed=2)))
    assert words in [difference.words for difference in found[:3]]


def test_digits_are_no_photographs() -> None:
    digits = Samples.of(sources.digits(evaluation=False), COLOUR, "error", None)
    assert likeness.differences(digits, samples(scenes(64, seed=2)))


def test_brightness_is_reported_in_pixels_from_0_to_1() -> None:
    dark = np.random.default_rng(0).integers(0, 52, (40, 8, 8)).astype(np.uint8)
    found = likeness.differences(samples(dark + 102, GRAY), samples(dark, GRAY))
    _, values = next(each for each in found if each.words == "are brighter")
    assert values == pytest.approx((0.5, 0.1), abs=0.01)


def test_images_of_16_bits_have_the_same_numbers() -> None:
    deep = Preprocessing(8, (0.3,), (0.3,), bits=16)
    shallow = np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8)
    one, other = likeness.look(samples(shallow.astype(np.uint16) * 257, deep)), likeness.look(samples(shallow, GRAY))
    assert one.mean[0] == pytest.approx(other.mean[0], abs=0.005)


@pytest.mark.parametrize("count", [1, 2, 15])
def test_few_images_show_no_difference(count: int) -> None:
    few, many = samples(scenes(count, seed=1) // 4), samples(scenes(60, seed=2))
    assert likeness.differences(few, many) == likeness.differences(many, few) == []


def test_copies_of_an_image_count_once() -> None:
    copies = samples(scenes(10, seed=1).repeat(20, 0))
    assert likeness.look(copies).images == 10
    assert likeness.differences(copies, samples(scenes(60, seed=2))) == []


def test_images_of_one_pixel() -> None:
    one = Preprocessing(1, (0.3,), (0.3,))
    pixels = np.random.default_rng(0).integers(0, 256, (80, 1, 1)).astype(np.uint8)
    assert likeness.differences(samples(pixels[:40], one), samples(pixels[40:], one)) == []


def test_images_without_any_spread() -> None:
    blank = [samples(np.full((20, 8, 8), 128, np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None] // 10, GRAY)] * 2
    assert likeness.differences(*blank) == []


def test_unreadable_images_are_left_out(tmp_path: Path) -> None:
    for number, pixels in enumerate(scenes(20, seed=1)):
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    for number in range(4):
        (tmp_path / f"{number:02}.png").write_bytes(b"no image %d" % number)
    found = likeness.look(Samples.of(sources.at(tmp_path, "calibration", None), COLOUR, "error", None))
    assert found.images == 16


def test_large_photographs_make_a_smaller_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "_PIXELS_IN_FILES", 10 * SIDE * SIDE)
    assert likeness.look(samples(scenes(100, seed=1))).images == 32


def test_what_a_set_looks_like_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, store = scenes(40, seed=1), Store.open(tmp_path / "store")
    first = likeness.look(samples(pixels, store=store))
    read = decode.decoded
    monkeypatch.setattr(decode, "decoded", None)
    assert likeness.look(samples(pixels, store=store)) == first
    (stored,) = (tmp_path / "store" / "cache" / "pixels").iterdir()
    monkeypatch.setattr(decode, "decoded", read)
    for damaged in (b"", b"[]", stored.read_bytes().replace(b"40", b"41", 1), stored.read_bytes()[:-9]):
        stored.write_bytes(damaged)
        assert likeness.look(samples(pixels, store=store)) == first
    assert store.clean(0)[0], "`edgeresnet clean` removes it"


def test_a_store_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    (tmp_path / "store" / "cache").write_text("no folder")
    assert likeness.look(samples(scenes(40, seed=1), store=store)).images == 40
