"""Overlaps of masks: small cases by hand, the document, and intervals at the edges where little is known."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeresnet.portable import codec, intervals
from edgeresnet.portable.codec import CodecError
from edgeresnet.portable.tasks import overlap
from edgeresnet.portable.tasks.agreement import Agreement
from edgeresnet.portable.tasks.overlap import IGNORED, Overlaps, Packed, agreement, overlaps

pytestmark = pytest.mark.unit

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
X = IGNORED
# Two images of 2×3 pixels. Class 1 is labelled in both; class 2 is answered only; class 3 is nowhere.
LABELS = [[[0, 0, 1], [0, 1, X]], [[0, 0, 0], [0, 0, 1]]]
ANSWERS = [[[0, 1, 1], [0, 1, 2]], [[0, 0, 2], [0, 0, 0]]]


def packed(masks: Iterable[Any]) -> Packed:
    return Packed.of(np.array(each, np.uint16) for each in masks)


def counted(labels: Iterable[Any] = LABELS, answers: Iterable[Any] = ANSWERS, classes: int = 4) -> Overlaps:
    return overlaps(packed(labels), packed(answers), classes)


def test_pixels_are_counted_by_hand() -> None:
    found = counted()
    assert found == Overlaps(
        images=2,
        classes=4,
        image=(0, 0, 1, 1, 1),
        number=(0, 1, 0, 1, 2),
        both=(2, 2, 4, 0, 0),
        answered=(2, 3, 5, 0, 1),
        labelled=(3, 2, 5, 1, 0),
    )
    assert found.iou() == pytest.approx([6 / 9, 2 / 4, 0, math.nan], nan_ok=True)
    assert found.miou == pytest.approx((6 / 9 + 2 / 4 + 0) / 3), "the class that is nowhere is left out"
    assert found.pixel_accuracy == pytest.approx(8 / 11)
    assert found.miou_of_images() == pytest.approx([(2 / 3 + 2 / 3) / 2, (4 / 6 + 0 + 0) / 3])


def test_one_class_only_and_answers_without_a_fault() -> None:
    alike = [[[1, 1]]]
    assert counted(alike, alike).miou == 1
    assert counted(alike, [[[0, 0]]]).miou == 0
    assert counted([[[0, 1], [2, X]]], [[[0, 1], [2, 3]]]).miou == 1, (
        "what is answered where no label is counts nowhere"
    )


def test_images_without_labels_count_nowhere() -> None:
    nothing = counted([[[X, X]], [[X, X]]], [[[0, 1]], [[2, 3]]])
    assert nothing.image == ()
    assert math.isnan(nothing.miou)
    assert math.isnan(nothing.pixel_accuracy)
    assert np.isnan(nothing.miou_of_images()).all()
    assert overlap.drop_interval(nothing, nothing) == (-1, 1)
    assert overlap.miou_interval(nothing) == (0, 1)
    assert math.isnan(overlap.drop(nothing, nothing))
    labels, answers = [*LABELS, [[X, X]]], [*ANSWERS, [[3, 3]]]
    more = counted(labels, answers)
    assert more.miou == counted().miou
    assert overlap.miou_interval(more) == overlap.miou_interval(counted())


def test_no_image_at_all() -> None:
    none = overlaps(Packed(), Packed(), 3)
    assert math.isnan(none.miou)
    assert overlap.miou_interval(none) == (0, 1)
    assert agreement(Packed(), Packed()).share == 1
    assert agreement(Packed(), Packed()).interval() == (0, 1)


@pytest.mark.parametrize(
    ("labels", "answers", "words"),
    [
        ([[[0, 1]]], [[[0], [1]]], r"image 0: masks of \(1, 2\) and \(2, 1\) pixels"),
        ([[[0]], [[4]]], [[[0]], [[0]]], "image 1: a label is class 4 of 4 classes"),
        ([[[0]]], [[[X]]], "image 0: an answer is class 65535"),
        ([[[0]], [[0]]], [[[0]]], "1 masks were answered for 2 labels"),
    ],
)
def test_masks_that_do_not_fit_are_named(labels: Any, answers: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        counted(labels, answers)


def test_agreement_is_counted_by_hand() -> None:
    found = agreement(packed(LABELS), packed(ANSWERS))
    assert found == Agreement((4, 4), (6, 6))
    assert found.share == pytest.approx(8 / 12)
    low, high = found.interval()
    assert low < found.share < high
    with pytest.raises(ValueError, match=r"image 0: masks of"):
        agreement(packed([[[0]]]), packed([[[0, 0]]]))


def test_the_document_holds_it_all() -> None:
    for kind, found in ((Overlaps, counted()), (Agreement, Agreement((4, 4), (6, 6)))):
        assert codec.decode(kind, codec.encode(found)) == found


@pytest.mark.parametrize(
    "about",
    [
        {"number": [0, 1, 0, 1]},
        {"number": [0, 0, 0, 1, 2]},
        {"number": [0, 1, 0, 1, 4]},
        {"image": [0, 0, 1, 1, 2]},
        {"image": [1, 1, 0, 0, 0]},
        {"both": [3, 2, 4, 0, 0]},
        {"both": [-1, 2, 4, 0, 0]},
        {"classes": 1 << 20},
    ],
)
def test_a_damaged_document_is_refused(about: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        codec.decode(Overlaps, codec.encode(counted()) | about)


def test_a_damaged_agreement_is_refused() -> None:
    for about in ({"agree": [1]}, {"agree": [7, 1]}, {"agree": [-1, 1]}):
        with pytest.raises(CodecError):
            codec.decode(Agreement, {"agree": [4, 4], "parts": [6, 6]} | about)


def scenes(images: int, faults: Sequence[float], seed: int = 0, rare: int = 0) -> list[Overlaps]:
    """Return how networks overlap with the same random labels, each with a part of the pixels wrong."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (images, 12, 12))
    labels[:rare, :4] = 3
    found = []
    wrong = rng.random(labels.shape)
    other = rng.integers(0, 3, labels.shape)
    for part in faults:
        hard = part * rng.gamma(2, 0.5, (images, 1, 1)) if part else 0.0
        found.append(counted(labels, np.where(wrong < hard, other, labels)))
    return found


