"""A folder looked at before it is used: what is wrong with it is found, and named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeresnet.errors import ImagesError
from edgeresnet.images import sources
from edgeresnet.images.survey import survey
from edgeresnet.portable import manifest
from edgeresnet.store import Store

pytestmark = pytest.mark.unit


def fill(folder: Path, count: int, seed: int = 0, mode: str = "RGB", size: tuple[int, int] = (9, 7)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{mode}-{number}.png")


def test_what_a_folder_holds(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "cat", 3, 1)
    fill(tmp_path / "a" / "dog", 2, 2, "L", (5, 5))
    found = survey(tmp_path / "a")
    (split,) = found.splits.values()
    assert (split.images, split.classes) == (5, {"cat": 3, "dog": 2})
    assert split.sizes == [((9, 7), 3), ((5, 5), 2)]
    assert split.modes == {"RGB": 3, "L": 2}
    assert (split.unreadable, split.duplicates, found.shared) == ([], [], [])


def test_every_defect_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "data" / "train" / "cat", 3, 1)
    fill(tmp_path / "data" / "train" / "dog", 3, 2)
    fill(tmp_path / "data" / "val" / "cat", 2, 3)
    shutil.copy(tmp_path / "data/train/cat/RGB-0.png", tmp_path / "data/val/cat/again.png")
    shutil.copy(tmp_path / "data/train/dog/RGB-1.png", tmp_path / "data/train/cat/copy.png")
    whole = (tmp_path / "data/train/dog/RGB-2.png").read_bytes()
    (tmp_path / "data/train/dog/RGB-2.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "data/val/cat/notes.txt").write_text("no image")
    found = survey(tmp_path / "data")
    train, val = found.splits["train"], found.splits["val"]
    assert [Path(name).name for name, _ in train.unreadable] == ["RGB-2.png"]
    assert val.unreadable == [(str(tmp_path / "data/val/cat/notes.txt"), "it is not an image of a known format")]
    assert [[Path(name).parent.name for name in names] for names in train.duplicates] == [["cat", "dog"]]
    ((one, other, names),) = found.shared
    assert (one, other, [Path(name).name for name in names]) == ("train", "val", ["RGB-0.png"])


def test_images_without_classes_and_folders_without_images(tmp_path: Path) -> None:
    fill(tmp_path / "flat", 2)
    assert survey(tmp_path / "flat").splits["flat"].classes == {}
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImagesError, match="has no images"):
        survey(tmp_path / "empty")
    with pytest.raises(ImagesError, match="does not exist"):
        survey(tmp_path / "nowhere")


def put_ours(root: Path) -> None:
    """Write a store, an export, and a folder of exports, as commands leave them."""
    Store.open(root / "artifacts")
    fill(root / "artifacts" / "trace" / "0123", 1)
    for folder in ("net-openvino", "ship/net-openvino"):
        (root / folder).mkdir(parents=True)
        (root / folder / "net.onnx").write_bytes(b"weights")
        manifest.write(root / folder)
    (root / "ship" / "net-openvino.tar.gz").write_bytes(b"packed")


OURS = {"artifacts": "a store", "net-openvino": "an export", "ship": "an export"}


@pytest.mark.parametrize("inside", [".", "images"])
def test_what_edgeresnet_wrote_is_left_out(tmp_path: Path, inside: str) -> None:
    put_ours(tmp_path)
    for number, label in enumerate(("cat", "dog")):
        fill(tmp_path / inside / label, 2, number)
    found = survey(tmp_path)
    (split,) = found.splits.values()
    assert (split.classes, split.unreadable, found.ours) == ({"cat": 2, "dog": 2}, [], OURS)
    source = sources.at(tmp_path / inside, "evaluation", None)
    assert (source.classes, source.labels.tolist()) == (("cat", "dog"), [0, 0, 1, 1])


def test_splits_and_flat_images_next_to_a_store(tmp_path: Path) -> None:
    put_ours(tmp_path)
    fill(tmp_path / "data" / "train" / "cat", 2)
    fill(tmp_path / "data" / "val" / "cat", 1, 9)
    assert {name: split.classes for name, split in survey(tmp_path).splits.items()} == {
        "train": {"cat": 2},
        "val": {"cat": 1},
    }
    shutil.rmtree(tmp_path / "data")
    fill(tmp_path, 3)
    assert [split.images for split in survey(tmp_path).splits.values()] == [3]


def test_a_store_alone_is_named_as_what_it_is(tmp_path: Path) -> None:
    put_ours(tmp_path)
    with pytest.raises(ImagesError, match="has no class folders, and artifacts is a store of edgeresnet"):
        sources.at(tmp_path, "evaluation", None)
    with pytest.raises(ImagesError, match="artifacts is a store of edgeresnet, and holds no class folders"):
        sources.at(tmp_path / "artifacts", "evaluation", None)


def test_a_class_folder_with_a_manifest_of_another_tool_stays(tmp_path: Path) -> None:
    fill(tmp_path / "cat", 1)
    fill(tmp_path / "dog", 1, 1)
    (tmp_path / "cat" / "manifest.json").write_text('{"files": 3}')
    (tmp_path / "dog" / "manifest.json").write_text("[" * 100_000)
    found = survey(tmp_path)
    assert (found.ours, list(found.splits[tmp_path.name].classes)) == ({}, ["cat", "dog"])
