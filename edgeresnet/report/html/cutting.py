"""What pruning left: of each layer, and, where it was cut for a goal in milliseconds, what each cut was worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import cuts as cut_words
from .. import view
from . import plot
from .element import Child, Markup, el
from .figure import Origin, figure, mark
from .scale import Scale, around
from .strips import Strip, strips

_HIGH = 190
_COLUMNS = ("MACs %", "whole ms", "ms", "times as fast", "95 % interval", "top-1 before recovery", "")


def section(run: Mapping[str, Any]) -> list[Markup]:
    return [each for step in run["steps"] if step["stage"] == "prune" and step["notes"] for each in _of(step)]


def _of(step: Mapping[str, Any]) -> Iterator[Markup]:
    if step["notes"].get("speedup"):
        for target in step["notes"]["speedup"]["goals"]:
            yield _curve(step, target)
    if step["notes"].get("widths"):
        yield _widths(step)


def _widths(step: Mapping[str, Any]) -> Markup:
    notes = step["notes"]
    rows = [
        Strip(
            layer, f"{layer}: {now} of {before} channels stay", f"{now}/{before}", None, 0, 100 * now / before, "part"
        )
        for layer, (before, now) in notes["widths"].items()
    ]
    said = cut_words.sentence(notes)
    table = (
        ("layer", "channels before", "now", "stay"),
        [
            (layer, str(before), str(now), f"{100 * now / before:.0f} %")
            for layer, (before, now) in notes["widths"].items()
        ],
    )
    return figure(
        "Channels that stay",
        f"{said[:1].upper()}{said[1:]}. Milliseconds stand beside those of the other networks, above.",
        strips(rows, Scale(0, 100), unit="% that stay"),
        [Origin(step["id"], step["digest"] or "")],
        table,
    )


def _curve(step: Mapping[str, Any], target: str) -> Markup:
    """`speedup` of the notes: goals by target, and a row for each cut that was timed in turn with the whole network."""
    found, whole = step["notes"]["speedup"], step["notes"]["macs"][0]
    cuts = [(100 * row["macs"] / whole, row, row["targets"][target]) for row in found["curve"]]
    goal, chosen = found["goals"][target], found["chosen"]
    across = around([100.0, *(part for part, _, _ in cuts)], log=False)
    drawn = [_times(across, cuts, goal, chosen, target)]
    if any(row["top1"] is not None for _, row, _ in cuts):
        drawn.append(_right(across, cuts, found["top1"], chosen))
    said = (
        f"Each cut against the whole network, timed in turn with it; {goal:g} times as fast was asked for (the level "
        "line), the ring is what was chosen: the mildest cut that is shown to reach it. Whiskers are 95 % intervals; "
        f"top-1 is before recovery{'' if len(drawn) > 1 else ', and was not measured'}."
    )
    words = {chosen: "chosen", found.get("milder"): "next milder"}
    rows = [_row(part, row, each, words.get(number, "")) for number, (part, row, each) in enumerate(cuts)]
    title = f"Pruning for {target}: what is faster"
    body = el("div", drawn, class_="pair")
    return figure(title, said, body, [Origin(step["id"], step["digest"] or "")], (_COLUMNS, rows))


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


def _row(part: float, row: Mapping[str, Any], each: Mapping[str, Any], word: str) -> list[str]:
    span = "" if each["high"] is None else f"{each['low']:.3f} to {each['high']:.3f}"
    top1 = "not measured" if row["top1"] is None else f"{100 * row['top1']:.2f} %"
    return [f"{part:.1f}", view.ms(each["whole_ms"]), view.ms(each["ms"]), f"{each['times']:.3f}", span, top1, word]
