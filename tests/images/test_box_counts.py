"""What boxes hold is known before they are used: objects of each class, and boxes that may not be what is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from edgeresnet.errors import ImagesError
from edgeresnet.images import box_counts, contents
from edgeresnet.inspect.pictures import inspect_images
from edgeresnet.report.inspect_text import images_text

from .test_boxes import opened as opened_at
from .test_coco import SQUARE
from .test_coco_boxes import BOX, box, held, opened, written
from .test_voc import set_of, thing

pytestmark = pytest.mark.unit


def doubts(path: Any, **preprocessing: Any) -> str:
    how = {"size": 4, "mean": [0.5], "std": [0.25], **preprocessing}
    return "\n".join(box_counts.of_samples(opened_at(path, preprocessing=how, model__classes=None)).doubts)


def test_objects_are_counted_by_class_and_images(tmp_path: Path) -> None:
    things = [box(5, 90), box(5, 90, [0, 0, 2, 2]), box(5, 7), box(5, 7, [0, 0, 8, 8], iscrowd=1)]
    samples = opened(written(tmp_path, held(*things)))
    found = box_counts.of_samples(samples)
    assert (found.objects, found.classes, found.crowds, found.empty) == (
        {"cat": 2, "dog": 1},
        {"cat": 1, "dog": 1},
        1,
        1,
    )
    assert found.words == "3 objects in 2 images: cat 2, dog 1; crowds 1; images without an object 1"
    assert found.doubts == ()
    assert contents.of(samples) == ("boxes", found.words, (), {"dog": 1, "cat": 1})


def test_boxes_outside_and_without_area_are_doubted(tmp_path: Path) -> None:
    things = [box(5, 90, [-0.9, 0, 8, 8]), box(5, 7, [6, 6, 9, 3.5]), box(5, 7, [-3, 0, 4, 4]), box(5, 7, [0, 0, 0, 4])]
    found = doubts(written(tmp_path, held(*things)))
    assert "2 boxes end outside their images, by up to 7 pixels, and these are cut off there (" in found
    assert "1 box has no area, and is left out (" in found
    one = doubts(written(tmp_path, held(box(5, 7, [6, 6, 9, 3.5]))))
    assert "1 box ends outside its image, by 7 pixels, and is cut off there (" in one
    assert "set.json:a.png)" in found


def test_photographs_that_exif_turns_are_doubted_where_nothing_shows_how_they_were_labelled(tmp_path: Path) -> None:
    path = written(tmp_path, held(box(5, 90)))
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("L", (8, 8)).save(tmp_path / "b.png", exif=exif)
    assert "EXIF turns 1 of 2 photographs: their boxes must be in pixels of the photographs as they are" in doubts(path)


def test_images_of_which_none_has_an_object_are_doubted(tmp_path: Path) -> None:
    samples = opened(written(tmp_path, held(box(5, 90))))
    assert "none of these images has an object" in box_counts.of_samples(samples.subset([1])).doubts[0]


def test_a_crop_that_cuts_objects_off_is_doubted(tmp_path: Path) -> None:
    content = held(box(5, 90, [0, 0, 3, 8]), box(5, 7, [8, 0, 8, 8]))
    content["images"][0] |= {"width": 24}
    path = written(tmp_path, content)
    Image.new("L", (24, 8)).save(tmp_path / "a.png")
    assert "the center crop leaves less than a quarter of 1 of 2 objects: `preprocessing: {crop: pad}`" in doubts(path)
    assert doubts(path, crop="pad") == ""


def test_labels_of_another_image_are_refused_and_an_unreadable_image_left_to_the_run(tmp_path: Path) -> None:
    path = written(tmp_path, held(box(5, 90)))
    (tmp_path / "b.png").write_bytes(b"damaged")
    assert box_counts.of_samples(opened(path)).images == 2
    Image.new("L", (8, 7)).save(tmp_path / "a.png")
    with pytest.raises(ImagesError, match="is about 8×8 pixels"):
        box_counts.of_samples(opened(path))


def test_a_survey_counts_objects_and_names_what_cannot_be_used(tmp_path: Path) -> None:
    source = set_of(tmp_path, thing("dog", 1, 1, 8, 9) + thing("dog", 1, 1, 8, 8), thing("cat", 1, 1, 4, 4))
    path, drawn = Path(source["from"]), Path(source["boxes"])
    found = inspect_images(path, None, drawn)
    assert (found.boxes and found.boxes.objects, found.wrong) == ({"dog": 2, "cat": 1}, False)
    assert "boxes: 3 objects in 2 images: dog 2, cat 1" in images_text(found)
    Image.new("L", (9, 8)).save(path / "1.png")
    found = inspect_images(path, None, drawn)
    assert (found.wrong, len(found.wrong_boxes)) == (True, 1)
    assert "error: the boxes of 1 image cannot be used: " in " ".join(images_text(found).split())


def test_a_file_of_coco_shows_boxes_and_masks_where_it_has_them(tmp_path: Path) -> None:
    both = held(box(5, 90, segmentation=SQUARE))
    found = inspect_images(Path(written(tmp_path, both)))
    assert (found.boxes is not None, found.masks is not None) == (True, True)
    del both["annotations"][0]["bbox"]
    (tmp_path / "set.json").write_text(json.dumps(both))
    found = inspect_images(tmp_path / "set.json")
    assert (found.boxes is not None, found.masks is not None) == (False, True)
    both["annotations"][0] |= {"segmentation": [], "bbox": BOX}
    (tmp_path / "set.json").write_text(json.dumps(both))
    found = inspect_images(tmp_path / "set.json")
    assert (found.boxes is not None, found.masks is not None) == (True, False)
