"""A histogram depends on the values alone: not on their order, nor on the batches they come in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeresnet.portable import codec
from edgeresnet.quantization.histogram import SIDE, Histogram, StoredHistogram

pytestmark = pytest.mark.unit

floats = (
    st.floats(-1e6, 1e6, width=32)
    | st.floats(-(2.0**-20), 2.0**-20, width=32)
    | st.sampled_from([0.0, 1.0, -1.0, -4096.0])
)
values = st.lists(floats, min_size=1, max_size=60).map(lambda found: np.array(found, np.float32))


def of(*parts: np.ndarray) -> Histogram:
    found = Histogram()
    for part in parts:
        found.add(part)
    return found


def _through_json(histogram: Histogram) -> Histogram:
    text = json.dumps(codec.encode(histogram.stored()))
    return Histogram.restored(codec.decode(StoredHistogram, json.loads(text)))


def same(one: Histogram, other: Histogram) -> bool:
    return one.exponent == other.exponent and bool((one.counts == other.counts).all())


@given(values, st.lists(st.integers(0, 60), max_size=5), st.randoms(use_true_random=False))
def test_any_split_and_any_order_give_the_same(found: np.ndarray, cuts: list[int], random: object) -> None:
    shuffled = found.tolist()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert same(of(found), of(*np.split(np.array(shuffled, np.float32), sorted(cuts))))


@given(values, values)
def test_two_add_up_to_what_one_would_have_counted(one: np.ndarray, two: np.ndarray) -> None:
    assert same(of(one).plus(of(two)), of(one, two))
    assert same(of(one).plus(Histogram()), of(one))
    assert same(Histogram().plus(of(one)), of(one))


def test_adding_up_changes_neither_of_the_two() -> None:
    one, two = of(np.array([1], np.float32)), of(np.array([1000], np.float32))
    one.plus(two)
    assert same(one, of(np.array([1], np.float32)))
    assert same(two, of(np.array([1000], np.float32)))


@given(values)
def test_nothing_is_lost_and_each_value_lies_in_its_bin(found: np.ndarray) -> None:
    histogram = of(found)
    assert len(histogram) == len(found)
    low = (histogram.centres - 0.5 * 2.0**histogram.exponent)[:, None]
    there = (found.astype(np.float64) >= low) & (found.astype(np.float64) < low + 2.0**histogram.exponent)
    assert (there.sum(1) == histogram.counts).all()


@given(values)
def test_its_bins_are_the_narrowest_that_hold_every_value(found: np.ndarray) -> None:
    histogram = of(found)
    narrower = SIDE * 2.0 ** (histogram.exponent - 1)
    assert histogram.exponent == -120 or not bool(((found < narrower) & (found >= -narrower)).all())


@given(values)
def test_json_brings_back_the_same(found: np.ndarray) -> None:
    histogram = of(found)
    assert same(_through_json(histogram), histogram)


def test_an_empty_one_comes_back_from_json_too() -> None:
    assert same(_through_json(Histogram()), Histogram())
    assert same(of(np.empty(0, np.float32)), Histogram())


@pytest.mark.parametrize("power", [-100, -8, 0, 3, 40, 127])
def test_a_negative_power_of_two_lies_at_the_lower_edge(power: int) -> None:
    edge = np.float32(2.0**power)
    below, above = of(-edge[None]), of(edge[None])
    assert (below.counts[0], below.exponent) == (1, max(-120, power - 12))
    assert above.exponent == max(-120, power - 11)
    assert same(of(np.array([-edge, edge], np.float32)), of(edge[None], -edge[None]))


def test_zeros_alone_take_the_narrowest_bins_and_widen_later() -> None:
    zeros = of(np.zeros(5, np.float32))
    assert (zeros.exponent, zeros.counts[SIDE], len(zeros)) == (-120, 5, 5)
    zeros.add(np.array([3.0], np.float32))
    assert (zeros.counts[SIDE], len(zeros)) == (5, 6)


@pytest.mark.parametrize("value", [1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38])
def test_the_smallest_and_largest_floats_are_counted(value: float) -> None:
    histogram = of(np.array([value], np.float32))
    assert len(histogram) == 1
    middle = histogram.centres[int(np.argmax(histogram.counts))]
    assert abs(middle - np.float64(np.float32(value))) <= 2.0**histogram.exponent


def test_tiny_negatives_stay_negative_among_the_largest_values() -> None:
    found = Histogram()
    found.add(np.array([1e38, -1e-45], np.float32))
    assert found.counts[SIDE - 1] == 1  # the bin just below zero
