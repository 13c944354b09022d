"""Measurements on a test's device that wait: until the test lets them go, or until as many have begun as it wants."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import sshd

# Python reads it at each start there: a measurement leaves a file, and waits. A minute is longer than any test.
_SITE = """
import os, pathlib, sys, time
if any(word.endswith("deploy.py") for word in sys.orig_argv):
    folder = pathlib.Path(os.environ["HOLDS"])
    (folder / f"began-{os.getpid()}").touch()
    until = time.monotonic() + 60
    while len(list(folder.glob("began-*"))) < int(os.environ["TOGETHER"]) and not (folder / "go").exists():
        if time.monotonic() > until:
            sys.exit("nothing let this measurement go")
        time.sleep(0.02)
"""


@dataclass(frozen=True)
class Holds:
    """A folder that the measurements of one or several devices wait for."""

    folder: Path

    def device(self, name: str, together: int = 99) -> sshd.Server:
        """Start a device whose measurements wait until this number of them has begun."""
        (self.folder / name).mkdir()
        (self.folder / "sitecustomize.py").write_text(_SITE)
        environment = {"PYTHONPATH": str(self.folder), "HOLDS": str(self.folder), "TOGETHER": str(together)}
        server = sshd.made(self.folder / name, OMP_NUM_THREADS="1", **environment)
        server.start()
        return server

    def began(self) -> list[int]:
        """Return the processes of all measurements that began."""
        return [int(path.name.partition("-")[2]) for path in self.folder.glob("began-*")]

    def has_begun(self, count: int) -> bool:
        """Return whether this number of measurements has begun."""
        return len(self.began()) == count

    def go(self) -> None:
        (self.folder / "go").touch()

    def wait(self) -> None:
        (self.folder / "go").unlink()


def until(happened: Callable[[], object]) -> None:
    """Wait for something that happens in another process, a minute at most."""
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Return whether a process runs; one that ended and was not waited for does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def kill_job(server: sshd.Server) -> None:
    """Kill the work of the only job of a device."""
    (path,) = (server.folder / "edgeresnet" / "jobs").glob("*/pid.json")
    os.kill(json.loads(path.read_text())["pid"], signal.SIGKILL)
