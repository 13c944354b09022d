"""Two axes and what lies between them. Across is percent, down is pixels: text keeps its size on every screen."""

from __future__ import annotations

from collections.abc import Sequence

from .element import Child, Markup, el
from .figure import mark
from .scale import Scale, spelled

SHAPES = {  # drawn around 0, 0: so that targets differ where colours do not
    "circle": "M-5.5,0a5.5,5.5 0 1,0 11,0a5.5,5.5 0 1,0 -11,0z",
    "square": "M-5,-5h10v10h-10z",
    "diamond": "M0,-7l7,7l-7,7l-7,-7z",
    "triangle": "M0,-6.5l6.5,11.5h-13z",
    "cross": "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z",
}


def axes(across: Scale, up: Scale | None, high: int, names: tuple[str, str], *inside: Child) -> Markup:
    """Draw the axes and what lies between them. `names`: of what runs across, and of what runs up."""
    lines = [_across(across, value, high) for value in across.ticks()]
    lines += [_up(up, value, high) for value in up.ticks()] if up else []
    return el(
        "div",
        el("p", names[1], class_="upwards") if names[1] else None,
        el(
            "svg",
            el("g", lines, class_="grid", aria_hidden="true"),
            *inside,
            width="100%",
            height=high,
            class_="plot" if up else "plot low",
        ),
        el("p", names[0], class_="sideways"),
        class_="axes",
    )


def down(up: Scale, value: float, high: int) -> float:
    return round((1 - up.at(value)) * high, 2)


def shape(which: str, x: str, y: float, class_: str = "value") -> Markup:
    """Draw a sign at a place in percent, which a path cannot have."""
    return el("svg", el("path", d=SHAPES[which], class_=class_), x=x, y=y, overflow="visible")


def stretched(d: str, high: int, class_: str) -> Markup:
    """Draw a path whose x runs from 0 to 1000 over all of the width; its line stays as thin as it was."""
    path = el("path", d=d, class_=class_, vector_effect="non-scaling-stroke")
    return el("svg", path, viewBox=f"0 0 1000 {high}", preserveAspectRatio="none", width="100%", height=high)


def way(points: Sequence[tuple[float, float]]) -> str:
    """Return points of (0 … 1, pixels) as a path."""
    return "M" + "L".join(f"{1000 * x:.1f},{y:.1f}" for x, y in points)


def dot(words: str, x: str, y: float, radius: float, class_: str) -> Markup:
    return mark(
        words,
        el("circle", cx=x, cy=y, r=max(radius + 5, 9), class_="hit"),
        el("circle", cx=x, cy=y, r=radius, class_="value"),
        class_=class_,
    )


def variant_class(name: str) -> str:
    """Return the class of a variant, for which the style has a colour."""
    return f"v-{name}" if name in ("fp32", "pruned", "half", "candidate", "int8") else "v-other"


def _across(scale: Scale, value: float, high: int) -> list[Child]:
    x = scale.across(value)
    return [
        el("line", x1=x, x2=x, y1=0, y2=high),
        el("text", spelled(value), x=x, y=high + 16, text_anchor="middle", class_="tick"),
    ]


def _up(scale: Scale, value: float, high: int) -> list[Child]:
    y = down(scale, value, high)
    return [
        el("line", x1=0, x2="100%", y1=y, y2=y),
        el("text", spelled(value), x=-8, y=y + 4, text_anchor="end", class_="tick"),
    ]
