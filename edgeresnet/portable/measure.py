"""How long inferences take: in fresh processes, the sessions in turn, window by window until stable; raw values kept.

Measures and stores; `timings` reads what is stored, `troubles` says what is wrong with it, `judge` what it means. A
*round* is one generation of fresh processes, one for each session. Clocks and processes are parameters, so that tests
can script them.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import EdgeresnetError
from . import machine, timings, worker
from .worker import Clock, Job

Start = Callable[[Job], Any]
Round = dict[str, dict[str, Any]]  # name → what one process measured

WINDOW_S = 0.5
_LEAST = 2  # windows per session and process
_STABLE = 0.03  # the last windows' medians lie this close together: more are needed only for their number
_ENOUGH = 400  # inferences over all processes: with fewer than 367 nothing bounds a p99 from above


def rounds(
    jobs: Mapping[str, Job],
    *,
    processes: int,
    seconds: float,
    first: int = 0,
    window_s: float | None = None,
    sweep: tuple[Sequence[int], Sequence[int]] | None = None,
    start: Start | None = None,
    clock: Clock = time.monotonic,
) -> Iterator[Round]:
    """Rounds `first` to `processes`, each handed out as soon as it is measured, so that none is lost.

    Sessions take turns, forwards in one pass and backwards in the next, so that a machine that slows down steadily
    slows them all alike; who comes first changes from round to round. All rounds take about `seconds`, but every
    session has its first window, however long that takes. `sweep`, batch sizes and numbers of streams, asks for
    throughput too, on top of the seconds. A round that is cut short is handed out as far as it came, marked `cut`,
    before what ended it is raised.
    """
    window_s, start = window_s or WINDOW_S, start or worker.start
    began, others_s = clock(), 0.0  # what other kinds than host latency take, as the round before this one showed
    for number in range(first, processes):
        order = list(jobs)[:: 1 if number % 2 == 0 else -1]
        until = began + seconds * (number + 1 - first) / (processes - first)
        found: Round = {}
        ending: BaseException | None = None
        with contextlib.ExitStack() as stack:
            workers: dict[str, Any] = {}
            try:
                for name in order:  # one after the other: a process that starts would disturb one that loads
                    workers[name] = stack.enter_context(contextlib.closing(_Named(name, start(jobs[name]))))
                    about = {"began": time.time(), "machine": machine.conditions() | machine.identity()}
                    found[name] = {**about, **workers[name].load()}
                enough = {name: 0 if job.is_unit else -(-_ENOUGH // processes) for name, job in jobs.items()}
                _host(workers, found, window_s, until - others_s, enough, clock)
                ended = clock()
                others = {name: workers[name] for name in order if not jobs[name].is_unit}
                _other_kinds(others, found, window_s, until, clock)
                others_s = clock() - ended
                for name in order if sweep else ():
                    found[name]["sweep"] = workers[name].sweep(*sweep, window_s)  # type: ignore[misc]
                began += clock() - ended - others_s
            except (KeyboardInterrupt, EdgeresnetError) as caught:
                ending = caught
        if ending is not None:
            if _cut(found, jobs):
                yield {name: found[name] for name in jobs}
            raise ending
        yield {name: found[name] for name in jobs}


def collected(jobs: Mapping[str, Job], found: Iterable[Round]) -> dict[str, dict[str, Any]]:
    """All rounds by session; each process carries the conditions under which it was measured."""
    measured = list(found)
    return {
        name: {"batch": len(job.batch), "processes": [each[name] for each in measured]} for name, job in jobs.items()
    }


def latency(jobs: Mapping[str, Job], **choices: Any) -> dict[str, dict[str, Any]]:
    return collected(jobs, rounds(jobs, **choices))


class _Named:
    """A worker whose failures say whose they are."""

    def __init__(self, name: str, one: Any):
        self._name, self._worker = name, one

    def __getattr__(self, deed: str) -> Callable[..., Any]:
        def named(*arguments: Any) -> Any:
            try:
                return getattr(self._worker, deed)(*arguments)
            except EdgeresnetError as problem:
                raise type(problem)(f"{self._name} {problem.message}", hint=problem.hint) from problem

        return named


_PER_WINDOW = ("pace_ms", "cpu_mhz", "others_cpus", "stolen_cpus")


def _host(
    workers: Mapping[str, Any],
    found: Round,
    window_s: float,
    until: float,
    enough: Mapping[str, int],
    clock: Clock,
) -> None:
    """Warmed up, then in turn: windows from and to the host's memory, until they agree and are enough."""
    for name, about in found.items():
        about |= {"warmup_ms": workers[name].warm_up(), "host_ms": [], "stable": False}
        about |= {key: [] for key in _PER_WINDOW}
    before = machine.state()
    for done in itertools.count(1):
        began = clock()
        for name in list(workers)[:: 1 if done % 2 else -1]:
            window = workers[name].window("host", window_s)
            found[name]["host_ms"].append(window["ms"])
            for key in _PER_WINDOW:
                found[name][key].append(window[key])
        for about in found.values():
            about["stable"] = done >= _LEAST and timings.spread(about["host_ms"][-_LEAST:]) <= _STABLE
        whole = all(sum(map(len, about["host_ms"])) >= enough[name] for name, about in found.items())
        if (whole and all(about["stable"] for about in found.values())) or 2 * clock() - began > until:
            break
    after = machine.state()
    for about in found.values():
        about |= {"before": before, "after": after}


def _other_kinds(workers: Mapping[str, Any], found: Round, window_s: float, until: float, clock: Clock) -> None:
    for name, worker_of in workers.items():
        found[name]["peak_memory_mb"] = worker_of.peak_memory_mb()  # before what reads files is loaded
        for kind in ("device", "file"):
            window = worker_of.window(kind, window_s) if clock() < until else None
            found[name][f"{kind}_ms"] = window and [window["ms"]]


def _cut(found: Round, jobs: Mapping[str, Job]) -> bool:
    """Cut down to the windows that every session had its turn in; whether there is one."""
    whole = min((len(found[name].get("host_ms", ())) if name in found else 0) for name in jobs)
    for about in found.values():
        about["cut"] = True
        for key in ("host_ms", *_PER_WINDOW):
            about[key] = about.get(key, [])[:whole]
    return whole > 0
