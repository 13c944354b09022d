"""The goal `speedup`, with latencies by script: what is chosen, what is reported, and what an interruption leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeresnet import models
from edgeresnet.context import Context, Measure
from edgeresnet.errors import ModelError, TargetError
from edgeresnet.portable import machine
from edgeresnet.portable.measure import TimingPlan
from edgeresnet.portable.times import Latency
from edgeresnet.pruning import choose, cut, importance, units
from edgeresnet.tune import journal
from edgeresnet.tune import speedup as speed

from ..pruning.test_prune import OwnPads
from .timing import Clock, latency, params

VERIFY = TimingPlan(processes=3, seconds=9.0)
SIZE = 16


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return models.build("cifar_resnet8_w32", 7, 3).eval()


@pytest.fixture(scope="module")
def chooser(network: nn.Module) -> choose.Chooser:
    return chooser_of(network)


def chooser_of(network: nn.Module) -> choose.Chooser:
    found = units.of(network, 3, SIZE)
    return choose.Chooser(found, importance.scores(network, found, "l2"), multiple=8, every_layer_alike=False)


def wanted_speedups(**goals: float) -> speed.Goal:
    return speed.Goal(goals, dict.fromkeys(goals, "int8"), VERIFY)


def test_the_ladder_goes_from_the_unpruned_network_to_the_narrowest_in_widths_that_compilers_like(
    chooser: choose.Chooser,
) -> None:
    rungs = speed.ladder(chooser)
    macs = [rung.choice.macs for rung in rungs]
    assert len(rungs) > 8
    assert macs == sorted(set(macs), reverse=True)
    assert (macs[0], macs[-1]) == (chooser.dense.macs, chooser.at(1.0).macs)
    assert all(width % 8 == 0 for rung in rungs for place, width in rung.choice.widths.items() if place.side == "out")
    for rung in rungs[1:]:  # each is a goal that a recipe can have
        assert chooser.for_goal("macs", rung.part).macs == rung.choice.macs


def test_the_mildest_that_is_fast_enough_is_chosen_and_the_curve_is_reported(
    network: nn.Module, chooser: choose.Chooser, tmp_path: Path
) -> None:
    clock = Clock(one=lambda part: part**-0.7)
    ctx = Context(0, tmp_path, measure=clock)
    choice, notes = speed.fastest(network, chooser, wanted_speedups(one=1.5), ctx)
    rungs = speed.ladder(chooser)
    wanted = next(
        rung for rung in rungs if (params(cut.cut(network, rung.choice)) / params(network)) ** -0.7 * 0.9999 >= 1.5
    )
    assert choice.macs == wanted.choice.macs
    assert (notes.goals, notes.ships, notes.sure) == ({"one": 1.5}, {"one": "int8"}, True)
    assert notes.milder is not None
    chosen, milder = notes.curve[notes.chosen], notes.curve[notes.milder]
    assert (chosen.macs, chosen.part) == (choice.macs, wanted.part)
    assert chosen.targets["one"].times >= 1.5 > milder.targets["one"].times
    assert milder.macs == rungs[rungs.index(wanted) - 1].choice.macs
    assert chosen.again
    assert milder.again
    assert clock.calls[-1] == (speed.UNPRUNED, f"rung-{rungs.index(wanted) - 1}", f"rung-{rungs.index(wanted)}")
    assert all(speed.UNPRUNED in call for call in clock.calls), "all are timed in turn with the unpruned network"
    macs = [point.macs for point in notes.curve]
    assert macs == sorted(macs, reverse=True)
    assert macs[-1] < choice.macs, "one stride beyond is on the curve"
    found = chosen.targets["one"]
    assert found.whole_ms == pytest.approx(8, rel=0.01)
    assert found.whole_ms / found.ms == pytest.approx(found.times, rel=1e-3)
    assert found.high is not None
    assert found.low <= found.times <= found.high


def test_what_is_slower_than_the_unpruned_network_or_a_milder_one_is_never_chosen(
    network: nn.Module, chooser: choose.Chooser, tmp_path: Path
) -> None:
    def dented(part: float) -> float:
        return 0.9 if 0.3 < part < 0.6 else part**-0.5

    choice, notes = speed.fastest(
        network, chooser, wanted_speedups(one=1.8), Context(0, tmp_path, measure=Clock(one=dented))
    )
    times = [point.targets["one"].times for point in notes.curve]
    assert any(value < 1 for value in times[: notes.chosen]), "the dent is on the curve"
    assert times[notes.chosen] == max(times[: notes.chosen + 1])
    assert params(cut.cut(network, choice)) / params(network) <= 0.3


def test_every_target_must_reach_its_own_goal(network: nn.Module, chooser: choose.Chooser, tmp_path: Path) -> None:
    clock = Clock(one=lambda part: part**-1.0, two=lambda part: part**-0.5)
    alone, _ = speed.fastest(
        network, chooser, wanted_speedups(one=1.3), Context(0, tmp_path / "a", measure=_only(clock, "one"))
    )
    both, notes = speed.fastest(
        network, chooser, wanted_speedups(one=1.3, two=1.3), Context(0, tmp_path / "b", measure=clock)
    )
    assert both.macs < alone.macs
    assert set(notes.curve[notes.chosen].targets) == {"one", "two"}


def _only(clock: Clock, target: str) -> Measure:
    def measure(
        networks: Mapping[str, Any], *, processes: int, seconds: float, may_fail: bool = False
    ) -> dict[str, dict[str, Latency]]:
        return {target: clock(networks, processes=processes, seconds=seconds)[target]}

    return measure


def test_out_of_reach_names_the_best_and_the_curve(network: nn.Module, chooser: choose.Chooser, tmp_path: Path) -> None:
    ctx = Context(0, tmp_path, measure=Clock(one=lambda part: min(part**-0.5, 1.4)))
    with pytest.raises(
        ModelError, match=r"prune\.speedup one 3 cannot be reached: the fastest .* 1\.40 times as fast"
    ) as caught:
        speed.fastest(network, chooser, wanted_speedups(one=3.0), ctx)
    assert re.search(r"one, remaining MACs and how many times as fast: 0\.7\d: 1\.", caught.value.hint)
    assert caught.value.hint.count(": 1.40") > 1


def test_a_network_that_cannot_get_narrower_is_reported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = models.build("cifar_resnet8_w8", 7, 3).eval()
    every = chooser_of(network)
    least = cut.cut(network, every.at(1.0))
    assert len(speed.ladder(chooser_of(least))) == 1
    with pytest.raises(
        ModelError, match=r"prune\.speedup cannot be reached: every layer already has its smallest width"
    ):
        speed.fastest(
            least, chooser_of(least), wanted_speedups(one=1.01), Context(0, tmp_path, measure=Clock(one=lambda _: 2.0))
        )


def test_layers_that_may_not_be_pruned_are_named_where_a_goal_is_out_of_reach(tmp_path: Path) -> None:
    own = OwnPads().eval()
    clock = Clock(one=lambda part: part**-0.1)
    with pytest.raises(ModelError) as caught:
        speed.fastest(own, chooser_of(own), wanted_speedups(one=3.0), Context(0, tmp_path, measure=clock))
    assert "layers cannot be pruned (stem, outer)" in caught.value.hint or "(outer, stem)" in caught.value.hint


@pytest.mark.parametrize("until", [3, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 6))])
def test_what_was_measured_before_an_interruption_is_not_measured_again(
    until: int, network: nn.Module, chooser: choose.Chooser, tmp_path: Path
) -> None:
    def curve(part: float) -> float:
        return part**-0.7

    whole = Clock(one=curve)
    wanted = speed.fastest(network, chooser, wanted_speedups(one=1.5), Context(0, tmp_path / "whole", measure=whole))
    assert len(whole.calls) > until
    clock = Clock(one=curve)
    clock.ends_at = until
    with pytest.raises(KeyboardInterrupt):
        speed.fastest(network, chooser, wanted_speedups(one=1.5), Context(0, tmp_path / "cut", measure=clock))
    clock.ends_at = 1000
    ctx = Context(0, tmp_path / "cut", measure=clock)
    found = speed.fastest(network, chooser, wanted_speedups(one=1.5), ctx)
    assert clock.calls == whole.calls, "each measurement was taken once"
    assert (found[0].macs, found[1]) == (wanted[0].macs, wanted[1])
    assert [warning.code for warning in ctx.warnings] == ["continued"]
    assert "search continues after an interruption" in ctx.warnings[0].text


class Varying:
    """Times as fast by script: for each rung and each time that it is timed, the next number of its list."""

    def __init__(self, **by_rung: list[float]):
        self.by_rung, self.calls, self.ends_at = by_rung, list[tuple[str, ...]](), 1000

    def __call__(
        self, networks: Mapping[str, Any], *, processes: int, seconds: float, may_fail: bool = False
    ) -> dict[str, dict[str, Latency]]:
        if len(self.calls) == self.ends_at:
            raise KeyboardInterrupt
        taken = {name: sum(name in call for call in self.calls) for name in networks}
        self.calls.append(tuple(networks))
        found = {}
        for name in networks:
            rung = int(name.removeprefix("rung-")) if name != speed.UNPRUNED else 0
            usual = [1.0 + 0.12 * rung]
            script = self.by_rung.get(name.replace("-", "_"), usual)
            found[name] = latency(8 / script[min(taken[name], len(script) - 1)], processes)
        return {"one": found}


@pytest.mark.parametrize("until", [3, 6, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 2, 4, 5, 7, 8))])
def test_an_interrupted_search_whose_times_vary_decides_as_one_that_was_not(
    until: int, network: nn.Module, chooser: choose.Chooser, tmp_path: Path
) -> None:
    """The checks of 4 go up and down: after an interruption, none of them may see what only later ones measured."""
    script = {"rung_4": [1.5, 1.45, 1.6, 1.5, 1.5], "rung_3": [1.36, 1.52, 1.35, 1.3], "rung_5": [1.7]}
    whole = Varying(**script)
    wanted = speed.fastest(network, chooser, wanted_speedups(one=1.48), Context(0, tmp_path / "whole", measure=whole))
    assert len(whole.calls) > 5
    clock = Varying(**script)
    clock.ends_at = until
    if until < len(whole.calls):
        with pytest.raises(KeyboardInterrupt):
            speed.fastest(network, chooser, wanted_speedups(one=1.48), Context(0, tmp_path / "cut", measure=clock))
    clock.ends_at = 1000
    found = speed.fastest(network, chooser, wanted_speedups(one=1.48), Context(0, tmp_path / "cut", measure=clock))
    assert clock.calls == whole.calls
    assert (found[0].macs, found[1]) == (wanted[0].macs, wanted[1])


def test_another_machine_does_not_go_on_with_these_times(
    network: nn.Module, chooser: choose.Chooser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(one=lambda part: part**-0.7)
    speed.fastest(network, chooser, wanted_speedups(one=1.5), Context(0, tmp_path, measure=clock))
    before = len(clock.calls)
    speed.fastest(network, chooser, wanted_speedups(one=1.5), Context(0, tmp_path, measure=clock))
    assert len(clock.calls) == before
    monkeypatch.setattr(journal.machine, "identity", lambda: machine.Identity("another", None, 1))
    speed.fastest(network, chooser, wanted_speedups(one=1.5), Context(0, tmp_path, measure=clock))
    assert len(clock.calls) == 2 * before


def test_impossible_times_are_not_used(network: nn.Module, chooser: choose.Chooser, tmp_path: Path) -> None:
    clock = Clock(one=lambda part: np.inf)
    with pytest.raises(TargetError, match=r"one cannot be used for prune\.speedup: the clock stood still"):
        speed.fastest(network, chooser, wanted_speedups(one=1.5), Context(0, tmp_path, measure=clock))


def test_accuracy_before_recovery_is_on_the_curve(network: nn.Module, chooser: choose.Chooser, tmp_path: Path) -> None:
    seen: list[int] = []

    def top1(one: nn.Module) -> float:
        seen.append(params(one))
        return 0.9 if params(one) == params(network) else 0.4

    ctx = Context(0, tmp_path, measure=Clock(one=lambda part: part**-0.7))
    wanted = speed.Goal({"one": 1.5}, {"one": "fp32"}, VERIFY, top1, 100)
    _, notes = speed.fastest(network, chooser, wanted, ctx)
    assert (notes.images, notes.top1) == (100, 0.9)
    assert notes.curve[notes.chosen].top1 == 0.4
    assert len(seen) == len(set(seen)), "no network is evaluated twice"
    assert all(point.top1 is not None for point in notes.curve)


def test_warnings_of_the_machine_are_passed_on_and_those_of_networks_are_not(
    network: nn.Module, chooser: choose.Chooser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Disturbed(Clock):
        def __call__(self, *given: object, **plan: object) -> dict[str, dict[str, Latency]]:
            found = super().__call__(*given, **plan)  # type: ignore[arg-type]
            return {target: {name: _stolen(each) for name, each in timed.items()} for target, timed in found.items()}

    def _stolen(one: Latency) -> Latency:
        return replace(one, processes=tuple(replace(process, stolen_cpus=(0.5,)) for process in one.processes))

    ctx = Context(0, tmp_path, measure=Disturbed(one=lambda part: part**-0.7))
    speed.fastest(network, chooser, wanted_speedups(one=1.5), ctx)
    disturbed = [warning for warning in ctx.warnings if warning.code == "disturbed"]
    assert disturbed == [warning for warning in ctx.warnings if "timing of the chosen network" in warning.text]
    assert any("used 0.50 of its CPUs" in warning.text for warning in disturbed)
    assert not any("inferences were timed" in warning.text for warning in disturbed), "each network has only a few"


def test_a_damaged_search_is_begun_again(network: nn.Module, chooser: choose.Chooser, tmp_path: Path) -> None:
    clock = Clock(one=lambda part: part**-0.7)
    speed.fastest(network, chooser, wanted_speedups(one=1.5), Context(0, tmp_path, measure=clock))
    before = len(clock.calls)
    stored = (tmp_path / "curve.json").read_text()
    for text in (stored[:-20], stored.replace('"answers"', '"seen"'), "3"):
        (tmp_path / "curve.json").write_text(text)
        clock.calls.clear()
        speed.fastest(network, chooser, wanted_speedups(one=1.5), Context(0, tmp_path, measure=clock))
        assert len(clock.calls) == before
