"""What keeps measured times from being trusted as they stand: told beside them, never a reason to hide them.

Reads stored values and measures nothing. Each finding is a sentence; a rule's number stands where the rule is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import timings

_FEW = 100


def troubles(measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of sessions that were timed in turn: each one's own, and once what befell the machine that they shared."""
    own = [
        f"{name}: {sentence}" for name, raw in measured.items() for sentence in (*_of_values(raw), *_of_processes(raw))
    ]
    return [*own, *of_machine(measured)]


def of_machine(measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What befell the machine meanwhile: of such times, some that moved together say nothing of what was timed."""
    processes = _processes(measured)
    return [*_taken_away(processes), *_of_the_machine(processes)]


def taken_away(measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of that, what can make everything slower, whatever is timed."""
    return list(_taken_away(_processes(measured)))


def _processes(measured: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [process for raw in measured.values() for process in raw["processes"]]


def untimed(measured: Sequence[Mapping[str, Any] | None]) -> str:
    """Why these are no times, or cannot be held against one another; empty where they can."""
    timed = [raw for raw in measured if raw]
    processes = [process for raw in timed for process in raw["processes"]]
    if len(timed) < len(measured) or not processes:
        return "its latency was not measured"
    values = [timings.values(raw) for raw in timed]
    if any(not np.isfinite(each).all() for each in values):
        return "its times are no finite numbers"
    if any(map(_stepped_back, timed, values)):
        return "the clock stepped back while it was timed"
    if any(map(_stood_still, timed, values)):
        return "the clock did not move while it was timed"
    if any(map(_too_coarse, timed, values)):
        return "the timer is too coarse for inferences this short"
    if any(process["machine"] != processes[0]["machine"] for process in processes):
        return "measured on two machines, or on one in two states: such times are not comparable"
    return ""


def _stepped_back(raw: Mapping[str, Any], values: np.ndarray) -> bool:
    return bool((values < 0).any()) or any(p.get("clock_ms", 0.0) < 0 for p in raw["processes"])


def _stood_still(raw: Mapping[str, Any], values: np.ndarray) -> bool:
    """In half of a window or more, or nothing was timed in it."""
    every = [window for windows in timings.windows(raw) for window in windows]
    return not all(every) or bool((values <= 0).any() and any(np.median(window) <= 0 for window in every))


def _too_coarse(raw: Mapping[str, Any], values: np.ndarray) -> bool:
    """A tick of more than a hundredth of an inference makes equal medians out of different ones."""
    finest = max(process.get("clock_ms", 0.0) for process in raw["processes"])
    return finest > 0.01 * float(np.median(values)) or (len(values) >= 1000 and _fewer_than(10, values))


def _fewer_than(some: int, values: np.ndarray) -> bool:
    """Different values: the first hundred have more than a few where all have."""
    return len(set(values[:100].tolist())) < some and len(set(values.tolist())) < some


def _of_values(raw: Mapping[str, Any]) -> Iterator[str]:
    values = timings.values(raw)
    if _stepped_back(raw, values):
        yield "the clock stepped back while it was timed"
    if len(values) < _FEW:
        yield f"only {len(values)} inferences were timed: p99 is one or two of them"
    if _too_coarse(raw, values):
        yield "the timer is too coarse for inferences this short"
    modes = _two_modes(values)
    if modes:
        yield f"it has two speeds, {modes[0]:.3g} and {modes[1]:.3g} ms"


def _of_processes(raw: Mapping[str, Any]) -> Iterator[str]:
    processes, by_process = raw["processes"], timings.windows(raw)
    if len(processes) == 1:
        yield "timed in one process only: how much processes differ is not known"
    restless = sum(process.get("stable") is False for process in processes)
    if restless:
        yield f"its windows had not come to agree when the time was over, in {restless} of {len(processes)} processes"
    slowed = _slowed(by_process)
    if slowed > 0.05:
        yield f"it slowed down by {100 * slowed:.0f} % while it was timed: throttled?"
    within = max((timings.spread(windows) for windows in by_process), default=0.0)
    if within > 0.1 and slowed <= 0.05:
        yield f"the windows of one process differ by {100 * within:.0f} %: unstable"
    between = timings.spread([[value for window in windows for value in window] for windows in by_process])
    if between > 0.1:
        yield f"processes differ by {100 * between:.0f} %: the ratio's interval counts that, p50 does not"


def _taken_away(processes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    others, stolen = _mean(processes, "others_cpus"), _mean(processes, "stolen_cpus")
    if others is not None and others - max(_spare(process) for process in processes) > 0.1:
        yield f"other programs kept {others:.1f} CPUs busy meanwhile"
    if stolen and stolen > 0.05:
        yield f"the machine's host took {stolen:.2f} CPUs away meanwhile"
    states = [(process["before"], process["after"]) for process in processes if "after" in process]
    if any((after["throttled"] or 0) > (before["throttled"] or 0) for before, after in states):
        yield "the CPU was throttled for its temperature meanwhile"
    reasons = {reason for pair in states for state in pair for gpu in state["gpus"] for reason in gpu["throttle"]}
    if reasons:
        yield f"the GPU was slowed down meanwhile: {', '.join(sorted(reasons))}"


def _of_the_machine(processes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if _mean(processes, "others_cpus") is None:
        yield "how busy other programs kept the machine meanwhile cannot be seen on this system"
    pace = _all(processes, "pace_ms")
    if min(pace, default=0) > 0:
        fast, slow = np.percentile(pace, [10, 90])  # single readings of half a millisecond are unsteady by nature
        if slow > 1.2 * fast:
            yield (
                f"the processor's own pace changed by {100 * (slow / fast - 1):.0f} % meanwhile: its clock, or a "
                "neighbour on the same core"
            )
    clocks = _all(processes, "cpu_mhz")
    if clocks and max(clocks) > 1.1 * min(clocks):
        yield f"the CPU's clock went from {min(clocks):.0f} to {max(clocks):.0f} MHz meanwhile"


def _slowed(by_process: Sequence[Sequence[Sequence[float]]]) -> float:
    """From the first to the last third of a process, or steadily from process to process: as a part of the first."""
    inside: list[float] = []
    medians: list[float] = []
    for windows in by_process:
        values = np.concatenate(windows)
        medians.append(float(np.median(values)))
        third = len(values) // 3
        if third >= 5 and (first := float(np.median(values[:third]))) > 0:
            inside.append(float(np.median(values[-third:])) / first - 1)
    # Five in order by chance are one in 120; three would be one in six.
    steady = len(medians) >= 5 and medians[0] > 0 and medians == sorted(medians)
    return max(float(np.median(inside)) if inside else 0.0, medians[-1] / medians[0] - 1 if steady else 0.0)


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


def _spare(process: Mapping[str, Any]) -> int:
    """CPUs of the machine beyond those that may be used here: what others do there takes nothing away."""
    about = process.get("machine", {})
    return max(0, about.get("cpus", 0) - about.get("cores", 0))


def _all(processes: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [value for process in processes for value in process.get(key, ()) if value is not None]


def _mean(processes: Sequence[Mapping[str, Any]], key: str) -> float | None:
    found = _all(processes, key)
    return sum(found) / len(found) if found else None
