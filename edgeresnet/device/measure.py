"""How long inferences take: warm-up found, windows alternating between sessions until stable, raw values kept.

Measures and stores, and says of stored values what is wrong with them; judges no promise. The clock and what others
use of the CPU are parameters, so that tests can script them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import machine
from .session import Session

Clock = Callable[[], float]
WINDOW_S = 0.5
_LEAST, _MOST = 4, 12  # rounds of windows
_STABLE = 0.03  # the last windows' medians lie this close together: no further round is needed
_MOST_IN_A_ROW = 50_000  # inferences: a clock that stands still must not hold a run for ever


def latency(
    sessions: Mapping[str, Session],
    batch: np.ndarray,
    *,
    least: int = _LEAST,
    most: int = _MOST,
    window_s: float | None = None,
    clock: Clock = time.perf_counter,
    others_cpu_s: Clock = machine.others_cpu_s,
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
            "clock_ms": time.get_clock_info("perf_counter").resolution * 1000,
            "latency_ms": [],
        }
    began, others = clock(), others_cpu_s()
    for done in range(1, most + 1):
        for name, session in sessions.items():
            raw[name]["latency_ms"].append(_window(session, batch, window_s or WINDOW_S, clock))
        if done >= least and all(_spread(about["latency_ms"][-least:]) <= _STABLE for about in raw.values()):
            break
    took = clock() - began
    for about in raw.values():
        about["others_cpus"] = max(0.0, others_cpu_s() - others) / took if took > 0 else 0.0
    return raw


def percentiles(windows: list[list[float]]) -> dict[str, float]:
    """p50, p90 and p99 of all windows' values, computed when read."""
    values = np.concatenate([np.asarray(window) for window in windows])
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    return {"p50": float(p50), "p90": float(p90), "p99": float(p99)}


def troubles(raw: Mapping[str, Any]) -> list[str]:
    """What keeps these values from being trusted as they stand: told beside them, never a reason to hide them."""
    windows = raw["latency_ms"]
    values = np.concatenate([np.asarray(window) for window in windows])
    p = percentiles(windows)
    medians = [statistics.median(window) for window in windows]
    found = []
    if len(values) < 100:
        found.append(f"only {len(values)} inferences were timed: p99 is one or two of them")
    if raw.get("clock_ms", 0.0) > 0.01 * p["p50"] or (len(values) >= 100 and len(np.unique(values)) < 10):
        found.append("the timer is too coarse for inferences this short")
    if raw.get("others_cpus", 0.0) > 0.1:
        found.append(f"other programs kept {raw['others_cpus']:.1f} CPUs busy meanwhile")
    if len(medians) >= 3 and medians == sorted(medians) and medians[-1] > 1.05 * medians[0] > 0:
        found.append(f"it slowed down by {100 * (medians[-1] / medians[0] - 1):.0f} % while it was timed: throttled?")
    elif _spread(windows) > 0.1:
        found.append(f"its windows' medians spread by {100 * _spread(windows):.0f} %: unstable")
    modes = _two_modes(values)
    if modes:
        found.append(f"it has two speeds, {modes[0]:.3g} and {modes[1]:.3g} ms")
    return found


def _two_modes(values: np.ndarray) -> tuple[float, float] | None:
    """Two clusters, each a tenth of the values or more, that explain nearly all of the variance."""
    ordered = np.sort(values)
    if len(ordered) < 100 or ordered[0] <= 0:
        return None
    logs = np.log(ordered)
    sums, squares, n = np.cumsum(logs), np.cumsum(logs**2), len(logs)
    cut = np.arange(n // 10, n - n // 10)
    left = squares[cut - 1] - sums[cut - 1] ** 2 / cut
    right = (squares[-1] - squares[cut - 1]) - (sums[-1] - sums[cut - 1]) ** 2 / (n - cut)
    best = int(cut[np.argmin(left + right)])
    total = squares[-1] - sums[-1] ** 2 / n
    low, high = float(np.median(ordered[:best])), float(np.median(ordered[best:]))
    # One bell cut in two keeps 36 % of its variance inside the halves, an even spread 25 %.
    return (low, high) if high > 1.15 * low and (left + right).min() < 0.15 * total else None


def _spread(windows: Sequence[Sequence[float]]) -> float:
    medians = [statistics.median(window) for window in windows]
    return max(medians) / min(medians) - 1 if min(medians) > 0 else 0.0


def _warm_up(session: Session, batch: np.ndarray, clock: Clock, *, group: int = 5, cap_s: float = 2.0) -> int:
    """Inferences until a group of five is no longer clearly faster than the one before it."""
    began, count, before = clock(), 0, float("inf")
    while clock() - began < cap_s and count < _MOST_IN_A_ROW:
        now = statistics.median(_timed(session, batch, clock) for _ in range(group))
        count += group
        if now > 0.95 * before:
            break
        before = now
    return count


def _window(session: Session, batch: np.ndarray, window_s: float, clock: Clock) -> list[float]:
    times: list[float] = []
    began = clock()
    while not times or (clock() - began < window_s and len(times) < _MOST_IN_A_ROW):
        times.append(_timed(session, batch, clock) * 1000)
    return times


def _timed(session: Session, batch: np.ndarray, clock: Clock) -> float:
    began = clock()
    session.infer(batch)
    return clock() - began
