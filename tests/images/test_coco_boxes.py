"""Boxes of COCO's .json: which image and class they are of, and every mistake in one clear line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgeresnet.errors import ImagesError, RecipeError
from edgeresnet.images import Samples

from .test_boxes import opened as opened_at
from .test_coco import held, written

pytestmark = pytest.mark.unit

BOX = [2.0, 1.0, 4.0, 3.0]


def box(image: int, category: int, where: Any = None, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": BOX if where is None else where, **more}


def opened(given: Any, classes: int | None = None, **changes: Any) -> Samples:
    how = {"size": 8, "mean": [0.5], "std": [0.25], "interpolation": "nearest"}
    found: Samples = opened_at(given, preprocessing=how, model__classes=classes, **changes)
    return found


def numbers(samples: Samples) -> list[int]:
    return samples.boxes([0])[0].numbers.tolist()


def test_boxes_are_those_of_their_images(tmp_path: Path) -> None:
    path = written(tmp_path, held(box(5, 90), box(5, 7, [0, 0, 8, 8], iscrowd=1, area=3)))
    samples = opened(path)
    assert samples.classes == ("dog", "cat")
    found = samples.boxes([0, 1])
    assert found.counts.tolist() == [2, 0]
    assert found.boxes.tolist() == [BOX, [0, 0, 8, 8]]
    assert (found.numbers.tolist(), found.crowd.tolist()) == ([1, 0], [False, True])
    (tmp_path / "labels").mkdir()
    Path(path).rename(tmp_path / "labels" / "set.json")
    apart = opened({"from": str(tmp_path), "boxes": str(tmp_path / "labels" / "set.json")})
    assert apart.identity == samples.identity
    other = opened(written(tmp_path, held(box(5, 90, [2, 1, 4, 3.5]), box(5, 7, [0, 0, 8, 8], iscrowd=1))))
    assert other.identity != samples.identity


def test_the_network_says_how_categories_are_numbered(tmp_path: Path) -> None:
    path = written(tmp_path, held(box(5, 90), box(5, 7)))
    assert (opened(path, 2).classes, numbers(opened(path, 2))) == (("dog", "cat"), [1, 0])
    assert (opened(path, 3).classes, numbers(opened(path, 3))) == (("background", "dog", "cat"), [2, 1])
    wide = opened(path, 91)
    assert (len(wide.classes), wide.classes[:2], wide.classes[90]) == (91, ("background", "unused 1"), "cat")
    assert numbers(wide) == [90, 7]
    with pytest.raises(ImagesError, match=r"has 2 categories, with ids up to 90, but the network has 20 classes") as no:
        opened(path, 20)
    assert "`images.names`" in no.value.hint


def test_names_give_the_order(tmp_path: Path) -> None:
    names, path = tmp_path / "names.txt", written(tmp_path, held(box(5, 90), box(5, 7)))
    names.write_text("nothing\ncat\nbird\ndog\n")
    samples = opened(path, 4, images__names=str(names))
    assert (samples.classes[2], numbers(samples)) == ("bird", [1, 3])
    names.write_text("cat\nbird\n")
    with pytest.raises(ImagesError, match=r"has categories that are not among the 2 names of classes: dog"):
        opened(path, images__names=str(names))


def test_boxes_without_area_are_left_out_and_counted(tmp_path: Path) -> None:
    samples = opened(written(tmp_path, held(box(5, 90), box(5, 7, [3, 3, 0, 4]))))
    assert samples.boxes([0]).counts.tolist() == [1]
    assert samples.source.drawn[0].flat == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (box(6, 90), r"annotation 2 of .* is of the image 6, which the file does not have"),
        (box(5, 8), r"annotation 2 of .* is of the category 8, which the file does not have"),
        (box(5, 90, []), r"annotation 2 of .* has no box"),
        (box(5, 90, [1, 2, 3]), r"annotation 2 of .* has a box that is not four numbers: \[1, 2, 3\]"),
        (box(5, 90, [1, 2, 3, "4"]), r"has a box that is not four numbers"),
        (box(5, 90, [1, 2, -3, 4]), r"annotation 2 of .* has a box of -3×4 pixels: a side is negative"),
        (box(5, 90, [1, 2, 3, 10**400]), r"has a box of numbers that are not pixels"),
        (box(5, 90, [1e300, 2, 3, 4]), r"has a box of numbers that are not pixels"),
        (box(5, 90, iscrowd="0"), r"annotation 2 of .* has `iscrowd: 0`, which is neither 0 nor 1"),
    ],
)
def test_what_is_wrong_with_an_annotation_is_said(tmp_path: Path, annotation: dict[str, Any], words: str) -> None:
    with pytest.raises(ImagesError, match=words):
        opened(written(tmp_path, held(box(5, 90), annotation)))


def test_a_box_of_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match=r"set\.json holds NaN, which is not a number"):
        opened(written(tmp_path, held(box(5, 90, [float("nan"), 1, 2, 3]))))


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImagesError, match=r"has no box: no image has an object"):
        opened(written(tmp_path, held()))
    with pytest.raises(ImagesError, match=r"has crowds alone, and no object"):
        opened(written(tmp_path, held(box(5, 90, iscrowd=1))))
    content = held(box(5, 90))
    content["images"][1]["file_name"] = "c.png"
    with pytest.raises(ImagesError, match=r"has 1 of 2 images that do not exist below .*: c\.png") as no:
        opened(written(tmp_path, content))
    assert "this file as its boxes" in no.value.hint
    with pytest.raises(ImagesError, match=r"has no list of categories"):
        opened({"from": str(tmp_path), "boxes": written(tmp_path, [box(5, 90)])})
    (tmp_path / "boxes.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(ImagesError, match=r"boxes\.txt is a file of an unknown kind of boxes"):
        opened({"from": str(tmp_path), "boxes": str(tmp_path / "boxes.txt")})


def test_an_image_has_the_size_that_its_labels_say(tmp_path: Path) -> None:
    content = held(box(5, 90))
    content["images"][0]["width"] = 9
    samples = opened(written(tmp_path, content))
    with pytest.raises(ImagesError, match=r"set\.json:a\.png is about 9×8 pixels, but its image .*a\.png has 8×8"):
        samples.check_labels([0])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (8, 9)).save(tmp_path / "a.png", exif=exif)
    with pytest.raises(ImagesError, match=r"is about 9×8 pixels") as turned:
        samples.check_labels([0])
    assert "EXIF turns this photograph" in turned.value.hint


def test_recipes_say_where_boxes_are(tmp_path: Path) -> None:
    for given, words in (
        (str(tmp_path), r"images\.evaluation\.boxes is missing: name the file or folder of boxes"),
        ({"from": "a.json", "boxes": "b.json"}, r"images\.evaluation\.boxes: a\.json has its own boxes"),
        ({"from": str(tmp_path), "masks": "b.json"}, r"images\.evaluation\.masks needs `task: segmentation`"),
    ):
        with pytest.raises(RecipeError) as refused:
            opened(given)
        assert re.search(words, str(refused.value.problems))
    with pytest.raises(RecipeError) as refused:
        opened({"from": str(tmp_path), "boxes": "b.json"}, slot="calibration")
    assert "images.calibration.boxes is not used" in str(refused.value.problems)
