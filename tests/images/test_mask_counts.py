"""What masks hold is known before they are used: how much of each class, what is ignored, and which cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeresnet.errors import ImagesError
from edgeresnet.images import mask_counts
from edgeresnet.images.survey import survey
from edgeresnet.inspect.pictures import inspect_images
from edgeresnet.report.inspect_text import images_text

from .test_coco import SQUARE, held, shape, written
from .test_masks import colour, damaged, listed, opened, other_size, outside, packed, pair, set_of

pytestmark = pytest.mark.unit


def halves(root: Path, one: int, other: int, count: int = 4) -> dict[str, str]:
    """Write masks of two numbers, a quarter and the rest."""
    for number in range(count):
        mask = np.full((8, 8), other)
        mask[:2] = one
        pair(root, str(number), mask)
    return {"from": str(root / "images"), "masks": str(root / "masks")}


def test_the_share_of_each_class_and_of_ignored_pixels(tmp_path: Path) -> None:
    source = halves(tmp_path, 255, 3)
    pair(tmp_path, "none", np.full((8, 8), 255))
    pair(tmp_path, "one", np.ones((8, 8)))
    found = mask_counts.of_samples(opened(source))
    assert (found.masks, dict(found.pixels), found.ignored, found.unlabelled) == (6, {"3": 192, "1": 64}, 128, 1)
    assert found.words == ("3 50.0 %, 1 16.7 % of the pixels of 6 masks; 33.3 % are ignored; 1 of them have no class")
    assert found.doubt == ""


def test_masks_that_mean_something_else_are_doubted(tmp_path: Path) -> None:
    for name, numbers, words in (
        ("binary", (255, 0), "hold 0 and ignored pixels alone: a class must not have the ignored number"),
        ("ignored", (255, 255), "no pixel of their masks has a class"),
        ("alone", (0, 0), "hold 0 alone: nothing can be learned or shown"),
    ):
        assert words in mask_counts.of_samples(opened(halves(tmp_path / name, *numbers))).doubt


def test_a_wrong_mask_is_refused_and_an_unreadable_one_left_to_the_run(tmp_path: Path) -> None:
    source = set_of(tmp_path)
    damaged(tmp_path)
    assert mask_counts.of_samples(opened(source)).masks == 5
    outside(tmp_path)
    with pytest.raises(ImagesError, match="has the number 7"):
        mask_counts.of_samples(opened(source))


def test_a_survey_names_each_mask_that_cannot_be_used(tmp_path: Path) -> None:
    source = set_of(tmp_path)
    path, drawn = Path(source["from"]), Path(source["masks"])
    found = inspect_images(path, drawn)
    assert found.masks
    assert (found.masks.masks, sorted(found.masks.pixels), found.wrong) == (6, ["0", "1", "2", "3"], False)
    assert "masks: " in images_text(found)
    for number, change in enumerate((colour, other_size, damaged)):
        set_of(tmp_path)
        change(tmp_path)
        found = inspect_images(path, drawn)
        ((name, why),) = found.wrong_masks
        assert (Path(name).name, found.wrong) == ("2.png", True)
        assert ("colour", "12×9", "cannot be decoded")[number] in why
        assert "error: 1 of the masks cannot be used: " in " ".join(images_text(found).split())


def test_what_has_masks_itself_needs_no_folder(tmp_path: Path) -> None:
    set_of(tmp_path)
    rows = [(f"images/deep/{number}.png", f"masks/deep/{number}.png") for number in range(3)]
    found = survey(Path(listed(tmp_path, rows))).masks
    assert found
    assert found.masks == 3
    names = [f"{number}.png" for number in range(2)] + [f"{number}.mask.png" for number in range(2)]
    files = [*(tmp_path / "images/deep").glob("[01].png"), *(tmp_path / "masks/deep").glob("[01].png")]
    contents = {name: path.read_bytes() for name, path in zip(sorted(names), sorted(files), strict=True)}
    assert survey(Path(packed(tmp_path / "s.tar", contents))).masks
    coco = survey(Path(written(tmp_path, held(shape(5, 90, SQUARE))))).masks
    assert coco
    assert dict(coco.pixels) == {"background": 116, "cat": 12}


def test_images_alone_are_looked_at_as_before(tmp_path: Path) -> None:
    source = set_of(tmp_path)
    assert survey(Path(source["from"])).masks is None
