"""One network in a process of its own: loaded, warmed up, and timed window by window on request.

What varies most between two measurements is the process (where its memory fell, how its threads were placed), and two
runtimes in one process disturb each other. So each side of a comparison runs alone; while one is timed the others wait
for a message on a pipe, and no thread of theirs spins. Load time, first inference and peak memory, which matter on
small devices, are then the network's own too.

Knows no target by name: a Job brings along whatever can load what was compiled.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from ..errors import EdgeresnetError, MachineError, TargetError, first_line, machine_error
from . import machine
from .frozen import dataclass
from .session import Session
from .times import SweepCell

Clock = Callable[[], float]
PATIENCE_S = 900.0  # for one answer: a load may build an engine, a window takes a second
MOST_IN_A_ROW = 50_000  # inferences: a clock that stands still must not hold a run for ever
_WARM_GROUP_S, _WARM_CAP_S = 0.05, 2.0


class Loader(Protocol):
    """The part of a target that a measurement needs."""

    def load(self, compiled: Path) -> Session: ...


@dataclass(frozen=True)
class Job:
    """What to load and what to run with it. Travels to the process by pickle."""

    target: Loader
    compiled: Path
    batch: np.ndarray
    files: Callable[[int, int], np.ndarray] | None = None  # (first, count) → that many images, read and prepared now
    is_unit: bool = False  # the yardstick: only times in turn with the others', neither a p99 nor more kinds


class Loaded(NamedTuple):
    """How long loading and the first inference took, and the smallest step of the clock."""

    load_ms: float
    first_ms: float
    clock_ms: float


class Window(NamedTuple):
    """Single inferences in a row, the CPU's speed before them, and what else happened on the machine meanwhile."""

    ms: list[float]
    cpu_work_ms: float
    cpu_mhz: float | None
    others_cpus: float | None
    stolen_cpus: float | None
    span: tuple[float, float] = (0.0, 0.0)  # when its inferences began and ended, by this process' clock


class Worker:
    """Does the work, in whatever process it runs. Times are milliseconds."""

    def __init__(self, job: Job, clock: Clock = time.perf_counter):
        self.job, self.clock = job, clock
        self._session: Session | None = None

    def load(self) -> Loaded:
        """Load, and infer once. `load_ms` includes importing the runtime where this process had not."""
        began = self.clock()
        session = self.job.target.load(self.job.compiled)
        self._session = session.__enter__()
        loaded = self.clock()
        self._session.infer(self.job.batch)
        answered = self.clock()
        return Loaded(_ms(loaded - began), _ms(answered - loaded), _ms(_granularity(self.clock)))

    def warm_up(self) -> list[float]:
        """Return group medians until two groups in a row bring nothing: the warm-up is measured, not assumed."""
        groups: list[float] = []
        began, idle = self.clock(), 0
        while idle < 2 and len(groups) < 40 and 0 <= self.clock() - began < _WARM_CAP_S:
            median = statistics.median(self._loop(self._infer, _WARM_GROUP_S, least=5, cap_s=_WARM_CAP_S))
            idle = idle + 1 if groups and median > 0.98 * min(groups) else 0
            groups.append(median)
        return groups

    def window(self, kind: str, seconds: float) -> Window | None:
        """Time one window of single inferences of a kind, begun with one that does not count; None where there is none.

        host: with copies from and to the host's memory; device: by the device's or the runtime's own clock, without
        them; file: from the image file on.
        """
        if kind == "file" and self.job.files is None:
            return None
        cpu_work_s = _cpu_work_s(self.clock)
        before, began = machine.cpu_times(), time.perf_counter()
        first = self.clock()
        if kind == "device":
            values = self._device_times(seconds)
            if values is None:
                return None
        else:
            run = {"host": self._infer, "file": self._from_file}[kind]
            run(0)
            first = self.clock()
            values = self._loop(run, seconds)
        last = self.clock()
        mhz, took, after = machine.cpu_mhz(), time.perf_counter() - began, machine.cpu_times()  # the clock while hot
        others = stolen = None
        if before is not None and after is not None:
            others = max(0.0, after.others_s - before.others_s) / took
            stolen = max(0.0, after.stolen_s - before.stolen_s) / took
        return Window(values, _ms(cpu_work_s), mhz, others, stolen, (first, last))

    def sweep(self, batches: Sequence[int], streams: Sequence[int], seconds: float) -> tuple[SweepCell, ...]:
        """Measure the latency of each batch size alone, and the images per second of each number of streams."""
        found = []
        for size in batches:
            batch = np.resize(self.job.batch, (size, *self.job.batch.shape[1:]))
            self.session.infer(batch)
            alone = self._loop(lambda _: self.session.infer(batch), seconds)  # noqa: B023 - it is over before the next
            for count in streams:
                many = self.session.throughput(batch, count, seconds)
                found.append(SweepCell(size, count, round(many.images / many.seconds, 2), tuple(alone)))
        return tuple(found)

    def peak_memory_mb(self) -> float | None:
        """Return the process's peak, and what its network holds of a GPU: on a Jetson both are the same memory."""
        peak = machine.peak_memory_mb()
        return None if peak is None else peak + self.session.device_memory_mb()

    def close(self) -> None:
        if self._session is not None:
            self._session.__exit__(None, None, None)
            self._session = None

    @property
    def session(self) -> Session:
        assert self._session is not None, "load first"
        return self._session

    def _infer(self, _: int) -> None:
        self.session.infer(self.job.batch)

    def _from_file(self, number: int) -> None:
        assert self.job.files is not None
        count = len(self.job.batch)
        self.session.infer(self.job.files(number * count, count))

    def _device_times(self, seconds: float) -> list[float] | None:
        probe = self.session.device_times_ms(self.job.batch, 3)
        if probe is None:
            return None
        if sum(probe) >= 1000 * seconds:
            return probe
        count = int(1000 * seconds / max(statistics.median(probe), 1e-3))
        return self.session.device_times_ms(self.job.batch, max(1, min(count, MOST_IN_A_ROW)))

    def _loop(
        self, run: Callable[[int], object], seconds: float, *, least: int = 1, cap_s: float = float("inf")
    ) -> list[float]:
        """Time runs until the time is over and `least` are there. A clock that steps back ends it; the value stays."""
        times: list[float] = []
        began = now = self.clock()
        while (now - began < seconds or (len(times) < least and now - began < cap_s)) and len(times) < MOST_IN_A_ROW:
            last, before = now, self.clock()
            run(len(times))
            now = self.clock()
            times.append(_ms(min(now - before, before - last) if before < last else now - before))
            if times[-1] < 0:
                break
        return times


