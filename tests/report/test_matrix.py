"""Devices next to one another: in every report of a run that devices measured, and in no other."""

from __future__ import annotations

from typing import Any

import pytest

from edgeresnet import report
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
    columns, rows = summary.of(on_devices).matrix_table
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
    assert len(shown.splitlines()) <= terminal.LONGEST


def test_a_run_without_devices_has_none() -> None:
    assert not summary.of(runs.run()).matrix_table.rows
