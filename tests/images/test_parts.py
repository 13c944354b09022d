"""A part of a set of images: the same images under the same names, in the same batches, and small enough to travel."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeresnet.images import Samples
from edgeresnet.store import Store

from .test_archives import packed
from .test_images import opened

pytestmark = pytest.mark.unit


def sets(folder: Path, tmp_path: Path) -> dict[str, Samples]:
    """Return the same images as class folders, a .tar and arrays."""
    samples = opened(folder)
    pixels = np.concatenate([batch.pixels for batch in samples.batches(50)])
    np.savez(tmp_path / "set.npz", images=pixels, labels=samples.labels)
    return {
        "folders": samples,
        "tar": opened(packed(tmp_path / "set.tar", "-C", folder, ".")),
        "arrays": opened(tmp_path / "set.npz"),
    }


@pytest.mark.parametrize("kind", ["folders", "tar", "arrays"])
def test_a_part_has_the_same_images_under_the_same_names(
    colours: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    samples = sets(colours("a"), tmp_path)[kind].subset(np.arange(119, -1, -1))
    part: Samples = pickle.loads(pickle.dumps(samples.part(30, 50)))
    assert [part.name(index) for index in range(20)] == [samples.name(index) for index in range(30, 50)]
    assert [part.hash(index) for index in range(20)] == [samples.hash(index) for index in range(30, 50)]
    assert part.labels.tolist() == samples.labels[30:50].tolist()
    np.testing.assert_array_equal(part.pixels(range(20)), samples.pixels(range(30, 50)))
    assert len(pickle.dumps(part)) < len(pickle.dumps(samples)) / 2


def test_batches_are_the_same_in_each_pass_and_in_each_part(colours: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for index, path in enumerate(sorted(colours("a").rglob("*.png"))):
        copy = folder / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"damaged" if index in (3, 4, 70) else path.read_bytes())
    samples = opened(folder, Store.open(tmp_path / "store"), images__unreadable="skip")

    def passed(some: Samples, first: int = 0) -> list[list[int]]:
        return [(batch.indices + first).tolist() for batch in some.batches(10)]

    decoded = passed(samples)
    assert [len(numbers) for numbers in decoded] == [8, 10, 10, 10, 10, 10, 10, 9, 10, 10, 10, 10]
    assert list((tmp_path / "store" / "cache" / "pixels").glob("*.bin"))
    assert passed(samples) == decoded  # from the cache now
    assert passed(samples.part(0, 50)) + passed(samples.part(50, 120), 50) == decoded


def test_a_part_may_have_no_image_that_can_be_read(tmp_path: Path) -> None:
    for label in ("a", "b", "c"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.png").write_bytes(b"damaged")
    part = opened(tmp_path, images__unreadable="skip").part(0, 2)
    assert list(part.batches(2, may_be_none=True)) == []
