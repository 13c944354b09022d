"""How much each image matters to average precision, and intervals that follow from it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgeresnet.portable import intervals
from edgeresnet.portable.tasks.average_precision import THRESHOLDS, Matches
from edgeresnet.portable.tasks.columns import packed, unpacked
from edgeresnet.portable.tasks.precision_spread import Measure, PrecisionDrop, PrecisionLevel, without_each

pytestmark = pytest.mark.unit

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def of_boxes(image: Sequence[int], correct: Sequence[int], objects: Sequence[int]) -> Matches:
    """Return the matches of boxes in order, each correct at every threshold or at none."""
    hits = np.tile(np.array(correct, bool), (len(THRESHOLDS), 1))
    return Matches(np.array(image, int), -np.arange(len(image)), hits, np.zeros_like(hits), np.array(objects))


def area(found: Matches) -> float:
    """Return the average precision at the first threshold by its definition, without recalls in hundredths."""
    places = np.flatnonzero(found.correct[0])
    precision = np.arange(1, len(places) + 1) / (places + 1)
    return sum(precision[place:].max() for place in range(len(places))) / float(found.objects.sum())


def test_without_false_boxes_an_image_is_left_out_exactly() -> None:
    # Four objects in three images, of which two are found; another image has nothing.
    found = of_boxes([0, 1], [1, 1], [1, 2, 1, 0])
    assert without_each(found) == pytest.approx([1 / 3, 1 / 2, 2 / 3, 2 / 4])


def test_an_image_that_has_all_objects_cannot_be_left_out() -> None:
    assert np.isnan(without_each(of_boxes([0, 1], [1, 0], [1, 0]))).tolist() == [True, False]


def test_one_of_many_images_matters_as_if_it_were_left_out() -> None:
    rng = np.random.default_rng(0)
    objects = rng.integers(0, 4, 300)
    image = rng.permutation(np.concatenate([np.repeat(np.arange(300), objects)[:400], rng.integers(0, 300, 200)]))
    found = of_boxes(image.tolist(), (rng.random(600) < np.linspace(0.9, 0.1, 600)).tolist(), objects.tolist())
    whole, changes = area(found), []
    for number in range(40):
        left = found.image != number
        others = found._replace(
            image=found.image[left], correct=found.correct[:, left], objects=np.delete(found.objects, number)
        )
        changes.append(area(others) - whole)
    ours = without_each(found)[:40] - whole
    assert np.abs(ours - changes).max() < 0.1 * np.abs(changes).max()


def test_ignored_boxes_do_not_matter() -> None:
    plain = of_boxes([0, 1, 2], [1, 0, 1], [1, 1, 1])
    with_crowd = of_boxes([0, 2, 1, 2], [1, 0, 0, 1], [1, 1, 1])
    with_crowd.ignored[:, 1] = True
    assert without_each(with_crowd) == pytest.approx(without_each(plain))


def test_a_class_of_few_images_makes_the_interval_wide() -> None:
    often = of_boxes(range(100), [1] * 100, [1] * 100)
    rare = of_boxes([0, 1], [1, 1], [1, 1] + [0] * 98)
    alone = of_boxes([0], [1], [1] + [0] * 99)
    one, two, three = (
        PrecisionLevel(Measure(1.0, 100, [often, *others])).interval() for others in ((), (rare,), (alone,))
    )
    assert one.low > two.low + 0.05
    assert two.low > three.low + 0.05
    assert PrecisionLevel(Measure(1.0, 100, [alone])).interval() == (0, 1), "one image alone says nothing"


def test_more_images_like_these_narrow_the_interval_as_they_would() -> None:
    rng = np.random.default_rng(0)
    objects, hits = rng.integers(1, 3, 80), rng.random((2, 80)) < [[0.8], [0.7]]
    before, now = (
        [
            Measure(
                float(row.mean()),
                80 * times,
                [of_boxes(range(80 * times), np.repeat(row, times).tolist(), np.repeat(objects, times).tolist())],
            )
            for times in (1, 4)
        ]
        for row in hits
    )
    expected = PrecisionDrop(before[1], now[1]).interval()
    assert list(PrecisionDrop(before[0], now[0]).interval(times=4)) == pytest.approx(list(expected), abs=0.003)


@pytest.mark.parametrize("change", ["small", "broken"])
def test_intervals_hold_the_truth_as_often_as_they_say(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the benchmark: 100 samples of populations whose truth is known."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    populations = importlib.import_module("_box_populations")
    monkeypatch.setattr(populations, "SIZE", 2000)
    found = populations.cell(3, 60, populations.CHANGES[change], 100, 4, intervals.Z95, every=0)
    assert found.drop >= 0.94
    assert found.map >= 0.94
    assert found.of_class >= 0.94


def test_columns_are_text_and_back() -> None:
    rng = np.random.default_rng(0)
    columns = [rng.integers(0, 1 << 32, 1000), np.arange(1000)]
    assert all(map(np.array_equal, unpacked(packed(*columns), 2), columns))
    assert [each.tolist() for each in unpacked(packed(np.zeros(0), np.zeros(0)), 2)] == [[], []]
