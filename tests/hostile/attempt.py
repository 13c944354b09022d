"""One command, as a user calls it, in a process of its own that may hang, crash or print what it likes."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 5.0
LONGEST_LINE = 300
_TRACEBACK, _ENOUGH = "Traceback (most recent call last)", 1 << 20
_HUNG = -1
_EXPECTED = (0, 2, 3, 4, 5)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int  # its exit code; -1: it was stopped after the time limit, -9 and the like: a signal ended it
    out: str
    err: str
    seconds: float

    @property
    def accepted(self) -> bool:
        """Whether the command used its input: it ended with a verdict or a result, be it UNDECIDED."""
        return self.code in (0, 3) or (self.code == 4 and not self._refuses)

    @property
    def _refuses(self) -> bool:
        return any(line.startswith("error: ") for line in self.err.splitlines())

    @property
    def fault(self) -> str:
        """What is wrong with how it ended; empty for a result, or for one line that refuses."""
        if self.code == _HUNG:
            return "hangs"
        if _TRACEBACK in self.err or _TRACEBACK in self.out:
            return "traceback"
        if self.code not in _EXPECTED:
            return f"exit code {self.code}"
        if any(len(line) > LONGEST_LINE for line in self.err.splitlines()):
            return "long line"
        reports = self.code == 2 and self.out and not self.err  # `inspect`: a target would refuse the file
        return "" if self.accepted or self._refuses or reports else "no error line"


def attempt(arguments: Sequence[str], folder: Path, limit_s: float = LIMIT_S) -> Outcome:
    """Call edgeresnet in a copy of this process, in `folder`; stop it after `limit_s`."""
    (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
    began = time.monotonic()
    child = os.fork()
    if not child:
        _call(arguments, folder, out_write, err_write)
    os.close(out_write)
    os.close(err_write)
    texts, in_time = _read((out_read, err_read), began + limit_s)
    if not in_time:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status) if in_time else _HUNG
    return Outcome(code, texts[0], texts[1], time.monotonic() - began)


def _call(arguments: Sequence[str], folder: Path, out: int, err: int) -> None:
    """Become the command. Never returns."""
    os.setpgid(0, 0)
    try:
        os.dup2(out, 1), os.dup2(err, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["edgeresnet", *arguments]
        from edgeresnet.cli import main

        main()
    except SystemExit as left:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(left.code if isinstance(left.code, int) else 0)
    finally:
        os._exit(99)


def _read(pipes: tuple[int, int], until: float) -> tuple[list[str], bool]:
    """Read both pipes to their ends; return what came, and whether they ended in time."""
    parts: dict[int, list[bytes]] = {pipe: [] for pipe in pipes}
    todo = set(pipes)
    while todo and time.monotonic() < until:
        ready, _, _ = select.select(list(todo), [], [], max(0.0, until - time.monotonic()))
        for pipe in ready:
            block = os.read(pipe, 1 << 16)
            if not block:
                todo.discard(pipe)
            elif sum(map(len, parts[pipe])) < _ENOUGH:
                parts[pipe].append(block)
    for pipe in pipes:
        os.close(pipe)
    return [b"".join(parts[pipe]).decode("utf-8", "replace") for pipe in pipes], not todo
