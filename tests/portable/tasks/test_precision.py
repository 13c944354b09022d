"""mAP of matched boxes: small cases by hand, the document, and intervals at the edges where little is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edgeresnet.portable import codec
from edgeresnet.portable.codec import CodecError
from edgeresnet.portable.tasks import precision
from edgeresnet.portable.tasks.average_precision import Detected, Labelled, average_precision, matched
from edgeresnet.portable.tasks.columns import packed
from edgeresnet.portable.tasks.objects import Found, Objects
from edgeresnet.portable.tasks.precision import Matched, agreement, matches

pytestmark = pytest.mark.unit

BOX, FAR, AWAY = (0, 0, 10, 10), (50, 50, 10, 10), (100, 0, 10, 10)
SHORT = (0, 0, 10, 7.2)  # its IoU with BOX is 0.72: 5 of 10 thresholds


def labelled(*images: Sequence[Any]) -> Objects:
    """Return the labels of images: boxes with a class, and whether it is a crowd."""
    return Objects.of(
        Labelled(
            np.array([each[0] for each in image], float).reshape(-1, 4),
            np.array([each[1] for each in image], int),
            np.array([len(each) > 2 for each in image], bool),
        )
        for image in images
    )


def found(*images: Sequence[Any]) -> Found:
    """Return what was found in images: boxes with a class and a score."""
    return Found.of(
        Detected(
            np.array([each[0] for each in image], float).reshape(-1, 4),
            np.array([each[1] for each in image], int),
            np.array([each[2] for each in image], float),
        )
        for image in images
    )


def random_images(count: int, classes: int, seed: int = 0, shift: float = 1.0) -> tuple[Objects, Found]:
    rng, labels, answers = np.random.default_rng(seed), [], []
    for _ in range(count):
        objects = int(rng.integers(0, 6))
        boxes = np.concatenate([rng.uniform(0, 80, (objects, 2)), rng.uniform(5, 30, (objects, 2))], axis=1)
        numbers = rng.integers(0, classes, objects)
        labels.append(Labelled(boxes, numbers, rng.random(objects) < 0.1))
        moved = np.abs(np.concatenate([boxes + rng.normal(0, shift, boxes.shape), rng.uniform(5, 60, (4, 4))]))
        kinds = np.append(numbers, rng.integers(0, classes, 4))
        answers.append(Detected(moved, kinds, np.round(rng.random(len(kinds)), 2)))
    return Objects.of(labels), Found.of(answers)


# Two images: in the first all is found, one object imprecisely; in the second one of two, after a box that is wrong.
LABELS = labelled([(BOX, 0), (FAR, 2)], [(BOX, 0), (FAR, 0)])
ANSWERS = found([(SHORT, 0, 0.9), (FAR, 2, 0.8)], [(AWAY, 0, 0.7), (FAR, 0, 0.6), (BOX, 3, 0.5)])


def test_scores_by_hand() -> None:
    one = matches(LABELS, ANSWERS, 4)
    # Class 0, up to 0.7: found, wrong, found, of three objects; from 0.75 on: wrong, wrong, found.
    low, high = (34 * 1 + 33 * 2 / 3) / 101, 34 * (1 / 3) / 101
    assert one.of_classes == pytest.approx([(low + high) / 2, math.nan, 1, math.nan], nan_ok=True)
    assert one.map == one.score == pytest.approx(((low + high) / 2 + 1) / 2), "classes without a label are left out"
    assert one.ap50 == pytest.approx((low + 1) / 2)
    assert one.objects.tolist() == [3, 0, 1, 0]
    assert one.images_of_classes.tolist() == [2, 0, 1, 0]
    of_second = 51 * (1 / 2) / 101  # wrong, found, of two objects
    assert one.map_of_images() == pytest.approx([(0.5 + 1) / 2, of_second])


def test_scores_are_those_of_average_precision() -> None:
    labels, answers = random_images(40, 5)
    expected = average_precision(matched(list(labels), list(answers), 6))
    assert matches(labels, answers, 6).precision.each == pytest.approx(expected.each, nan_ok=True)


def test_images_and_classes_without_objects_have_no_score() -> None:
    empty = matches(labelled([], [(BOX, 0, "crowd")]), found([(BOX, 0, 0.9)], [(BOX, 0, 0.9)]), 2)
    assert math.isnan(empty.map)
    assert math.isnan(empty.ap50)
    assert np.isnan(empty.map_of_images()).all()
    assert matches(labelled([]), found([]), 0).of_classes.shape == (0,)


def test_only_the_hundred_most_probable_boxes_of_a_class_count() -> None:
    wrong = [(AWAY, 0, 0.9)] * 99
    assert matches(labelled([(BOX, 0)]), found([*wrong, (BOX, 0, 0.5)]), 1).map == pytest.approx(1 / 100)
    assert matches(labelled([(BOX, 0)]), found([*wrong, (FAR, 0, 0.6), (BOX, 0, 0.5)]), 1).map == 0


@pytest.mark.parametrize(
    ("labels", "answers", "classes", "why"),
    [
        (labelled([]), found(), 1, "for 0 images, and 1 have labels"),
        (labelled([(BOX, 2)]), found([]), 2, "an object is of class 2, and there are 2"),
        (labelled([]), found([(BOX, 2, 0.5)]), 2, "a box is of class 2"),
        (labelled([]), found([(BOX, -1, 0.5)]), 2, "a box is of class -1"),
    ],
)
def test_what_does_not_fit_is_refused(labels: Objects, answers: Found, classes: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        matches(labels, answers, classes)


def test_a_document_is_read_as_it_was_written() -> None:
    one = matches(*random_images(50, 4), 5)
    again = codec.decode(Matched, codec.encode(one))
    assert again == one
    assert again.map == one.map


def test_many_boxes_are_few_bytes() -> None:
    one = matches(*random_images(1000, 20), 20)
    assert len(one.found) + len(one.labelled) < 40_000


WRONG: list[tuple[str, list[list[int]], str]] = [
    ("labelled", [[0, 0], [0, 0], [1, 1]], "twice"),
    ("labelled", [[1, 0], [0, 0], [1, 1]], "out of order"),
    ("labelled", [[2], [0], [1]], "an image 2 of 2"),
    ("labelled", [[0], [4], [1]], "a class 4 of 4"),
    ("labelled", [[0], [0], [0]], "without an object"),
    ("labelled", [[0], [0]], "3 columns"),
    ("found", [[2], [0], [1], [0]], "an image 2 of 2"),
    ("found", [[0], [4], [1], [0]], "a class 4 of 4"),
    ("found", [[0, 0], [2, 0], [1, 1], [0, 0]], "out of order"),
    ("found", [[0], [0], [1 << 10], [0]], "thresholds"),
    ("found", [[0], [0], [3], [2]], "thresholds"),
    ("found", [[0, 0], [0, 0], [1, 3], [0, 0]], "more finds"),
    ("found", [[0], [1], [1], [0]], "more finds"),
    ("found", [[0] * 101, [0] * 101, [0] * 101, [0] * 101], "more than 100"),
]


@pytest.mark.parametrize(("name", "columns", "why"), WRONG)
def test_columns_that_cannot_be_are_refused(name: str, columns: list[list[int]], why: str) -> None:
    with pytest.raises(CodecError, match=why):
        codec.decode(Matched, {**codec.encode(matches(LABELS, ANSWERS, 4)), name: packed(*map(np.array, columns))})


@pytest.mark.parametrize("text", ["", "?", "ä", "AAAA", matches(LABELS, ANSWERS, 4).found[:-8]])
@pytest.mark.parametrize("name", ["found", "labelled"])
def test_damaged_text_is_refused(name: str, text: str) -> None:
    with pytest.raises(CodecError, match=f"{name}: is damaged"):
        codec.decode(Matched, {**codec.encode(matches(LABELS, ANSWERS, 4)), name: text})


def test_boxes_without_area_do_not_make_a_network_differ_from_itself() -> None:
    edge = Detected(
        np.array([[8, 0, 0, 5], [0, 0, 4, 4]], np.float32), np.array([0, 0]), np.array([0.9, 0.8], np.float32)
    )
    same = agreement(Found.of([edge]), Found.of([edge]))
    assert (same.agree, same.parts) == ((1,), (1,))


def test_agreement_by_hand() -> None:
    before = found([(BOX, 0, 0.9), (FAR, 0, 0.8), (FAR, 1, 0.7), (BOX, 0, 0.4)], [], [(BOX, 0, 0.9)], [(BOX, 0, 0.5)])
    now = found([(SHORT, 0, 0.6), (FAR, 1, 0.5), (AWAY, 0, 0.9)], [], [(BOX, 1, 0.9)], [])
    found_both = agreement(before, now)
    assert found_both.agree == (2, 0, 0, 0)
    assert found_both.parts == (4, 0, 2, 1)
    assert agreement(now, before) == found_both
    assert agreement(before, before).share == 1


def test_a_box_agrees_with_one_other_at_most() -> None:
    near = (0, 0, 10, 9)
    both = agreement(found([(BOX, 0, 0.9), (SHORT, 0, 0.8)]), found([(near, 0, 0.9)]))
    assert (both.agree, both.parts) == ((1,), (2,))
    with pytest.raises(ValueError, match="for 1 images"):
        agreement(found([], []), found([]))


def test_a_drop_and_its_interval() -> None:
    labels, answers = random_images(60, 3)
    before = matches(labels, answers, 3)
    now = matches(labels, random_images(60, 3, shift=2.0)[1], 3)
    lost = precision.drop(before, now)
    assert lost == pytest.approx(before.map - now.map)
    interval, wide, many = (precision.drop_interval(before, now, *each) for each in ((), (3.0,), (1.96, 4.0)))
    assert -1 < wide.low < interval.low < many.low < lost < many.high < interval.high < wide.high < 1
    back = precision.drop_interval(now, before)
    assert (-back.high, -back.low) == pytest.approx(interval)
    level = precision.map_interval(now)
    assert 0 < level.low < now.map < level.high < 1
    one = precision.class_drop_interval(before, now, 1)
    assert one.low < before.of_classes[1] - now.of_classes[1] < one.high
    assert precision.class_interval(now, 1).low < now.of_classes[1] < precision.class_interval(now, 1).high


def test_where_nothing_changed_the_interval_is_not_empty() -> None:
    same = matches(*random_images(200, 3), 3)
    low, high = precision.drop_interval(same, same)
    assert -low == high == pytest.approx(1.96**2 / (200 * 0.83 + 1.96**2), rel=0.1)


def test_too_few_images_say_nothing() -> None:
    one = matches(labelled([(BOX, 0)], []), found([(BOX, 0, 0.9)], []), 2)
    assert precision.drop_interval(one, one) == (-1, 1)
    assert precision.map_interval(one) == (0, 1)
    nothing = matches(labelled([], []), found([], []), 2)
    assert precision.drop_interval(nothing, nothing) == (-1, 1)
    assert precision.class_interval(one, 1) == (0, 1)


def test_networks_of_other_labels_are_not_compared() -> None:
    one = matches(*random_images(5, 3), 3)
    with pytest.raises(ValueError, match="same labels"):
        precision.drop_interval(one, matches(*random_images(5, 3, seed=1), 3))
