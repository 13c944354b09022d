"""Student's t and the change of a ratio between two measurements, against tables and against chance itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeresnet.portable import intervals

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("alpha", "freedom", "table"),
    [
        (0.025, 1, 12.706),
        (0.025, 4, 2.776),
        (0.025, 15, 2.131),
        (0.005, 2, 9.925),
        (0.0005, 8, 5.041),
        (0.0005, 120, 3.373),
        (0.025, 1e3, 1.9623),
        (0.025, 1e9, 1.9600),
    ],
)
def test_students_t_is_the_tables(alpha: float, freedom: float, table: float) -> None:
    assert intervals.t_point(alpha, freedom) == pytest.approx(table, abs=6e-4)


def test_it_falls_with_the_degrees_of_freedom_between_whole_ones_too() -> None:
    points = [intervals.t_point(0.001, freedom) for freedom in (1, 1.5, 2, 2.5, 8, 8.5, 9999, 10001)]
    assert points == sorted(points, reverse=True)


def test_a_change_counts_the_noise_of_both_and_what_neither_saw() -> None:
    quiet, noisy = [0.0, 0.01, -0.01, 0.005, -0.005], [0.0, 0.1, -0.1, 0.05, -0.05]

    def width(before: list[float], now: list[float], drift: float = 0.0, alpha: float = 0.025) -> float:
        value, (low, high) = intervals.change_interval(before, now, drift=drift, alpha=alpha)
        assert value == pytest.approx(1)
        return high / low

    assert width(quiet, quiet) < width(quiet, quiet, drift=0.02) < width(noisy, quiet)
    assert width(noisy, quiet) == pytest.approx(width(quiet, noisy))
    assert width(quiet, quiet) < width(quiet, quiet, alpha=0.001)
    assert intervals.change_interval([0.0], quiet, drift=0.01)[1] == (0.0, math.inf), "one process shows no noise"
    assert intervals.change_interval([0.1] * 3, [0.2] * 3, drift=0.0)[1] == pytest.approx([math.exp(0.1)] * 2)


def test_two_that_differ_widely_have_no_interval() -> None:
    """With one degree of freedom Student's t is 12.7: a factor of 3 between two would be "0.001 to 2000"."""
    assert intervals.ratio_of([0.0, 1.1])[1] == (0.0, math.inf)
    assert intervals.change_interval([0.0, 0.0], [0.0, 1.1], drift=0.01)[1] == (0.0, math.inf)
    assert intervals.ratio_of([0.0, 1.1])[1].is_open
    low, high = intervals.ratio_of([0.0, 0.01])[1]
    assert 0.9 < low < high < 1.1, "two that agree have one"
    low, high = intervals.ratio_of([0.0, 1.1, 0.5, 0.4, 0.6])[1]
    assert 0.7 < low < high < 4, "and five that differ as much"


def test_what_grew_beyond_doubt_did_so_however_wide_its_interval() -> None:
    steady, grown = [0.0, 0.3, 0.1, 0.2, 0.1], [3.0, 3.3, 3.1, 3.2, 3.5]
    assert intervals.surely_grew(steady, grown, drift=0.01, alpha=0.0005)
    assert not intervals.surely_grew(steady, grown[:1], drift=0.01, alpha=0.0005)
    assert not intervals.surely_grew(grown, steady, drift=0.01, alpha=0.0005)


def test_the_middle_leaves_a_fifth_at_each_end_out_and_its_variance_is_the_winsorized_one() -> None:
    """By hand: 0, 1, 2 stay of five; pulled in they are 0, 0, 1, 2, 2, whose variance is 1: (5-1)·1/(3·2)."""
    assert intervals.center([9.0, 1.0, 0.0, -7.0, 2.0]) == pytest.approx((1.0, 4 / 6, 2))
    assert intervals.center([1.0, 2.0, 6.0]) == pytest.approx((3.0, 7 / 3, 2)), "of fewer than five none is left out"
    assert intervals.center([1.0]) == (1.0, math.inf, 0)


def test_it_holds_the_truth_as_often_as_it_says() -> None:
    """Five processes each, of unlike noise, and a drift between them; a seed for 2,000 pairs of measurements."""
    rng, held, beyond = np.random.default_rng(0), 0, 0
    for _ in range(2000):
        shift = rng.normal(0, 0.01)
        before, now = rng.normal(0, 0.02, 5).tolist(), rng.normal(shift, 0.01, 5).tolist()
        _, (low, high) = intervals.change_interval(before, now, drift=0.01)
        held += low <= 1 <= high
        beyond += intervals.change_interval(before, now, drift=0.01, alpha=0.0005)[1].low > 1
    assert held >= 1890, "95 %, and 10 for chance"
    assert beyond <= 4
