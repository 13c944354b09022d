"""What a sweep found, on a terminal: the front with its intervals, the values of each point, and what failed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import text
from ..sweeps.objectives import METRICS
from . import tables

if TYPE_CHECKING:
    from ..sweeps.document import Objective, Point, SweepReport, Value

_REASONS = 3  # of failures, and of promises that are not kept


def render(report: SweepReport, page: str = "", *, width: int = text.WIDTH) -> str:
    """Return what a sweep found, in lines of at most `width` columns where its names allow it."""
    parts = [_front(report, width), _values(report, width), _counts(report, width), _files(report, page, width)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def title(objective: Objective, objectives: Sequence[Objective]) -> str:
    """Return the head of an objective's column: its target only where there are several."""
    several = len({each.target for each in objectives}) > 1
    unit = METRICS[objective.metric].unit
    name = (
        objective.metric if not unit or objective.metric.endswith(f"_{unit.lower()}") else f"{objective.metric} {unit}"
    )
    return " ".join(filter(None, (name, objective.subject, objective.target if several else "")))


def number(value: float) -> str:
    """Return a value with four digits at least, and no exponent."""
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.2f}" if abs(value) >= 10 else f"{value:#.4g}"


def cell(value: Value) -> str:
    """Return a value with its interval: "96.10 (94.20 to 97.40)"; an exact one alone."""
    if value.is_exact:
        return number(value.value)
    if value.low is None and value.high is None:
        return f"{number(value.value)} (no interval)"
    low, high = ("…" if end is None else number(end) for end in (value.low, value.high))
    return f"{number(value.value)} ({low} to {high})"


def value_cells(report: SweepReport, point: Point) -> list[str]:
    """Return what a point has for each key of the space."""
    return [_shown(point.values[key]) for key in report.space]


def axis_words(axis: object) -> str:
    """Return the values of a key of the space: "0.3 to 0.9 in steps of 0.1", or a list."""
    if isinstance(axis, Mapping):
        step = f" in steps of {axis['step']}" if axis.get("step") else ""
        return f"{axis['low']} to {axis['high']}{step}{', by its logarithm' if axis.get('log') else ''}"
    assert isinstance(axis, (list, tuple))
    return ", ".join(map(_shown, axis))


def short_keys(keys: Sequence[str]) -> list[str]:
    """Return each key without its sections, where that is clear: `macs` for `prune.macs`."""
    last = Counter(key.rpartition(".")[2] for key in keys)
    return [key.rpartition(".")[2] if last[key.rpartition(".")[2]] == 1 else key for key in keys]


def point_line(report_objectives: Sequence[Objective], point: Point) -> str:
    """Return one trial's end as a line of progress."""
    about = point.outcome
    found = ", ".join(
        f"{title(goal, report_objectives)} {number(value.value)}"
        for goal, value in zip(report_objectives, about.values, strict=False)
    )
    words = {
        "feasible": found,
        "infeasible": f"{found}; not feasible: {about.reason}",
        "failed": f"failed: {about.reason}",
    }
    stages = f"{about.made} stages made, {about.reused} reused, {about.seconds:.0f} s" if about.run else ""
    return "; ".join(filter(None, (words[about.state], stages)))


def reasons(points: Sequence[Point]) -> list[str]:
    """Return why these points failed or are not feasible: each reason once, the most common first."""
    found = Counter(point.outcome.reason for point in points)
    lines = []
    for reason, count in found.most_common(_REASONS):
        numbers = [str(point.number) for point in points if point.outcome.reason == reason]
        shown = ", ".join(numbers[:5]) + (", …" if count > len(numbers[:5]) else "")
        lines.append(f"trial {shown}: {reason}" if count == 1 else f"trials {shown}: {reason}")
    more = len(found) - _REASONS
    return lines + ([f"and {more} more reasons"] if more > 0 else [])


def counts(report: SweepReport) -> str:
    """Return how many trials there were, and what became of them."""
    words = {"feasible": "feasible", "infeasible": "not feasible", "failed": "failed"}
    kinds = [f"{len(found)} {words[state]}" for state in words if (found := report.of_state(state))]  # type: ignore[arg-type]
    made = sum(point.outcome.made for point in report.points)
    reused = sum(point.outcome.reused for point in report.points)
    return (
        f"{len(report.points)} of {report.trials} trials: {', '.join(kinds) or 'none'}; {report.ended}. "
        f"Stages: {made} made, {reused} reused."
    )


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _front(report: SweepReport, width: int) -> list[str]:
    best = report.best
    if not best:
        return ["No trial is feasible: there is no front."]
    count = "1 trial" if len(best) == 1 else f"{len(best)} trials"
    first = f"The front: {count} that no other trial is shown to beat"
    head = ["trial", *(title(goal, report.objectives) for goal in report.objectives), "promises"]
    rows = [[f"{point.number}", *map(cell, point.outcome.values), point.outcome.verdict or ""] for point in best]
    if tables.measured(head, rows) > width:
        first = f"{first} (the page has the intervals)"
        rows = [[row[0], *(number(each.value) for each in point.outcome.values), row[-1]]
                for row, point in zip(rows, best, strict=True)]  # fmt: skip
    return [text.wrapped(first, width=width), "", *_fitted(head, rows, width)]


def _values(report: SweepReport, width: int) -> list[str]:
    keys = list(report.space)
    rows = [[f"{point.number}", *value_cells(report, point)] for point in report.best]
    return _fitted(["trial", *short_keys(keys)], rows, width) if rows else []


def _fitted(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return a table, or a paragraph for each row where a table would be too wide."""
    if tables.measured(head, rows) <= width:
        return [tables.columns(head, rows, width=width)]
    lines = [f"{row[0]}: {', '.join(map(' '.join, zip(head[1:], row[1:], strict=True)))}" for row in rows]
    return [text.wrapped(line, width=width) for line in lines]


def _counts(report: SweepReport, width: int) -> list[str]:
    lines = [text.wrapped(counts(report), width=width)]
    for word, state in (("not feasible", "infeasible"), ("failed", "failed")):
        found = report.of_state(state)  # type: ignore[arg-type]
        lines += [text.wrapped(f"{word}, {each}", width=width) for each in reasons(found)]
    return lines


def _files(report: SweepReport, page: str, width: int) -> list[str]:
    named = [point.recipe for point in report.best if point.recipe]
    folder = f"recipes: {Path(named[0]).parent}/" if named else ""
    return list(filter(None, (folder, f"page:    {page}" if page else "")))
