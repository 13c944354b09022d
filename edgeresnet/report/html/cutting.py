"""What pruning left: of each layer, and, where it was cut for a goal in milliseconds, what each cut was worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import cuts as cut_words
from .. import view
from . import plot
from .element import Child, Markup, el
from .figure import Origin, figure, mark, table
from .scale import Scale, around
from .strips import Strip, strips

_HIGH = 190


def section(run: Mapping[str, Any], seen: view.View) -> list[Markup]:
    return [each for step in run["steps"] if step["stage"] == "prune" and step["notes"] for each in _of(step, seen)]


def _of(step: Mapping[str, Any], seen: view.View) -> Iterator[Markup]:
    if step["notes"].get("speedup"):
        for target, (asked, rows) in zip(
            step["notes"]["speedup"]["goals"], cut_words.curves(step["notes"]), strict=True
        ):
            yield _curve(step, target, asked, rows)
    if step["notes"].get("widths"):
        yield _widths(step)
    for said, head, rows in seen.cuts[
        :1
    ]:  # multiplications never stand without their milliseconds, or that there are none
        yield el("p", f"{said[:1].upper()}{said[1:]}.", class_="said")
        yield from [table(*view.filled(head, rows))] if rows else []


def _widths(step: Mapping[str, Any]) -> Markup:
    notes = step["notes"]
    rows = [
        Strip(
            layer, f"{layer}: {now} of {before} channels stay", f"{now}/{before}", None, 0, 100 * now / before, "part"
        )
        for layer, (before, now) in notes["widths"].items()
    ]
    rows_of = (
        ("layer", "channels before", "now", "stay"),
        [
            (layer, str(before), str(now), f"{100 * now / before:.0f} %")
            for layer, (before, now) in notes["widths"].items()
        ],
    )
    return figure(
        "Channels that stay",
        "Of each layer, how many of its channels were kept.",
        strips(rows, Scale(0, 100), unit="% that stay"),
        [Origin(step["id"], step["digest"] or "")],
        rows_of,
    )


def _curve(step: Mapping[str, Any], target: str, asked: str, rows: Sequence[Sequence[str]]) -> Markup:
    """`speedup` of the notes: goals by target, and a row for each cut that was timed in turn with the whole network."""
    found, whole = step["notes"]["speedup"], step["notes"]["macs"][0]
    cuts = [(100 * row["macs"] / whole, row, row["targets"][target]) for row in found["curve"]]
    goal, chosen = found["goals"][target], found["chosen"]
    across = around([100.0, *(part for part, _, _ in cuts)], log=False)
    drawn = [_times(across, cuts, goal, chosen, target)]
    if any(row["top1"] is not None for _, row, _ in cuts):
        drawn.append(_right(across, cuts, found["top1"], chosen))
    said = (
        f"{asked[:1].upper()}{asked[1:]}. Each cut was timed in turn with the whole network; the level line is the "
        "goal, the ring what was chosen, whiskers are 95 % intervals; top-1 is before recovery"
        f"{'' if len(drawn) > 1 else ', and was not measured'}."
    )
    title = f"Pruning for {target}: what is faster"
    body = el("div", drawn, class_="pair")
    numbers = view.filled(cut_words.COLUMNS, rows)
    return figure(title, said, body, [Origin(step["id"], step["digest"] or "")], numbers)


Cuts = Sequence[tuple[float, Mapping[str, Any], Mapping[str, Any]]]


def _times(across: Scale, cuts: Cuts, goal: float, chosen: int, target: str) -> Markup:
    up = around(
        [1.0, goal, *(each[key] for *_, each in cuts for key in ("times", "low", "high") if each[key])], log=False
    )
    level = plot.down(up, goal, _HIGH)
    inside: list[Child] = [el("line", x1=0, x2="100%", y1=level, y2=level, class_="held")]
    for number, (part, _, each) in enumerate(cuts):
        x, y = across.across(part), plot.down(up, each["times"], _HIGH)
        ends = [plot.down(up, each[key] or each["times"], _HIGH) for key in ("low", "high")]
        word = ", chosen" if number == chosen else ""
        said = f"{part:.1f} % of the multiplications: {each['times']:.3f} times as fast on {target}{word}"
        whisker = el("line", x1=x, x2=x, y1=ends[0], y2=ends[1], class_="whisker")
        hit = el("circle", cx=x, cy=y, r=11, class_="hit")
        point = el("circle", cx=x, cy=y, r=5 if number == chosen else 3.5, class_="value")
        inside.append(mark(said, hit, whisker, point, class_="v-pruned kept" if number == chosen else "v-pruned"))
    return plot.axes(across, up, _HIGH, ("multiplications that stay, %", "times as fast as the whole network"), inside)


def _right(across: Scale, cuts: Cuts, whole: float | None, chosen: int) -> Markup:
    known = [(part, row["top1"], number) for number, (part, row, _) in enumerate(cuts) if row["top1"] is not None]
    known += [(100.0, whole, -1)] if whole is not None else []
    up = around([100 * top1 for _, top1, _ in known], log=False)
    inside: list[Child] = []
    for part, top1, number in known:
        x, y = across.across(part), plot.down(up, 100 * top1, _HIGH)
        what = "the whole network" if number < 0 else f"{part:.1f} % of the multiplications"
        kind = "v-fp32" if number < 0 else "v-pruned kept" if number == chosen else "v-pruned"
        inside.append(plot.dot(f"{what}: {100 * top1:.2f} % right before recovery", x, y, 4, kind))
    return plot.axes(across, up, _HIGH, ("multiplications that stay, %", "top-1 before recovery, %"), inside)
