"""What every chart has around it: what it shows, the digests that it came from, and its numbers as a table beneath.

A chart's marks are what can be hovered, and reached by the arrow keys: each says in words what it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .element import Child, Markup, el, name


class Origin(NamedTuple):
    """The step that measured what is drawn, and the digest of what it left."""

    step: str
    digest: str


def figure(
    title: str,
    said: str,
    drawn: Child,
    origins: Iterable[Origin],
    table_of: tuple[Sequence[str], Sequence[Sequence[Child]]],
    legend: Child = None,
    *,
    headed: bool = True,
) -> Markup:
    """`said` is how it is to be read, in a sentence or two. A title that stands above it already is left to that."""
    columns, rows = table_of
    return el(
        "figure",
        el("h3", name(title)) if headed else None,
        el("p", name(said), class_="said"),
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
    """Words to the left, numbers to the right. Wider than the page, it can be moved, by keys too."""
    right = [_is_number(row[index] for row in rows) for index in range(len(columns))]
    head = el("tr", [el("th", each, scope="col", class_=_side(to)) for each, to in zip(columns, right, strict=True)])
    body = [
        el("tr", [el("td", _cell(each), class_=_side(to)) for each, to in zip(row, right, strict=True)]) for row in rows
    ]
    return el("div", el("table", el("thead", head), el("tbody", body)), class_="wide", tabindex=0, role="group",
              aria_label="a table")  # fmt: skip


def mark(said: str, *shapes: Child, class_: str = "") -> Markup:
    """One thing that is drawn, and what it says when it is pointed at."""
    return el("g", el("title", said), *shapes, class_=f"mark {class_}".strip(), role="img", tabindex=0)


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
