"""Every error a user can cause, with the exit code it ends in.

    EdgeresnetError          2   what was asked cannot be done as asked
    ├── RecipeError          2   a recipe or option is wrong; holds every problem at once
    ├── ImagesError          2   a folder, a file in it, or how two sets relate
    ├── ModelError           2   a checkpoint, an architecture, a traced graph
    ├── ArtifactError        2   a run or artifact that is not there, or not whole
    ├── TargetError          4   a target refused, failed, or is not here: NOT_MEASURED, the others still run
    └── MachineError         5   the disk is full, memory ran out, a device was lost

The message names the thing; the hint says what to do next. Knows nothing of how either is printed.
This file travels to the device: standard library only, Python 3.10 syntax.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Sequence
from typing import TypeVar

E = TypeVar("E", bound="EdgeresnetError")

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class EdgeresnetError(Exception):
    """Says of a subject what is the problem, and what to do next: `subject problem (hint)` is one sentence."""

    exit_code = 2
    run: object = None  # the one that ended so, as it was saved: for who reports it, in this process

    def __init__(self, subject: str, problem: str = "", *, hint: str) -> None:
        super().__init__(subject, problem)
        self.subject, self.problem, self.hint = subject, problem, hint

    @property
    def message(self) -> str:
        return f"{self.subject} {self.problem}".strip()

    def __str__(self) -> str:
        return self.message

    def within(self: E, context: str) -> E:
        """Return the same error with where it happened in front: `OpenVINO: the network takes …`."""
        found = copy.copy(self)
        found.subject = f"{context}: {self.subject}"
        return found

    def __reduce__(self) -> tuple:  # errors cross process borders with their hint
        return _rebuild, (type(self), self.subject, self.problem, self.hint)


class RecipeError(EdgeresnetError):
    """All wrong keys of a recipe together: a user mends a recipe once, not once per key."""

    def __init__(self, subject: str, problem: str = "", *, hint: str, problems: Sequence[str] = ()) -> None:
        super().__init__(subject, problem, hint=hint)
        self.problems = tuple(problems)


class ImagesError(EdgeresnetError):
    pass


class ModelError(EdgeresnetError):
    pass


class ArtifactError(EdgeresnetError):
    pass


class TargetError(EdgeresnetError):
    exit_code = 4


class MachineError(EdgeresnetError):
    exit_code = 5


def machine_error(problem: BaseException) -> MachineError | None:
    """The MachineError behind an exception, where the machine and not the user's input failed."""
    if isinstance(problem, MachineError):
        return problem
    if isinstance(problem, MemoryError):
        return MachineError("memory ran out", hint="close other programs, or lower the batch size")
    if isinstance(problem, OSError) and problem.errno in _DISK_FULL:
        where = f" while writing {problem.filename}" if problem.filename else ""
        return MachineError(
            f"the disk is full{where}",
            hint="free some space (`edgeresnet clean --older-than 7d` empties the store) and run again: "
            "finished stages are kept",
        )
    return None


def closed(problem: BaseException) -> EdgeresnetError | None:
    """Of a file that may not be read or written, or not even looked for, below a folder that may not be looked into."""
    if not isinstance(problem, PermissionError):
        return None
    hint = "is it, with the folders above it, yours to read and to write?"
    return EdgeresnetError(f"{problem.filename or 'a file'}: {problem.strerror}", hint=hint)


def first_line(problem: BaseException) -> str:
    """What a foreign exception says, fit for one line of ours."""
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:300]


def _rebuild(kind: type[EdgeresnetError], subject: str, problem: str, hint: str) -> EdgeresnetError:
    return kind(subject, problem, hint=hint)
