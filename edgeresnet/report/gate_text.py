"""What a gate found, for a terminal, as Markdown, and as the lines by which a workflow marks a merge request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import EdgeresnetError
from ..portable import judging
from . import json_report, junit, markdown, terminal

_MEANING = {
    judging.KEPT: "nothing was lost beyond its margin",
    judging.UNDECIDED: "nothing is shown to be lost, and not everything to be kept",
    judging.NOT_MEASURED: "something was not measured, or cannot be compared: that is no pass",
    judging.BROKEN: "a margin, or a promise of the recipe, is broken",
}
_COLUMNS = ("verdict", "target", "promise", "why")


def render(found: Mapping[str, Any]) -> str:
    verdicts = [
        terminal.wrapped(f"{one['verdict']:12} {one['target']} {one['promise']}: {one['reason']}", 13)
        for one in found["verdicts"]
    ]
    parts = ["\n".join(verdicts), *(terminal.wrapped(f"note: {note}") for note in found["notes"])]
    parts.append(terminal.wrapped(f"gate {found['verdict']}: {_meaning(found)}"))
    return "\n\n".join(part for part in parts if part) + "\n"


def as_markdown(found: Mapping[str, Any]) -> str:
    rows = [(one["verdict"], one["target"], one["promise"], one["reason"]) for one in found["verdicts"]]
    ids = found["run"], found["baseline"]["run"], found["baseline"]["digest"][:12]
    run, held, digest = map(markdown.code, ids)
    parts = [
        f"# Gate: {found['verdict']}",
        f"{_meaning(found)[:1].upper()}{_meaning(found)[1:]}.",
        markdown.table(_COLUMNS, rows),
        "\n".join(f"- {markdown.cell(note)}" for note in found["notes"]),
        f"Run {run} against the baseline of run {held}, digest {digest}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def marks(found: Mapping[str, Any]) -> str:
    """GitHub's workflow commands: shown beside the baseline's file, whatever is not kept."""
    return "".join(f"{line}\n" for line in _marks(found))


def refusal(problem: EdgeresnetError, baseline: Path) -> dict[str, str]:
    """What is told, and how, where nothing was judged: no pass, and never silence."""
    said = f"{problem.message} ({problem.hint})"
    case = {"target": "gate", "promise": "judged", "verdict": judging.NOT_MEASURED, "reason": said}
    head = f"file={_property(str(baseline))},title={_property('edgeresnet gate: refused')}"
    return {
        "md": f"# Gate: refused\n\n{markdown.cell(said)}\n",
        "github": f"::error {head}::{_message(said)}\n",
        "junit": junit.render({"verdicts": [case], "undecided": "warn"}),
    }


def _marks(found: Mapping[str, Any]) -> Iterator[str]:
    for one in found["verdicts"]:
        is_red = one["verdict"] in (judging.BROKEN, judging.NOT_MEASURED)
        is_red = is_red or (one["verdict"] == judging.UNDECIDED and found["undecided"] == "fail")
        if one["verdict"] != judging.KEPT:
            title = _property(f"{one['target']} {one['promise']}: {one['verdict']}")
            file = _property(found["baseline"]["path"])
            yield f"::{'error' if is_red else 'warning'} file={file},title={title}::{_message(one['reason'])}"
    yield f"::notice title=edgeresnet gate::{_message(found['verdict'] + ': ' + _meaning(found))}"


def _meaning(found: Mapping[str, Any]) -> str:
    red = found["verdict"] == judging.UNDECIDED and found["undecided"] == "fail"
    return _MEANING[found["verdict"]] + (", and that is red here: `undecided: fail`" if red else "")


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


FORMATS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "terminal": render,
    "md": as_markdown,
    "github": marks,
    "junit": junit.render,
    "json": json_report.render,
}
