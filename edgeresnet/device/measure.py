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
    window_s, start = window_s or WINDOW_S, start or worker.start
    began, others_s = clock(), 0.0  # what other kinds than host latency take, as the round before this one showed
    for number in range(first, processes):
        order = list(jobs)[:: 1 if number % 2 == 0 else -1]
        until = began + seconds * (number + 1 - first) / (processes - first) - others_s
        with contextlib.ExitStack() as stack:
            workers: dict[str, Any] = {}
            found: Round = {}
            for name in order:  # one after the other: a process that starts would disturb one that loads
                workers[name] = stack.enter_context(contextlib.closing(start(jobs[name])))
                found[name] = {"began": time.time(), **workers[name].load()}
            _host(workers, found, window_s, until, clock)
            ended = clock()
            _other_kinds(workers, found, window_s)
            others_s = clock() - ended
            for name in order if sweep else ():
                found[name]["sweep"] = workers[name].sweep(*sweep, window_s)  # type: ignore[misc]
            began += clock() - ended - others_s
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


def _host(workers: Mapping[str, Any], found: Round, window_s: float, until: float, clock: Clock) -> None:
    """Warmed up, then in turn: windows from and to the host's memory."""
    for name, about in found.items():
        about |= {"warmup_ms": workers[name].warm_up(), "host_ms": []}
        about |= {"pace_ms": [], "others_cpus": [], "stolen_cpus": []}
    before = machine.state()  # now, not earlier: an idle processor's clock is no news
    for done in range(_MOST):
        began = clock()
        for name in list(workers)[:: 1 if done % 2 == 0 else -1]:
            window = workers[name].window("host", window_s)
            found[name]["host_ms"].append(window["ms"])
            for key in ("pace_ms", "others_cpus", "stolen_cpus"):
                found[name][key].append(window[key])
        stable = done + 1 >= _LEAST and all(_spread(about["host_ms"][-_LEAST:]) <= _STABLE for about in found.values())
        if stable or 2 * clock() - began > until:
            break
    after = machine.state()
    for about in found.values():
        about |= {"before": before, "after": after}


def _other_kinds(workers: Mapping[str, Any], found: Round, window_s: float) -> None:
    for name, about in found.items():
        about["peak_memory_mb"] = workers[name].peak_memory_mb()  # before what reads files is loaded
        for kind in ("device", "file"):
            window = workers[name].window(kind, window_s)
            about[f"{kind}_ms"] = window and [window["ms"]]


def _spread(parts: Sequence[Sequence[float]]) -> float:
    medians = [statistics.median(part) for part in parts]
    return max(medians) / min(medians) - 1 if min(medians) > 0 else 0.0
