"""The search for layers that stay in float, on made-up networks: what it chooses, at which cost, and when it ends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from edgeresnet import deadline
from edgeresnet.deadline import Deadline
from edgeresnet.tune.control import Found, Layers, control
from edgeresnet.tune.forecast import Forecast

pytestmark = pytest.mark.unit


class Network:
    """Layers whose noise adds up, and whose milliseconds do too. The promise is kept up to a limit of noise."""

    def __init__(self, noise: Sequence[float], cost: Sequence[float], limit: float):
        self.noise = {f"layer{number}": value for number, value in enumerate(noise)}
        self.cost = dict(zip(self.noise, cost, strict=True))
        self.limit = limit
        self.forecasts = 0
        self.timed: list[list[Layers]] = []
        self.broken: set[str] = set()

    def layers(self) -> list[str]:
        return list(self.noise)

    def left(self, chosen: Layers) -> float:
        return sum(value for layer, value in self.noise.items() if layer not in chosen)

    def removed(self, chosen: Layers) -> float:
        return 1 - self.left(chosen) / sum(self.noise.values())

    def forecast(self, chosen: Layers) -> Forecast:
        self.forecasts += 1
        return Forecast(0.0, 0.0, 0.0, self.left(chosen) / self.limit)

    def time(self, chosen: Layers) -> float:
        return 1 + sum(self.cost[layer] for layer in chosen)

    def times(self, sets: Sequence[Layers]) -> list[float | None]:
        self.timed.append(list(sets))
        return [None if each & self.broken else self.time(each) for each in sets]


def forever() -> Deadline:
    return Deadline(1e9)


def test_a_network_that_is_good_enough_keeps_every_layer_in_int8() -> None:
    network = Network([1, 1, 1], [0.1, 0.1, 0.1], limit=3)
    found = control(network, forever())
    assert (found.chosen, found.ended, network.forecasts, network.timed) == ((), "enough", 1, [])


def test_the_one_bad_layer_is_found_whatever_the_others_cost() -> None:
    noise = [0.1] * 20
    noise[7] = 50
    found = control(Network(noise, [0.01] * 20, limit=2), forever())
    assert (found.chosen, found.ended) == (("layer7",), "found")


def test_milliseconds_decide_among_layers_that_help_alike() -> None:
    """One expensive layer, or two cheap ones."""
    network = Network([10, 6, 6, 1], [0.5, 0.05, 0.05, 0.05], limit=13)
    assert control(network, forever()).chosen in (("layer1", "layer2"),)
    network = Network([10, 6, 6, 1], [0.05, 0.5, 0.5, 0.5], limit=13)
    assert control(network, forever()).chosen == ("layer0",)


def test_layers_that_are_not_needed_go_back_to_int8() -> None:
    network = Network([8, 7, 6, 5, 4, 3], [0.1] * 6, limit=18)
    found = control(network, forever())
    kept = [
        Layers(some)
        for size in range(7)
        for some in itertools.combinations(network.layers(), size)
        if network.left(Layers(some)) <= network.limit
    ]
    assert len(found.chosen) == min(map(len, kept))
    for layer in found.chosen:
        assert network.left(Layers(found.chosen) - {layer}) > network.limit, f"{layer} is not needed"


@pytest.mark.parametrize("seed", range(20))
def test_it_is_close_to_the_best_of_all_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = Network(rng.lognormal(0, 1.5, 8).tolist(), rng.uniform(0.01, 0.1, 8).tolist(), limit=1.0)
    network.limit = 0.4 * network.left(Layers())
    found = control(network, forever())
    every = [Layers(some) for size in range(9) for some in itertools.combinations(network.layers(), size)]
    best = min(network.time(each) for each in every if network.left(each) <= network.limit)
    assert found.ended == "found"
    assert network.left(Layers(found.chosen)) <= network.limit
    assert network.time(Layers(found.chosen)) - 1 <= 1.5 * (best - 1)


def test_a_promise_that_no_set_keeps_ends_with_the_nearest() -> None:
    class Stubborn(Network):
        def left(self, chosen: Layers) -> float:
            return 5 + super().left(chosen)

    found = control(Stubborn([3, 2, 1], [0.1] * 3, limit=4), forever())
    assert (found.ended, found.chosen) == ("reach", ("layer0", "layer1"))
    assert not found.forecast.kept


def test_layers_that_no_set_does_without_are_measured_once() -> None:
    noise = [0.1] * 20
    noise[3] = noise[7] = 50
    network = Network(noise, [0.01] * 20, limit=4)
    found = control(network, forever())
    assert (found.chosen, found.ended) == (("layer3", "layer7"), "found")
    assert network.timed == [[Layers(), Layers({"layer3", "layer7"})]]
    assert [each.time for each in found.tried if each.layers == found.chosen] == [pytest.approx(1.02)]


def test_layers_that_no_set_does_without_must_compile() -> None:
    noise = [0.1] * 20
    noise[3] = noise[7] = 50
    network = Network(noise, [0.01] * 20, limit=4)
    network.broken = {"layer3"}
    assert "layer3" not in control(network, forever()).chosen


def test_a_layer_that_the_target_cannot_compile_in_float_stays_in_int8() -> None:
    network = Network([9, 5, 5, 1], [0.1] * 4, limit=11)
    network.broken = {"layer0"}
    assert "layer0" not in control(network, forever()).chosen


MINUTE, USUAL_S, SLOWER = 60.0, {"removed": 0.002, "forecast": 0.5, "times": 5.0}, 10
SHORT_S = SLOWER * USUAL_S["removed"]  # an estimate is not planned: it may pass the end by itself


class Timed(Network):
    """The same, where answers take their time: ten times as much from one of them on."""

    def __init__(self, now: list[float], slow_from: int = 10**9, only: str = ""):
        super().__init__([5, 4, 3, 2, 1] * 4, [0.1, 0.05, 0.08, 0.2] * 5, limit=12)
        self.now, self.slow_from, self.only = now, slow_from, only
        self.slow, self.last, self.last_s = False, "", 0.0
        self.slow_answers = dict.fromkeys(USUAL_S, 0)
        self.answers = dict.fromkeys(USUAL_S, 0)

    def _takes(self, kind: str) -> None:
        self.answers[kind] += 1
        self.slow = self.slow or (kind == self.only and self.answers[kind] > self.slow_from)
        self.slow_answers[kind] += self.slow
        self.last, self.last_s = kind, USUAL_S[kind] * (SLOWER if self.slow else 1)
        self.now[0] += self.last_s

    def removed(self, chosen: Layers) -> float:
        self._takes("removed")
        return super().removed(chosen)

    def forecast(self, chosen: Layers) -> Forecast:
        self._takes("forecast")
        return super().forecast(chosen)

    def times(self, sets: Sequence[Layers]) -> list[float | None]:
        self._takes("times")
        return super().times(sets)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found = [0.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: found[0])
    return found


def is_best_so_far(found: Found) -> bool:
    if any(each.forecast.kept for each in found.tried):
        return found.forecast.kept
    return found.forecast.excess == min(each.forecast.excess for each in found.tried)


@pytest.mark.parametrize("kind", USUAL_S)
def test_a_machine_that_becomes_slower_at_any_stage_ends_in_time(kind: str, now: list[float]) -> None:
    """Only the first slow answer of its kind may pass the end: those after it are planned by how long it took."""
    whole = Timed(now)
    assert control(whole, Deadline(MINUTE)).ended == "found"
    assert now[0] < MINUTE
    assert whole.answers[kind] > 1
    for slow_from in range(0, whole.answers[kind], 1 + whole.answers[kind] // 10):
        now[0] = 0.0
        network = Timed(now, slow_from, kind)
        found = control(network, Deadline(MINUTE))
        assert now[0] <= MINUTE + network.last_s
        assert now[0] <= MINUTE + SHORT_S or network.slow_answers[network.last] == 1
        assert is_best_so_far(found)


@pytest.mark.parametrize("seconds", [0.0, 0.6, 3.0, 7.0, 13.0])
def test_time_ends_a_search_with_the_best_so_far(seconds: float, now: list[float]) -> None:
    network = Timed(now)
    found = control(network, Deadline(seconds))
    assert found.ended == "time"
    assert now[0] <= max(seconds, USUAL_S["forecast"]) + SHORT_S or network.answers[network.last] == 1
    assert is_best_so_far(found)


def test_a_network_of_one_layer() -> None:
    """Without a layer in INT8 there is no INT8 network."""
    found = control(Network([5], [0.5], limit=2), forever())
    assert (found.chosen, found.ended) == ((), "reach")
    assert control(Network([], [], limit=2), forever()).ended == "enough"


def test_the_same_question_gives_the_same_answer() -> None:
    def once() -> object:
        return control(Network([5, 4, 3, 2, 1] * 3, [0.1, 0.05, 0.2] * 5, limit=11), forever())

    assert once() == once()
