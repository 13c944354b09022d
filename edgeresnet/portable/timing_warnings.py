"""Measurement warnings: what makes measured times doubtful. They are reported with the times and never hide them.

Reads stored values and measures nothing. A rule's number stands where the rule is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from . import intervals
from .result import Measured, RunWarning
from .times import Latency, ProcessTimes, Ratio, Windows, spread

MODE_CHANGED = "mode-changed"
_FEW = 100
EMULATED = "an emulator ran it (QEMU or the like), so its times are not those of a CPU"


class _Found(NamedTuple):
    """What is doubtful about one session's times. Of several sessions only `amount` differs: one sentence names all."""

    code: str
    what: str
    amount: str = ""
    why: str = ""


def of(timed: Mapping[str, Latency]) -> list[RunWarning]:
    """Return the warnings about sessions that were timed in turn: one of each code, then those about their machine."""
    by_code: dict[str, dict[str, _Found]] = {}
    for name, latency in timed.items():
        for found in (*_of_values(latency), *_of_processes(latency)):
            by_code.setdefault(found.code, {})[name] = found
    return [*map(_merged, by_code.values()), *of_machine(timed)]


def _merged(found: Mapping[str, _Found]) -> RunWarning:
    """Return what is found of one or several sessions in one sentence: "fp32 in 4 of 5 processes, int8 in 3 of 5"."""
    code, what, amount, why = next(iter(found.values()))
    if all(each.amount == amount for each in found.values()):
        return RunWarning(code, " ".join(filter(None, (what, amount))) + why, ", ".join(found))
    amounts = ", ".join(f"{name} {each.amount}" for name, each in found.items())
    return RunWarning(code, f"{what} ({amounts}){why}")


def of_machine(timed: Mapping[str, Latency]) -> list[RunWarning]:
    """Return what happened to the machine meanwhile; part of it moves all times together."""
    processes = _processes(timed.values())
    return [*_taken_away(processes), *_of_the_machine(processes)]


def taken_away(timed: Mapping[str, Latency]) -> list[RunWarning]:
    """Return what of that can make everything slower, whatever is timed."""
    return list(_taken_away(_processes(timed.values())))


def untimed(measured: Sequence[Latency | None]) -> str:
    """Return why these are not times, or cannot be compared with one another; empty where they can."""
    timed = [latency for latency in measured if latency]
    processes = _processes(timed)
    if len(timed) < len(measured) or not processes:
        return "its latency was not measured"
    if any(latency.is_emulated for latency in timed):
        return EMULATED
    values = [latency.values() for latency in timed]
    if any(not np.isfinite(each).all() for each in values):
        return "a measured time is not a finite number"
    if any(map(_stepped_back, timed, values)):
        return "the clock went backwards during the measurement"
    if any(map(_stood_still, timed, values)):
        return "the clock stood still during the measurement"
    if any(map(_too_coarse, timed, values)):
        return "the timer is too coarse for such short inferences"
    if changed := _changed(processes):
        return f"{changed} during the measurement"
    if any(process.machine != processes[0].machine for process in processes):
        return "times from different machines, or from different states of one, are not comparable"
    if len({tuple(map(len, latency.windows())) for latency in timed}) > 1:
        return "it and its comparison were not measured in turn: one of them has more windows"
    return ""


def speedup(slower: Latency | None, faster: Latency | None, looks: int = 1) -> Ratio | str:
    """Return how many times as fast one is as the other, timed in turn with it; or why they cannot be compared."""
    why_not = untimed([slower, faster])
    if why_not or slower is None or faster is None:
        return why_not
    return faster.speedup_over(slower, looks)


def ratio(result: Measured, slower: str, faster: str) -> Ratio | None:
    """Return how many times as fast one variant of a result is as another; None where that cannot be compared."""
    found = "" if slower == faster else speedup(result.latency_of(slower), result.latency_of(faster))
    return found if isinstance(found, Ratio) else None


