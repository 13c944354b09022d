"""A bench as plain text that fits 80 columns: latencies, how many times as fast as the first, throughput, troubles."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from ..device import troubles
from . import terminal, view

_SWEEP = ("network", "batch", "streams", "images/s", "lowest", "highest", "p50 ms")


def render(bench: Mapping[str, Any]) -> str:
    results = {name: bench["results"][name] for name in bench["subjects"]}
    first, *others = results
    raw = results[first]
    on = ", ".join(f"{name} {version}" for name, version in bench["versions"].items())
    head = f"{on}; batch {raw['batch']}, {_processes(raw)} each, in turn, {bench['seconds']:.0f} s"
    rows = [view.latency_row((name,), results[name]) for name in results]
    ratios = [view.speedup(name, first, raw, results[name]) for name in others]
    notes = troubles.troubles(results) + ([bench["problem"]["message"]] if bench["problem"] else [])
    parts = [
        terminal.wrapped(head),
        terminal.columns(*view.filled(("network", *view.LATENCY_COLUMNS[2:]), rows)),
        "\n".join(map(terminal.wrapped, ratios)),
        terminal.columns(_SWEEP, swept) if (swept := _swept(results)) else "",
        "\n".join(terminal.wrapped(f"note: {note}") for note in notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _processes(raw: Mapping[str, Any]) -> str:
    count = len(raw["processes"])
    return f"{count} fresh {'process' if count == 1 else 'processes'}"


def _swept(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row per batch and streams: the median over processes, and their range."""
    rows = []
    for name, raw in results.items():
        cells = [process.get("sweep") or [] for process in raw["processes"]]
        for same in zip(*cells, strict=True):
            rates = [cell["images_per_s"] for cell in same]
            alone = [value for cell in same for value in cell["ms"]]
            sizes = (str(same[0]["batch"]), str(same[0]["streams"]))
            numbers = (statistics.median(rates), min(rates), max(rates))
            rows.append((name, *sizes, *(f"{rate:,.0f}" for rate in numbers), view.ms(statistics.median(alone))))
    return rows
