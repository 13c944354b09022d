"""A bench as plain text that fits 80 columns: latencies, speed-ups over the first network, throughput, notes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..portable import amounts, timing_warnings
from ..portable.amounts import Amounts
from ..portable.times import Latency
from ..text import wrapped
from . import summary, tables

if TYPE_CHECKING:
    from ..bench import Bench

_SWEEP_COLUMNS = ("network", "batch", "streams", "images/s (95 %)", "p50 ms")


def render(bench: Bench) -> str:
    """Return a bench as text; what was not measured takes no room."""
    results = {name: bench.results[name] for name in bench.subjects}
    first, *others = results
    latencies = [(name, *summary.latency_cells(latency)) for name, latency in results.items()]
    known = {name: amounts.of(latency) for name, latency in results.items()}
    speedups = [summary.speedup(name, first, results[first], results[name]).sentence for name in others]
    absent = [f"{one.name}: not timed: {one.reason} ({one.hint})" for one in bench.absent]
    parts = [
        _head(bench, results[first]),
        tables.columns(*summary.table(("network", *summary.LATENCY_COLUMNS), latencies)),
        "\n".join(map(wrapped, speedups)),
        _energy(known),
        tables.columns(_SWEEP_COLUMNS, rows) if (rows := _sweep_rows(results, known)) else "",
        "\n".join(map(wrapped, absent)),
        "\n".join(wrapped(f"note: {note}") for note in _notes(bench, results)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _energy(known: Mapping[str, Amounts]) -> str:
    """Return what an inference takes, and once which sensor measured it, or why none did."""
    found = summary.energy_table(("network",), [((name,), each) for name, each in known.items()])
    sentences = summary.energy_sentences([((name, ""), each) for name, each in known.items()])
    return "\n".join([*([tables.columns(*found)] if found.rows else []), *map(wrapped, sentences)])


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


def _sweep_rows(results: Mapping[str, Latency], known: Mapping[str, Amounts]) -> list[tuple[str, ...]]:
    """Return a row per batch and streams, of the processes that came so far."""
    rows: list[tuple[str, ...]] = []
    for name, found in known.items():
        if isinstance(found.throughput, str):
            continue
        for rate, cells in zip(found.throughput, amounts.sweep(results[name]).values(), strict=True):
            p50 = summary.ms(statistics.median(value for cell in cells for value in cell.ms))
            rows.append((name, str(rate.batch), str(rate.streams), summary.rate_cell(rate), p50))
    return rows
