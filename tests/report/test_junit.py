"""Verdicts as JUnit XML: whatever is no pass is none there, and names stay text."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from edgeresnet import report
from edgeresnet.report import junit

from .test_report import run_document

pytestmark = pytest.mark.unit


def parsed(document: dict[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(junit.render(document))


def one(verdict: str, **changes: Any) -> dict[str, Any]:
    told = {"target": "openvino", "promise": "max_drop_pp", "verdict": verdict, "reason": "0.50 points lost"}
    return {"undecided": "warn", **run_document(verdicts=[told | changes])}


@pytest.mark.parametrize(
    ("verdict", "undecided", "kind"),
    [
        ("KEPT", "warn", "system-out"),
        ("BROKEN", "warn", "failure"),
        ("NOT_MEASURED", "warn", "error"),
        ("UNDECIDED", "warn", "skipped"),
        ("UNDECIDED", "fail", "error"),
        ("DEFERRED", "warn", "skipped"),
    ],
)
def test_a_verdict_is_a_test(verdict: str, undecided: str, kind: str) -> None:
    root = parsed({**one(verdict), "undecided": undecided})
    case = root.find("testsuite/testcase[@name='max_drop_pp']")
    assert case is not None
    assert [child.tag for child in case] == [kind]
    assert case.get("classname") == "edgeresnet.openvino"
    counts = {word: int(root.get(word, "")) for word in ("tests", "failures", "errors", "skipped")}
    wanted = {"tests": 2, "failures": kind == "failure", "errors": kind == "error", "skipped": kind == "skipped"}
    assert counts == wanted, "the other test is that it was measured at all"


def test_a_target_that_was_not_measured_and_an_early_end_are_errors() -> None:
    document = run_document(
        results={"tensorrt": {"target": "tensorrt", "reason": "no driver", "hint": ""}},
        verdicts=[],
        undecided="warn",
        problem={"message": "the disk is full", "hint": ""},
    )
    said = [error.get("message") for error in parsed(document).iter("error")]
    assert said == ["NOT_MEASURED: no driver", "NOT_MEASURED: the run ended early: the disk is full"]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"quoted" & so on', "🦊", "שלום", "a\x00b\x1bc"])
def test_odd_names_stay_text(name: str) -> None:
    root = parsed(one("BROKEN", promise=f"min_recall_pct {name}", reason=name))
    said = root.find("testsuite/testcase")
    assert said is not None
    assert said.get("name") == f"min_recall_pct {name}".translate({0: "�", 27: "�"})


def test_it_is_a_format_of_the_report() -> None:
    assert report.FORMATS["junit"](one("KEPT")).startswith("<?xml")
