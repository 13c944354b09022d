"""Devices next to one another: in every report of a run that devices measured, and in no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from edgeresnet import report
from edgeresnet.portable.amounts import EnergyAmount
from edgeresnet.report import notes_text, summary, terminal
from edgeresnet.report.lines import joined
from edgeresnet.report.summary.matrix import BEST
from edgeresnet.runs import Run

from . import runs

pytestmark = pytest.mark.unit


@pytest.fixture
def on_devices() -> Run:
    results: dict[str, Any] = {
        "openvino@pc": runs.result("openvino@pc"),
        "openvino@nuc": runs.result("openvino@nuc"),
        "tensorrt@orin": runs.not_measured("tensorrt@orin", "orin cannot be reached: no route to host"),
    }
    return runs.run(results=results, verdicts=[], verdict="NOT_MEASURED")


def test_each_variant_of_each_device_has_a_row(on_devices: Run) -> None:
    columns, rows = summary.of(on_devices).matrix.table
    assert columns[:3] == ["device", "target", "as"]
    assert {row[0] for row in rows} == {"pc", "nuc", "orin"}
    assert rows[-1][-1] == "NOT_MEASURED"
    best = [row for row in rows if row[list(columns).index("best")] == BEST]
    assert best, "a frontier over all of them"
    shown = [row[-1] for row in rows if row[0] == "pc" and row[-1]]
    assert shown == [on_devices.verdict_of("openvino@pc")], "once, with what would ship"


def test_every_report_has_them(on_devices: Run) -> None:
    for text in (
        report.FORMATS["md"](on_devices),
        joined(notes_text.lines(on_devices)),
        report.html.render(on_devices),
    ):
        for words in ("device", "nuc", "best", "NOT_MEASURED"):
            assert words in text
    shown = terminal.render(on_devices)
    assert "device" in shown
    assert "tensorrt@orin: not measured: orin cannot be reached: no route to host" in shown
    assert len(shown.splitlines()) <= terminal.LONGEST


def test_a_run_without_devices_has_none() -> None:
    seen = summary.of(runs.run())
    assert not seen.matrix.rows
    assert not seen.matrix.table.rows
    assert not seen.matrix.sentences


def measured_on(names: Sequence[str], **amounts: Any) -> Run:
    """Return a run of these results. What is not in `amounts` by its name has no energy sensor."""
    results = {name: runs.result(name) for name in names}
    none = runs.Amounts("no sensor")
    return runs.run(
        results={name: runs.with_amounts(each, amounts.get(name, none)) for name, each in results.items()},
        verdicts=[],
        verdict="KEPT",
    )


def test_energy_and_throughput_stand_in_it_with_their_intervals() -> None:
    run = measured_on(["openvino@pc", "tensorrt@orin"], **{"tensorrt@orin": runs.Amounts(9.0, rate=1000)})
    seen = summary.of(run)
    row = dict(zip(*(seen.matrix.table.columns, seen.matrix.table.rows[-1]), strict=True))
    (found,) = (each for each in seen.amounts if (each.target, each.variant) == ("tensorrt@orin", "int8"))
    assert isinstance(found.amounts.energy, EnergyAmount)
    assert row["mJ (95 %)"] == summary.energy_cell(found.amounts.energy)
    assert row["images/s (95 %)"] == "1,000 (985 to 1,015)"
    empty = dict(zip(*(seen.matrix.table.columns, seen.matrix.table.rows[0]), strict=True))
    assert (empty["mJ (95 %)"], empty["images/s (95 %)"]) == ("", ""), "never zero"
    assert seen.matrix.sentences == [
        "tensorrt@orin: images/s with 4 streams × batch 8",
        "openvino@pc: energy was not measured: no sensor",
        "tensorrt@orin: energy by the board's rail VDD_IN",
        "Best: no other row is as fast and as often correct, and better in one of the two",
    ]
    for text in (report.FORMATS["md"](run), report.html.render(run)):
        assert text.count("energy was not measured: no sensor") == 1, "once, for three rows"
        assert text.count("by the board") == 1


@pytest.mark.parametrize("devices", [1, 2, 3, 6])
def test_it_fits_a_terminal_and_the_last_screen_does_not_grow(devices: int) -> None:
    names = [f"onnxruntime@raspberry{number}" for number in range(devices)]
    full = measured_on(names, **dict.fromkeys(names, runs.Amounts(9.0, rate=123_456)))
    shown, without = terminal.render(full), terminal.render(measured_on(names))
    assert len(shown.splitlines()) == len(without.splitlines()) <= terminal.LONGEST
    for text in (shown, joined(notes_text.lines(full))):
        assert max(map(len, text.splitlines())) <= 80
    if devices <= 3:
        assert "mJ" in shown
        assert "123,456" in shown
        assert "mJ" not in without


def test_times_under_emulation_are_marked_and_never_best() -> None:
    """They are half of the real device's here, and each network is as often correct on both."""
    results = {name: runs.result(name) for name in ("onnxruntime@board", "onnxruntime@qemu")}
    results["onnxruntime@qemu"] = runs.emulated(results["onnxruntime@qemu"])
    run = runs.run(results=results, verdicts=[], verdict="KEPT")
    seen = summary.of(run)
    columns, rows = seen.matrix.table
    best = {row[0]: row[list(columns).index("best")] for row in rows if row[list(columns).index("best")]}
    assert best == {"board": BEST}
    points = summary.tradeoff_points(run)
    assert {each.target for each in summary.frontier(points)} == {"onnxruntime@board"}
    assert not summary.frontier(each for each in points if each.is_emulated)
    for text in (terminal.render(run), report.FORMATS["md"](run), joined(notes_text.lines(run))):
        shown = [line for line in text.splitlines() if line.startswith(("qemu", "| qemu", "✓ onnxruntime@qemu"))]
        assert len(shown) >= 3
        assert all("emulated" in line for line in shown)
    assert max(map(len, terminal.render(run).splitlines())) <= 80
    page = report.html.render(run)
    assert page.count("emulated, not drawn") == 3
    for text in (report.FORMATS["md"](run), joined(notes_text.lines(run)), page):
        assert "Emulated: an emulator ran it, so its time is not compared" in " ".join(text.split())
    document = runs.as_json(run)["results"]["onnxruntime@qemu"]["variants"]["int8"]["latency"]["processes"]
    assert all(process["machine"]["emulated"] for process in document)


def test_a_page_draws_no_times_of_an_emulator() -> None:
    run = runs.run(results={"onnxruntime@qemu": runs.emulated(runs.result("onnxruntime@qemu"))}, verdicts=[])
    assert "Accuracy against latency" not in report.html.render(run)
    assert not any(row.is_best for row in summary.of(run).matrix.rows)
