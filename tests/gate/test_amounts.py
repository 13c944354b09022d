"""Energy and throughput in a gate: compared where the baseline has them, and never a pass where the run lacks them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from edgeresnet import gate
from edgeresnet.portable.energy import ProcessEnergy
from edgeresnet.portable.result import Measured, Verdict
from edgeresnet.portable.times import Latency, SweepCell
from edgeresnet.runs import Run

from . import runs
from .gated import judged

pytestmark = pytest.mark.unit

NOISE = (0.0, 0.003, -0.002, 0.001, -0.001)


def with_amounts(watts: float = 1.0, rate: float = 1.0, *, energy: bool = True, sweep: bool = True) -> Run:
    """Return a run whose INT8 network has this many times the power, and this many times the throughput."""
    result = runs.result("openvino")
    variants = {
        name: replace(each, latency=_measured(each.latency, name, watts, rate, energy, sweep))
        for name, each in result.variants.items()
    }
    assert result.yardstick
    unit = replace(result.yardstick, latency=_measured(result.yardstick.latency, "unit", 1.0, 1.0, energy, sweep))
    return runs.run(replace(result, variants=variants, yardstick=unit))


def _measured(
    latency: Latency | None, name: str, watts: float, rate: float, energy: bool, sweep: bool
) -> Latency | None:
    assert latency
    own, times = (watts, rate) if name == "int8" else (1.0, 1.0)
    processes = []
    for process, noise in zip(latency.processes, NOISE, strict=True):
        power = 10.0 * own * (1 + noise)
        found: ProcessEnergy | str = ProcessEnergy("a rail", (power, power), (0.5, 0.5), 4.0)
        cells = (SweepCell(8, 4, 1000 * times * (1 + noise), (1.0,)),)
        processes.append(replace(process, energy=found if energy else "no sensor", sweep=cells if sweep else ()))
    return replace(latency, processes=tuple(processes))


def of(before: Run, now: Run, margins: gate.Margins | None = None) -> Mapping[str, Verdict]:
    found = judged(now, gate.of(before, margins or gate.Margins()))
    return {one.promise.name: one for one in found.verdicts if one.promise.kind.startswith(("max_energy", "max_thr"))}


KINDS = ("max_energy_growth_pct", "max_throughput_loss_pct")
NAMES = [f"{kind} {other}" for kind in KINDS for other in ("half", "yardstick")]


def test_the_same_again_is_kept() -> None:
    found = of(with_amounts(), with_amounts())
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(NAMES, "KEPT")


@pytest.mark.parametrize(
    ("now", "kind", "says"),
    [
        (with_amounts(watts=1.5), "max_energy_growth_pct", "50.00 % more energy than in the baseline, relative to "),
        (with_amounts(rate=0.6), "max_throughput_loss_pct", "40.00 % fewer images per second than in the baseline"),
    ],
)
def test_what_is_clearly_worse_is_broken(now: Run, kind: str, says: str) -> None:
    found = of(with_amounts(), now)
    assert {one.verdict for one in found.values() if one.promise.kind == kind} == {"BROKEN"}
    assert {one.verdict for one in found.values() if one.promise.kind != kind} == {"KEPT"}
    assert says in found[f"{kind} half"].reason


@pytest.mark.parametrize("now", [with_amounts(watts=0.5), with_amounts(rate=2.0)])
def test_what_is_better_is_kept(now: Run) -> None:
    assert {one.verdict for one in of(with_amounts(), now).values()} == {"KEPT"}


def test_near_the_margin_nothing_is_decided() -> None:
    found = of(with_amounts(), with_amounts(watts=1.1, rate=0.9))
    assert {one.verdict for one in found.values()} == {"UNDECIDED"}


def test_what_the_run_lacks_is_never_a_pass() -> None:
    found = of(with_amounts(), with_amounts(energy=False, sweep=False))
    assert {one.verdict for one in found.values()} == {"NOT_MEASURED"}
    assert found["max_energy_growth_pct half"].reason == "no sensor"


def test_what_the_baseline_lacks_is_not_gated() -> None:
    assert not of(with_amounts(energy=False, sweep=False), with_amounts())
    assert set(of(with_amounts(energy=False), with_amounts())) == set(NAMES[2:])


def test_a_margin_of_null_gates_nothing() -> None:
    margins = gate.Margins(max_energy_growth_pct=None, max_throughput_loss_pct=None)
    assert not of(with_amounts(), with_amounts(watts=2.0), margins)


def test_it_is_in_the_file_and_read_again(tmp_path: Path) -> None:
    path, baseline = tmp_path / "gate.json", gate.of(with_amounts(watts=0.5), gate.Margins())
    path.write_text(gate.text(baseline))
    again = gate.read(path)
    assert again == baseline
    assert again.targets["openvino"].energy["half"].ratio == pytest.approx(0.5)
    assert again.targets["openvino"].throughput["yardstick"].ratio == pytest.approx(1.0)
    assert "as_much_as" in path.read_text()


def test_a_baseline_without_them_is_written_as_before() -> None:
    text = gate.text(gate.of(with_amounts(energy=False, sweep=False), gate.Margins()))
    assert "as_much_as" not in text
    assert isinstance(with_amounts().results["openvino"], Measured)
