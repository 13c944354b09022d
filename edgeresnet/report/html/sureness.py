"""What changed of the probabilities: of each variant, how far the top probability moved, and the tables of the rest."""

from __future__ import annotations

from collections.abc import Iterator

from ..summary import Summary, SurenessTable, estimate_cell, sure_variants
from .element import Markup, el
from .figure import figure, table, verify_origin
from .scale import around
from .strips import Strip, strips


def section(seen: Summary) -> list[Markup]:
    """Return a chart of the mean changes, and a table for a threshold and for calibration where these are known."""
    if not seen.sureness:
        return []
    first, *others = seen.sureness
    rows = list(_strips(seen))
    scale = around([0.0, *(end for each in rows for end in (each.low, each.high) if end is not None)], log=False)
    origins = [verify_origin(seen.run, result.target) for result in seen.run.measured if result.confidence]
    words = f"{first.words} The chart shows its mean over all images, with its 95 % interval."
    drawn = strips(rows, scale, line=0.0, unit="mean change")
    chart = figure(first.title, words, drawn, origins, (first.table.columns, first.table.rows), headed=False)
    return [chart, *map(_tabled, others)]


def _tabled(each: SurenessTable) -> Markup:
    words = el("p", each.words, class_="explains")
    return el("figure", el("h3", each.title), words, table(*each.table), class_="chart", aria_label=each.title)


def _strips(seen: Summary) -> Iterator[Strip]:
    for each in sure_variants(seen.run.measured):
        change, label = each.found.mean_change, f"{each.target} {each.variant}"
        words = f"{label}: {estimate_cell(change)} on average, 99th percentile {estimate_cell(each.found.p99_change)}"
        yield Strip(label, words, f"{change.value:.4f}", change.value, change.low, change.high)
