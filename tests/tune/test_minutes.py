"""Accuracy control ends within its minutes, whatever a machine does meanwhile: on a made-up clock."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from edgeresnet import deadline
from edgeresnet.portable.result import PLAIN, SAFE
from edgeresnet.quantization import engine
from edgeresnet.targets import get
from edgeresnet.tune import int8
from edgeresnet.tune.control import Layers
from edgeresnet.tune.forecast import Forecast, Goals

MINUTES, SLOWER = 3.0, 10
STAGES = {"quantize": 20.0, "scan": 2.0, "removed": 0.002, "look": 1.0, "times": 9.0, "partly": 1.0}
NOISE = {f"layer{number}": noise for number, noise in enumerate([5, 4, 3, 2, 1] * 4)}
LIMIT = 12.0


class Machine:
    """All that takes time: ten times as much from one step of a stage on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, slow_stage: str = "", slow_from: int = 0):
        self.now, self.slow_stage, self.slow_from = 0.0, slow_stage, slow_from
        self.steps, self.slow_steps = dict.fromkeys(STAGES, 0), dict.fromkeys(STAGES, 0)
        self.last_s, self.slow, self.learned_s = 0.0, False, 0.0
        monkeypatch.setattr(deadline.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(int8, "Int8Layers", lambda *given: Scanned(self))
        monkeypatch.setattr(int8.Outlook, "on", lambda exact, images, goals: Looked(images, goals, self.of))
        monkeypatch.setattr(int8.partly, "in_float", self.in_float)

    def takes(self, stage: str) -> None:
        self.slow = self.slow or (stage == self.slow_stage and self.steps[stage] >= self.slow_from)
        self.steps[stage] += 1
        self.slow_steps[stage] += self.slow
        self.last_s = STAGES[stage] * (SLOWER if self.slow else 1)
        self.now += self.last_s

    def quantize(self, choices: engine.Choices) -> Any:
        self.takes("quantize")
        if choices.effort != "fast":
            learning = max(0.0, 60 * min(choices.minutes, 3.0))
            self.now, self.learned_s = self.now + learning, self.learned_s + learning
        return self.network({name for name in NOISE if f"^{name}$" in choices.exclude})

    def network(self, chosen: set[str]) -> Any:
        return SimpleNamespace(held_out=0, chosen=frozenset(chosen))

    def in_float(self, base: Any, choices: engine.Choices, exact: object, held: object) -> Any:
        self.takes("partly")
        return self.network({name for name in NOISE if f"^{name}$" in choices.exclude})

    def of(self, network: Any) -> Forecast:
        self.takes("look")
        return forecast(network.chosen)

    def run(self, effort: str = "fast", *, several: bool = False) -> int8.Controlled:
        choices = engine.Choices(get("openvino").dialect, effort=effort, minutes=MINUTES)
        goals, images = Goals(1.0, None, None, images=100), np.zeros((4, 3, 8, 8), np.float32)
        given: Any = self.quantize, choices, images, goals, lambda networks: {}, Path(), "question", 0.0
        return int8.controlled(onnx.ModelProto(), *given, several=several)


@dataclass
class Looked:
    """Forecasts of made-up networks."""

    images: np.ndarray
    goals: Goals
    of: Callable[[Any], Forecast]

    def judged_with(self, networks: int) -> Looked:
        return replace(self, goals=replace(self.goals, networks=networks))


class Scanned:
    """Layers that a scan looked at."""

    continued = 0

    def __init__(self, machine: Machine):
        self._takes = machine.takes
        self._takes("scan")

    def layers(self) -> list[str]:
        return list(NOISE)

    def forecast(self, chosen: Layers, goals: Goals | None = None) -> Forecast:
        self._takes("look")
        return forecast(chosen, goals.margin if goals else 1.0)

    def removed(self, chosen: Layers) -> float:
        self._takes("removed")
        return sum(NOISE[layer] for layer in chosen) / sum(NOISE.values())

    def times(self, sets: list[Layers]) -> list[float | None]:
        self._takes("times")
        return [1 + 0.01 * len(each) for each in sets]


def forecast(chosen: frozenset[str], margin: float = 1.0) -> Forecast:
    noise = sum(noise for name, noise in NOISE.items() if name not in chosen)
    return Forecast(0.0, 0.0, 0.0, margin * noise / LIMIT)


def test_a_machine_that_stays_as_fast_quantizes_again_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    found = machine.run()
    assert (found.notes.ended, found.notes.chosen.kept, machine.steps["quantize"]) == ("found", True, 2)
    assert machine.now <= 60 * MINUTES
    assert found.notes.seconds == round(machine.now, 1)


def test_a_device_chooses_from_no_layer_in_float_to_more_than_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    found = machine.run(several=True)
    chosen, others = set(found.notes.chosen.layers), found.notes.others
    assert list(others) == list(found.others) == [PLAIN, SAFE]
    assert others[PLAIN].layers == ()
    assert not others[PLAIN].kept, "its forecast is on record"
    assert chosen < set(others[SAFE].layers) < set(NOISE)
    assert forecast(frozenset(others[SAFE].layers), Goals(1.0, None, None, 100, round=4).margin).kept
    assert machine.run().others == {}, "a target that is here is timed, and searched again where that is not enough"


def test_a_network_that_is_good_enough_by_forecast_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 100.0)
    found = Machine(monkeypatch).run(several=True)
    assert (found.notes.ended, found.notes.chosen.layers, found.others) == ("enough", (), {})


def test_int8_in_all_layers_stays_here_where_it_is_hopeless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "LIMIT", 8.0)
    assert forecast(frozenset()).excess > int8._HOPELESS
    found = Machine(monkeypatch).run(several=True)
    assert list(found.others) == list(found.notes.others) == [SAFE]


def test_learning_is_shared_with_a_network_without_a_layer_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    found = machine.run("best", several=True)
    assert list(found.others) == [PLAIN, SAFE][: len(found.others)]
    assert machine.steps["quantize"] >= 3
    assert machine.now <= 60 * MINUTES + 3 * STAGES["look"] + STAGES["quantize"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_machine_that_becomes_slower_in_any_stage_ends_in_time(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that is on its way may pass the end. What ships is then made of what is there, and looked at once."""
    whole = Machine(monkeypatch)
    whole.run()
    for slow_from in range(whole.steps[stage]):
        machine = Machine(monkeypatch, stage, slow_from)
        notes = machine.run().notes
        most = max(seconds for name, seconds in STAGES.items() if machine.steps[name])
        assert machine.now <= 60 * MINUTES + SLOWER * most
        tried = [each for each in notes.tried if each.kept]
        assert notes.chosen.kept == bool(tried), "the best so far"
        if machine.now > 60 * MINUTES + SLOWER * (STAGES["partly"] + STAGES["look"]):
            assert 1 in (machine.slow_steps["quantize"], machine.slow_steps["times"]), "a second one is not begun"


def test_learning_gets_what_the_search_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    found = machine.run("best")
    assert found.notes.chosen.kept
    assert machine.learned_s > 60 * MINUTES / 4
    assert machine.now <= 60 * MINUTES + STAGES["look"]


def test_no_minutes_at_all_give_what_was_quantized_first(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "quantize", 0)
    found = machine.run()
    assert (found.notes.ended, found.notes.chosen.layers, machine.steps["quantize"]) == ("time", (), 1)
