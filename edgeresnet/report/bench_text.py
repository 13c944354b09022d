"""A bench as plain text that fits 80 columns: latencies, how many times as fast as the first, throughput, troubles."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from ..portable import timing_warnings
from . import terminal, view

_SWEEP = ("network", "batch", "streams", "images/s", "lowest", "highest", "p50 ms")


def render(bench: Mapping[str, Any]) -> str:
    results = {name: bench["results"][name] for name in bench["subjects"]}
    first, *others = results
    raw = results[first]
    on = ", ".join(f"{name} {version}" for name, version in bench["versions"].items())
    head = f"{on}; batch {raw['batch']}, {_processes(raw)} each, in turn, {bench['seconds']:.0f} s"
    machine = view.machine_lines(bench["machine"])[0]  # so that a pasted bench says where it was measured
    rows = [view.latency_row((name,), results[name]) for name in results]
    ratios = [view.speedup(name, first, raw, results[name]) for name in others]
    absent = [f"{one['name']}: not timed: {one['reason']} ({one['hint']})" for one in bench["absent"]]
    parts = [
        f"{terminal.wrapped(head)}\n{terminal.wrapped(machine)}",
        terminal.columns(*view.filled(("network", *view.LATENCY_COLUMNS[2:]), rows)),
        "\n".join(map(terminal.wrapped, ratios)),
        terminal.columns(_SWEEP, swept) if (swept := _swept(results)) else "",
        "\n".join(map(terminal.wrapped, absent)),
        "\n".join(terminal.wrapped(f"note: {note}") for note in _notes(bench, results)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _notes(bench: Mapping[str, Any], results: Mapping[str, Any]) -> list[str]:
    notes = [*bench["notes"], *timing_warnings.troubles(results)]
    problem = bench["problem"]
    if problem:
        notes.append(f"{problem['message']} ({problem['hint']})" if problem["hint"] else problem["message"])
    return notes


def _processes(raw: Mapping[str, Any]) -> str:
    count = len(raw["processes"])
    return f"{count} fresh {'process' if count == 1 else 'processes'}"


def _swept(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row per batch and streams: the median over processes that came so far, and their range."""
    rows = []
    for name, raw in results.items():
        cells: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        for cell in (cell for process in raw["processes"] for cell in process.get("sweep") or ()):
            cells.setdefault((cell["batch"], cell["streams"]), []).append(cell)
        for (batch, streams), same in cells.items():
            rates = [cell["images_per_s"] for cell in same]
            alone = [value for cell in same for value in cell["ms"]]
            numbers = (statistics.median(rates), min(rates), max(rates))
            shown = (f"{rate:,.0f}" for rate in numbers)
            rows.append((name, str(batch), str(streams), *shown, view.ms(statistics.median(alone))))
    return rows
