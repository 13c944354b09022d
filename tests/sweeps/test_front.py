from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from edgeresnet.sweeps.document import Objective, Outcome, Point, Value
from edgeresnet.sweeps.front import beats, front

from .fake import GOALS, failed, outcome

pytestmark = pytest.mark.unit


def points(*outcomes: Outcome) -> list[Point]:
    return [Point(number, {}, each) for number, each in enumerate(outcomes)]


def test_a_point_that_is_worse_in_all_is_not_on_the_front() -> None:
    assert front(points(outcome(90, 1), outcome(80, 2), outcome(95, 3)), GOALS) == (0, 2)


def test_intervals_that_overlap_beat_nothing() -> None:
    assert front(points(outcome(90, 1, apart=10), outcome(80, 2, apart=10)), GOALS) == (0, 1)


def test_one_objective_that_is_shown_better_is_enough_where_no_value_is_worse() -> None:
    fast = Outcome("feasible", (Value(90, 85, 95), Value(1, 0.9, 1.1)))
    slow = Outcome("feasible", (Value(89, 84, 94), Value(2, 1.9, 2.1)))
    assert front(points(fast, slow), GOALS) == (0,)
    assert front(points(slow, fast), GOALS) == (1,)
    better = Outcome("feasible", (Value(91, 86, 96), Value(2, 1.9, 2.1)))  # a little more top-1, which may be chance
    assert front(points(fast, better), GOALS) == (0, 1)


def test_a_value_without_an_interval_is_never_shown_better() -> None:
    one = Outcome("feasible", (Value(90, 90, 90), Value(1, None, None)))
    other = Outcome("feasible", (Value(90, 90, 90), Value(9, None, None)))
    assert front(points(one, other), GOALS) == (0, 1)


def test_equal_points_are_both_there() -> None:
    assert front(points(outcome(90, 1), outcome(90, 1)), GOALS) == (0, 1)


def test_only_feasible_points_are_on_the_front_and_beat_others() -> None:
    broken = outcome(99, 0.1, state="infeasible")
    assert front(points(broken, outcome(80, 2), failed("it broke")), GOALS) == (1,)


_NUMBERS = st.integers(0, 6).map(float)
_VALUES = st.builds(
    lambda value, below, above: Value(value, value - below, value + above), _NUMBERS, _NUMBERS, _NUMBERS
)
_PAIRS = st.tuples(_VALUES, _VALUES)


@hypothesis.given(st.lists(_PAIRS, min_size=1, max_size=8))
def test_there_is_always_a_front_and_nothing_beats_itself_or_back(pairs: list[tuple[Value, Value]]) -> None:
    assert front(points(*(Outcome("feasible", pair) for pair in pairs)), GOALS)
    for one in pairs:
        for other in pairs:
            assert not (beats(one, other, GOALS) and beats(other, one, GOALS))


def test_it_is_the_usual_front_where_all_is_exact() -> None:
    exact = [outcome(a, b) for a in range(4) for b in range(4)]
    assert front(points(*exact), (Objective("max", "top1", "x"), Objective("max", "throughput", "x"))) == (15,)
