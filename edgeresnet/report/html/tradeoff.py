"""How often right against how fast: every compiled network of this model that is known, and those that none beats."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .. import view
from . import facts, plot
from .element import Child, Markup, el, name
from .figure import Origin, figure, mark
from .scale import around

_HIGH = 260
_APART = 16  # pixels between two names that can be read


class Point(NamedTuple):
    run: str
    target: str
    variant: str
    digest: str
    images: int
    right: int
    p50: float
    where: str  # the machine, and how many images at once: times of another are not drawn beside these

    @property
    def top1(self) -> float:
        return 100 * self.right / self.images


def points(run: Mapping[str, Any]) -> list[Point]:
    found = []
    for result in facts.judged(run):
        for variant, about in result["variants"].items():
            time = facts.p50(about)
            if time is None or time <= 0 or not about["accuracy"]["images"]:
                continue
            counts, latency = about["accuracy"], about["latency"]
            machine = {key: value for key, value in latency["processes"][0]["machine"].items() if key != "boot"}
            where = json.dumps([machine, latency["batch"]], sort_keys=True)
            called = (run["id"], result["target"], variant, about["digest"])
            found.append(Point(*called, counts["images"], counts["top1"], time, where))
    return found


def frontier(found: Iterable[Point]) -> list[Point]:
    """Those than which no other is both at least as fast and as often right, and one of them more so."""
    kept: list[Point] = []
    for point in sorted(found, key=lambda each: (each.p50, -each.right / each.images)):
        if not kept or point.top1 > kept[-1].top1:
            kept.append(point)
    return kept


def section(run: Mapping[str, Any], others: Sequence[Mapping[str, Any]], unread: str = "") -> Markup | None:
    mine = points(run)
    if not mine:
        return None
    seen = {(point.target, point.variant, point.digest, point.p50) for point in mine}
    rest = []
    for other in others:
        for point in points(other):
            what = (point.target, point.variant, point.digest, point.p50)
            if what not in seen and point.images == mine[0].images:
                seen.add(what)
                rest.append(point)
    every = [*mine, *rest]
    drawn = [point for point in every if point.where == mine[0].where]
    best = frontier(drawn)
    left_out = len(every) - len(drawn)
    said = [
        "Up is more often right, left is faster. The line joins the networks that no other one beats in both; the "
        "whiskers are 95 % intervals, so a small step up may be chance."
    ]
    if rest:
        said.append("Hollow ones are of other runs, timed at another time: their distances in time are less certain.")
    if left_out:
        said.append(f"In the table alone, as timed on another machine or in another batch: {left_out}.")
    columns = ("target", "as", "top-1", "95 % interval", "p50 ms", "", "run", "digest")
    shown = [facts.verified(run, result) for result in facts.judged(run)]
    origins = [
        *shown,
        *(
            Origin(f"run {other['id']}:", other["recipe_digest"])
            for other in others
            if any(p.run == other["id"] for p in rest)
        ),
    ]
    table = columns, [_row(point, drawn, best, run["id"]) for point in every]
    targets = list(dict.fromkeys(point.target for point in drawn))
    scatter = _scatter(drawn, best, targets, run["id"])
    words = " ".join([*said, unread]).strip()
    return figure("Accuracy against latency", words, scatter, origins, table, legend(drawn, targets), headed=False)


def legend(drawn: Sequence[Point], targets: Sequence[str]) -> Markup:
    """Forms are targets, colours are what was compiled."""
    forms = [el("li", _sign(_form(targets, each), "value"), name(each)) for each in targets]
    kinds = dict.fromkeys(point.variant for point in drawn)
    colours = [el("li", _sign("circle", "value"), name(each), class_=facts.variant_class(each)) for each in kinds]
    return el("ul", forms if len(forms) > 1 else None, colours, class_="legend", aria_hidden="true")


def _sign(which: str, class_: str) -> Markup:
    return el("svg", el("path", d=plot.SHAPES[which], class_=class_), viewBox="-8 -8 16 16", width=14, height=14)


def _form(targets: Sequence[str], target: str) -> str:
    forms = list(plot.SHAPES)
    return forms[targets.index(target) % len(forms)]


def _scatter(drawn: Sequence[Point], best: Sequence[Point], targets: Sequence[str], run: str) -> Markup:
    spans = {point: facts.top1(point.right, point.images) for point in drawn}
    across = around((point.p50 for point in drawn), room=0.08)
    up = around([end for _, *ends in spans.values() for end in ends])
    marks: list[Child] = []
    for point in drawn:
        x, y = across.across(point.p50), plot.down(up, point.top1, _HIGH)
        _, low, high = spans[point]
        whisker = el("line", x1=x, x2=x, y1=plot.down(up, low, _HIGH), y2=plot.down(up, high, _HIGH), class_="whisker")
        kind = facts.variant_class(point.variant) + (" other" if point.run != run else "")
        sign = plot.shape(_form(targets, point.target), x, y)
        hit = el("circle", cx=x, cy=y, r=12, class_="hit")
        marks.append(mark(_said(point, low, high, point in best), hit, whisker, sign, class_=kind))
    way = [(across.at(point.p50), plot.down(up, point.top1, _HIGH)) for point in best]
    steps = [place for before, now in itertools.pairwise(way) for place in ((now[0], before[1]), now)]
    line = plot.stretched(plot.way([*way[:1], *steps]), _HIGH, "frontier") if len(way) > 1 else None
    names = _names(best, [(across.across(p.p50), across.at(p.p50), y) for p, (_, y) in zip(best, way, strict=True)])
    return plot.axes(across, up, _HIGH, ("p50 latency, ms", "top-1, %"), line, marks, names)


def _names(best: Sequence[Point], places: Sequence[tuple[str, float, float]]) -> list[Child]:
    """Of the best, where there is room for them."""
    found: list[Child] = []
    last = float("inf")
    for point, (x, part, y) in zip(best, places, strict=True):
        if abs(last - y) < _APART:
            continue
        last = y
        right = part > 0.5
        text = f"{point.target} {point.variant}"
        text = text if len(text) <= 22 else text[:21] + "…"
        found.append(
            el("text", text, x=x, y=y, dx=-11 if right else 11, dy=-9, text_anchor="end" if right else "start",
               class_="called", aria_hidden="true")
        )  # fmt: skip
    return found


def _said(point: Point, low: float, high: float, is_best: bool) -> str:
    tail = "; no other is both faster and more often right" if is_best else ""
    return (
        f"{point.target} {point.variant}: {point.top1:.2f} % ({low:.2f} to {high:.2f}) in {view.ms(point.p50)} ms"
        f"{tail}; {point.digest[:12]}"
    )


def _row(point: Point, drawn: Sequence[Point], best: Sequence[Point], run: str) -> list[Child]:
    _, low, high = facts.top1(point.right, point.images)
    word = "on the frontier" if point in best else "" if point in drawn else "not drawn"
    return [
        point.target,
        point.variant,
        f"{point.top1:.2f} %",
        f"{low:.2f} to {high:.2f}",
        view.ms(point.p50),
        word,
        "this one" if point.run == run else point.run,
        el("code", point.digest[:12], title=point.digest),
    ]
