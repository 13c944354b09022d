"""What a sweep found, on a terminal, as a page, and as recipes that run."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgeresnet import recipe
from edgeresnet.portable import codec
from edgeresnet.report import sweep_text
from edgeresnet.report.html import sweep_page
from edgeresnet.sweeps import results
from edgeresnet.sweeps.document import Objective, Outcome, Point, SweepReport, Value

from .fake import SPACE, failed, outcome, sweep_of

pytestmark = pytest.mark.unit

VALUES = {"train.rate": 0.01, "model.arch": "resnet18"}
OUTCOMES = (
    outcome(90, 1.0, 0.2),
    outcome(80, 0.5, 0.2),
    outcome(70, 2.0, 0.2),
    outcome(
        95, 0.1, verdict="BROKEN", state="infeasible", reason="max_drop_pp on onnxruntime is BROKEN: 9 points lost"
    ),
    failed("the network needs more classes"),
)


def reported(folder: Path, outcomes: tuple[Outcome, ...] = OUTCOMES, **changes: Any) -> SweepReport:
    points = [Point(number, VALUES, each) for number, each in enumerate(outcomes, 1)]
    return results.report_of(sweep_of(**changes), points, "all trials are done", folder)


def test_the_front_has_its_intervals_and_what_failed_its_reason(tmp_path: Path) -> None:
    text = sweep_text.render(reported(tmp_path), "page.html")
    assert re.search(r"^ +1 +90\.00 \(89\.80 to 90\.20\) +1\.000 \(0\.8000 to 1\.200\) +KEPT$", text, re.M)
    assert re.search(r"^ +2 +80\.00", text, re.M)
    assert not re.search(r"^ +3 +70\.00", text, re.M), "it is beaten"
    assert (
        "5 of 8 trials: 3 feasible, 1 not feasible, 1 failed; all trials are done. Stages: 8 made, 0 reused."
        in " ".join(text.split())
    )
    assert "not feasible, trial 4: max_drop_pp on onnxruntime is BROKEN" in text
    assert "failed, trial 5: the network needs more classes" in text
    assert "page.html" in text


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_it_fits_80_columns_however_much_there_is(count: int, tmp_path: Path) -> None:
    goals = tuple(Objective("min", "p99", f"tensorrt@device{number}") for number in range(count))
    values = tuple(Value(1234.5678, 1200.5, 1300.25) for _ in range(count))
    space = {f"section{number}.a_long_key": ["a long value", "b"] for number in range(6)}
    point = Point(1, dict.fromkeys(space, "a long value"), Outcome("feasible", values, "KEPT", run="r"), "store/x.yaml")
    report = SweepReport("d", "fake", goals, space, 8, "all trials are done", (point,), (1,))
    lines = sweep_text.render(report, "page.html").splitlines()
    assert max(map(len, lines)) <= 80


def test_without_a_feasible_point_there_is_no_front(tmp_path: Path) -> None:
    report = reported(tmp_path, OUTCOMES[3:])
    assert report.front == ()
    assert sweep_text.render(report).startswith("No trial is feasible")
    assert "there is no front" in sweep_page.render(report)


def test_each_point_of_the_front_has_a_recipe_that_is_valid(tmp_path: Path) -> None:
    report = reported(tmp_path)
    written = sorted((tmp_path / "recipes").iterdir())
    assert [path.name for path in written] == ["trial-001.yaml", "trial-002.yaml"]
    assert [point.recipe for point in report.best] == list(map(str, written))
    assert recipe.load(written[0]) == sweep_of().recipe(VALUES)
    assert "top1 90, p50 1" in written[0].read_text()
    reported(tmp_path, (OUTCOMES[1], outcome(99, 0.1)))
    assert [path.name for path in (tmp_path / "recipes").iterdir()] == ["trial-002.yaml"], "it is not on the front now"


def test_the_document_is_read_back(tmp_path: Path) -> None:
    report = reported(tmp_path)
    stored = json.loads((tmp_path / "sweep.json").read_text())
    assert codec.decode(SweepReport, stored) == codec.decode(SweepReport, codec.encode(report))


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.marks: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "g" and "mark" in (dict(attrs).get("class") or ""):
            self.marks.append(dict(attrs)["class"] or "")
        if tag not in ("meta", "link", "br", "img", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_draws_every_measured_point_and_loads_nothing(tmp_path: Path) -> None:
    hostile = {"train.rate": 0.01, "model.arch": "<script>alert(1)</script>"}
    points = [Point(1, hostile, OUTCOMES[0]), *(Point(n, VALUES, each) for n, each in enumerate(OUTCOMES[1:], 2))]
    page = sweep_page.render(results.report_of(sweep_of(), points, "all trials are done", tmp_path))
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(tags.marks) == 4, "one chart of two objectives, without the trial that failed"
    assert sum("v-int8" in mark for mark in tags.marks) == 2
    assert "<script>alert" not in page
    assert not re.search(r'(?:src|href)="(?!#|data:)', page)
    assert "the network needs more classes" in page


def test_values_are_written_without_exponents() -> None:
    assert [sweep_text.number(each) for each in (0.000123456, 1.0, 12.345, 123456.7)] == [
        "0.0001235", "1.000", "12.35", "123457",
    ]  # fmt: skip
    assert sweep_text.cell(Value(1.0, 0.5, None)) == "1.000 (0.5000 to …)"
    assert sweep_text.short_keys(["a.x", "b.x", "c.y"]) == ["a.x", "b.x", "y"]
    assert sweep_text.axis_words(SPACE["train.rate"].model_dump()) == "0.001 to 0.1, by its logarithm"
