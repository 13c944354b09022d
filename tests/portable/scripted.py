"""A session that answers and moves the clock as a test scripts it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from edgeresnet.portable.session import Layer, Signature, Throughput
from edgeresnet.portable.worker import Job, Worker


class Scripted:
    def __init__(self, batch: int | None = None, takes: list[float] | None = None):
        self.signature = Signature("image", batch, 1, 2, "logits", 3)
        self.takes, self.now, self.seen = takes or [0.001], 0.0, 0

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *problem: object) -> None: ...

    def infer(self, batch: np.ndarray) -> np.ndarray:
        self.now += self.takes[min(self.seen, len(self.takes) - 1)]
        self.seen += 1
        return np.stack([np.arange(3, dtype=np.float32) + image.sum() for image in batch])

    def device_times_ms(self, batch: np.ndarray, n: int) -> list[float] | None:
        return None

    def device_memory_mb(self) -> float:
        return 0.0

    def throughput(self, batch: np.ndarray, streams: int, seconds: float) -> Throughput:
        return Throughput(streams * len(batch) * 10, seconds)

    def layers(self) -> list[Layer]:
        return []

    def clock(self) -> float:
        return self.now


class Loads:
    """A target reduced to loading."""

    def __init__(self, session: Any):
        self.session = session

    def load(self, compiled: Path) -> Any:
        return self.session


def of_benchmarks(name: str) -> Any:
    """The module of this name in benchmarks/, which is not a package."""
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def job(session: Any, images: int = 1, **about: Any) -> Job:
    return Job(Loads(session), Path(), np.zeros((images, 1, 2, 2), np.float32), **about)


def here(job: Job, kind: type[Worker] = Worker) -> Worker:
    """A worker in this process, on the session's own clock."""
    return kind(job, clock=getattr(job.target.load(job.compiled), "clock"))  # noqa: B009


# Targets for real processes: these must be found by their names there.


class Quick:
    def load(self, compiled: Path) -> Any:
        return Scripted()


class Raises:
    def load(self, compiled: Path) -> Any:
        session = Scripted()

        def infer(batch: np.ndarray) -> np.ndarray:
            session.seen += 1
            if session.seen > 300:
                raise RuntimeError("device lost")
            return np.zeros((len(batch), 3), np.float32)

        session.infer = infer  # type: ignore[method-assign]
        return session


class Prints(Quick):
    """As some runtimes do, to stdout, from wherever they are."""

    def load(self, compiled: Path) -> Any:
        import os

        os.write(1, b"loading...\n")
        print("loaded")
        return super().load(compiled)


class Dies:
    def load(self, compiled: Path) -> Any:
        import os
        import sys

        print("the driver went away", file=sys.stderr, flush=True)
        os._exit(7)


class Killed:
    def load(self, compiled: Path) -> Any:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)


class Hangs:
    def load(self, compiled: Path) -> Any:
        import time

        time.sleep(1000)


class ReadsFiles:
    """Brings a library of 80 MB along when it is unpickled, as decoding files does."""

    ballast: Any = None

    def __reduce__(self) -> tuple:
        return _with_ballast, ()

    def __call__(self, first: int, count: int) -> np.ndarray:
        return np.zeros((count, 1, 2, 2), np.float32)


def _with_ballast() -> ReadsFiles:
    found = ReadsFiles()
    found.ballast = np.ones(10_000_000)
    return found


class Large:
    def load(self, compiled: Path) -> Any:
        session = Scripted()
        session.ballast = np.ones(25_000_000)  # type: ignore[attr-defined]
        return session
