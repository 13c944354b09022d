"""Shards of WebDataset, as its own writer lays them out, one or many."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgeresnet.errors import ImagesError

from .test_images import opened

pytestmark = pytest.mark.unit

Folder = Callable[[str], Path]


def shard(path: Path, samples: Sequence[tuple[str, dict[str, bytes]]]) -> Path:
    """Write a shard: the members of a sample one after the other."""
    with tarfile.open(path, "w") as tar:
        for key, members in samples:
            for ending, data in members.items():
                about = tarfile.TarInfo(f"{key}.{ending}")
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
    return path


def shards(folder: Path, root: Path, count: int) -> Path:
    """Write the images of class folders as shards, and return the pattern of their names."""
    classes = sorted(each.name for each in folder.iterdir())
    paths = sorted(folder.rglob("*.png"))
    size = -(-len(paths) // count)
    for number in range(count):
        some = enumerate(paths[number * size : (number + 1) * size], number * size)
        shard(
            root / f"images-{number:03}.tar",
            [
                (
                    f"{index:06}",
                    {
                        "cls": str(classes.index(path.parent.name)).encode(),
                        "json": b"{}",
                        "png": path.read_bytes(),
                    },
                )
                for index, path in some
            ],
        )
    return root / f"images-{{000..{count - 1:03}}}.tar"


@pytest.mark.parametrize("count", [1, 7])
def test_shards_are_the_images_that_were_packed(colours: Folder, tmp_path: Path, count: int) -> None:
    samples, found = opened(colours("a")), opened(shards(colours("a"), tmp_path, count))
    assert found.labels.tolist() == samples.labels.tolist()
    assert [found.hash(i) for i in range(len(found))] == [samples.hash(i) for i in range(len(samples))]
    np.testing.assert_array_equal(found.pixels([0, 119, 41]), samples.pixels([0, 119, 41]))
    assert found.name(119) == f"{tmp_path}/images-{count - 1:03}.tar:000119.png"
    assert found.part(100, 120).name(19) == found.name(119)


def test_one_shard_is_known_by_what_is_in_it(colours: Folder, tmp_path: Path) -> None:
    shards(colours("a"), tmp_path, 1)
    assert opened(tmp_path / "images-000.tar").labels.tolist() == opened(colours("a")).labels.tolist()


def test_missing_shards_are_named(colours: Folder, tmp_path: Path) -> None:
    pattern = shards(colours("a"), tmp_path, 3)
    (tmp_path / "images-001.tar").unlink()
    with pytest.raises(ImagesError, match=r"1 of the 3 files that .* names do not exist: images-001\.tar"):
        opened(pattern)


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([("a", {"png": b"x", "cls": b"cat"})], r"labels that are not integers \(1\): set\.tar:a\.cls"),
        ([("a", {"png": b"x", "cls": b"1"}), ("b", {"png": b"x"})], r"images without a label \(1\): set\.tar:b\.png"),
        ([("a", {"txt": b"x", "cls": b"1"})], "has no images"),
    ],
)
def test_what_is_no_set_is_refused(tmp_path: Path, members: list[tuple[str, dict[str, bytes]]], problem: str) -> None:
    shard(tmp_path / "set.tar", members)
    with pytest.raises(ImagesError, match=problem):
        opened(tmp_path / "set.tar")


def test_a_pattern_of_files_without_labels_serves_calibration_alone(tmp_path: Path) -> None:
    for number in range(2):
        shard(tmp_path / f"x{number}.tar", [("a", {"png": b"x"})])
    with pytest.raises(ImagesError, match="names 2 files without any label"):
        opened(tmp_path / "x{0..1}.tar")
