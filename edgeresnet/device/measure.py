"""How long inferences take: warm-up found, windows alternating between sessions, raw values kept.

Measures and stores; judges nothing. The clock is a parameter, so that a test can tick it by script.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .session import Session

Clock = Callable[[], float]
WINDOW_S = 0.5
_MOST = 50_000  # inferences in a row: a clock that stands still must not hold a run for ever


def latency(
    sessions: Mapping[str, Session],
    batch: np.ndarray,
    *,
    rounds: int = 4,
    window_s: float | None = None,
    clock: Clock = time.perf_counter,
) -> dict[str, dict[str, Any]]:
    """Times of single inferences, host to host, per session.

    Sessions take turns window by window, so that a machine that slows down slows them all alike.
    """
    raw: dict[str, dict[str, Any]] = {}
    for name, session in sessions.items():
        first_s = _timed(session, batch, clock)
        raw[name] = {
            "batch": len(batch),
            "first_ms": first_s * 1000,
            "warmup": _warm_up(session, batch, clock),
            "latency_ms": [],
        }
    for _ in range(rounds):
        for name, session in sessions.items():
            raw[name]["latency_ms"].append(_window(session, batch, window_s or WINDOW_S, clock))
    return raw


def percentiles(windows: list[list[float]]) -> dict[str, float]:
    """p50, p90 and p99 of all windows' values, computed when read."""
    values = np.concatenate([np.asarray(window) for window in windows])
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    return {"p50": float(p50), "p90": float(p90), "p99": float(p99)}


def _warm_up(session: Session, batch: np.ndarray, clock: Clock, *, group: int = 5, cap_s: float = 2.0) -> int:
    """Inferences until a group of five is no longer clearly faster than the one before it."""
    began, count, before = clock(), 0, float("inf")
    while clock() - began < cap_s and count < _MOST:
        now = statistics.median(_timed(session, batch, clock) for _ in range(group))
        count += group
        if now > 0.95 * before:
            break
        before = now
    return count


def _window(session: Session, batch: np.ndarray, window_s: float, clock: Clock) -> list[float]:
    times: list[float] = []
    began = clock()
    while not times or (clock() - began < window_s and len(times) < _MOST):
        times.append(_timed(session, batch, clock) * 1000)
    return times


def _timed(session: Session, batch: np.ndarray, clock: Clock) -> float:
    began = clock()
    session.infer(batch)
    return clock() - began
