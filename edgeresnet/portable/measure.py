"""How long inferences take: in fresh processes, the sessions in turn, window by window until stable; raw values kept.

Measures and stores: `result` reads what is stored, `timing_warnings` reports what is doubtful about it, `judging` what
it means. A *round* is one generation of fresh processes, one for each session. Clocks and processes are parameters, so
that tests can script them.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import EdgeresnetError, MachineError, TargetError
from . import limits, machine, worker
from .energy import Meter, ProcessEnergy
from .frozen import OMIT
from .machine import MachineState, TimedMachine
from .times import Latency, ProcessTimes, SweepCell, Windows, spread
from .worker import AnyWorker, Clock, Job, Loaded, Window

Workers = dict[str, AnyWorker]
Sweep = tuple[Sequence[int], Sequence[int]]  # batch sizes and numbers of streams
Round = Mapping[str, ProcessTimes]  # name → what one process measured

WINDOW_S = 0.5
_LEAST = 2  # windows per session and process
_STABLE = 0.03  # the last windows' medians lie this close together: more are needed only for their number
_ENOUGH = 400  # inferences over all processes: with fewer than 367 nothing bounds a p99 from above


@dataclass(frozen=True)
class ThroughputPlan:
    """With how many parallel requests throughput is measured, each of how many images. None: as latency is."""

    streams: int
    batch: int | None = field(default=None, metadata=OMIT)


@dataclass(frozen=True)
class TimingPlan:
    """How latency is measured: in how many fresh processes, and for how many seconds in all."""

    processes: int
    seconds: float
    throughput: ThroughputPlan | None = field(default=None, metadata=OMIT)  # None: it is not measured


@dataclass
class _Recording:
    """What one process has measured so far."""

    job: Job
    began: float
    machine: TimedMachine
    loaded: Loaded
    warmup_ms: list[float] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    stable: bool = False
    before: MachineState | None = None
    after: MachineState | None = None
    peak_memory_mb: float | None = None
    other_kinds: dict[str, Window | None] = field(default_factory=dict)
    sweep: tuple[SweepCell, ...] = ()
    sweep_problem: str = ""
    meter: Meter | str | None = None  # a text: why there is none
    idle_w: float | None = None
    watts: list[float | str] = field(default_factory=list)  # window by window

    @property
    def inferences(self) -> int:
        return sum(len(window.ms) for window in self.windows)

    def times(self, complete: int | None = None) -> ProcessTimes:
        """Return what was measured; of an interrupted process, its first `complete` windows."""
        windows = self.windows[:complete]
        if min(*self.loaded, *(ms for window in windows for ms in window.ms)) < 0:
            hint = "measure again, while nothing sets the clock"
            raise TargetError("the clock", "went backwards during the measurement", hint=hint)
        device, file = (_of_one_window(self.other_kinds.get(kind)) for kind in ("device", "file"))
        return ProcessTimes(
            began=self.began,
            machine=self.machine,
            **self.loaded._asdict(),
            warmup_ms=tuple(self.warmup_ms),
            host_ms=tuple(tuple(window.ms) for window in windows),
            stable=self.stable,
            cpu_work_ms=tuple(window.cpu_work_ms for window in windows),
            cpu_mhz=tuple(window.cpu_mhz for window in windows),
            others_cpus=tuple(window.others_cpus for window in windows),
            stolen_cpus=tuple(window.stolen_cpus for window in windows),
            before=self.before,
            after=self.after,
            peak_memory_mb=self.peak_memory_mb,
            device_ms=device,
            file_ms=file,
            sweep=self.sweep,
            sweep_problem=self.sweep_problem,
            energy=self._energy(windows),
            cut=complete is not None,
        )

    def _energy(self, windows: Sequence[Window]) -> ProcessEnergy | str | None:
        """Return what the meter reported of these windows; of one that it does not know, why."""
        if not isinstance(self.meter, Meter):
            return self.meter
        known = [watts for watts in self.watts[: len(windows)] if not isinstance(watts, str)]
        if len(known) < len(windows):
            return next((watts for watts in self.watts if isinstance(watts, str)), "the measurement was interrupted")
        seconds = tuple(end - began for began, end in (window.span for window in windows))
        return ProcessEnergy(self.meter.sensor.name, tuple(known), seconds, self.idle_w)


def _of_one_window(window: Window | None) -> Windows | None:
    return (tuple(window.ms),) if window else None


_Recordings = dict[str, _Recording]


def check_clock() -> None:
    """Refuse to measure on a computer that has lost its time: no result of it would be read."""
    if time.time() < limits.FIRST_MOMENT:
        raise MachineError("the clock", "is before 2020", hint="set the date: a result says when it was measured")


def rounds(
    jobs: Mapping[str, Job],
    *,
    processes: int,
    seconds: float,
    first: int = 0,
    window_s: float | None = None,
    sweep: Sweep | None = None,
    throughput: ThroughputPlan | None = None,
    meter: Meter | str | None = None,
    start: Callable[[Job], AnyWorker] | None = None,
    clock: Clock = time.monotonic,
) -> Iterator[Round]:
    """Yield rounds `first` to `processes`, each as soon as it is measured, so that none is lost.

    Sessions take turns, forwards in one pass and backwards in the next, so that a machine that slows down steadily
    slows them all alike; which comes first changes from round to round. All rounds take about `seconds`, but every
    session has its first window, however long that takes. `sweep` (batch sizes, streams) and `throughput` come on top;
    only the latter may fail. `meter` reads the power of each window, or is the reason why nothing does. An interrupted
    round is yielded, marked `cut`; then what ended it is raised.
    """
    check_clock()
    window_s, start = window_s or WINDOW_S, start or worker.start
    began, others_s = clock(), 0.0  # what other kinds than host latency take, as the round before this one showed
    for number in range(first, processes):
        order = list(jobs)[:: 1 if number % 2 == 0 else -1]
        until = began + seconds * (number + 1 - first) / (processes - first)
        found: _Recordings = {}
        ending: BaseException | None = None
        idle_w = meter.idle_watts(window_s) if isinstance(meter, Meter) else None
        with contextlib.ExitStack() as stack:
            workers: Workers = {}
            try:
                for name in order:  # one after the other: a process that starts would disturb one that loads
                    workers[name] = stack.enter_context(contextlib.closing(start(jobs[name])))
                    with _named(name):
                        found[name] = _loaded(jobs[name], workers[name], meter, idle_w)
                _host(workers, found, window_s, until - others_s, -(-_ENOUGH // processes), clock)
                ended = clock()
                _other_kinds(workers, found, window_s, until, clock)
                others_s = clock() - ended
                _throughputs(workers, found, sweep, throughput, window_s)
                began += clock() - ended - others_s
            except (KeyboardInterrupt, EdgeresnetError) as caught:
                ending = caught
        if ending is not None:
            if complete := min(len(found[name].windows) if name in found else 0 for name in jobs):
                yield {name: found[name].times(complete) for name in jobs}
            raise ending
        yield {name: found[name].times() for name in jobs}


def _loaded(job: Job, worker: AnyWorker, meter: Meter | str | None, idle_w: float | None) -> _Recording:
    loaded = worker.load()
    return _Recording(job, time.time(), machine.timed_machine(), loaded, meter=meter, idle_w=idle_w)


def collected(jobs: Mapping[str, Job], found: Iterable[Round]) -> dict[str, Latency]:
    """Return all rounds by session; each process carries the conditions under which it was measured."""
    measured = list(found)
    return {name: Latency(len(job.batch), tuple(each[name] for each in measured)) for name, job in jobs.items()}


def latency(jobs: Mapping[str, Job], **choices: Any) -> dict[str, Latency]:
    """Measure all rounds, with the choices of `rounds`."""
    return collected(jobs, rounds(jobs, **choices))


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Add the network's name to its failures."""
    try:
        yield
    except EdgeresnetError as problem:
        raise problem.within(name) from problem


