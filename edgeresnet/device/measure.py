"""How long inferences take: in fresh processes, the sessions in turn, window by window until stable; raw values kept.

Measures and stores; `troubles` says what is wrong with stored values, `judge` what they mean. A *round* is one
generation of fresh processes, one for each session. Clocks and processes are parameters, so that tests can script them.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import machine, worker
from .worker import Job

Clock = Callable[[], float]
Start = Callable[[Job], Any]
Round = dict[str, dict[str, Any]]  # name → what one process measured

PROCESSES = 5
BUDGET_S = 30.0  # for all rounds together; a session in its first window is never cut short
WINDOW_S = 0.5
_LEAST, _MOST = 2, 8  # windows per session and process
_STABLE = 0.03  # the last windows' medians lie this close together: no further ones are needed


def rounds(
    jobs: Mapping[str, Job],
    *,
    processes: int = PROCESSES,
    first: int = 0,
    seconds: float = BUDGET_S,
    window_s: float | None = None,
    sweep: tuple[Sequence[int], Sequence[int]] | None = None,
    start: Start | None = None,
    clock: Clock = time.monotonic,
) -> Iterator[Round]:
    """Rounds `first` to `processes`, each handed out as soon as it is measured, so that none is lost.

    Sessions take turns, forwards in one pass and backwards in the next, so that a machine that slows down steadily
    slows them all alike; who comes first changes from round to round. `sweep`, batch sizes and numbers of streams, asks
    for throughput too, on top of the seconds, when the latencies of its round are measured.
    """
    began = clock()
    for number in range(first, processes):
        order = list(jobs)[:: 1 if number % 2 == 0 else -1]
        until = began + seconds * (number + 1 - first) / (processes - first)
        with contextlib.ExitStack() as stack:
            found: Round = {}
            workers: dict[str, Any] = {}
            for name in order:
                workers[name] = stack.enter_context(contextlib.closing((start or worker.start)(jobs[name])))
                found[name] = {"began": time.time(), **workers[name].load()}
            for name in order:
                found[name]["warmup_ms"] = workers[name].warm_up()
            before = machine.state()  # now, not earlier: an idle processor's clock is no news
            _windows(workers, found, window_s or WINDOW_S, until, clock)
            after = machine.state()
            for name in order:
                found[name] |= {"before": before, "after": after}
                found[name]["peak_memory_mb"] = workers[name].peak_memory_mb()
                for kind in ("device", "file"):
                    window = workers[name].window(kind, window_s or WINDOW_S)
                    found[name][f"{kind}_ms"] = window and [window["ms"]]
                if sweep:
                    found[name]["sweep"] = workers[name].sweep(*sweep, window_s or WINDOW_S)
        yield {name: found[name] for name in jobs}


def collected(jobs: Mapping[str, Job], found: Iterable[Round]) -> dict[str, dict[str, Any]]:
    """All rounds by session, with the conditions under which they were measured."""
    measured = list(found)
    return {
        name: {"batch": len(job.batch), "machine": machine.conditions(), "processes": [each[name] for each in measured]}
        for name, job in jobs.items()
    }


def latency(jobs: Mapping[str, Job], **choices: Any) -> dict[str, dict[str, Any]]:
    return collected(jobs, rounds(jobs, **choices))


def windows(raw: Mapping[str, Any], kind: str = "host") -> list[list[list[float]]]:
    """Process by process, the windows of one kind: milliseconds per inference. Empty where it was not measured."""
    return [process[f"{kind}_ms"] for process in raw["processes"] if process.get(f"{kind}_ms")]


def values(raw: Mapping[str, Any], kind: str = "host") -> np.ndarray:
    return np.asarray([value for process in windows(raw, kind) for window in process for value in window])


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
    return statistics.median(found) if found else None


def _windows(workers: Mapping[str, Any], found: Round, window_s: float, until: float, clock: Clock) -> None:
    for about in found.values():
        about |= {"host_ms": [], "pace_ms": [], "others_cpus": [], "stolen_cpus": []}
    for done in range(_MOST):
        began = clock()
        for name in list(workers)[:: 1 if done % 2 == 0 else -1]:
            window = workers[name].window("host", window_s)
            about = found[name]
            about["host_ms"].append(window["ms"])
            for key in ("pace_ms", "others_cpus", "stolen_cpus"):
                about[key].append(window[key])
        stable = done + 1 >= _LEAST and all(_spread(about["host_ms"][-_LEAST:]) <= _STABLE for about in found.values())
        if stable or 2 * clock() - began > until:
            return


def _spread(parts: Sequence[Sequence[float]]) -> float:
    medians = [statistics.median(part) for part in parts]
    return max(medians) / min(medians) - 1 if min(medians) > 0 else 0.0
