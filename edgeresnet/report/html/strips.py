"""A row for each thing, all on one scale: an interval, the value in it, and the line that it is compared with.

The names are text of the page, not of the drawing: they keep their size on a phone, and are cut where there is no room.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...portable.frozen import dataclass
from .element import Child, Markup, el, name
from .figure import mark
from .scale import Scale, spelled

_HIGH = 22  # pixels of a row


@dataclass(frozen=True)
class Strip:
    """`low` and `high` are the ends of an interval, or of a bar; `kind` is a word that the style knows."""

    label: str
    words: str  # when it is pointed at
    shown: str = ""  # at its end
    value: float | None = None
    low: float | None = None
    high: float | None = None
    kind: str = ""


def strips(rows: Sequence[Strip], scale: Scale, *, line: float | None = None, unit: str = "") -> list[Markup]:
    """Draw all rows and, under them, the axis."""
    drawn = [
        el(
            "div",
            el("span", name(row.label), class_="label"),
            bar(row, scale, line),
            el("span", row.shown),
            class_="strip",
        )
        for row in rows
    ]
    ticks = [
        el("text", spelled(value), x=scale.across(value), y=12, text_anchor="middle", class_="tick")
        for value in scale.ticks(4)
    ]
    axis = el("svg", ticks, width="100%", height=16, class_="bar", aria_hidden="true")
    return [*drawn, el("div", el("span", unit, class_="label unit"), axis, el("span"), class_="strip axis")]


def bar(row: Strip, scale: Scale, line: float | None = None) -> Markup:
    """Draw one row: its interval, its value, and the line that it is compared with."""
    middle = _HIGH / 2
    shapes: list[Child] = [el("rect", x=0, y=0, width="100%", height=_HIGH, class_="hit")]
    if row.low is not None and row.high is not None:
        ends = {"x1": scale.across(row.low), "x2": scale.across(row.high)}
        shapes.append(el("line", **ends, y1=middle, y2=middle, class_="interval"))
    if row.value is not None:
        shapes.append(el("circle", cx=scale.across(row.value), cy=middle, r=4.5, class_="value"))
    limit = None
    if line is not None:
        limit = el("line", x1=scale.across(line), x2=scale.across(line), y1=0, y2=_HIGH, class_="limit")
    known = row.value is not None or row.low is not None
    base = el("line", x1=0, x2="100%", y1=middle, y2=middle, class_="base" if known else "base absent")
    return el("svg", base, limit, mark(row.words, *shapes, class_=row.kind), width="100%", height=_HIGH, class_="bar")
