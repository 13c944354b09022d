"""How latency is spread: every timed inference of each network of a target, on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...portable.result import Measured, Variant
from ...portable.times import Latency, Percentiles
from ..summary import LATENCY_COLUMNS, Summary, latency_cells, ms, process_p50s, table
from . import plot
from .element import Child, Markup, el
from .figure import figure, mark, verify_origin
from .scale import Scale, around

_HIGH, _HILL = 74, 40  # pixels of a network's row, and of what is drawn of its values
_BINS = (20, 90)  # at least, and at most
_SHOWN = 99.5  # percent of all values: what lies beyond is counted in words
_COLUMNS = ("as", "inferences", "processes", "p50 ms", "p90", "p99", "slowest", "device p50", "file p50",
            *LATENCY_COLUMNS[5:], "digest")  # fmt: skip


def section(seen: Summary) -> list[Markup]:
    found = [_of_target(seen, result) for result in seen.run.measured]
    return [each for each in found if each is not None]


def _of_target(seen: Summary, result: Measured) -> Markup | None:
    timed = {name: each for name, latency in result.timed().items() if len(each := _positive(latency))}
    if not timed:
        return None
    across = _scale(list(timed.values()))
    beyond = sum(int((each > across.high).sum()) for each in timed.values())
    words = (
        "Every timed inference, from and to the host's memory. The hill shows where most of them lie. The lines are "
        "p50, p90 and p99. The dots below are the p50 of each process."
    )
    if beyond:
        words += f" {beyond} of {sum(map(len, timed.values()))} values lie beyond the right edge."
    rows = [
        _ridge(name, values, result.variants[name].latency, across, number)
        for number, (name, values) in enumerate(timed.items())
    ]
    drawn = plot.axes(across, None, _HIGH * len(timed), ("ms per inference", ""), rows)
    numbers = _numbers(timed, result.variants)
    return figure(f"Latency on {result.target}", words, drawn, [verify_origin(seen.run, result.target)], numbers)


def _positive(latency: Latency) -> np.ndarray:
    values = latency.values()
    return values[values > 0]


def _scale(values: Sequence[np.ndarray]) -> Scale:
    """Return a scale from the fastest of all to where nearly all have ended: the few beyond would squeeze the rest."""
    ends = [float(min(each.min() for each in values)), float(max(np.percentile(each, _SHOWN) for each in values))]
    return around(ends, room=0.03)


def _ridge(variant: str, values: np.ndarray, latency: Latency | None, across: Scale, number: int) -> Markup:
    assert latency is not None
    assert latency.host is not None
    top = _HIGH * number
    ground = top + 18 + _HILL
    marks: list[Child] = []
    for word, value in zip(Percentiles._fields, latency.host, strict=True):
        words = f"{variant}: {word} is {ms(value)} ms, of {len(values):,} inferences"
        marks.append(_quantile(word, words, across.across(value), ground))
    for index, own in enumerate(process_p50s(latency)):
        words = f"{variant}: process {index + 1} had a p50 of {ms(own)} ms"
        marks.append(plot.dot(words, across.across(own), ground + 7, 2.5, "process"))
    hill = el("svg", plot.stretched(_hill(values, across), _HILL, "hill"), y=ground - _HILL, overflow="visible")
    shown = f"{ms(latency.p50)} ms"
    called = el("text", el("tspan", _shortened(variant), class_="called"), f"  {shown}", x=0, y=top + 14, class_="tick")
    base = el("line", x1=0, x2="100%", y1=ground, y2=ground, class_="base")
    return el("g", hill, base, called, marks, class_=plot.variant_class(variant))


def _quantile(word: str, words: str, x: str, ground: int) -> Markup:
    high = _HILL if word == "p50" else _HILL / 2
    return mark(
        words,
        el("rect", x=x, y=ground - _HILL, width=13, height=_HILL, transform="translate(-6.5)", class_="hit"),
        el("line", x1=x, x2=x, y1=ground - high, y2=ground, class_=f"quantile {word}"),
    )


def _shortened(text: str) -> str:
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


def _numbers(
    timed: Mapping[str, np.ndarray], variants: Mapping[str, Variant]
) -> tuple[Sequence[str], list[list[Child]]]:
    """Return the table under the chart, each row with the digest of its network."""
    rows = []
    for name, values in timed.items():
        latency = variants[name].latency
        assert latency is not None
        p50, p90, p99, *others = latency_cells(latency)
        counts = f"{len(values):,}", str(len(latency.processes))
        digest = variants[name].digest
        rows.append((name, *counts, p50, p90, p99, ms(float(values.max())), *others, digest))
    columns, shown = table(_COLUMNS, rows)
    return columns, [[*cells, el("code", digest[:12], title=digest)] for *cells, digest in shown]
