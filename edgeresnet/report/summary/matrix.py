"""Devices next to one another: each device, target and variant of a run in a row, with what no other beats marked."""

from __future__ import annotations

from collections.abc import Iterator

from ...portable.result import Measured
from ...runs import Run
from .cells import Table, drop_cell, energy_cells, p50_cell, table, top1_cell
from .tradeoff import frontier, tradeoff_points

_COLUMNS = ("device", "target", "as", "top-1", "drop pp (95 %)", "p50 ms", "images/s", "mJ", "best", "verdict")
BEST = "yes"  # no other row is as fast and as often correct, and better in one of the two
HERE = "here"


def device_matrix(run: Run) -> Table:
    """Return a row for each variant on each device; none where no device measured anything."""
    if not any("@" in name for name in run.results):
        return Table((), ())
    best = {(point.target, point.variant) for point in frontier(tradeoff_points(run))}
    return table(_COLUMNS, [row for name in run.results for row in _rows(run, name, best)])


def _rows(run: Run, name: str, best: set[tuple[str, str]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one result: the verdict stands with what would ship."""
    result, verdict = run.results[name], run.verdict_of(name)
    target, _, device = name.partition("@")
    if not isinstance(result, Measured):
        yield (device or HERE, target, *[""] * (len(_COLUMNS) - 3), verdict)
        return
    for variant, each in result.variants.items():
        mj, _, rate = energy_cells(each.latency)
        accuracy = top1_cell(each.accuracy), drop_cell(each.accuracy)
        mark = BEST if (name, variant) in best else ""
        word = verdict if variant == result.ships else ""
        yield (device or HERE, target, variant, *accuracy, p50_cell(each.latency), rate, mj, mark, word)
