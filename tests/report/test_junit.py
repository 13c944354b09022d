"""Verdicts as JUnit XML: what does not pass does not pass there either, and names stay text."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from edgeresnet import report
from edgeresnet.report import junit
from edgeresnet.runs import Run

from . import runs
from .test_report import run_document

pytestmark = pytest.mark.unit


def parsed(run: Run) -> ElementTree.Element:
    return ElementTree.fromstring(junit.render(run))


def one(verdict: str, undecided: str = "warn", **changes: Any) -> Run:
    return run_document(undecided=undecided, verdicts=[runs.verdict(verdict, **changes)])


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
    root = parsed(one(verdict, undecided))
    case = root.find("testsuite/testcase[@name='max_drop_pp']")
    assert case is not None
    assert [child.tag for child in case] == [kind]
    assert case.get("classname") == "edgeresnet.openvino"
    counts = {word: int(root.get(word, "")) for word in ("tests", "failures", "errors", "skipped")}
    wanted = {"tests": 2, "failures": kind == "failure", "errors": kind == "error", "skipped": kind == "skipped"}
    assert counts == wanted, "the other test is that it was measured at all"


def test_a_target_that_was_not_measured_and_an_early_end_are_errors() -> None:
    run = run_document(
        results={"tensorrt": runs.not_measured("tensorrt", "no driver")},
        verdicts=[],
        problem={"message": "the disk is full", "hint": ""},
    )
    assert [error.get("message") for error in parsed(run).iter("error")] == [
        "NOT_MEASURED: no driver",
        "NOT_MEASURED: the run ended early: the disk is full",
    ]


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", '"quoted" & so on', "🦊", "שלום", "a\x00b\x1bc"])
def test_odd_names_stay_text(name: str) -> None:
    root = parsed(one("BROKEN", kind="min_recall_pct", subject=name, reason=name))
    test = root.find("testsuite/testcase")
    assert test is not None
    assert test.get("name") == f"min_recall_pct {name}".translate({0: "�", 27: "�"})


def test_verdicts_of_anything_are_tests() -> None:
    verdicts = run_document().verdicts
    root = ElementTree.fromstring(junit.of_verdicts(verdicts, undecided="fail"))
    assert [(suite.get("name"), suite.get("errors")) for suite in root] == [("openvino", "1")]


def test_it_is_a_format_of_the_report() -> None:
    assert report.FORMATS["junit"](one("KEPT")).startswith("<?xml")
