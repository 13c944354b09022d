"""A deadline plans from the last steps, so that work ends in time on a machine that slows down meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgeresnet import deadline
from edgeresnet.deadline import Deadline, OutOfTime

pytestmark = pytest.mark.unit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: now[0])
    return now


def test_nothing_is_known_before_the_first_step(clock: list[float]) -> None:
    found = Deadline(10.0)
    assert found.fits() is None
    clock[0] += 4
    assert (found.elapsed, found.left) == (4.0, 6.0)


def test_the_last_steps_say_how_many_more_fit(clock: list[float]) -> None:
    found = Deadline(1000.0)
    for seconds in [1.0] * 100 + [5.0] * deadline._RECENT:
        clock[0] += seconds
        found.took()
    assert found.fits() == (1000 - 100 - 30) // 5  # not as the mean of all: 1.2 s


def test_how_much_slower_steps_became(clock: list[float]) -> None:
    found = Deadline(1000.0)
    assert found.slower == 1.0
    ratios = []
    for seconds in [3.0, *[1.0] * 20, *[4.0] * 20, *[1.0] * 20]:
        clock[0] += seconds
        found.took()
        ratios.append(found.slower)
    assert ratios[20] == 1.0  # a slow first step is not what others are compared with
    assert ratios[40] == 4.0
    assert ratios[60] == 1.0


def test_what_is_reserved_is_not_planned(clock: list[float]) -> None:
    found = Deadline(20.0)
    clock[0] += 2
    found.took()
    assert (found.fits(), found.fits(8.0), found.fits(18.0)) == (9, 5, 0)


def test_work_between_two_steps_is_no_part_of_a_step(clock: list[float]) -> None:
    found = Deadline(20.0)
    clock[0] += 9
    found.start()
    clock[0] += 1
    assert found.took() == 1.0
    assert found.fits() == 10


def test_a_part_of_what_is_left(clock: list[float]) -> None:
    found = Deadline(20.0)
    clock[0] += 10
    assert (found.part(0.5).left, found.part(0.5, reserved=8.0).left) == (5.0, 1.0)
    clock[0] += 20
    assert found.part(0.5).left == 0.0
    assert found.part(0.5).fits() == 0


def test_a_step_is_taken_only_where_it_fits(clock: list[float]) -> None:
    found, taken = Deadline(20.0), []

    def step() -> int:
        clock[0] += 7
        taken.append(clock[0])
        return len(taken)

    assert (found.take(step), found.take(step)) == (1, 2)
    with pytest.raises(OutOfTime):
        found.take(step)
    assert len(taken) == 2


PATTERNS: dict[str, Callable[[int], float]] = {
    "steady": lambda step: 1.0,
    "slower and slower": lambda step: 1.05**step,
    "ten times slower in the middle": lambda step: 1.0 if step < 20 else 10.0,
    "one long pause": lambda step: 25.0 if step == 7 else 1.0,
    "a slow start": lambda step: 20.0 if step < 2 else 0.5,
    "by turns": lambda step: 0.5 if step % 2 else 6.0,
}


@pytest.mark.parametrize("took", PATTERNS.values(), ids=PATTERNS.keys())
@pytest.mark.parametrize("reserved", [0.0, 7.0])
def test_no_machine_takes_more_than_one_step_too_many(
    took: Callable[[int], float], reserved: float, clock: list[float]
) -> None:
    found, steps = Deadline(60.0), 0
    while found.fits(reserved) != 0:
        found.start()
        clock[0] += took(steps)
        found.took()
        steps += 1
    assert found.left - reserved > -took(steps - 1)  # only the last step can have passed the end
    assert found.left - reserved < max(took(steps), took(steps - 1), 10.0)  # and no time was left unused