def _host(
    workers: Workers,
    found: _Recordings,
    window_s: float,
    until: float,
    enough: int,
    clock: Clock,
) -> None:
    """Warm up, then time in turn: windows from and to the host's memory, until they agree and are enough."""
    for name, recording in found.items():
        with _named(name):
            recording.warmup_ms = workers[name].warm_up()
    before = machine.state()
    for done in itertools.count(1):
        began = clock()
        for name in list(workers)[:: 1 if done % 2 else -1]:
            with _named(name):
                _window(workers[name], found[name], window_s)
        for recording in found.values():
            last = [window.ms for window in recording.windows[-_LEAST:]]
            recording.stable = done >= _LEAST and spread(last) <= _STABLE
        complete = all(recording.inferences >= enough for recording in found.values() if not recording.job.is_unit)
        if (complete and all(recording.stable for recording in found.values())) or 2 * clock() - began > until:
            break
    after = machine.state()
    for recording in found.values():
        recording.before, recording.after = before, after


def _window(worker: AnyWorker, recording: _Recording, window_s: float) -> None:
    """Time one window, and read its power meanwhile."""
    meter = recording.meter if isinstance(recording.meter, Meter) else None
    with meter.sampling() if meter else contextlib.nullcontext():
        window = worker.window("host", window_s)
        assert window is not None
        recording.windows.append(window)
        if meter:
            recording.watts.append(meter.watts(window.span))


def _other_kinds(workers: Workers, found: _Recordings, window_s: float, until: float, clock: Clock) -> None:
    for name, each in workers.items():
        if found[name].job.is_unit:
            continue
        with _named(name):
            found[name].peak_memory_mb = each.peak_memory_mb()  # before what reads files is loaded
            for kind in ("device", "file"):
                found[name].other_kinds[kind] = each.window(kind, window_s) if clock() < until else None


def _throughputs(
    workers: Workers, found: _Recordings, sweep: Sweep | None, plan: ThroughputPlan | None, window_s: float
) -> None:
    if sweep:
        _sweep(workers, found, sweep, window_s)
    if plan:
        _throughput(workers, found, plan, window_s)


def _sweep(workers: Workers, found: _Recordings, sweep: Sweep, window_s: float) -> None:
    for name, each in workers.items():
        with _named(name):
            found[name].sweep = each.sweep(*sweep, window_s)


def _throughput(workers: Workers, found: _Recordings, plan: ThroughputPlan, window_s: float) -> None:
    """Measure throughput, of the yardstick with its own batch size. What fails is a reason, and ends nothing."""
    for name, each in workers.items():
        job = found[name].job
        size = len(job.batch) if plan.batch is None or job.is_unit else plan.batch
        try:
            found[name].sweep = each.sweep((size,), (plan.streams,), window_s)
        except EdgeresnetError as problem:
            found[name].sweep_problem = f"throughput was not measured: {problem.message}"
