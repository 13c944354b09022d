"""Devices for tests: a running sshd, and one that a test may change."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.devices import measuring

from . import bundle, sshd


@dataclass
class Watched:
    """Keeps what happens; a test may act on it."""

    lines: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    counts: list[tuple[int, int, str]] = field(default_factory=list)
    on_line: Callable[[str], object] = lambda line: None
    on_remark: Callable[[str], object] = lambda sentence: None

    def progress(self, done: int, total: int, word: str) -> None:
        self.counts.append((done, total, word))

    def line(self, text: str) -> None:
        self.lines.append(text)
        self.on_line(text)

    def remark(self, sentence: str) -> None:
        self.remarks.append(sentence)
        self.on_remark(sentence)


@dataclass
class Loopback:
    """A device on loopback with orders for it. `starts` holds a line for each measurement that began there."""

    server: sshd.Server
    folder: Path
    watched: Watched = field(default_factory=Watched)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def there(self) -> Path:
        return self.server.folder / "edgeresnet"

    @property
    def starts(self) -> int:
        path = self.server.folder / "starts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def order(self, steps: str = "", job: str = "0123456789abcdef", **changes: Any) -> measuring.Order[bytes]:
        device = changes.pop("device", None) or self.server.device(python=sys.executable)
        accept: Callable[[bytes, measuring.Source], bytes] = changes.pop("accept", lambda data, source: data)
        made = changes.pop("bundle", None) or bundle.made(self.folder / "bundle", steps)
        return measuring.Order("orin", device, "onnxruntime", made, job, accept, **changes)

    def measure(self, order: measuring.Order[bytes]) -> bytes:
        return measuring.measure(order, self.watched, self.stopping)


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Loopback]:
    """A device of the test's own. At its end nothing may be left running there."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    server = sshd.made(folder, STARTS=str(folder / "starts"))
    server.start()
    try:
        yield Loopback(server, tmp_path)
    finally:
        server.stop()
        left = _left_running(folder)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert not left


def _left_running(folder: Path) -> list[int]:
    """Return the jobs of a device that do not end by themselves within a minute."""
    until = time.monotonic() + 60
    while True:
        found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_of(path, folder)]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.02)


def _is_of(process: Path, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return f"{folder}/edgeresnet/".encode() in (process / "cmdline").read_bytes()
    return False
