"""Workers of a Ray cluster. Ray is imported when one is wanted: `pip install 'edgeresnet[ray]'`."""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..errors import EdgeresnetError, MachineError, first_line
from ..portable import machine
from .work import DEATHS, Answered, Work, digest_of, limit_threads

T = TypeVar("T")

LOCAL = "local"
NICENESS = "RAY_worker_niceness"  # in the environment of a node that starts: the priority of its workers
_WAITING = 2  # tasks a core: one that runs, and one that is ready
_PATIENCE_S = 10.0  # for an address to answer
_unpacked: dict[str, Work] = {}  # what this worker did last


class Ray:
    """The workers of the cluster that this process is connected to, each with some cores of its own."""

    def __init__(self, cores: int = 1, dashboard: str = ""):
        self.cores, self.dashboard = cores, dashboard  # its address is empty where Ray has no dashboard

    @staticmethod
    def connected(address: str, cores: int = 1) -> Ray:
        """Connect to a cluster: `auto`, an address, or `local` for one on this machine that ends with this process."""
        ray = imported()
        if ray.is_initialized():
            return Ray(cores)
        here = machine.cores() if address == LOCAL else None
        if address == LOCAL:  # else what a worker times would come after all other programs
            os.environ.setdefault(NICENESS, "0")
        try:
            _refuse_closed(address)
            found = ray.init(address, num_cpus=here, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as problem:
            hint = f"start one with `ray start --head`, or use `--ray {LOCAL}`; with tokens, set RAY_AUTH_MODE=token"
            why = first_line(problem)
            if "ersion mismatch" in str(problem):  # Ray says it in several lines
                why, hint = " ".join(str(problem).split()), "install the same versions on all nodes"
            raise MachineError(f"the Ray cluster {address}", f"cannot be used: {why}", hint=hint) from problem
        _silence()
        return Ray(cores, f"http://{found.dashboard_url}" if found.dashboard_url else "")

    def each(
        self, work: Callable[[T], bytes], items: Iterable[T], *, on_card: bool = False
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the number of each item with its answer, as they come. Ray does again what a lost node was doing."""
        ray, packed = imported(), Work.packed(work, on_card=on_card)
        digest, shared = digest_of(packed), ray.put(packed)
        needs = {"num_cpus": self.cores, "num_gpus": 1 if on_card else 0}
        task = ray.remote(max_retries=DEATHS - 1, **needs)(_do)
        coming, running = enumerate(items), dict[Any, int]()
        try:
            while True:
                slots = max(1, int(ray.cluster_resources().get("CPU", 1)) // self.cores) * _WAITING
                for number, item in itertools.islice(coming, max(0, slots - len(running))):
                    running[task.remote(digest, shared, item, self.cores)] = number
                if not running:
                    return
                for ref in ray.wait(list(running), num_returns=1)[0]:
                    yield running.pop(ref), _answer(ray, ref).result()
        finally:
            for ref in running:
                ray.cancel(ref, force=True)


def _do(digest: str, packed: bytes, item: object, cores: int) -> Answered:
    """Return the answer to an item, in a worker of Ray. It unpacks the work once."""
    if digest not in _unpacked:
        limit_threads(cores)
        _unpacked.clear()
        _unpacked[digest] = pickle.loads(packed)
    return _unpacked[digest].do(item)


def _silence() -> None:
    """Keep what nodes report out of stdout, where a command's result goes: Ray prints it there, and has no option."""
    module = sys.modules.get("ray._private.worker")
    if hasattr(module, "print_to_stdstream"):
        module.print_to_stdstream = lambda *_, **__: None  # type: ignore[union-attr]


def _refuse_closed(address: str) -> None:
    """Raise where an address does not answer: Ray would wait for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S).close()


def _answer(ray: Any, ref: Any) -> Answered:
    try:
        found: Answered = ray.get(ref)
    except ray.exceptions.RayError as problem:
        hint = "look at its log (`ray logs`), or give each task more memory; what is done stays"
        raise MachineError("a worker of Ray", f"failed: {cause_of(problem)}", hint=hint) from problem
    return found


def cause_of(problem: Exception) -> str:
    """Return in one line why Ray has no answer: what was raised in a task, where Ray shows a traceback first."""
    return first_line(getattr(problem, "cause", None) or problem)


def imported() -> Any:
    """Return Ray; one line says what to install where it is not."""
    try:
        import ray
    except ImportError as problem:
        hint = "pip install 'edgeresnet[ray]'"
        raise EdgeresnetError("--ray", "needs Ray, which is not installed", hint=hint) from problem
    return ray
