"""A gate's report: for a terminal, as Markdown, and as the lines by which a workflow marks a merge request.

A gate is asked at every change and should answer at once: a format is loaded when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..errors import EdgeresnetError
from ..portable import judging
from ..portable.result import Promise, Verdict, Word
from ..runs import GateReport
from ..text import as_sentence, wrapped
from . import verdicts

_MEANING: Mapping[Word, str] = {
    judging.KEPT: "every margin and every promise is kept",
    judging.UNDECIDED: "no margin is shown to be broken, but not all are shown to be kept",
    judging.NOT_MEASURED: "something was not measured or cannot be compared, so this is not a pass",
    judging.BROKEN: "a margin or a promise of the recipe is broken",
}


def for_terminal(report: GateReport) -> str:
    """Render verdicts, notes and what they mean, for a terminal."""
    lines = [line for one in report.verdicts for line in verdicts.lines(one)]
    parts = ["\n".join(lines), *(wrapped(f"note: {note}") for note in report.notes)]
    parts.append(wrapped(f"gate {report.verdict}: {_meaning(report)}"))
    return "\n\n".join(part for part in parts if part) + "\n"


def for_update(report: GateReport) -> str:
    """Render what a new baseline changes, for a terminal: the comparison with the one that it replaces."""
    own = [one for one in report.verdicts if one.by == "baseline"]
    failed = [f"{one.target} {one.promise.name} {one.verdict}" for one in own if _is_red(one, report)]
    end = "This run fails no margin of the old baseline."
    if failed:
        end = f"The old baseline's margins would have failed this run: {', '.join(failed)}."
    lines = [line for one in own for line in verdicts.lines(one)]
    parts = ["\n".join(lines), *(wrapped(f"note: {note}") for note in report.notes), wrapped(end)]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_markdown(report: GateReport) -> str:
    """Render a page for a merge request or a job's summary."""
    from . import markdown

    run, before, digest = map(markdown.code, (report.run, report.baseline.run, report.baseline.digest[:12]))
    parts = [
        f"# Gate: {report.verdict}",
        as_sentence(_meaning(report)),
        markdown.table(verdicts.COLUMNS, verdicts.rows(report.verdicts)),
        "\n".join(f"- {markdown.cell(note)}" for note in report.notes),
        f"Run {run} compared with the baseline of run {before}, digest {digest}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def marks(report: GateReport) -> str:
    """Render GitHub's workflow commands: they mark the baseline's file with every verdict that is not KEPT."""
    return "".join(f"{line}\n" for line in _marks(report))


def as_junit(report: GateReport) -> str:
    """Render JUnit XML."""
    from . import junit

    return junit.of_verdicts(report.verdicts, undecided=report.undecided)


def as_json(report: GateReport) -> str:
    """Render one JSON document."""
    from . import json_report

    return json_report.render(report)


def refusal(problem: EdgeresnetError, baseline: Path) -> dict[str, str]:
    """Render what each format shows where nothing was judged: that is not a pass, and never silent."""
    from . import junit, markdown

    reason = f"{problem.message} ({problem.hint})"
    case = Verdict("gate", Promise("judged", 0), judging.NOT_MEASURED, reason, by="baseline")
    head = f"file={_property(str(baseline))},title={_property('edgeresnet gate: refused')}"
    return {
        "md": f"# Gate: refused\n\n{markdown.cell(reason)}\n",
        "github": f"::error {head}::{_message(reason)}\n",
        "junit": junit.of_verdicts([case], undecided="warn"),
    }


def _marks(report: GateReport) -> Iterator[str]:
    for one in report.verdicts:
        if one.verdict != judging.KEPT:
            title = _property(f"{one.target} {one.promise.name}: {one.verdict}")
            file = _property(report.baseline.path)
            level = "error" if _is_red(one, report) else "warning"
            yield f"::{level} file={file},title={title}::{_message(one.reason)}"
    yield f"::notice title=edgeresnet gate::{_message(report.verdict + ': ' + _meaning(report))}"


def _is_red(one: Verdict, report: GateReport) -> bool:
    is_red = one.verdict == judging.UNDECIDED and report.undecided == "fail"
    return is_red or one.verdict in (judging.BROKEN, judging.NOT_MEASURED)


def _meaning(report: GateReport) -> str:
    is_red = report.verdict == judging.UNDECIDED and report.undecided == "fail"
    return _MEANING[report.verdict] + ("; `undecided: fail` makes this a failure" if is_red else "")


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


FORMATS: Mapping[str, Callable[[GateReport], str]] = {
    "terminal": for_terminal,
    "md": as_markdown,
    "github": marks,
    "junit": as_junit,
    "json": as_json,
}