class WorkerProcess:
    """A Worker in a fresh process of its own, called over a pipe."""

    def __init__(self, job: Job):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        code = (
            "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
            f"import {__name__} as worker; worker.serve()"  # the same search path: the same program
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._send(replace(job, files=_Later(pickle.dumps(job.files))) if job.files else job)

    def load(self) -> Loaded:
        return self._call("load")

    def warm_up(self) -> list[float]:
        return self._call("warm_up")

    def window(self, kind: str, seconds: float) -> Window | None:
        return self._call("window", kind, seconds)

    def sweep(self, batches: Sequence[int], streams: Sequence[int], seconds: float) -> tuple[SweepCell, ...]:
        return self._call("sweep", batches, streams, seconds)

    def peak_memory_mb(self) -> float | None:
        return self._call("peak_memory_mb")

    def close(self) -> None:
        """End it at once: a runtime's threads may be slow to end, and nothing of theirs is needed any more."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that hangs in its driver cannot be waited for
            self._process.communicate(timeout=10)
        self._errors.close()

    def _call(self, name: str, *arguments: Any) -> Any:
        self._send((name, arguments))
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], PATIENCE_S)[0]:
            raise TargetError(
                "the network",
                f"did not respond for {PATIENCE_S / 60:.0f} minutes during timing",
                hint="the device or its driver hangs: check the system log",
            )
        try:
            kind, value = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            raise self._dead() from None
        if kind == "failed":
            raise value
        return value

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._dead() from None

    def _dead(self) -> EdgeresnetError:
        code = self._process.wait()
        if code == -signal.SIGKILL:
            return MachineError(
                "the process that timed the network",
                "was killed by the system, probably because memory ran out",
                hint="close other programs, or lower the batch size",
            )
        self._errors.seek(0)
        printed = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        how = f"signal {-code}" if code < 0 else f"code {code}"
        return TargetError(
            "the network",
            f"crashed the process that timed it ({how}){': ' + printed[-1][:300] if printed else ''}",
            hint="measure again; any text after the code is the last output of the runtime",
        )


AnyWorker: TypeAlias = "Worker | WorkerProcess"
start: Callable[[Job], AnyWorker] = WorkerProcess


def serve() -> None:
    """Answer calls, at the other end of the pipe, until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that calls; it ends this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a runtime that prints must not print into the answers
    requests = sys.stdin.buffer
    worker = Worker(pickle.load(requests))
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            os._exit(0)
        try:
            answer = ("done", getattr(worker, name)(*arguments))
        except Exception as problem:  # noqa: BLE001 - carried to the process that called
            answer = ("failed", _to_carry(problem))
        pickle.dump(answer, answers)
        answers.flush()


class _Later:
    """What reads files imports an image library: it is unpickled when first called, after the memory was read."""

    def __init__(self, pickled: bytes):
        self._pickled = pickled
        self._read: Callable[[int, int], np.ndarray] | None = None

    def __call__(self, first: int, count: int) -> np.ndarray:
        if self._read is None:
            self._read = pickle.loads(self._pickled)
        return self._read(first, count)


def _to_carry(problem: Exception) -> EdgeresnetError:
    if isinstance(problem, EdgeresnetError):
        return problem
    where = traceback.extract_tb(problem.__traceback__)[-1]
    return machine_error(problem) or TargetError(
        "the network",
        f"failed during timing: {type(problem).__name__}: {first_line(problem)}",
        hint=f"measure again; the error comes from {Path(where.filename).name}, line {where.lineno}",
    )


def _cpu_work_s(clock: Clock) -> float:
    """Return the best of five times of a fixed piece of work that fits into a register: the CPU's own speed now."""
    best = float("inf")
    for _ in range(5):
        began = clock()
        sum(range(50_000))
        best = min(best, clock() - began)
    return best


def _granularity(clock: Clock) -> float:
    """Return the smallest step that this clock was seen to take: below zero where it stepped back."""
    best, before = float("inf"), clock()
    for _ in range(1000):
        now = clock()
        if now != before:
            best = min(best, now - before)
        before = now
    return best if best < float("inf") else 0.0


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 6)