def test_the_interval_holds_the_drop_and_narrows_with_images() -> None:
    before, now = scenes(60, (0.1, 0.13))
    low, high = overlap.drop_interval(before, now)
    assert low < overlap.drop(before, now) < high
    assert overlap.drop(before, now) == pytest.approx(before.miou - now.miou)
    wide = overlap.drop_interval(before, now, intervals.z_for(12))
    assert wide.low < low < high < wide.high
    ten = overlap.drop_interval(before, now, times=10)
    assert low < ten.low < ten.high < high
    assert overlap.drop_interval(now, before) == pytest.approx((-high, -low))
    assert overlap.drop_interval(before, now) == (low, high), "nothing is drawn by lot"


def test_the_other_intervals_hold_their_values() -> None:
    before, now = scenes(60, (0.1, 0.13), rare=5)
    for found, value in (
        (overlap.miou_interval(now), now.miou),
        (overlap.class_interval(now, 3), now.iou()[3]),
        (overlap.class_drop_interval(before, now, 3), before.iou()[3] - now.iou()[3]),
    ):
        assert found.low < value < found.high


def test_answers_that_do_not_change_show_no_more_than_classes_would() -> None:
    for images in (1, 2, 30, 1000):
        (same,) = scenes(images, (0.1,))
        low, high = overlap.drop_interval(same, same)
        assert high >= intervals.tango(0, 0, images).high - 1e-9
        assert low == pytest.approx(-high)


def test_one_pixel_that_changes_makes_nothing_sure() -> None:
    labels = np.zeros((50, 6, 6), np.uint16)
    labels[:, :3] = 1
    answers = labels.copy()
    answers[0, 0, 0] = 0
    before, now = counted(labels, labels), counted(labels, answers)
    changed, same = overlap.drop_interval(before, now), overlap.drop_interval(before, before)
    assert changed.high > 0.8 * same.high
    perfect = overlap.miou_interval(before)
    assert perfect.high == 1
    assert perfect.low <= intervals.wilson(50, 50).low + 1e-9


