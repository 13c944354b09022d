"""Verdicts as JUnit XML, which every CI shows: a test per promise, of a run or of a gate.

BROKEN is a failure, what was not measured an error: neither is a pass. What waits for a device, or is undecided where a
recipe only warns of that, is skipped, with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from ..portable import judging
from ..text import ended_early

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in no way to be written there
_KIND = {
    judging.BROKEN: "failure",
    judging.NOT_MEASURED: "error",
    judging.UNDECIDED: "skipped",
    judging.DEFERRED: "skipped",
}


def render(document: Mapping[str, Any]) -> str:
    """Of a run as it is stored, or of what a gate found."""
    root = ElementTree.Element("testsuites", name="edgeresnet")
    suites: dict[str, ElementTree.Element] = {}
    for target, name, verdict, reason in _cases(document):
        suite = suites.get(target)
        if suite is None:
            suite = suites[target] = ElementTree.SubElement(root, "testsuite", name=_text(target))
        case = ElementTree.SubElement(suite, "testcase", classname=_text(f"edgeresnet.{target}"), name=_text(name))
        kind = _KIND.get(verdict)
        if verdict == judging.UNDECIDED and document["undecided"] == "fail":
            kind = "error"
        if kind:
            ElementTree.SubElement(case, kind, message=_text(f"{verdict}: {reason}"))
        else:
            ElementTree.SubElement(case, "system-out").text = _text(reason)
    for element in (*suites.values(), root):
        cases = list(element.iter("testcase"))
        element.set("tests", str(len(cases)))
        for kind, word in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            element.set(word, str(sum(case.find(kind) is not None for case in cases)))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _cases(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(target, promise, verdict, reason): all that was promised, and what a run did not get to."""
    for one in document["verdicts"]:
        yield one["target"], one["promise"], one["verdict"], one["reason"]
    for target, result in document.get("results", {}).items():
        if "variants" in result:
            yield target, "measured", judging.KEPT, "its networks were compiled, asked and timed"
        else:
            yield (
                target,
                "measured",
                judging.DEFERRED if result.get("deferred") else judging.NOT_MEASURED,
                result["reason"],
            )
    if document.get("problem"):
        yield "run", "whole", judging.NOT_MEASURED, f"the run {ended_early(document['problem'])}"


def _text(text: str) -> str:
    return _NO_XML.sub("�", text)
