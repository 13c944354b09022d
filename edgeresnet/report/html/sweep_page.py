"""The page of a sweep: the front, a chart of each pair of objectives, and every trial with its values."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import sweep_text
from . import plot
from .element import Child, Markup, el, name
from .figure import mark, table
from .page import document
from .scale import Scale, around

if TYPE_CHECKING:
    from ...sweeps.document import Point, SweepReport, Value

_HIGH = 260
_PAIRS = 6  # charts at most
# The class of the style that each kind of point has, and its words.
_KINDS = {
    "front": ("v-int8", "on the front"),
    "beaten": ("v-fp32", "beaten"),
    "infeasible": ("v-pruned other", "breaks a promise"),
}


def render(report: SweepReport) -> str:
    """Return the page."""
    sections: list[tuple[str, Child]] = [
        ("The front", _front(report)),
        ("Objectives", _charts(report)),
        ("Every trial", _trials(report)),
        ("Failures", _failures(report)),
        ("Space", _space(report)),
    ]
    parts = [el("section", el("h2", title), inside, class_="part") for title, inside in sections if inside]
    footer = el("footer", el("p", f"Sweep {report.digest[:24]}. This page loads nothing from any other place."))
    return document(f"Sweep: {report.title}", [_head(report), el("main", parts), footer])


def _head(report: SweepReport) -> Markup:
    goals = ", ".join(map(str, report.objectives))
    return el(
        "header",
        el("p", el("span", "edgeresnet", class_="brand"), class_="top"),
        el("h1", name(report.title)),
        el("p", name(f"Objectives: {goals}."), class_="meaning"),
        el("p", name(sweep_text.counts(report)), class_="quiet"),
    )


def _front(report: SweepReport) -> Child:
    if not report.best:
        return el("p", "No trial is feasible: there is no front.")
    words = (
        "No other trial is shown to beat these. One beats another if no measured value is worse and the 95 % "
        "intervals of one objective at least lie apart."
    )
    return [el("p", words, class_="quiet"), _table(report, report.best), _recipes(report)]


def _recipes(report: SweepReport) -> Markup:
    lines = [f"edgeresnet run {point.recipe}" for point in report.best if point.recipe]
    return el("div", el("pre", "\n".join(lines)), class_="wide")


def _trials(report: SweepReport) -> Child:
    known = [point for point in report.points if point.outcome.values]
    return _table(report, known) if known else None


def _table(report: SweepReport, points: Sequence[Point]) -> Markup:
    goals = [sweep_text.title(goal, report.objectives) for goal in report.objectives]
    columns = ["trial", *goals, *sweep_text.short_keys(list(report.space)), "run", "promises", ""]
    return table(columns, [_row(report, point) for point in points])


def _row(report: SweepReport, point: Point) -> list[Child]:
    about = point.outcome
    values = [sweep_text.cell(value) for value in about.values]
    keys = sweep_text.value_cells(report, point)
    return [str(point.number), *values, *keys, about.run, about.verdict or "", _KINDS[_kind(report, point)][1]]


def _kind(report: SweepReport, point: Point) -> str:
    if point.outcome.state == "infeasible":
        return "infeasible"
    return "front" if point.number in report.front else "beaten"


def _failures(report: SweepReport) -> Child:
    lines = [
        f"{word}, {reason}."
        for word, state in (("Not feasible", "infeasible"), ("Failed", "failed"))
        for reason in sweep_text.reasons(report.of_state(state))  # type: ignore[arg-type]
    ]
    return el("ul", [el("li", name(line)) for line in lines], class_="notes") if lines else None


def _space(report: SweepReport) -> Markup:
    return table(("key", "values"), [[key, sweep_text.axis_words(axis)] for key, axis in report.space.items()])


def _charts(report: SweepReport) -> Child:
    points = [point for point in report.points if point.outcome.values]
    pairs = list(itertools.combinations(range(len(report.objectives)), 2))[:_PAIRS]
    return [_chart(report, points, up, across) for up, across in pairs] if points and pairs else None


def _chart(report: SweepReport, points: Sequence[Point], up: int, across: int) -> Markup:
    """Draw two objectives: each trial with the intervals of both."""
    rights, ups = _scale(points, across), _scale(points, up)
    titles = [sweep_text.title(report.objectives[each], report.objectives) for each in (across, up)]
    better = [f"{each.metric}: {'more' if each.direction == 'max' else 'less'} is better" for each in report.objectives]
    words = f"{better[up]}; {better[across]}. Whiskers are 95 % intervals."
    ordered = sorted(points, key=lambda point: _kind(report, point) == "front")  # the front is drawn on top
    marks = [_mark(report, point, (rights, across), (ups, up)) for point in ordered]
    return el(
        "figure",
        el("h3", f"{titles[1]} against {titles[0]}"),
        el("p", words, class_="explains"),
        _legend(report, points),
        el("div", plot.axes(rights, ups, _HIGH, (titles[0], titles[1]), marks), class_="drawn"),
        class_="chart",
        aria_label=f"{titles[1]} against {titles[0]}",
    )


def _mark(report: SweepReport, point: Point, across: tuple[Scale, int], up: tuple[Scale, int]) -> Markup:
    (rights, first), (ups, second) = across, up
    a, b = point.outcome.values[first], point.outcome.values[second]
    x, y = rights.across(a.value), plot.down(ups, b.value, _HIGH)
    low, high = _ends(a)
    left, right = rights.across(low), rights.across(high)
    bottom, top = (plot.down(ups, end, _HIGH) for end in _ends(b))
    class_, kind = _KINDS[_kind(report, point)]
    words = f"trial {point.number}, {kind}: {sweep_text.cell(a)}; {sweep_text.cell(b)}"
    return mark(
        words,
        el("circle", cx=x, cy=y, r=12, class_="hit"),
        el("line", x1=left, x2=right, y1=y, y2=y, class_="whisker"),
        el("line", x1=x, x2=x, y1=bottom, y2=top, class_="whisker"),
        plot.shape("circle", x, y),
        class_=class_,
    )


def _legend(report: SweepReport, points: Sequence[Point]) -> Markup:
    kinds = [kind for kind in _KINDS if any(_kind(report, point) == kind for point in points)]
    items = [
        el("li", el("svg", el("path", d=plot.SHAPES["circle"], class_="value"), viewBox="-8 -8 16 16", width=14,
                    height=14), _KINDS[kind][1], class_=_KINDS[kind][0])
        for kind in kinds
    ]  # fmt: skip
    return el("ul", items, class_="legend", aria_hidden="true")


def _scale(points: Sequence[Point], index: int) -> Scale:
    return around([end for point in points for end in _ends(point.outcome.values[index])], room=0.08)


def _ends(value: Value) -> tuple[float, float]:
    """Return the ends that are drawn: of an interval that is open, the value itself."""
    low, high = (value.value if end is None else end for end in (value.low, value.high))
    return low, high