def no_interval(processes: int) -> str:
    """Return why times of this number of processes give no interval."""
    if processes < 2:
        return "one process gives no interval"
    return f"{processes} processes are too few for an interval of such noisy times"


def more_processes(processes: int) -> str:
    """Return what helps against that: with three, noise counts a third of what it does with two."""
    return "use 3 or more" if processes < 3 else "use more, or a quieter machine"


def _processes(timed: Iterable[Latency]) -> list[ProcessTimes]:
    return [process for latency in timed for process in latency.processes]


def _stepped_back(latency: Latency, values: np.ndarray) -> bool:
    return bool((values < 0).any()) or any(process.clock_ms < 0 for process in latency.processes)


def _stood_still(latency: Latency, values: np.ndarray) -> bool:
    """Return whether the clock did, in half of a window or more, or nothing was timed in one."""
    every = [window for windows in latency.windows() for window in windows]
    return not all(every) or bool((values <= 0).any() and any(intervals.median(window) <= 0 for window in every))


def _too_coarse(latency: Latency, values: np.ndarray) -> bool:
    """Return whether a tick is more than a hundredth of an inference: it makes equal medians out of different ones."""
    finest = max(process.clock_ms for process in latency.processes)
    return finest > 0.01 * intervals.median(values) or (len(values) >= 1000 and _fewer_than(10, values))


def _fewer_than(some: int, values: np.ndarray) -> bool:
    """Return whether there are fewer different values; the first hundred show it where all have more than a few."""
    return len(set(values[:100].tolist())) < some and len(set(values.tolist())) < some


def _of_values(latency: Latency) -> Iterator[_Found]:
    values = latency.values()
    if _stepped_back(latency, values):
        yield _Found("clock-stepped-back", "the clock went backwards during the measurement")
    if len(values) < _FEW:
        why = ": p99 depends on one or two of them"
        yield _Found("few-inferences", "few inferences were timed,", f"only {len(values)}", why)
    if _too_coarse(latency, values):
        yield _Found("coarse-timer", "the timer is too coarse for such short inferences")
    modes = _two_modes(values)
    if modes:
        yield _Found("two-speeds", "times form two groups", f"near {modes[0]:.3g} and {modes[1]:.3g} ms")


def _of_processes(latency: Latency) -> Iterator[_Found]:
    processes, by_process = latency.processes, latency.windows()
    if len(processes) == 1:
        why = ": how much times vary between processes is unknown"
        yield _Found("one-process", "timed in only one process", why=why)
    restless = sum(not process.stable for process in processes)
    if restless:
        amount, why = f"in {restless} of {len(processes)} processes", ": the windows still differed at the time limit"
        yield _Found("not-settled", "timing did not settle", amount, why)
    slowed = _slowed(by_process)
    if slowed > 0.05:
        why = ": the CPU or GPU may be throttled"
        yield _Found("slowed-down", "inference became slower during the measurement", f"by {100 * slowed:.0f} %", why)
    within = max((spread(windows) for windows in by_process), default=0.0)
    if within > 0.1 and slowed <= 0.05:
        yield _Found("windows-differ", "p50 varies within one process", f"by {100 * within:.0f} %")
    between = spread([[value for window in windows for value in window] for windows in by_process])
    if between > 0.1:
        why = ": the interval of a ratio includes this, p50 does not"
        yield _Found("processes-differ", "p50 varies between processes", f"by {100 * between:.0f} %", why)


def _taken_away(processes: Sequence[ProcessTimes]) -> Iterator[RunWarning]:
    others, stolen = _mean(processes, "others_cpus"), _mean(processes, "stolen_cpus")
    if others is not None and others - max(_spare(process) for process in processes) > 0.1:
        yield RunWarning("others-busy", f"other programs used {others:.1f} CPUs during the measurement")
    if stolen and stolen > 0.05:
        yield RunWarning(
            "stolen", f"the host of this virtual machine used {stolen:.2f} of its CPUs during the measurement"
        )
    states = [(each.before, each.after) for each in processes if each.before and each.after]
    if any((after.throttled or 0) > (before.throttled or 0) for before, after in states):
        yield RunWarning("throttled-cpu", "the CPU was throttled during the measurement because of its temperature")
    reasons = {reason for pair in states for state in pair for gpu in state.gpus for reason in gpu.throttle}
    if reasons:
        yield RunWarning("throttled-gpu", f"the GPU was throttled during the measurement: {', '.join(sorted(reasons))}")


