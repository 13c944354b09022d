"""A .json as COCO writes it: shapes become masks as pycocotools draws them, and categories become classes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeresnet.errors import ImagesError
from edgeresnet.images import Samples
from edgeresnet.images.sources import drawing
from edgeresnet.portable.tasks.masks import IGNORED

from .test_masks import opened

pytestmark = pytest.mark.unit

SQUARE = [[2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0]]


def shape(image: int, category: int, drawn: Any, crowd: int = 0) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "segmentation": drawn, "iscrowd": crowd}


def held(*annotations: dict[str, Any]) -> dict[str, Any]:
    """Return a file of two images of 8×8 pixels, of which the second has no objects."""
    return {
        "images": [{"id": 5, "file_name": "a.png", "width": 8, "height": 8}, {"id": 2, "file_name": "b.png"}],
        "annotations": list(annotations),
        "categories": [{"id": 90, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


def written(root: Path, content: Any) -> str:
    for name, gray in (("a", 10), ("b", 20)):
        Image.new("L", (8, 8), gray).save(root / f"{name}.png")
    (root / "set.json").write_text(json.dumps(content))
    return str(root / "set.json")


def mask_of(root: Path, *annotations: dict[str, Any]) -> np.ndarray:
    return opened(written(root, held(*annotations)), model__classes=None).mask(0)


def test_categories_follow_the_background_in_the_order_of_their_ids(tmp_path: Path) -> None:
    samples = opened(written(tmp_path, held(shape(5, 90, SQUARE))), model__classes=None)
    assert samples.classes == ("background", "dog", "cat")
    assert [Path(samples.name(index)).name for index in range(2)] == ["a.png", "b.png"]
    expected = np.zeros((8, 8), int)
    expected[1:4, 2:6] = 2
    assert samples.mask(0).tolist() == expected.tolist()
    assert samples.mask(1).max() == 0


def test_a_category_may_be_the_background(tmp_path: Path) -> None:
    content = held(shape(5, 1, SQUARE))
    content["categories"] = [{"id": 1, "name": "crack"}, {"id": 9, "name": "Background"}]
    samples = opened(written(tmp_path, content), model__classes=None)
    assert (samples.classes, np.unique(samples.mask(0)).tolist()) == (("Background", "crack"), [0, 1])


def test_names_give_the_order(tmp_path: Path) -> None:
    names, path = tmp_path / "names.txt", written(tmp_path, held(shape(5, 90, SQUARE)))
    names.write_text("nothing\ncat\nbird\ndog\n")
    samples = opened(path, images__names=str(names))
    assert (samples.classes[1], np.unique(samples.mask(0)).tolist()) == ("cat", [0, 1])
    names.write_text("dog\ncat\n")  # each class has its objects: what lies around them has no label
    assert np.unique(opened(path, images__names=str(names)).mask(0)).tolist() == [1, IGNORED]
    names.write_text("nothing\ncat\n")
    with pytest.raises(ImagesError, match=r"has categories that are not among the 2 names of classes: dog"):
        opened(path, images__names=str(names))


def test_several_polygons_are_one_object_and_overlaps_have_no_label(tmp_path: Path) -> None:
    two = [[0.0, 0.0, 2.0, 0.0, 2.0, 2.0, 0.0, 2.0], [4.0, 4.0, 8.0, 4.0, 8.0, 8.0, 4.0, 8.0]]
    mask = mask_of(tmp_path, shape(5, 7, two), shape(5, 7, SQUARE))
    assert (mask == 1).sum() == 4 + 16 + 12
    mask = mask_of(tmp_path, shape(5, 7, SQUARE), shape(5, 90, [[4.0, 1.0, 8.0, 1.0, 8.0, 4.0, 4.0, 4.0]]))
    assert [(mask == value).sum() for value in (1, 2, IGNORED)] == [6, 6, 6]


@pytest.mark.parametrize("first", [0, 1])
def test_a_crowd_gives_way_to_objects(tmp_path: Path, first: int) -> None:
    crowd = shape(5, 90, {"size": [8, 8], "counts": [8, 56]}, crowd=1)
    shapes = [crowd, shape(5, 7, SQUARE)]
    mask = mask_of(tmp_path, shapes[first], shapes[1 - first])
    assert [(mask == value).sum() for value in (0, 1, 2)] == [8, 12, 44]


def test_run_lengths_go_down_the_columns() -> None:
    # pycocotools 2.0: mask.encode of this mask gave this text, and mask.frPyObjects of this polygon these pixels
    mask = np.array([[0, 1, 0, 0, 1], [0, 1, 1, 0, 1], [1, 0, 1, 0, 1]], bool)
    assert drawing.runs([2, 3, 2, 2, 3, 3], 3, 5).tolist() == mask.tolist()
    assert drawing.runs("232O11", 3, 5).tolist() == mask.tolist()
    corners = [0.5, 0.7, 5.2, 1.1, 6.4, 4.8, 3.0, 2.6, 1.2, 5.9]
    rows = ["0000000", "0111100", "0111110", "0100110", "0100000", "0000000"]
    assert drawing.polygon(corners, 6, 7).astype(int).tolist() == [[int(pixel) for pixel in row] for row in rows]
    long = drawing.runs("[6k0=" + "0" * 75 + "]7", 40, 50)
    assert (long[3:30, 5:44].all(), long.sum()) == (True, 27 * 39)


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        ([[1.0, 1.0, 2.0, 2.0]], "at least three corners"),
        ([1.0, 1.0, 2.0, 2.0, 3.0, 1.0], "at least three corners"),
        ([[1.0, 1.0, 2.0, 2.0, 1e9, 1.0]], "far outside its image"),
        ([["a", "b", "c", "d", "e", "f"]], "cannot be drawn"),
        ({"size": [8, 8], "counts": [8, 8]}, "add up to 16 pixels, not to 64"),
        ({"size": [8, 8], "counts": [70, -6]}, "negative"),
        ({"size": [9, 8], "counts": [72]}, r"of \[9, 8\] pixels, but the image has \[8, 8\]"),
        ({"size": [8, 8], "counts": "\x00"}, "not written as pycocotools"),
        ({"size": [8, 8], "counts": "o"}, "in the middle of a number"),
        ({"size": [8, 8]}, "counts"),
    ],
)
def test_a_shape_that_cannot_be_drawn_is_named(tmp_path: Path, drawn: Any, words: str) -> None:
    with pytest.raises(ImagesError, match=rf"set.json:a.png has a shape that cannot be drawn: .*{words}|{words}"):
        mask_of(tmp_path, shape(5, 7, drawn))


def change(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.__setitem__(key, value)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (change("annotations", [shape(6, 7, SQUARE)]), "annotation 1 of .*set.json is of the image 6, which"),
        (change("annotations", [shape(5, 8, SQUARE)]), "annotation 1 of .*set.json is of the category 8, which"),
        (change("annotations", [shape(5, 7, [])]), "has no shape, only a box or nothing"),
        (change("annotations", [5]), "has no list of annotations"),
        (change("categories", []), "has no categories, or one twice"),
        (change("categories", [{"id": "7", "name": "dog"}]), "a category without an integer id or a name"),
        (change("images", []), "has no images"),
        (change("images", [{"id": 5, "file_name": "c.png"}]), "has 1 of 1 images that do not exist below .*: c.png"),
        (change("images", [{"id": 5, "file_name": "a.png"}] * 2), "has the image id 5 twice"),
        (change("images", [{"file_name": "a.png"}]), "an image without an integer id or a file_name"),
    ],
)
def test_a_file_that_contradicts_itself(tmp_path: Path, edit: Callable[[dict[str, Any]], None], words: str) -> None:
    content = held(shape(5, 7, SQUARE))
    edit(content)
    with pytest.raises(ImagesError, match=words):
        opened(written(tmp_path, content), model__classes=None)


def test_an_image_of_another_size_than_its_entry(tmp_path: Path) -> None:
    content = held(shape(5, 7, SQUARE))
    content["images"][0]["width"] = 16
    with pytest.raises(ImagesError, match=r"set.json:a.png has 16×8 pixels, but its image .*a.png has 8×8"):
        opened(written(tmp_path, content), model__classes=None).mask(0)


def test_images_may_lie_in_another_folder_and_calibration_needs_no_shapes(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    path = Path(written(tmp_path / "val", held(shape(5, 7, SQUARE)))).rename(tmp_path / "set.json")
    samples: Samples = opened({"from": str(tmp_path / "val"), "masks": str(path)}, model__classes=None)
    assert samples.mask(0).max() == 1
    assert len(opened(str(tmp_path / "val"), slot="calibration")) == 2
    path.rename(tmp_path / "val" / "set.json")
    assert len(opened(str(tmp_path / "val" / "set.json"), slot="calibration")) == 2


def test_shapes_are_part_of_what_a_set_is_and_travel(tmp_path: Path) -> None:
    samples = opened(written(tmp_path, held(shape(5, 7, SQUARE))), model__classes=None)
    part: Samples = pickle.loads(pickle.dumps(samples.part(0, 1)))
    assert part.mask(0).tolist() == samples.mask(0).tolist()
    other = opened(written(tmp_path, held(shape(5, 90, SQUARE))), model__classes=None)
    assert samples.identity != other.identity
