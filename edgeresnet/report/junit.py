"""Verdicts as JUnit XML, which every CI shows: a test per promise, of a run or of a gate.

BROKEN is a failure, what was not measured an error: neither is a pass. What waits for a device, or is undecided where a
recipe only warns of that, is skipped, with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from xml.etree import ElementTree

from ..portable import judging
from ..portable.result import Measured, Verdict, Word
from ..runs import Run, Undecided

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML cannot hold in any way
_KIND: Mapping[Word, str] = {
    "BROKEN": "failure",
    "NOT_MEASURED": "error",
    "UNDECIDED": "skipped",
    "DEFERRED": "skipped",
}


class Case(NamedTuple):
    """One test of a suite: a promise on a target, or that something was done at all."""

    suite: str
    name: str
    verdict: Word
    reason: str


def render(run: Run) -> str:
    """Return the verdicts of a run, whether each target was measured, and whether the run is complete."""
    return of_cases([*_cases_of(run.verdicts), *_measured(run)], undecided=run.undecided)


def of_verdicts(verdicts: Iterable[Verdict], *, undecided: Undecided) -> str:
    """Return any verdicts as tests, a suite for each target."""
    return of_cases(_cases_of(verdicts), undecided=undecided)


def of_cases(cases: Iterable[Case], *, undecided: Undecided) -> str:
    """Return any tests. `undecided: fail` makes an error of each that is undecided."""
    root = ElementTree.Element("testsuites", name="edgeresnet")
    suites: dict[str, ElementTree.Element] = {}
    for case in cases:
        suite = suites.get(case.suite)
        if suite is None:
            suite = suites[case.suite] = ElementTree.SubElement(root, "testsuite", name=_text(case.suite))
        _add_case(suite, case, undecided)
    for element in (*suites.values(), root):
        tests = list(element.iter("testcase"))
        element.set("tests", str(len(tests)))
        for kind, word in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            element.set(word, str(sum(test.find(kind) is not None for test in tests)))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _add_case(suite: ElementTree.Element, case: Case, undecided: Undecided) -> None:
    classname = _text(f"edgeresnet.{case.suite}")
    test = ElementTree.SubElement(suite, "testcase", classname=classname, name=_text(case.name))
    kind = _KIND.get(case.verdict)
    if case.verdict == "UNDECIDED" and undecided == "fail":
        kind = "error"
    if kind:
        ElementTree.SubElement(test, kind, message=_text(f"{case.verdict}: {case.reason}"))
    else:
        ElementTree.SubElement(test, "system-out").text = _text(case.reason)


def _cases_of(verdicts: Iterable[Verdict]) -> Iterator[Case]:
    for each in verdicts:
        yield Case(each.target, each.promise.name, each.verdict, each.reason)


def _measured(run: Run) -> Iterator[Case]:
    for target, result in run.results.items():
        reason = "its networks were compiled, evaluated and timed" if isinstance(result, Measured) else result.reason
        yield Case(target, "measured", judging.state_word(result), reason)
    if run.problem:
        yield Case("run", "complete", "NOT_MEASURED", f"the run {run.problem.ended_early}")


def _text(text: str) -> str:
    return _NO_XML.sub("�", text)
