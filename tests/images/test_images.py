"""What is there, which of it, and what two sets share."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeresnet import images, recipe
from edgeresnet.errors import ImagesError
from edgeresnet.images import Samples, choose, sources
from edgeresnet.images import cache as caches
from edgeresnet.images.cache import HashIndex
from edgeresnet.store import Store

from ..conftest import tiny

pytestmark = pytest.mark.unit

COLOUR = {"size": 8, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


def opened(folder: Path | dict, store: Store | None = None, **changes: object) -> Samples:
    given = folder if isinstance(folder, dict) else str(folder)
    wanted = {"model__classes": 3, "preprocessing": dict(COLOUR), "images__evaluation": given, **changes}
    return images.open_samples(recipe.parse(tiny(**wanted)), "evaluation", store)


def test_the_digits_are_all_there() -> None:
    evaluation, training = sources.digits(evaluation=True), sources.digits(evaluation=False)
    assert len(evaluation.labels) == 450
    assert len(training.labels) == 1797 - 450
    assert np.bincount(evaluation.labels).tolist() == [45] * 10
    assert not set(evaluation.hashes) & set(training.hashes)


def test_class_folders_are_numbered_by_name(colours: Callable[[str], Path]) -> None:
    samples = opened(colours("a"))
    assert samples.classes == ("blue", "green", "red")
    assert len(samples) == 120
    assert np.bincount(samples.labels).tolist() == [40] * 3
    assert samples.name(0).endswith("blue/000.png")


def test_folders_inside_classes_are_looked_into_and_hidden_files_are_not(tmp_path: Path) -> None:
    for name in ("a/x.png", "a/deep/er/y.png", "b/z.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    for name in ("a/.hidden", "a/Thumbs.db", "labels.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".git").mkdir()
    source = sources.Folder(tmp_path, None)
    assert source.classes == ("a", "b")
    assert source.labels.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder.rmdir(), "does not exist"),
        (lambda folder: None, "no class folders"),
        (lambda folder: (folder / "cat").mkdir(), "cat has no images"),
    ],
)
def test_a_folder_that_will_not_do(tmp_path: Path, make: Callable, words: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    make(folder)
    with pytest.raises(ImagesError, match=words):
        sources.Folder(folder, None)


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "cat").mkdir()
    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(ImagesError, match="cannot be read without permission"):
        sources.at(tmp_path, "evaluation", None)


def test_a_choice_is_balanced_seeded_and_blind_to_names(colours: Callable[[str], Path], tmp_path: Path) -> None:
    samples = opened(colours("a"))
    chosen = choose.balanced(samples, 31, seed=5)
    assert sorted(np.bincount(samples.labels[chosen]).tolist()) == [10, 10, 11]
    assert chosen.tolist() == choose.balanced(samples, 31, seed=5).tolist()
    assert chosen.tolist() != choose.balanced(samples, 31, seed=6).tolist()
    for number, path in enumerate(sorted(colours("a").rglob("*.png"), reverse=True)):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.parent.name / f"renamed{number:04}.png")
    renamed = opened(tmp_path)
    again = choose.balanced(renamed, 31, seed=5)
    assert {samples.hash(i) for i in chosen.tolist()} == {renamed.hash(i) for i in again.tolist()}


def test_a_choice_from_classes_of_unequal_size_takes_all_it_can(tmp_path: Path) -> None:
    for label, count in (("few", 2), ("many", 30)):
        (tmp_path / label).mkdir()
        for number in range(count):
            pixels = np.random.default_rng(hash((label, number)) % 1000).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{number}.png")
    preprocessing = recipe.parse(tiny(preprocessing=COLOUR)).preprocessing
    samples = Samples.of(sources.Folder(tmp_path, None), preprocessing, "error", None)
    assert np.bincount(samples.labels[choose.balanced(samples, 10, 0)]).tolist() == [2, 8]


def test_a_split_keeps_copies_together_and_needs_more_than_one_image() -> None:
    training = images.open_samples(recipe.parse(tiny(images__training="digits")), "training")
    doubled = training.subset(np.concatenate([np.arange(100), np.arange(100)]))
    rest, part = choose.split(doubled, 0.2, seed=1)
    assert len(rest) + len(part) == 200
    assert not choose.shared(rest, part)
    assert len(part) >= 20
    with pytest.raises(ImagesError, match="too similar"):
        choose.split(training.subset([0, 0, 0]), 0.1, 0)


def test_sets_that_share_an_image_are_refused_even_renamed(colours: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(colours("a"), tmp_path / "a")
    shutil.copytree(colours("b"), tmp_path / "b")
    one, other = opened(tmp_path / "a"), opened(tmp_path / "b")
    images.check_disjoint(one, other, ("calibration", "evaluation"))
    shutil.copy(tmp_path / "b" / "red" / "007.png", tmp_path / "a" / "red" / "another name.png")
    with pytest.raises(ImagesError, match=r"1 of the 121 calibration images are also evaluation images.*another name"):
        images.check_disjoint(opened(tmp_path / "a"), other, ("calibration", "evaluation"))


def test_more_than_there_is_cannot_be_chosen(colours: Callable[[str], Path]) -> None:
    with pytest.raises(ImagesError, match="121 evaluation images are requested, but there are only 120"):
        opened({"from": str(colours("a")), "count": 121})


def test_labels_must_match_the_model_and_each_other(colours: Callable[[str], Path], tmp_path: Path) -> None:
    samples = opened(colours("a"))
    with pytest.raises(ImagesError, match=r"has 3 classes .*the model has 10"):
        images.check_classes(samples, 10, "the evaluation set")
    shutil.copytree(colours("a"), tmp_path / "a")
    (tmp_path / "a" / "red").rename(tmp_path / "a" / "pink")
    with pytest.raises(ImagesError, match="pink, red"):
        images.same_classes([("training", opened(tmp_path / "a")), ("evaluation", samples)])


def test_the_digest_is_of_content_labels_and_preprocessing(colours: Callable[[str], Path], tmp_path: Path) -> None:
    base = opened(colours("a")).digest
    shutil.copytree(colours("a"), tmp_path / "moved")
    assert opened(tmp_path / "moved").digest == base
    assert opened(colours("a"), preprocessing__order="bgr").digest != base
    path = tmp_path / "moved" / "red" / "000.png"
    Image.new("RGB", (8, 8)).save(path)
    assert opened(tmp_path / "moved").digest != base


def test_hashes_are_remembered_by_size_and_time(tmp_path: Path) -> None:
    store, path = Store(tmp_path / "store"), tmp_path / "x.png"
    path.write_bytes(b"one")
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    (first,) = HashIndex(store).of([path])
    assert HashIndex(store)._known([os.fsencode(path)]) == {}, "it has only just been changed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caches, "_FRESH_NS", -1)
        HashIndex(store).of([path])
    assert HashIndex(store)._known([os.fsencode(path)])[os.fsencode(path)][1] == first
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caches, "_sha256", lambda path: b"read again")
        assert HashIndex(store).of([path]) == [first]
    path.write_bytes(b"two")
    os.utime(path, (long_ago, long_ago))  # the same size, and the time set back: the change of the inode tells
    (second,) = HashIndex(store).of([path])
    assert second != first


def test_a_damaged_index_costs_time_and_nothing_else(tmp_path: Path) -> None:
    store, path = Store(tmp_path / "store"), tmp_path / "x.png"
    path.write_bytes(b"one")
    store.cache.mkdir(parents=True)
    (store.cache / "hashes1.sqlite").write_bytes(b"this is not a database, " * 100)
    assert HashIndex(store).of([path]) == HashIndex(None).of([path])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caches, "_FRESH_NS", -1)
        HashIndex(store).of([path])
    held = bytearray((store.cache / "hashes1.sqlite").read_bytes())
    held[4096:8192] = b"\xff" * 4096
    (store.cache / "hashes1.sqlite").write_bytes(held)
    assert HashIndex(store).of([path]) == HashIndex(None).of([path])


def test_a_name_that_is_not_text(tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/a/\xff.png"
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "x.png")
    os.rename(tmp_path / "a" / "x.png", odd)
    source = sources.Folder(tmp_path, Store(tmp_path / "store"))
    assert source.name(0).encode().endswith(b"udcff.png")
    with source.open(0) as image:
        assert image.size == (8, 8)


def scene(width: int, height: int) -> np.ndarray:
    """Smooth, and another one in each corner."""
    rows, columns = np.mgrid[:height, :width] / max(width, height)
    return np.stack([255 * columns, 255 * rows, 128 + 100 * np.sin(9 * columns)], -1).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_thumbnail_is_decoded_to_a_part_of_its_size(tmp_path: Path, channels: int) -> None:
    for label in "abc":
        (tmp_path / label).mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6  # as a phone held upright writes it
    Image.fromarray(scene(1600, 1200)).save(tmp_path / "a" / "0.jpg", quality=95, exif=turned)
    Image.fromarray(scene(1600, 1200)).save(tmp_path / "b" / "1.png")
    Image.fromarray(scene(300, 200)).save(tmp_path / "c" / "2.jpg", quality=95)
    one = {"size": 8, "mean": [0.5] * channels, "std": [0.25] * channels, "exif": True}
    samples = opened(tmp_path, preprocessing=one)
    assert [samples.open(index, least=192).size for index in range(3)] == [(300, 400), (1600, 1200), (300, 200)]
    assert samples.open(0).size == (1200, 1600)
    small, whole = samples.open(0, least=192), samples.open(0)
    assert small.mode == whole.mode == ("RGB" if channels == 3 else "L")
    before, after = (np.asarray(each.resize((72, 96))).astype(float) for each in (whole, small))
    assert np.abs(before - after).max() < 6


def test_what_has_16_bits_is_opened_with_all_of_them(tmp_path: Path) -> None:
    levels = (np.arange(1200 * 900).reshape(900, 1200) % 60_000).astype(np.uint16)
    for label in "abc":
        (tmp_path / label).mkdir()
        Image.fromarray(levels).save(tmp_path / label / "0.png")
    samples = opened(tmp_path, preprocessing={"size": 8, "mean": [0.5], "std": [0.25], "bits": 16})
    np.testing.assert_array_equal(np.asarray(samples.open(0, least=192)), levels)
