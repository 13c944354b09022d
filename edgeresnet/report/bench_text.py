"""A bench as plain text that fits 80 columns: latencies, speed-ups over the first network, throughput, notes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..portable import timing_warnings
from ..portable.times import Latency, SweepCell
from ..text import wrapped
from . import summary, tables

if TYPE_CHECKING:
    from ..bench import Bench

_SWEEP_COLUMNS = ("network", "batch", "streams", "images/s", "lowest", "highest", "p50 ms")


def render(bench: Bench) -> str:
    """Return a bench as text; what was not measured takes no room."""
    results = {name: bench.results[name] for name in bench.subjects}
    first, *others = results
    latencies = [(name, *summary.latency_cells(latency)[:-1]) for name, latency in results.items()]
    speedups = [summary.speedup(name, first, results[first], results[name]).sentence for name in others]
    absent = [f"{one.name}: not timed: {one.reason} ({one.hint})" for one in bench.absent]
    parts = [
        _head(bench, results[first]),
        tables.columns(*summary.table(("network", *summary.LATENCY_COLUMNS[:-1]), latencies)),
        "\n".join(map(wrapped, speedups)),
        tables.columns(_SWEEP_COLUMNS, rows) if (rows := _sweep_rows(results)) else "",
        "\n".join(map(wrapped, absent)),
        "\n".join(wrapped(f"note: {note}") for note in _notes(bench, results)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(bench: Bench, first: Latency) -> str:
    """Return what was timed how, and the machine, so that a pasted bench shows where it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in bench.versions.items())
    count = len(first.processes)
    processes = f"{count} fresh {'process' if count == 1 else 'processes'}"
    head = f"{versions}; batch {first.batch}, {processes} each, in turn, {bench.seconds:.0f} s"
    return f"{wrapped(head)}\n{wrapped(summary.machine_lines(bench.machine)[0])}"


def _notes(bench: Bench, results: Mapping[str, Latency]) -> list[str]:
    notes = [*bench.notes, *map(str, timing_warnings.of(results))]
    problem = bench.problem
    if problem:
        notes.append(f"{problem.message} ({problem.hint})" if problem.hint else problem.message)
    return notes


def _sweep_rows(results: Mapping[str, Latency]) -> list[tuple[str, ...]]:
    """Return a row per batch and streams: the median over processes that came so far, and their range."""
    rows = []
    for name, latency in results.items():
        cells: dict[tuple[int, int], list[SweepCell]] = {}
        for cell in (cell for process in latency.processes for cell in process.sweep):
            cells.setdefault((cell.batch, cell.streams), []).append(cell)
        rows += [(name, str(batch), str(streams), *_sweep_cells(same)) for (batch, streams), same in cells.items()]
    return rows


def _sweep_cells(same: Sequence[SweepCell]) -> tuple[str, ...]:
    rates = [cell.images_per_s for cell in same]
    shown = (f"{rate:,.0f}" for rate in (statistics.median(rates), min(rates), max(rates)))
    return (*shown, summary.ms(statistics.median(value for cell in same for value in cell.ms)))
