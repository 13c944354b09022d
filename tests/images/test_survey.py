"""A folder looked at before it is used: what is wrong with it is found, and named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeresnet.errors import ImagesError
from edgeresnet.images.survey import survey

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
