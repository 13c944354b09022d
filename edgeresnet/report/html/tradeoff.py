"""How often right against how fast: every compiled network of this model that is known, and those that none beats."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...portable.frozen import dataclass
from ...runs import Run
from ..summary import TradeoffPoint, frontier, ms, percent, score_name, tradeoff_points
from . import plot
from .element import Child, Markup, el, name
from .figure import Origin, figure, mark, verify_origin
from .scale import around

_HIGH = 260
_APART = 16  # pixels between two names that can be read


@dataclass(frozen=True)
class _Drawn:
    """What is drawn of one run and of others that are comparable with it."""

    run: str
    points: Sequence[TradeoffPoint]
    best: Sequence[TradeoffPoint]

    @property
    def targets(self) -> list[str]:
        return list(dict.fromkeys(point.target for point in self.points))


def section(run: Run, others: Sequence[Run], unread: str = "") -> Markup | None:
    mine = tradeoff_points(run)
    timed = [point for point in mine if not point.is_emulated]
    if not timed:
        return None
    rest = _of_others(mine, others)
    every = [*mine, *rest]
    points = [point for point in every if point.conditions == timed[0].conditions]
    drawn = _Drawn(run.id, points, frontier(points))
    origins = [verify_origin(run, result.target) for result in run.measured if result.has_labels]
    shown = {point.run for point in rest}
    origins += [Origin(f"run {other.id}:", other.recipe_digest) for other in others if other.id in shown]
    columns = ("target", "as", score_name(run.measured).short, "95 % interval", "p50 ms", "", "run", "digest")
    numbers = columns, [_row(point, drawn) for point in every]
    words = " ".join([*_caption(bool(rest), len(every) - len(points)), unread]).strip()
    return figure("Accuracy against latency", words, _scatter(drawn), origins, numbers, _legend(drawn), headed=False)


def _of_others(mine: Sequence[TradeoffPoint], others: Sequence[Run]) -> list[TradeoffPoint]:
    """Return the points of other runs, each measurement once, of as many images."""
    seen = {_measurement(point) for point in mine}
    rest = []
    for point in itertools.chain.from_iterable(map(tradeoff_points, others)):
        if _measurement(point) not in seen and point.accuracy.images == mine[0].accuracy.images:
            seen.add(_measurement(point))
            rest.append(point)
    return rest


def _measurement(point: TradeoffPoint) -> tuple[str, str, str, float]:
    return point.target, point.variant, point.digest, point.p50_ms


def _caption(has_others: bool, left_out: int) -> list[str]:
    words = [
        "Up is more accurate, left is faster. The line joins the networks that no other one beats in both. "
        "Whiskers are 95 % intervals, so a small step up may be chance."
    ]
    if has_others:
        words.append(
            "Hollow marks are other runs. They were timed at another time, so their latencies are less comparable."
        )
    if left_out:
        words.append(f"Networks of another machine, an emulator or another batch are only in the table: {left_out}.")
    return words


def _legend(drawn: _Drawn) -> Markup:
    """Return what forms (targets) and colours (variants) stand for."""
    forms = [el("li", _sign(_form(drawn, each), "value"), name(each)) for each in drawn.targets]
    kinds = dict.fromkeys(point.variant for point in drawn.points)
    colours = [el("li", _sign("circle", "value"), name(each), class_=plot.variant_class(each)) for each in kinds]
    return el("ul", forms if len(forms) > 1 else None, colours, class_="legend", aria_hidden="true")


def _sign(which: str, class_: str) -> Markup:
    return el("svg", el("path", d=plot.SHAPES[which], class_=class_), viewBox="-8 -8 16 16", width=14, height=14)


def _form(drawn: _Drawn, target: str) -> str:
    forms = list(plot.SHAPES)
    return forms[drawn.targets.index(target) % len(forms)]


def _scatter(drawn: _Drawn) -> Markup:
    across = around((point.p50_ms for point in drawn.points), room=0.08)
    up = around([end for point in drawn.points for end in point.accuracy.score_interval_pct()])
    marks: list[Child] = []
    for point in drawn.points:
        x, y = across.across(point.p50_ms), plot.down(up, point.score_pct, _HIGH)
        low, high = (plot.down(up, end, _HIGH) for end in point.accuracy.score_interval_pct())
        whisker = el("line", x1=x, x2=x, y1=low, y2=high, class_="whisker")
        kind = plot.variant_class(point.variant) + (" other" if point.run != drawn.run else "")
        sign = plot.shape(_form(drawn, point.target), x, y)
        hit = el("circle", cx=x, cy=y, r=12, class_="hit")
        marks.append(mark(_sentence(point, point in drawn.best), hit, whisker, sign, class_=kind))
    way = [(across.at(point.p50_ms), plot.down(up, point.score_pct, _HIGH)) for point in drawn.best]
    steps = [place for before, now in itertools.pairwise(way) for place in ((now[0], before[1]), now)]
    line = plot.stretched(plot.way([*way[:1], *steps]), _HIGH, "frontier") if len(way) > 1 else None
    places = [(across.across(p.p50_ms), *place) for p, place in zip(drawn.best, way, strict=True)]
    names = _names(drawn.best, places)
    return plot.axes(
        across, up, _HIGH, ("p50 latency, ms", f"{drawn.points[0].accuracy.name.short}, %"), line, marks, names
    )


def _names(best: Sequence[TradeoffPoint], places: Sequence[tuple[str, float, float]]) -> list[Child]:
    """Return the names of the best points, where there is room for them."""
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


def _sentence(point: TradeoffPoint, is_best: bool) -> str:
    tail = "; no other is both faster and more accurate" if is_best else ""
    return (
        f"{point.target} {point.variant}: {percent(point.score_pct)} ({_interval(point)}) in {ms(point.p50_ms)} ms"
        f"{tail}; {point.digest[:12]}"
    )


def _interval(point: TradeoffPoint) -> str:
    low, high = point.accuracy.score_interval_pct()
    return f"{low:.2f} to {high:.2f}"


def _row(point: TradeoffPoint, drawn: _Drawn) -> list[Child]:
    word = "on the frontier" if point in drawn.best else "" if point in drawn.points else "not drawn"
    word = "emulated, not drawn" if point.is_emulated else word
    return [
        point.target,
        point.variant,
        percent(point.score_pct),
        _interval(point),
        ms(point.p50_ms),
        word,
        "this one" if point.run == drawn.run else point.run,
        el("code", point.digest[:12], title=point.digest),
    ]
