"""What was measured, read: raw values process by process, window by window; percentiles are computed when read.

Measures nothing: `measure` does, and says how values are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

# Standard deviation, as a log, of how a ratio of two that are timed in turn moves from hour to hour, which is not seen
# inside a measurement: where memory fell, what a neighbour's cache held.
DRIFT_OF_TWINS = 0.01


def windows(raw: Mapping[str, Any], kind: str = "host") -> list[list[list[float]]]:
    """Process by process, the windows of one kind: milliseconds per inference. Empty where it was not measured."""
    return [process[f"{kind}_ms"] for process in raw["processes"] if process.get(f"{kind}_ms")]


def values(raw: Mapping[str, Any], kind: str = "host") -> np.ndarray:
    found = chain.from_iterable(chain.from_iterable(windows(raw, kind)))
    return np.fromiter(found, np.float64)


def percentiles(raw: Mapping[str, Any], kind: str = "host") -> dict[str, float]:
    """p50, p90 and p99 of all values of a kind, computed when read; empty where it was not measured."""
    found = values(raw, kind)
    if not len(found):
        return {}
    p50, p90, p99 = np.percentile(found, [50, 90, 99])
    return {"p50": float(p50), "p90": float(p90), "p99": float(p99)}


def middle(raw: Mapping[str, Any], key: str) -> float | None:
    """The median over processes of what each measured once: load_ms, first_ms, peak_memory_mb."""
    found = [process[key] for process in raw["processes"] if process.get(key) is not None]
    return float(np.median(found)) if found else None


def spread(parts: Sequence[Sequence[float]]) -> float:
    """By how much the largest median exceeds the smallest, as a part of it."""
    medians = [float(np.median(part)) for part in parts if part]
    return max(medians) / min(medians) - 1 if medians and min(medians) > 0 else 0.0
