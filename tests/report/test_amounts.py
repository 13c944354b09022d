"""Energy and throughput as a reader sees them: with intervals and sensors, or once with the reason, and never zero."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from edgeresnet import report
from edgeresnet.bench import Bench, BenchPlan
from edgeresnet.portable import amounts, codec
from edgeresnet.portable.amounts import Amounts, EnergyAmount, RateAmount
from edgeresnet.portable.result import Measured
from edgeresnet.report import bench_text, card, notes_text, summary
from edgeresnet.report.compared import Comparison
from edgeresnet.report.factors import AmountDifference
from edgeresnet.report.lines import joined
from edgeresnet.runs import Run

from . import runs

pytestmark = pytest.mark.unit

NONE = runs.Amounts("no energy sensor here (INA3221, INA238, RAPL)")
NOT_MEASURED = f"Energy was not measured: {NONE.watts}"
MEASURED = runs.Amounts(9.0, rate=1000.0)


def run_of(found: runs.Amounts, number: int = 1, targets: tuple[str, ...] = ("openvino",), **others: Any) -> Run:
    results = {name: runs.with_amounts(runs.result(name), found, **others) for name in targets}
    steps = [*runs.steps()[:-1], runs.step("verify:openvino", 100 + number, {"images": runs.IMAGES})]
    return runs.run(id=f"2026010{number}-120000-000000-abcdef", results=results, steps=steps)


def compared(*found: Run) -> Comparison:
    return report.compared.of(found)


def words(text: str) -> str:
    return " ".join(text.split())


def energies(comparison: Comparison) -> dict[str, AmountDifference | None]:
    return {one.variant: one.energy for one in comparison.differences}


def test_it_is_computed_with_its_interval() -> None:
    result = run_of(MEASURED).results["openvino"]
    assert isinstance(result, Measured)
    latency = result.shipped.latency
    assert latency
    found = amounts.of(latency)
    assert isinstance(found.energy, EnergyAmount)
    each = [1000 * joules / 200 for joules in _joules(latency)]
    assert found.energy.mj == pytest.approx(sum(each) / 3)
    assert found.energy.high_mj is not None
    assert found.energy.low_mj < min(each) < max(each) < found.energy.high_mj
    assert (found.energy.sensor, found.energy.idle_w) == ("the board's rail VDD_IN", 4.1)
    assert found.energy.watts == pytest.approx(9.0, rel=0.01)
    assert not isinstance(found.throughput, str)
    (rate,) = found.throughput
    assert isinstance(rate, RateAmount)
    assert (rate.streams, rate.batch, rate.images_per_s) == (4, 8, pytest.approx(1000))
    assert codec.decode(Amounts, codec.encode(found)) == found
    assert amounts.of(None).energy == "its latency was not measured"


def _joules(latency: Any) -> list[float]:
    return [process.energy.joules for process in latency.processes]


def test_an_emulators_energy_is_not_a_cpus() -> None:
    document = runs.as_json(run_of(MEASURED))
    document["results"]["openvino"] = runs.emulated(document["results"]["openvino"])
    text = joined(notes_text.lines(runs.decoded(document)))
    assert "mJ" not in text
    assert "images/s" not in text
    assert "Energy was not measured: an emulator ran it" in words(text)


REPORTS: dict[str, Callable[[Run], str]] = {
    "notes": lambda run: joined(notes_text.lines(run)),
    "md": report.FORMATS["md"],
    "html": report.FORMATS["html"],
    "card": card.render,
    "compare": lambda run: report.compare_text.FORMATS["terminal"](compared(run, run_of(NONE, 2))),
    "compare md": lambda run: report.compare_text.FORMATS["md"](compared(run, run_of(NONE, 2))),
}


@pytest.mark.parametrize("kind", REPORTS)
def test_every_report_has_the_interval_and_the_sensor(kind: str) -> None:
    run = run_of(MEASURED)
    text = re.sub(r"<[^>]*>|[|]", " ", REPORTS[kind](run)).replace("&#x27;", "'")
    for row in summary.of(run).amounts:
        assert isinstance(row.amounts.energy, EnergyAmount)
        assert summary.energy_cell(row.amounts.energy) in text
    assert "1,000 (985 to 1,015)" in text
    for expected in ("mJ (95 %)", "idle W", "4.1", "nergy by the board's rail VDD_IN"):
        assert expected in text


@pytest.mark.parametrize("kind", REPORTS)
def test_what_was_not_measured_is_one_sentence_and_takes_no_column(kind: str) -> None:
    text = words(re.sub(r"<[^>]*>", " ", REPORTS[kind](run_of(NONE))))
    assert text.count("nergy was not measured: no energy sensor here (INA3221, INA238, RAPL)") == 1
    assert "mJ" not in text
    assert "images/s" not in text


def test_a_reason_names_what_it_is_true_of() -> None:
    three = [
        (("a", "fp32"), Amounts("no sensor", ())),
        (("a", "int8"), Amounts("no sensor", ())),
        (("b", "fp32"), Amounts("no sensor", ())),
        (("b", "int8"), Amounts(EnergyAmount(1.0, 0.9, None, 2.0, None, "a rail"), ())),
    ]
    assert summary.energy_sentences(three[:3]) == ["Energy was not measured: no sensor"]
    assert summary.energy_sentences(three) == [
        "a, b fp32: energy was not measured: no sensor",
        "b int8: energy by a rail",
    ]
    assert summary.energy_table(("x",), [((" ".join(name),), found) for name, found in three]).rows == [
        ["b int8", "1.000 (no interval)", "2"]
    ]


def test_a_network_whose_throughput_failed_is_named() -> None:
    document = runs.as_json(run_of(MEASURED))
    for process in document["results"]["openvino"]["variants"]["half"]["latency"]["processes"]:
        process |= {"sweep": [], "sweep_problem": "throughput was not measured: it was built for batches of 1"}
    seen = summary.of(runs.decoded(document))
    assert [row[1] for row in seen.rate_table.rows] == ["fp32", "int8"]
    assert "openvino half: throughput was not measured: it was built for batches of 1" in seen.amount_sentences


def test_runs_are_compared_in_energy_and_throughput_with_their_intervals() -> None:
    before, now = run_of(MEASURED), run_of(runs.Amounts(9.0, rate=1000.0), 2, int8=runs.Amounts(4.5, rate=2000.0))
    found = compared(before, now)
    energy, fp32 = energies(found)["int8"], energies(found)["fp32"]
    assert energy
    assert fp32
    assert energy.than_first
    assert energy.than_first.value == pytest.approx(0.5)
    assert energy.than_first.high is not None
    assert energy.than_first.low < 0.5 < energy.than_first.high
    assert energy.baseline == "half"
    assert energy.ratio
    assert energy.ratio.value == pytest.approx(0.5)
    assert fp32.than_first
    assert fp32.than_first.value == pytest.approx(1)
    (rate,) = (one.throughput for one in found.differences if one.variant == "int8")
    assert rate
    assert rate.than_first
    assert rate.than_first.value == pytest.approx(2)
    text = report.compare_text.FORMATS["terminal"](found)
    assert re.search(r"Energy against A\ntarget +as +run +times A's \(95 %\) +against its baseline \(95 %\)\n", text)
    assert re.search(r"openvino +int8 +B +0\.500 \(0\.\d+ to 0\.\d+\) +0\.500 \(", text)
    assert "Throughput against A\n" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("changed", "why_not"),
    [
        (
            runs.Amounts(9.0, sensor="the board's rail POM_5V_IN"),
            "it was measured with the board's rail POM_5V_IN, in run",
        ),
        (NONE, "no energy sensor here (INA3221, INA238, RAPL)"),
    ],
)
def test_energy_of_two_sensors_or_of_none_is_never_compared(changed: runs.Amounts, why_not: str) -> None:
    found = compared(run_of(MEASURED), run_of(changed, 2))
    energy = energies(found)["int8"]
    assert energy
    assert energy.why_not.startswith(why_not)
    assert energy.than_first is None
    assert "B openvino: energy is not compared with A's: " in words(report.compare_text.FORMATS["terminal"](found))


def test_what_neither_run_measured_makes_no_section() -> None:
    text = report.compare_text.FORMATS["terminal"](compared(run_of(NONE), run_of(NONE, 2)))
    assert "against A\n" in text
    assert "Energy" not in text.replace("Energy was not measured", "")
    assert "Throughput" not in text


def test_a_comparisons_json_has_the_same_numbers() -> None:
    found = compared(run_of(MEASURED), run_of(NONE, 2))
    one, other = json.loads(report.compare_text.FORMATS["json"](found))["measured"][:2]
    energy = found.measured[0].energy
    assert isinstance(energy, EnergyAmount)
    assert one["energy"] == codec.encode(energy)
    assert one["throughput"][0]["streams"] == 4
    assert other["energy"] == NONE.watts


def bench_of(run: Run) -> Bench:
    result = run.results["openvino"]
    assert isinstance(result, Measured)
    timed = result.timed()
    known = {name: amounts.of(latency) for name, latency in timed.items()}
    plan = BenchPlan(3, 1.0, (1,))
    return Bench("x", tuple(timed), (), plan, 1.0, timed, (), result.machine, {"openvino": "1.2"}, None, known)


def test_a_bench_has_them_too() -> None:
    text = bench_text.render(bench_of(run_of(MEASURED)))
    assert re.search(r"network +mJ \(95 %\) +W +idle W\n", text)
    assert "Energy by the board's rail VDD_IN" in text
    assert re.search(r"int8 +8 +4 +1,000 \(985 to 1,015\) +1\.000\n", text)
    assert max(map(len, text.splitlines())) <= 80
    without = bench_text.render(bench_of(run_of(NONE)))
    assert without.count(NOT_MEASURED) == 1
    assert "mJ" not in without
