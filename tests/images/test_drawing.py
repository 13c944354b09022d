"""Boxes are drawn where they are, in the colours of what they are, and lie in the original image again."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgeresnet.images import boxes, drawing
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.tasks.average_precision import Detected, Labelled
from edgeresnet.portable.tasks.task import Seen

pytestmark = pytest.mark.unit

CLASSES = ("cat", "dog")
NONE = np.zeros(2)


def seen(*each: tuple[float, float, float, float, int, float]) -> Seen:
    rows = np.array(each, np.float64).reshape(-1, 6)
    return Seen(NONE, boxes=Detected(rows[:, :4], rows[:, 4].astype(int), rows[:, 5]))


def gray(side: int = 200) -> Image.Image:
    return Image.new("L", (side, side), 128)


def colours(image: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(each) for each in np.asarray(image).reshape(-1, 3).tolist()}


def edge(image: Image.Image, left: int, top: int, right: int, bottom: int) -> set[tuple[int, ...]]:
    """Return the colours of the left and right edge of a box, below its name."""
    pixels = np.asarray(image)
    rows = slice(top + 20, bottom)
    return {tuple(each) for column in (left, right - 1) for each in pixels[rows, column].tolist()}


def test_labels_objects_and_others_have_their_colours() -> None:
    labels = seen((20, 40, 60, 60, 0, 1.0))
    assert edge(drawing.drawn(labels, gray(), CLASSES, labels), 20, 40, 80, 100) == {drawing.LABEL}  # type: ignore[arg-type]
    found = seen((21, 41, 60, 60, 0, 0.9), (120, 120, 50, 60, 0, 0.8), (30, 130, 40, 40, 1, 0.49))
    picture = drawing.drawn(found, gray(), CLASSES, labels)
    assert picture is not None
    assert edge(picture, 21, 41, 81, 101) == {drawing.CORRECT}
    assert edge(picture, 120, 120, 170, 180) == {drawing.OTHER}
    assert edge(picture, 30, 130, 70, 170) == {(128, 128, 128)}, "a score below a half does not count"
    other = drawing.drawn(seen((21, 41, 60, 60, 1, 0.9)), gray(), CLASSES, labels)
    assert other is not None
    assert edge(other, 21, 41, 81, 101) == {drawing.OTHER}, "another class"


def test_crowds_and_boxes_in_them_count_neither_way() -> None:
    labels = seen((20, 40, 160, 60, 0, 1.0), (20, 120, 60, 60, 0, 1.0))._replace(crowd=np.array([True, False]))
    people = drawing.drawn(labels, gray(), CLASSES, labels)
    assert people is not None
    assert edge(people, 20, 40, 180, 100) == {drawing.NEITHER}
    assert edge(people, 20, 120, 80, 180) == {drawing.LABEL}
    found = seen((30, 50, 40, 45, 0, 0.9), (100, 50, 40, 45, 1, 0.8), (21, 121, 60, 60, 0, 0.7))
    picture = drawing.drawn(found, gray(), CLASSES, labels)
    assert picture is not None
    assert edge(picture, 30, 50, 70, 95) == {drawing.NEITHER}
    assert edge(picture, 100, 50, 140, 95) == {drawing.OTHER}, "the crowd is of another class"
    assert edge(picture, 21, 121, 81, 181) == {drawing.CORRECT}


def test_names_of_two_boxes_do_not_cover_each_other() -> None:
    first, second = (20, 40, 60, 60), (24, 44, 60, 60)
    one = drawing.outlined(gray(), np.array([first]), [drawing.Outline((255, 0, 0), "cat 0.9")])
    both = [drawing.Outline((255, 0, 0), "cat 0.9"), drawing.Outline((0, 255, 0), "dog 0.8")]
    two = np.asarray(drawing.outlined(gray(), np.array([first, second]), both))
    above = np.asarray(one)[:40] != np.asarray(gray().convert("RGB"))[:40]
    assert (two[:40][above] == np.asarray(one)[:40][above]).all(), "the more probable one stays where it was"
    assert (two[105:] == (0, 255, 0)).all(-1).any(), "the other stands below its box"


def test_without_labels_classes_have_colours() -> None:
    picture = drawing.drawn(seen((20, 40, 60, 60, 0, 0.9), (110, 40, 60, 60, 1, 0.9)), gray(), CLASSES)
    assert picture is not None
    one, other = edge(picture, 20, 40, 80, 100), edge(picture, 110, 40, 170, 100)
    assert len(one) == len(other) == 1
    assert one != other


@pytest.mark.parametrize("box", [(-30, -30, 500, 500), (199.8, 199.8, 0.1, 0.1), (0, 0, 0.2, 0.2), (50, 0, 10, 3)])
def test_a_box_at_the_edge_or_of_less_than_a_pixel_is_drawn(box: tuple[float, float, float, float]) -> None:
    picture = drawing.drawn(seen((*box, 0, 0.9)), gray(), ("a" * 300,))
    assert picture is not None
    assert picture.size == (200, 200)
    assert len(colours(picture)) > 1


def test_a_class_has_no_picture_and_a_mask_is_one() -> None:
    assert drawing.drawn(Seen(NONE), gray(), CLASSES) is None
    mask = drawing.drawn(Seen(NONE, np.zeros((4, 4), np.uint16)), gray(4), CLASSES)
    assert mask is not None
    assert mask.mode == "P"


@pytest.mark.parametrize("crop", ["center", "squash", "pad"])
@pytest.mark.parametrize("size", [(100, 80), (80, 100), (64, 64), (300, 41)])
def test_boxes_lie_in_the_image_again(crop: str, size: tuple[int, int]) -> None:
    prepared = Preprocessing(64, (0.5,), (0.25,), resize=70 if crop == "center" else None, crop=crop)
    middle = np.array([[size[0] / 2 - 8, size[1] / 2 - 6, 13.0, 11.0]])
    label = Labelled(middle, np.array([1]), np.array([False]))
    there = boxes.fitted(label, Image.new("L", size), prepared).boxes
    np.testing.assert_allclose(boxes.placed(there, size, prepared), middle, atol=1e-3)
    beyond = boxes.placed(np.array([[-5, -5, 500, 500]]), size, prepared)
    assert (beyond[0, 2:] <= size).all()


def test_boxes_are_enlarged_with_their_image() -> None:
    found = drawing.scaled(seen((1, 2, 3, 4, 0, 0.9)), 4.5).boxes
    assert found is not None
    assert found.boxes.tolist() == [[4.5, 9, 13.5, 18]]
    assert drawing.scaled(Seen(NONE), 2) == Seen(NONE)
