"""Workers that are processes on this machine. One that is killed is replaced, and its item is done again.

They start when there is work and end with it: nothing of theirs runs while networks are timed.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ..errors import MachineError
from ..portable import machine
from .work import DEATHS, Answered, Work, limit_threads

T = TypeVar("T")

_CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    f"import {__name__} as processes; processes.serve(int(sys.argv[2]))"  # the same search path: the same program
)


class Processes:
    """As many processes as `count`. They divide this machine's cores among them."""

    def __init__(self, count: int):
        self.count = count

    def each(
        self, work: Callable[[T], bytes], items: Iterable[T], *, on_card: bool = False
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the number of each item with its answer, as they come."""
        packed, coming = Work.packed(work, on_card=on_card), enumerate(items)
        again: collections.deque[tuple[int, T]] = collections.deque()  # those whose process died
        deaths: collections.Counter[int] = collections.Counter()
        idle: list[_Process] = []
        busy: dict[_Process, tuple[int, T]] = {}
        try:
            while True:
                while len(busy) < self.count and (one := again.popleft() if again else next(coming, None)) is not None:
                    process = idle.pop() if idle else _Process(packed, max(1, machine.cores() // self.count))
                    process.send(one[1])
                    busy[process] = one
                if not busy:
                    return
                for process in _ready(list(busy)):
                    number, item = busy.pop(process)
                    answered = process.receive()
                    if answered is not None:
                        idle.append(process)
                        yield number, answered.result()
                        continue
                    death = process.death(number)
                    process.close()
                    deaths[number] += 1
                    if deaths[number] == DEATHS:
                        raise death
                    again.append((number, item))
        finally:
            for process in (*busy, *idle):
                process.close()


class _Process:
    """One process, at the other end of two pipes."""

    def __init__(self, packed: bytes, cores: int):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE, json.dumps(sys.path), str(cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._write(packed)

    def send(self, item: object) -> None:
        self._write(pickle.dumps(item, pickle.HIGHEST_PROTOCOL))

    def receive(self) -> Answered | None:
        """Return its answer; None where it died."""
        assert self._process.stdout is not None
        try:
            found = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError):
            return None
        assert isinstance(found, Answered)
        return found

    def fileno(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def death(self, number: int) -> MachineError:
        """Return how it died, for a person."""
        code = self._process.wait()
        if code == -signal.SIGKILL:
            how = "killed by the system, probably because memory ran out"
        else:
            how = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
        self._errors.seek(0)
        printed = [line for line in self._errors.read().decode(errors="replace").splitlines() if line.strip()]
        last = f": {printed[-1][:300]}" if printed else ""
        hint = "run again with fewer workers: what is done stays"
        return MachineError(f"{DEATHS} workers", f"died over shard {number}, the last one {how}{last}", hint=hint)

    def close(self) -> None:
        """End it at once: it holds nothing that is needed any more."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=10)
        self._errors.close()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: `receive` finds out
            pickle.dump(data, self._process.stdin)
            self._process.stdin.flush()


def _ready(processes: list[_Process]) -> list[_Process]:
    """Wait for answers; return the processes that answered or died."""
    return select.select(processes, [], [])[0]


def serve(cores: int) -> None:
    """Answer items, at the other end of the pipes, until they close."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that calls; it ends this one
    limit_threads(cores)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a runtime that prints must not print into the answers
    requests = sys.stdin.buffer
    work: Work = pickle.loads(pickle.load(requests))
    while True:
        try:
            item = pickle.loads(pickle.load(requests))
        except EOFError:
            os._exit(0)
        pickle.dump(work.do(item), answers)
        answers.flush()
