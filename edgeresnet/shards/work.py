"""What travels to a worker: a function, and what must be the same on the machine that runs it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import platform
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .. import targets
from .._version import __version__
from ..errors import EdgeresnetError, MachineError, machine_error
from ..portable import machine
from ..portable.frozen import dataclass

DEATHS = 3  # workers that may die over one shard
_LIBRARIES = ("numpy", "pillow", "onnx", "torch")


class Answered(NamedTuple):
    """What a worker returns: the answer, or why there is none."""

    answer: bytes
    problem: Exception | None = None

    def result(self) -> bytes:
        """Return the answer, or raise why there is none."""
        if self.problem is not None:
            raise self.problem
        return self.answer


@dataclass(frozen=True)
class Work:
    """A function from an item to bytes, and the machine that sent it."""

    function: Callable[[Any], bytes]
    sender: str
    wanted: Mapping[str, str]
    on_card: bool

    @staticmethod
    def packed(function: Callable[[Any], bytes], *, on_card: bool) -> bytes:
        """Return a function as it travels."""
        return pickle.dumps(Work(function, platform.node(), here(on_card), on_card), pickle.HIGHEST_PROTOCOL)

    def do(self, item: object) -> Answered:
        """Return the answer to an item, or why there is none."""

        def answer() -> bytes:
            refuse_other(self.wanted, here(self.on_card), self.sender)
            return self.function(item)

        return answered(answer)


def answered(function: Callable[[], bytes]) -> Answered:
    """Return what a function answers, or what it raised, as it travels."""
    try:
        return Answered(function())
    except EdgeresnetError as problem:
        return Answered(b"", problem)
    except Exception as problem:  # noqa: BLE001 - carried to the process that called
        if failed := machine_error(problem):
            return Answered(b"", failed.within(f"the worker on {platform.node()}"))
        return Answered(b"", RuntimeError("".join(traceback.format_exception(problem))))


@functools.lru_cache(maxsize=2)
def here(on_card: bool) -> Mapping[str, str]:
    """Return what decides the bytes of an answer: versions, and the instructions of the CPU or the kind of GPU."""
    libraries = {name for target in targets.discover().values() for name in target.libraries}
    about = machine.fingerprint()
    found = {"edgeresnet": __version__, **machine.versions(*sorted(libraries.union(_LIBRARIES)))}
    found["CPU instructions"] = " ".join(sorted(about.instructions))
    if on_card:
        found["GPU"] = ", ".join(gpu.name or "unknown" for gpu in about.gpus)
    return found


def refuse_other(wanted: Mapping[str, str], found: Mapping[str, str], sender: str) -> None:
    """Refuse to work on a machine where an answer may have other bytes than on the one that sent the work."""
    for name in sorted(wanted.keys() | found.keys()):
        one, other = wanted.get(name, "none"), found.get(name, "none")
        if one != other:
            raise MachineError(
                f"the worker on {platform.node()}",
                f"has {name} {other}, but {sender} has {one}: their answers could differ",
                hint="install the same versions on all nodes, and let nodes of one kind evaluate together",
            )


def digest_of(packed: bytes) -> str:
    """Return the digest of packed work: a worker unpacks it once."""
    return hashlib.sha256(packed).hexdigest()


def limit_threads(cores: int) -> None:
    """Let a worker use this many cores: others work next to it."""
    os.environ["OMP_NUM_THREADS"] = str(cores)
    machine.use_at_most(cores)


def work_as(cores_of: str | None, niceness: int) -> None:
    """Let a worker use all cores, with the priority of the process that sent the work: Ray gives its workers a low one.

    `cores_of` is that process's OMP_NUM_THREADS. Where a priority may not be raised, it stays.
    """
    os.environ.pop("OMP_NUM_THREADS", None)
    if cores_of is not None:
        os.environ["OMP_NUM_THREADS"] = cores_of
    machine.use_at_most(None)
    if os.nice(0) > niceness:
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, niceness)