def test_a_class_of_one_image_is_not_known_by_itself() -> None:
    before, now = scenes(40, (0.1, 0.13), rare=1)
    assert overlap.class_interval(now, 3) == (0, 1)
    assert overlap.class_drop_interval(before, now, 3) == (-1, 1)
    low, high = overlap.drop_interval(before, now)
    assert -0.5 < low < overlap.drop(before, now) < high < 0.5


def test_a_few_pixels_of_a_class_that_is_not_there_cost_no_part_of_the_mean() -> None:
    labels = np.zeros((20, 6, 6), np.uint16)
    labels[:, :3] = 1
    answers = labels.copy()
    answers[0, 0, 0] = 2
    before, now = counted(labels, labels), counted(labels, answers)
    assert before.miou - now.miou > 0.3, "as the mean over classes that occur has it"
    assert overlap.drop(before, now) == pytest.approx((1 - 359 / 360) / 3)
    assert overlap.drop(before, before) == 0


def test_one_image_shows_nothing() -> None:
    before, now = scenes(1, (0.1, 0.3))
    assert overlap.drop_interval(before, now) == (-1, 1)
    assert overlap.miou_interval(now) == (0, 1)
    assert overlap.finest(1) == 1


def test_the_finest_limit_is_what_the_best_answers_show() -> None:
    for images in (2, 9, 30, 300):
        (perfect,) = scenes(images, (0.0,))
        assert overlap.finest(images) <= 1 - overlap.miou_interval(perfect).low + 1e-9
        assert overlap.finest(images) <= overlap.drop_interval(perfect, perfect).high + 1e-9
    found = [overlap.finest(images) for images in (1, 2, 5, 9, 10, 100, 1000)]
    assert found == sorted(found, reverse=True)
    assert overlap.finest(100, intervals.z_for(10)) > overlap.finest(100)
    labels = np.zeros((300, 40, 40), np.uint16)
    labels[:, :20] = 1
    answers = labels.copy()
    answers[:20, 0, 0] = 0
    nearly = overlap.miou_interval(counted(labels, answers))
    assert 1 - nearly.low < 1.1 * overlap.finest(300), "and answers that are nearly perfect show it"


def test_two_networks_are_compared_by_the_same_images() -> None:
    (one,), (other,) = scenes(3, (0.1,)), scenes(4, (0.1,))
    with pytest.raises(ValueError, match="same images"):
        overlap.drop(one, other)
    with pytest.raises(ValueError, match="same images"):
        overlap.drop_interval(one, replace(one, classes=5))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 1 << 30), st.sampled_from([1.0, 1.96, 3.5, 5.0]))
def test_any_counts_have_an_interval_that_holds_the_value(images: int, classes: int, seed: int, z: float) -> None:
    rng = np.random.default_rng(seed)
    shape = images, 2, 3
    labels = np.where(rng.random(shape) < 0.2, IGNORED, rng.integers(0, classes, shape))
    before, now = (counted(labels, rng.integers(0, classes, shape), classes) for _ in range(2))
    for interval, value, ends in (
        (overlap.drop_interval(before, now, z), overlap.drop(before, now), (-1, 1)),
        (overlap.miou_interval(now, z), now.miou, (0, 1)),
        (overlap.class_interval(now, 0, z), now.iou()[0], (0, 1)),
        (overlap.drop_interval(before, now, z, 7.5), overlap.drop(before, now), (-1, 1)),
    ):
        assert ends[0] <= interval.low <= interval.high <= ends[1]
        assert math.isnan(value) or interval.low - 1e-9 <= value <= interval.high + 1e-9


@pytest.mark.parametrize("change", ["same", "small", "rare"])
def test_intervals_hold_the_truth_as_often_as_they_say(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the benchmark: 120 samples of populations whose truth is known."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    populations = importlib.import_module("_mask_populations")
    monkeypatch.setattr(populations, "SIZE", 4000)
    found = populations.cell(5, 60, populations.CHANGES[change], 120, 4, intervals.Z95, plain=False)
    assert found.drop >= 0.94
    assert found.miou >= 0.94
    assert found.iou >= 0.94
