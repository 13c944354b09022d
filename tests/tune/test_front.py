"""More layers in float than a forecast asks for: how many, and when there is no such network."""

from __future__ import annotations

import pytest

from edgeresnet.deadline import Deadline, OutOfTime
from edgeresnet.tune.control import Layers, shortest
from edgeresnet.tune.forecast import Forecast, Goals
from edgeresnet.tune.front import safer

pytestmark = pytest.mark.unit

GOALS = Goals(1.0, None, None, images=1000, networks=3)


class Network:
    """Layers whose noise adds up; a wider margin expects more of it."""

    def __init__(self, noise: list[float], limit: float, floor: float = 0.0):
        self.noise = {f"layer{number}": value for number, value in enumerate(noise)}
        self.limit, self.floor = limit, floor
        self.asked: list[tuple[Layers, int]] = []

    def layers(self) -> list[str]:
        return list(self.noise)

    def left(self, chosen: Layers) -> float:
        return self.floor + sum(value for layer, value in self.noise.items() if layer not in chosen)

    def removed(self, chosen: Layers) -> float:
        return 1 - self.left(chosen) / self.left(Layers())

    def forecast(self, chosen: Layers, goals: Goals | None = None) -> Forecast:
        assert goals
        self.asked.append((chosen, goals.wider))
        return Forecast(0.0, 0.0, 0.0, goals.margin * self.left(chosen) / self.limit)


def forever() -> Deadline:
    return Deadline(1e9)


def test_the_noisiest_others_join_until_the_widest_margin_is_kept() -> None:
    network = Network([50, 1, 4, 2, 3], limit=12)  # without the first one: 10, and 3.4 times that is too much
    assert safer(network, ["layer0"], GOALS, forever()) == ("layer0", "layer2", "layer4")
    assert network.left(Layers({"layer0", "layer2", "layer4"})) * 1.5**3 <= 12


def test_what_keeps_the_widest_margin_already_stays_alone() -> None:
    assert safer(Network([50, 1, 1], limit=100), ["layer0"], GOALS, forever()) is None


def test_a_narrower_margin_is_taken_where_no_layers_keep_the_widest_one() -> None:
    network = Network([50, 3, 3, 1], limit=12, floor=4)  # with all in float but one: 5
    assert safer(network, ["layer0"], GOALS, forever()) == ("layer0", "layer1", "layer2")
    assert {wider for _, wider in network.asked} == {3, 2}
    assert safer(Network([50, 3, 3, 1], limit=5, floor=4), ["layer0"], GOALS, forever()) is None, "none is reached"


def test_the_last_layer_stays_in_int8() -> None:
    assert safer(Network([5, 5], limit=5), ["layer0"], GOALS, forever()) is None
    assert safer(Network([5], limit=1), ["layer0"], GOALS, forever()) is None


def test_no_step_is_begun_after_the_end() -> None:
    with pytest.raises(OutOfTime):
        safer(Network([50, 1, 4], limit=12), ["layer0"], GOALS, Deadline(0.0))


def test_goals_of_a_later_round_have_fewer_wider_margins() -> None:
    assert [each.margin for each in GOALS.with_wider()] == [1.5**3, 1.5**2, 1.5]
    later = Goals(1.0, None, None, images=1000, round=3)
    assert [each.margin for each in later.with_wider()] == [1.5**3]
    assert Goals(1.0, None, None, images=1000, round=4).with_wider() == []
    assert GOALS.z > Goals(1.0, None, None, images=1000).z, "each of three is judged at its part of the 5 %"


@pytest.mark.parametrize("needed", range(9))
def test_the_shortest_beginning_is_found(needed: int) -> None:
    order = [f"layer{number}" for number in range(8)]
    assert len(shortest(order, lambda some: len(some) >= needed)) == (needed or 1)
    assert list(shortest([], lambda some: False)) == []
