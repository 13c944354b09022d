"""A .tar of class folders, as tar and Python write it, and arrays in an .npz, as numpy writes them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias, cast

import numpy as np
import pytest
from PIL import Image

from edgeresnet.errors import ImagesError
from edgeresnet.images import cache as caches
from edgeresnet.images import sources
from edgeresnet.images.sources import arrays, tars
from edgeresnet.store import Store

from .test_images import opened

pytestmark = pytest.mark.unit

_Compressed: TypeAlias = Literal["w:gz", "w:bz2", "w:xz"]

Folder = Callable[[str], Path]
needs_tar = pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar")


def packed(path: Path, *words: object, **how: object) -> Path:
    subprocess.run(["tar", "cf", path, *map(str, words)], check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    return path


@needs_tar
@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "v7"])
def test_a_tar_is_the_folder_that_was_packed(colours: Folder, tmp_path: Path, form: str) -> None:
    folder = colours("a")
    inside = packed(tmp_path / "inside.tar", f"--format={form}", "-C", folder, ".")
    around = packed(tmp_path / "around.tar", f"--format={form}", "-C", folder.parent, folder.name)
    samples = opened(folder)
    for path in (inside, around):
        found = opened(path)
        assert found.digest == samples.digest
        np.testing.assert_array_equal(found.pixels([0, 119, 41]), samples.pixels([0, 119, 41]))
        assert found.path(0) is None
    assert opened(around).name(0) == f"{around}:{folder.name}/blue/000.png"


@needs_tar
def test_long_names_hidden_files_and_files_outside_of_class_folders(tmp_path: Path) -> None:
    long = "x" * 120
    for name in (f"set/cat/{long}/{long}.png", "set/cat-2/b.png", "set/cat/._c.png", "set/README.txt", "set/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(name), 0, 0)).save(tmp_path / name, "PNG")
    for form in ("gnu", "pax"):
        found = tars.Tar(packed(tmp_path / f"{form}.tar", f"--format={form}", "-C", tmp_path, "set"), None)
        assert found.classes == ("cat", "cat-2")  # as folders are sorted, and not as paths are
        assert [found.name(index).rsplit("/", 1)[1] for index in range(2)] == [f"{long}.png", "b.png"]
        assert found.hashes == sources.Folder(tmp_path / "set", None).hashes


def test_a_tar_of_tars_as_imagenet_comes(colours: Folder, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train.tar", "w") as outer:
        for folder in sorted(colours("a").iterdir()):
            with tarfile.open(tmp_path / f"{folder.name}.tar", "w") as inner:
                for path in sorted(folder.iterdir()):
                    inner.add(path, path.name)
            outer.add(tmp_path / f"{folder.name}.tar", f"{folder.name}.tar")
    assert opened(tmp_path / "train.tar").digest == opened(colours("a")).digest


def test_links_are_followed_and_a_member_written_twice_counts_once(colours: Folder, tmp_path: Path) -> None:
    red = sorted((colours("a") / "red").iterdir())
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(red[0], "a/one.png")
        tar.add(red[1], "a/one.png")
        tar.add(red[2], "b/two.png")
        links = [("b/hard.png", tarfile.LNKTYPE, "a/one.png"), ("b/soft.png", tarfile.SYMTYPE, "two.png")]
        for name, kind, target in links:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            tar.addfile(link)
    found = tars.Tar(tmp_path / "set.tar", None)
    alone = sources.Folder(colours("a"), None)
    hashes = [alone.hashes[80 + number] for number in (1, 1, 2, 2)]
    names = [found.name(index).split(":")[1] for index in range(4)]
    assert names == ["a/one.png", "b/hard.png", "b/soft.png", "b/two.png"]
    assert found.hashes == hashes
    with tarfile.open(tmp_path / "lost.tar", "w") as tar:
        tar.add(red[0], "a/one.png")
        link = tarfile.TarInfo("a/two.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/another/x.png"
        tar.addfile(link)
    with pytest.raises(ImagesError, match=r"links to files outside it \(1\): a/two\.png → /another/x\.png"):
        tars.Tar(tmp_path / "lost.tar", None)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_refused_by_its_name_and_by_its_content(colours: Folder, tmp_path: Path, kind: str) -> None:
    with tarfile.open(tmp_path / f"set.tar.{kind}", cast(_Compressed, f"w:{kind}")) as tar:
        tar.add(colours("a"), "a")
    with pytest.raises(ImagesError, match="is compressed"):
        opened(tmp_path / f"set.tar.{kind}")
    (tmp_path / f"set.tar.{kind}").rename(tmp_path / "set.tar")
    with pytest.raises(ImagesError, match=r"cannot be read as a plain \.tar") as caught:
        opened(tmp_path / "set.tar")
    assert "without compression" in caught.value.hint


def test_a_damaged_tar_does_not_pass_for_a_shorter_one(colours: Folder, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(colours("a"), "a")
    whole = (tmp_path / "set.tar").read_bytes()
    with tarfile.open(tmp_path / "set.tar") as tar:
        middle = tar.getmembers()[60].offset
    damaged = bytearray(whole)
    damaged[middle : middle + 100] = b"\xff" * 100
    for data in (whole[: middle + 700], whole[: middle + 100], bytes(damaged), b"", b"no archive " * 100):
        (tmp_path / "set.tar").write_bytes(data)
        with pytest.raises(ImagesError, match="cannot be read as a plain"):
            opened(tmp_path / "set.tar")


def test_a_tar_without_class_folders_or_with_an_empty_one(colours: Folder, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "flat.tar", "w") as tar:
        for path in sorted((colours("a") / "red").iterdir()):
            tar.add(path, path.name)
    with pytest.raises(ImagesError, match="has no class folders"):
        tars.Tar(tmp_path / "flat.tar", None)
    assert len(tars.Tar(tmp_path / "flat.tar", None, labelled=False).labels) == 40
    with tarfile.open(tmp_path / "hollow.tar", "w") as tar:
        tar.add(colours("a"), "set")
        empty = tarfile.TarInfo("set/empty")
        empty.type = tarfile.DIRTYPE
        tar.addfile(empty)
    with pytest.raises(ImagesError, match=r"class folder .*hollow\.tar:empty has no images"):
        tars.Tar(tmp_path / "hollow.tar", None)


def test_hashes_of_a_tars_images_are_remembered(
    colours: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        tar.add(colours("a"), "a")
    store = Store(tmp_path / "store")
    monkeypatch.setattr(caches, "_FRESH_NS", -1)
    first = tars.Tar(tmp_path / "set.tar", store).hashes
    monkeypatch.setattr(caches, "_sha256", lambda *_: b"read again")
    assert tars.Tar(tmp_path / "set.tar", store).hashes == first
    with tarfile.open(tmp_path / "set.tar", "a") as tar:
        tar.add(colours("b") / "red" / "000.png", "a/red/more.png")
    assert b"read again" in tars.Tar(tmp_path / "set.tar", store).hashes


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "held",
    [
        {"images": PIXELS, "labels": LABELS},
        {"x": PIXELS, "y": LABELS.astype(np.uint8)[:, None]},
        {"x_train": PIXELS[:1], "y_train": LABELS[:1], "x_test": PIXELS, "y_test": LABELS},  # as Keras has them
        {"train_images": PIXELS[:1], "train_labels": LABELS[:1, None], "val_images": PIXELS[:2],
         "val_labels": LABELS[:2, None], "test_images": PIXELS, "test_labels": LABELS[:, None]},  # as MedMNIST
    ],
)  # fmt: skip
def test_arrays_as_people_save_them(tmp_path: Path, save: Callable, held: dict) -> None:
    save(tmp_path / "set.npz", **held)
    found = opened(tmp_path / "set.npz")
    assert (found.classes, found.labels.tolist()) == (("0", "1", "2"), LABELS.tolist())
    for index in range(6):
        assert (np.asarray(found.source.open(index)) == PIXELS[index]).all()
    assert found.name(3).endswith("[3]")


def test_arrays_that_are_not_compressed_stay_on_the_disk(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=PIXELS, labels=LABELS)
    assert isinstance(arrays.npz(tmp_path / "set.npz", "evaluation")._pixels, np.memmap)
    np.savez(tmp_path / "columns.npz", images=np.asfortranarray(PIXELS), labels=LABELS)
    assert (arrays.npz(tmp_path / "columns.npz", "evaluation")._pixels == PIXELS).all()


def test_words_as_labels_one_channel_and_16_bits(tmp_path: Path) -> None:
    words = np.array(["cat", "dog", "cat", "dog", "cat", "dog"])
    np.savez(tmp_path / "words.npz", images=PIXELS[..., :1], labels=words)
    found = arrays.npz(tmp_path / "words.npz", "evaluation")
    assert (found.classes, found.labels.tolist(), found.numbered) == (("cat", "dog"), [0, 1] * 3, False)
    assert found.open(0).mode == "L"
    np.savez(tmp_path / "deep.npz", images=PIXELS[..., 0].astype(">u2") * 200, labels=words)
    deep = opened(tmp_path / "deep.npz", preprocessing={"size": 8, "mean": [0.5], "std": [0.5], "bits": 16})
    assert (deep.pixels([2])[0, ..., 0] == PIXELS[2, :, :8, 0].astype(int) * 200).all()
    with pytest.raises(ImagesError, match=r"images\[0\] cannot be decoded: its pixels have 8 bits"):
        opened(tmp_path / "words.npz", preprocessing={"size": 8, "mean": [0.5], "std": [0.5], "bits": 16}).pixels([0])


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"a": PIXELS, "b": LABELS}, "holds a, b, but no evaluation images with labels under these names"),
        ({"images": PIXELS}, "but no evaluation images with labels"),
        ({"images": PIXELS / 255, "labels": LABELS}, "float64 6×8×9×3, but pixels have 8 bits"),
        (
            {"images": PIXELS.astype(np.uint16), "labels": LABELS},
            "but pixels have 8 bits, or 16 bits in one channel",
        ),
        ({"images": PIXELS[0], "labels": LABELS}, "labels is int64 6, but images has 8 images"),
        ({"images": PIXELS[..., 0, 0], "labels": LABELS}, "uint8 6×8, which is not an array of images"),
        ({"images": PIXELS.transpose(0, 3, 1, 2), "labels": LABELS}, "uint8 6×3×8×9, which is not an array of images"),
        ({"images": PIXELS, "labels": LABELS[:5]}, "labels is int64 5, but images has 6 images"),
        ({"images": PIXELS, "labels": np.eye(3)[LABELS]}, "labels is float64 6×3"),
        ({"images": PIXELS, "labels": np.array([{}] * 6)}, "holds objects of Python"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, "holds no images"),
    ],
)
def test_arrays_that_will_not_do(tmp_path: Path, held: dict, words: str) -> None:
    np.savez(tmp_path / "set.npz", **held)
    with pytest.raises(ImagesError, match=words):
        opened(tmp_path / "set.npz")


def test_a_file_that_is_not_an_npz(tmp_path: Path) -> None:
    held = io.BytesIO()
    np.savez(held, images=PIXELS, labels=LABELS)
    for data in (b"", b"no arrays", held.getvalue()[:-50]):
        (tmp_path / "set.npz").write_bytes(data)
        with pytest.raises(ImagesError, match=r"cannot be read as an \.npz file"):
            opened(tmp_path / "set.npz")


def test_calibration_arrays_need_no_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", images=PIXELS)
    assert arrays.npz(tmp_path / "set.npz", "calibration").classes == ()
