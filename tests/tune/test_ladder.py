"""Where a goal is reached first, on curves by script: falling, with dents, out of reach, with times that vary."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from edgeresnet.tune import ladder as search


class Script:
    """`speed` is a rung's true score; `noise` what a look and a check add to it."""

    def __init__(self, speed: Callable[[int], float], noise: Callable[[], float] = lambda: 0.0):
        self.speed, self.noise = speed, noise
        self.looked: list[int] = []
        self.checked: list[int] = []
        self.over: dict[int, list[float]] = {}

    def look(self, rung: int) -> float:
        self.looked.append(rung)
        return self.speed(rung) + self.noise()

    def check(self, rungs: Sequence[int]) -> dict[int, float]:
        for rung in rungs:
            self.checked.append(rung)
            self.over.setdefault(rung, []).append(self.speed(rung) + self.noise())
        return {rung: sum(self.over[rung]) / len(self.over[rung]) for rung in rungs}

    def found(self, rungs: int = 40) -> search.Found | None:
        return search.mildest(rungs, self.look, self.check)


@pytest.mark.parametrize("first", [1, 2, 3, 4, 5, 8, 17, 38, 39, 40])
def test_where_narrower_is_faster_the_first_that_reaches_it_is_found(first: int) -> None:
    script = Script(lambda rung: 1 + 0.02 * (rung - first))
    assert script.found() == (first, True)
    assert set(script.checked) == {first, first - 1} - {0}
    assert len(script.looked) <= first // 4 + 6
    assert len(script.looked) < 16


def test_it_goes_down_from_the_unpruned_network_and_one_stride_on() -> None:
    script = Script(lambda rung: rung / 10)
    script.found()
    assert script.looked[:4] == [4, 8, 12, 16]
    assert max(script.looked) == 16


def test_a_narrower_network_that_is_slower_is_not_chosen() -> None:
    """Rungs 8 to 13 fall back behind rung 7, and even behind the unpruned network."""
    speed = {rung: 0.4 for rung in range(8, 14)}
    script = Script(lambda rung: speed.get(rung, 0.6 + 0.025 * rung))
    assert script.found() == (16, True)
    assert {8, 12} <= set(script.looked), "the dent was looked at, and is on the curve"
    script = Script(lambda rung: speed.get(rung, 0.86 + 0.025 * rung))
    assert script.found() == (6, True), "the milder side of a dent reaches it already"


def test_a_stronger_one_that_falls_back_is_not_taken_for_a_milder_one_that_reached_it() -> None:
    script = Script(lambda rung: {4: 1.1, 3: 0.9, 8: 0.8}.get(rung, 0.5))
    assert script.found() == (4, True)


@pytest.mark.parametrize("rungs", [1, 2, 3, 4, 5, 40])
def test_out_of_reach_is_reported_after_the_complete_curve_was_measured(rungs: int) -> None:
    script = Script(lambda rung: 0.9)
    assert script.found(rungs) is None
    assert script.looked == [*range(4, rungs, 4), rungs]
    assert script.checked == []


@pytest.mark.parametrize("rungs", [1, 2, 3, 4, 5])
def test_a_short_ladder_is_searched_as_well(rungs: int) -> None:
    for first in range(1, rungs + 1):
        assert Script(lambda rung, first=first: 1.0 if rung >= first else 0.9).found(rungs) == (first, True)  # type: ignore[misc]


@pytest.mark.parametrize("error", [{12: 0.1}, {14: -0.1, 15: -0.1}], ids=["lucky", "unlucky"])
def test_a_wrong_look_is_corrected_when_it_is_measured_again(error: dict[int, float]) -> None:
    script = Script(lambda rung: 0.72 + 0.02 * rung)  # 14 is the first
    found = search.mildest(40, lambda rung: script.look(rung) + error.get(rung, 0.0), script.check)
    assert found == (14, True)


def test_a_milder_one_that_reaches_it_when_measured_again_is_chosen() -> None:
    """The one that the looks led to is just below; the next milder one, measured as carefully, reaches the goal."""
    scores = {6: 0.95, 7: 1.02, 8: 0.99, 9: 1.05}
    look = Script(lambda rung: 1.0 if rung >= 8 else 0.9).look
    assert search.mildest(40, look, lambda rungs: {rung: scores[rung] for rung in rungs}) == (7, True)


def test_what_looked_good_and_never_is_again_is_out_of_reach() -> None:
    script = Script(lambda rung: 0.9)
    assert search.mildest(6, lambda rung: 1.1 if rung > 4 else 0.9, script.check) is None
    assert script.checked == [4, 5, 5, 6]


def test_with_times_that_vary_it_ends_and_reports_what_is_sure() -> None:
    """Steps of two hundredths, noise of one: nearly all runs end sure, next to the truth; none ends wrong of itself."""
    lots = random.Random(0)
    ends = []
    for _ in range(200):
        script = Script(lambda rung: 0.71 + 0.02 * rung, lambda: lots.gauss(0, 0.01))  # 15 is the first
        found = script.found()
        assert found is not None
        assert len(script.checked) <= 16
        if found.sure:
            mean = {rung: sum(each) / len(each) for rung, each in script.over.items()}
            assert mean[found.rung] >= 1
            assert all(score < 1 for rung, score in mean.items() if rung < found.rung)
        ends.append(found)
    assert sum(abs(found.rung - 15) <= 1 for found in ends) >= 190
    assert sum(found.sure for found in ends) >= 190


def test_useless_times_end_unsure_with_what_reached_the_goal() -> None:
    turns = iter([1.1] * 100)
    script = Script(lambda rung: 0.5)
    found = search.mildest(40, lambda rung: 1.1 if rung >= 30 else 0.9, lambda rungs: {r: next(turns) for r in rungs})
    assert found is not None
    assert not found.sure
    assert found.rung < 30
    assert script.looked == []
