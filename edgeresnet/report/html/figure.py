"""What every chart has around it: what it shows, the digests that it came from, and its numbers as a table beneath.

A chart's marks are what can be hovered, and reached by the arrow keys: each shows in words what it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...runs import Run, StepRecord
from .element import Child, Markup, el, name


class Origin(NamedTuple):
    """The step that measured what is drawn, and the digest of its artifact."""

    step: str
    digest: str


def step_origin(step: StepRecord) -> Origin:
    """Return a step as the origin of what is drawn."""
    return Origin(step.id, step.digest or "")


def verify_origin(run: Run, target: str) -> Origin:
    """Return the step that measured a target."""
    step = f"verify:{target}"
    return next((step_origin(each) for each in run.steps if each.id == step), Origin(step, ""))


def figure(
    title: str,
    caption: str,
    drawn: Child,
    origins: Iterable[Origin],
    table_of: tuple[Sequence[str], Sequence[Sequence[Child]]],
    legend: Child = None,
    *,
    headed: bool = True,
) -> Markup:
    """Return a chart. `caption` explains how to read it. `headed=False`: its title stands above it already."""
    columns, rows = table_of
    return el(
        "figure",
        el("h3", name(title)) if headed else None,
        el("p", name(caption), class_="explains"),
        legend,
        el("div", drawn, class_="drawn"),
        el("figcaption", "From ", between(", ", (digest(each) for each in origins))),
        el("details", el("summary", "The numbers"), table(columns, rows)),
        class_="chart",
        aria_label=title,
    )


def digest(origin: Origin) -> list[Child]:
    if not origin.digest:
        return [f"{origin.step} (not made)"]
    return [f"{origin.step} ", el("code", origin.digest[:12], title=origin.digest)]


def table(columns: Sequence[str], rows: Sequence[Sequence[Child]]) -> Markup:
    """Return a table, words to the left, numbers to the right. Wider than the page, it can be moved, by keys too."""
    right = [_is_number(row[index] for row in rows) for index in range(len(columns))]
    head = el("tr", [el("th", each, scope="col", class_=_side(to)) for each, to in zip(columns, right, strict=True)])
    body = [
        el("tr", [el("td", _cell(each), class_=_side(to)) for each, to in zip(row, right, strict=True)]) for row in rows
    ]
    return el("div", el("table", el("thead", head), el("tbody", body)), class_="wide", tabindex=0, role="group",
              aria_label="a table")  # fmt: skip


def mark(words: str, *shapes: Child, class_: str = "") -> Markup:
    """Return one thing that is drawn, and the words that it shows when it is pointed at."""
    return el("g", el("title", words), *shapes, class_=f"mark {class_}".strip(), role="img", tabindex=0)


def between(separator: str, children: Iterable[Child]) -> list[Child]:
    found: list[Child] = []
    for child in children:
        found += [separator, child] if found else [child]
    return found


def _cell(child: Child) -> Child:
    return name(child) if isinstance(child, str) else child


def _is_number(cells: Iterable[Child]) -> bool:
    texts = [cell for cell in cells if cell != ""]
    return bool(texts) and all(isinstance(cell, str) and cell[:1] in "0123456789+-" for cell in texts)


def _side(right: bool) -> str | None:
    return "number" if right else None