def _of_the_machine(processes: Sequence[ProcessTimes]) -> Iterator[RunWarning]:
    if any(process.machine.emulated for process in processes):
        yield RunWarning("emulated", EMULATED)
    if changed := _changed(processes):
        yield RunWarning(MODE_CHANGED, f"{changed} during the measurement: its times belong to neither")
    if _mean(processes, "others_cpus") is None:
        text = "this system does not report how busy other programs kept the machine"
        yield RunWarning("load-unknown", text)
    work = _all(processes, "cpu_work_ms")
    if min(work, default=0) > 0:
        fast, slow = np.percentile(work, [10, 90])  # single readings of half a millisecond are unsteady by nature
        if slow > 1.2 * fast:
            changed = f"the CPU's speed changed by {100 * (slow / fast - 1):.0f} % during the measurement"
            yield RunWarning("cpu-speed-changed", f"{changed}: its clock, or other work on the same core")
    clocks = _all(processes, "cpu_mhz")
    if clocks and max(clocks) > 1.1 * min(clocks):
        text = f"the CPU's clock varied between {min(clocks):.0f} and {max(clocks):.0f} MHz during the measurement"
        yield RunWarning("cpu-clock-changed", text)


def _changed(processes: Sequence[ProcessTimes]) -> str:
    """Return what a person changed during a measurement that changes speed; empty where nothing was, or is known."""
    if len({(each.machine.host, each.machine.boot) for each in processes}) > 1:
        return ""
    for words, name in (("power mode", "power_mode"), ("CPU's governor", "governor")):
        states = [state for each in processes for state in (each.machine, each.before, each.after)]
        found = list(dict.fromkeys(value for state in states if (value := getattr(state, name, None))))
        if len(found) > 1:
            return f"the {words} changed from {found[0]} to {found[1]}"
    return ""


def _slowed(by_process: Sequence[Windows]) -> float:
    """Return the slowdown inside a process, first to last third, or steadily over processes: as a part of the first."""
    inside: list[float] = []
    medians: list[float] = []
    for windows in by_process:
        values = np.concatenate(windows)
        medians.append(intervals.median(values))
        third = len(values) // 3
        if third >= 5 and (first := intervals.median(values[:third])) > 0:
            inside.append(intervals.median(values[-third:]) / first - 1)
    # Five in order by chance are one in 120; three would be one in six.
    steady = len(medians) >= 5 and medians[0] > 0 and medians == sorted(medians)
    return max(intervals.median(inside) if inside else 0.0, medians[-1] / medians[0] - 1 if steady else 0.0)


def _two_modes(values: np.ndarray) -> tuple[float, float] | None:
    """Return two clusters' medians: each a tenth of the values or more, together nearly all of the variance."""
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
    low, high = intervals.median(ordered[:best]), intervals.median(ordered[best:])
    # One bell cut in two keeps 36 % of its variance inside the halves, an even spread 25 %.
    return (low, high) if high > 1.15 * low and (left + right).min() < 0.15 * total else None


def _spare(process: ProcessTimes) -> int:
    """Return the machine's CPUs beyond those that may be used here: what others do there takes nothing away."""
    return max(0, process.machine.cpus - process.machine.cores)


_PerWindow = Literal["others_cpus", "stolen_cpus", "cpu_work_ms", "cpu_mhz"]


def _all(processes: Sequence[ProcessTimes], name: _PerWindow) -> list[float]:
    return [value for process in processes for value in getattr(process, name) if value is not None]


def _mean(processes: Sequence[ProcessTimes], name: _PerWindow) -> float | None:
    found = _all(processes, name)
    return sum(found) / len(found) if found else None
