"""What keeps measured times from being trusted as they stand: told beside them, never a reason to hide them.

Reads stored values and measures nothing. Each finding is a sentence; a rule's number stands where the rule is.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import measure

_FEW = 100


def troubles(measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of sessions that were timed in turn: each one's own, and once what befell the machine that they shared."""
    own = [
        f"{name}: {sentence}" for name, raw in measured.items() for sentence in (*_of_values(raw), *_of_processes(raw))
    ]
    return [*own, *_of_the_machine([process for raw in measured.values() for process in raw["processes"]])]


def untimed(measured: Sequence[Mapping[str, Any] | None]) -> str:
    """Why these are no times, or cannot be held against one another; empty where they can."""
    timed = [raw for raw in measured if raw]
    if len(timed) < len(measured):
        return "its latency was not measured"
    if any(_stepped_back(raw) for raw in timed):
        return "the clock stepped back while it was timed"
    if any(not np.median(window) > 0 for raw in timed for windows in measure.windows(raw) for window in windows):
        return "the clock did not move while it was timed"
    if any(raw["machine"] != timed[0]["machine"] for raw in timed):
        return "measured on two machines, or on one in two states: such times are not comparable"
    return ""


def _stepped_back(raw: Mapping[str, Any]) -> bool:
    return bool((measure.values(raw) < 0).any())


def _of_values(raw: Mapping[str, Any]) -> Iterator[str]:
    values, processes = measure.values(raw), raw["processes"]
    p50 = float(np.median(values))
    if _stepped_back(raw):
        yield "the clock stepped back while it was timed"
    if len(values) < _FEW:
        yield f"only {len(values)} inferences were timed: p99 is one or two of them"
    finest = max(process.get("clock_ms", 0.0) for process in processes)
    if finest > 0.01 * p50 or (len(values) >= _FEW and len(np.unique(values)) < 10):
        yield "the timer is too coarse for inferences this short"
    modes = _two_modes(values)
    if modes:
        yield f"it has two speeds, {modes[0]:.3g} and {modes[1]:.3g} ms"


def _of_processes(raw: Mapping[str, Any]) -> Iterator[str]:
    if len(raw["processes"]) == 1:
        yield "timed in one process only: how much processes differ is not known"
    by_process = measure.windows(raw)
    slowed = _slowed(by_process)
    if slowed > 0.05:
        yield f"it slowed down by {100 * slowed:.0f} % while it was timed: throttled?"
        return
    within = max((_spread(windows) for windows in by_process), default=0.0)
    if within > 0.1:
        yield f"the windows of one process differ by {100 * within:.0f} %: unstable"
    between = _spread([[value for window in windows for value in window] for windows in by_process])
    if between > 0.1:
        yield f"processes differ by {100 * between:.0f} %: the ratio's interval counts that, p50 and p99 do not"


def _of_the_machine(processes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    others, stolen = _mean(processes, "others_cpus"), _mean(processes, "stolen_cpus")
    if others > 0.1:
        yield f"other programs kept {others:.1f} CPUs busy meanwhile"
    if stolen > 0.05:
        yield f"the machine's host took {stolen:.2f} CPUs away meanwhile"
    pace = [value for process in processes for value in process.get("pace_ms", ()) if value > 0]
    if pace and max(pace) > 1.1 * min(pace):
        yield (
            f"the processor's own pace changed by {100 * (max(pace) / min(pace) - 1):.0f} % meanwhile: "
            "its clock, or a neighbour on the same core"
        )
    states = [(process["before"], process["after"]) for process in processes if "before" in process]
    clocks = [state["cpu_mhz"] for pair in states for state in pair if state.get("cpu_mhz")]
    if clocks and max(clocks) > 1.1 * min(clocks):
        yield f"the CPU's clock went from {min(clocks):.0f} to {max(clocks):.0f} MHz meanwhile"
    if any(after["throttled"] > before["throttled"] for before, after in states if after.get("throttled") is not None):
        yield "the CPU was throttled for its temperature meanwhile"
    reasons = sorted(
        {reason for pair in states for state in pair for gpu in state["gpus"] for reason in gpu["throttle"]}
    )
    if reasons:
        yield f"the GPU was slowed down meanwhile: {', '.join(reasons)}"


def _slowed(by_process: Sequence[Sequence[Sequence[float]]]) -> float:
    """From the first to the last third of a process, or steadily from process to process: as a part of the first."""
    inside = []
    for windows in by_process:
        values = [value for window in windows for value in window]
        third = len(values) // 3
        if third >= 10 and (first := statistics.median(values[:third])) > 0:
            inside.append(statistics.median(values[-third:]) / first - 1)
    medians = [statistics.median(value for window in windows for value in window) for windows in by_process]
    across = (
        medians[-1] / medians[0] - 1 if len(medians) >= 3 and medians[0] > 0 and medians == sorted(medians) else 0.0
    )
    return max(statistics.median(inside) if inside else 0.0, across)


def _two_modes(values: np.ndarray) -> tuple[float, float] | None:
    """Two clusters, each a tenth of the values or more, that explain nearly all of the variance."""
    ordered = np.sort(values)
    if len(ordered) < _FEW or ordered[0] <= 0:
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


def _mean(processes: Sequence[Mapping[str, Any]], key: str) -> float:
    found = [value for process in processes for value in process.get(key, ())]
    return sum(found) / len(found) if found else 0.0


def _spread(parts: Sequence[Sequence[float]]) -> float:
    medians = [statistics.median(part) for part in parts if part]
    return max(medians) / min(medians) - 1 if medians and min(medians) > 0 else 0.0
