"""What changed of the probabilities, in every report of a run: tables, the last screen, and where nothing is known."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from edgeresnet import report, text, tracking
from edgeresnet.portable import judging
from edgeresnet.portable.result import Promise
from edgeresnet.report import compared
from edgeresnet.runs import Run

from . import runs
from .test_last_screen import screen, synthetic

pytestmark = pytest.mark.unit

PROMISE = Promise("max_confidence_change", 0.01)


def sure(threshold: float | None = 0.6, fall: float = 0.02, **changes: Any) -> Run:
    return runs.run(results={"openvino": runs.with_probabilities(runs.result(), threshold, fall)}, **changes)


def notes(run: Run) -> str:
    return report.lines.joined(report.notes_text.lines(run))


def test_the_notes_have_three_tables_of_eighty_columns() -> None:
    run = sure()
    found = run.measured[0].confidence["int8"]
    shown = notes(run)
    assert max(map(text.width, shown.splitlines())) <= text.WIDTH
    assert re.search(r"^target +as +mean change \(95 %\) +99th percentile \(95 %\)$", shown, re.MULTILINE)
    assert f"openvino  int8  {found.mean_change.value:.4f} ({found.mean_change.low:.4f} to " in shown
    assert found.crossings is not None
    assert found.calibration is not None
    assert re.search(rf"openvino +int8 +0\.6 +{found.crossings.crossed} of 300 +{found.crossings.fell} +0 ", shown)
    errors = rf"{found.calibration.before:.4f} +{found.calibration.now:.4f}"
    assert re.search(rf"openvino +int8 +{errors} +-0\.0\d+ to \+0\.0\d+$", shown, re.MULTILINE)
    assert "to ?)" in shown, "300 images do not bound the 99th percentile"


def test_without_a_threshold_or_labels_these_tables_are_not_there() -> None:
    shown = notes(sure(threshold=None))
    assert "mean change" in shown
    assert "threshold" not in shown
    made = runs.result(labels=None)
    for each in made["variants"].values():
        each["accuracy"] = {"images": 300, "agree": 297, "sqnr_db": 20.0}
    shown = notes(runs.run(results={"openvino": runs.with_probabilities(made)}, verdicts=[]))
    assert "mean change" in shown
    assert "calibration" not in shown


@pytest.mark.parametrize("kind", ["terminal", "md", "html", "json"])
def test_a_run_of_an_older_edgeresnet_is_shown_without_them(kind: str) -> None:
    shown = report.FORMATS[kind](runs.run())
    assert "top probability" not in shown.lower()
    assert "probabilities" not in shown


def test_the_page_and_the_markdown_have_every_number() -> None:
    run = sure()
    found = run.measured[0].confidence["int8"]
    assert found.crossings is not None
    page, written = report.FORMATS["html"](run), report.FORMATS["md"](run)
    mean = f"{found.mean_change.value:.4f} ({found.mean_change.low:.4f} to {found.mean_change.high:.4f})"
    for shown in (page, written):
        assert mean in shown
        for words in ("Top probability", "Threshold", "Calibration", f"{found.crossings.crossed} of 300"):
            assert words in shown
    assert "## Top probability\n\nChange of the probability of FP32's answer" in written
    assert 'id="probabilities"' in page


def test_the_last_screen_has_one_line_more_with_a_threshold_and_none_without() -> None:
    before, after = screen(runs.run()).splitlines(), screen(sure()).splitlines()
    (line,) = [each for each in after if each not in before]
    found = sure().measured[0].confidence["int8"].crossings
    assert found is not None
    assert line.startswith(
        f"Threshold 0.6, openvino int8: {found.crossed} of 300 images cross it ({found.fell} down, 0 up"
    )
    assert len(after) == len(before) + 1
    assert screen(sure(threshold=None)).splitlines() == before


def test_a_change_that_is_large_is_on_the_last_screen_though_nothing_is_asked() -> None:
    shown = screen(sure(threshold=None, fall=0.2))
    assert "Top probability of int8 on openvino changes by 0.20 on average: see the notes.\n" in shown


def test_of_many_targets_the_line_is_of_the_worst_and_the_screen_stays_short() -> None:
    run = synthetic(6, 4, 8)
    results = {
        name: runs.with_probabilities(runs.as_json(run)["results"][name], 0.6, 0.01 * number)
        for number, name in enumerate(run.results)
    }
    shown = screen(runs.decoded({**runs.as_json(run), "results": results})).splitlines()
    assert len(shown) <= report.terminal.LONGEST
    assert sum(line.startswith("Threshold 0.6, and-one-more int8: ") for line in shown) == 1


def test_the_promise_is_a_line_a_test_and_a_row() -> None:
    results = sure().results
    verdicts = judging.judge([PROMISE], "openvino", results["openvino"])
    run = sure(verdicts=[runs.codec.encode(each) for each in verdicts], verdict="BROKEN")
    (found,) = verdicts
    line = f"  ✗ max_confidence_change 0.01: {found.value:.4f} mean change ({found.low:.4f} to {found.high:.4f})\n"
    assert line in screen(run)
    case = ElementTree.fromstring(report.FORMATS["junit"](run)).find(
        ".//testcase[@name='max_confidence_change']/failure"
    )
    assert case is not None
    assert "mean change of the top probability" in case.get("message", "")
    assert "max\\_confidence\\_change" in report.FORMATS["md"](run) or "max_confidence_change" in report.FORMATS["md"](
        run
    )
    assert "max_confidence_change" in report.FORMATS["html"](run)


def test_compared_runs_stand_next_to_each_other() -> None:
    document = compared.of([sure(fall=0.0), sure(threshold=0.7, fall=0.05), runs.run()])
    rows = [each for each in document.measured if each.variant == "int8"]
    assert [each.mean_change is not None for each in rows] == [True, True, False]
    assert [each.threshold for each in rows] == [0.6, 0.7, None]
    shown = report.compare_text.terminal_text(document)
    assert "Top probability against FP32\n" in shown
    assert max(map(text.width, shown.splitlines())) <= text.WIDTH
    assert "(0.6 in run A, 0.7 in run B)" in " ".join(shown.split())
    assert "Top probability" not in report.compare_text.terminal_text(compared.of([runs.run(), runs.run()]))


def test_a_tracking_server_gets_the_numbers_with_their_intervals() -> None:
    run = sure()
    found, about = tracking.metrics(run), run.measured[0].confidence["int8"]
    assert about.crossings is not None
    assert about.calibration is not None
    assert found["openvino/int8/mean_change"] == about.mean_change.value
    assert found["openvino/int8/mean_change_high"] == about.mean_change.high
    assert "openvino/int8/p99_change_high" not in found, "300 images do not bound it"
    assert found["openvino/int8/fell_below_threshold"] == about.crossings.fell
    assert found["openvino/int8/calibration_error_change_low"] == about.calibration.change.low
    assert not any("mean_change" in key for key in tracking.metrics(runs.run()))
