"""How latency is spread: every timed inference of each network of a target, on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...portable import timings
from .. import view
from . import facts, plot
from .element import Child, Markup, el, name
from .figure import figure, mark
from .scale import Scale, around

_HIGH, _HILL = 74, 40  # pixels of a network's row, and of what is drawn of its values
_BINS = (20, 90)  # at least, and at most
_SHOWN = 99.5  # percent of all values: what lies beyond is counted in words
_COLUMNS = ("as", "inferences", "processes", "p50 ms", "p90", "p99", "slowest", "device p50", "file p50", "load",
            "first", "peak MB", "digest")  # fmt: skip


def section(run: Mapping[str, Any]) -> list[Markup]:
    found = [_of_target(run, result) for result in facts.measured(run)]
    return [each for each in found if each is not None]


def _of_target(run: Mapping[str, Any], result: Mapping[str, Any]) -> Markup | None:
    timed = {name: each for name, each in result["variants"].items() if each["latency"]}
    values = {name: timings.values(each["latency"]) for name, each in timed.items()}
    values = {name: each[each > 0] for name, each in values.items()}
    values = {name: each for name, each in values.items() if len(each)}
    if not values:
        return None
    across = _scale(list(values.values()))
    beyond = sum(int((each > across.high).sum()) for each in values.values())
    said = (
        "Every timed inference, from and to the host's memory: the hill is where most of them lie, the lines are p50, "
        "p90 and p99, the dots under it each process's own p50."
    )
    if beyond:
        said += f" {beyond} of {sum(map(len, values.values()))} values lie beyond the right edge."
    rows = [
        _ridge(name, numbers, timed[name]["latency"], across, number)
        for number, (name, numbers) in enumerate(values.items())
    ]
    drawn = plot.axes(across, None, _HIGH * len(values), ("ms per inference", ""), rows)
    table = view.filled(_COLUMNS, [_numbers(name, values[name], timed[name]) for name in values])
    return figure(f"Latency on {result['target']}", said, drawn, [facts.verified(run, result)], table)


def _scale(values: Sequence[np.ndarray]) -> Scale:
    """From the fastest of all to where nearly all have ended: the few beyond would press the rest together."""
    ends = [float(min(each.min() for each in values)), float(max(np.percentile(each, _SHOWN) for each in values))]
    return around(ends, room=0.03)


def _ridge(variant: str, values: np.ndarray, latency: Mapping[str, Any], across: Scale, number: int) -> Markup:
    top = _HIGH * number
    ground = top + 18 + _HILL
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    marks: list[Child] = []
    for word, value in (("p50", p50), ("p90", p90), ("p99", p99)):
        x = across.across(value)
        marks.append(
            mark(
                f"{variant}: {word} is {view.ms(value)} ms, of {len(values):,} inferences",
                el("rect", x=x, y=ground - _HILL, width=13, height=_HILL, transform="translate(-6.5)", class_="hit"),
                el(
                    "line",
                    x1=x,
                    x2=x,
                    y1=ground - (_HILL if word == "p50" else _HILL / 2),
                    y2=ground,
                    class_=f"quantile {word}",
                ),
            )
        )
    for index, windows in enumerate(timings.windows(latency)):
        own = float(np.median(np.concatenate(windows)))
        said = f"{variant}: process {index + 1} had a p50 of {view.ms(own)} ms"
        marks.append(plot.dot(said, across.across(own), ground + 7, 2.5, "process"))
    hill = el("svg", plot.stretched(_hill(values, across), _HILL, "hill"), y=ground - _HILL, overflow="visible")
    shown = f"{view.ms(float(p50))} ms"
    called = el("text", el("tspan", name_text(variant), class_="called"), f"  {shown}", x=0, y=top + 14, class_="tick")
    base = el("line", x1=0, x2="100%", y1=ground, y2=ground, class_="base")
    return el("g", hill, base, called, marks, class_=facts.variant_class(variant))


def name_text(text: str) -> str:
    return text if len(text) <= 28 else text[:27] + "…"


def _hill(values: np.ndarray, across: Scale) -> str:
    edges = np.linspace(0, 1, int(np.clip(3 * len(values) ** 0.5, *_BINS)) + 1)
    shown = np.clip(values[values <= across.high], across.low, None)
    counts, _ = np.histogram(shown, bins=[across.back(edge) for edge in edges])
    smooth = np.convolve(counts, [0.25, 0.5, 0.25], mode="same")
    heights = _HILL * (1 - smooth / max(smooth.max(), 1e-12))
    middles = (edges[:-1] + edges[1:]) / 2
    path = [(0.0, float(_HILL)), *zip(middles.tolist(), heights.tolist(), strict=True), (1.0, float(_HILL))]
    return plot.way(path) + "Z"


def _numbers(variant: str, values: np.ndarray, about: Mapping[str, Any]) -> list[Child]:
    raw = about["latency"]
    _, *shown = view.latency_row((variant,), raw)
    p50, p90, p99, device, file, load, first, peak = shown
    digest = el("code", about["digest"][:12], title=about["digest"])
    counts = f"{len(values):,}", str(len(raw["processes"]))
    return [
        name(variant),
        *counts,
        p50,
        p90,
        p99,
        view.ms(float(values.max())),
        device,
        file,
        load,
        first,
        peak,
        digest,
    ]
