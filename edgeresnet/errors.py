"""Every error a user can cause, with the exit code it ends in.

    EdgeresnetError          2   a request cannot be carried out
    ├── RecipeError          2   a recipe or option is wrong; holds every problem at once
    ├── ImagesError          2   a folder, a file in it, or how two sets relate
    ├── ModelError           2   a checkpoint, an architecture, a traced graph
    ├── ArtifactError        2   a run or artifact that is missing or damaged
    ├── TargetError          4   a target refused, failed, or is not installed: NOT_MEASURED, the others still run
    └── MachineError         5   the disk is full, memory ran out, a device was lost

The message is a subject and its problem; the hint is what to do next. Knows nothing of how either is printed.
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
    """A subject and its problem, which together are one sentence, and what to do next."""

    exit_code = 2

    def __init__(self, subject: str, problem: str, *, hint: str) -> None:
        super().__init__(subject, problem)
        self.subject, self.problem, self.hint = subject, problem, hint

    @property
    def message(self) -> str:
        return f"{self.subject} {self.problem}"

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
    """All wrong keys of a recipe together: a user corrects a recipe once, not once per key."""

    def __init__(self, subject: str, problem: str, *, hint: str, problems: Sequence[str] = ()) -> None:
        super().__init__(subject, problem, hint=hint)
        self.problems = tuple(problems)


class ImagesError(EdgeresnetError):
    """A folder, a file in it, or how two sets of images relate."""


class ModelError(EdgeresnetError):
    """A checkpoint, an architecture, or a traced graph."""


class ArtifactError(EdgeresnetError):
    """A run or artifact that is missing or damaged."""


class TargetError(EdgeresnetError):
    """A target refused, failed, or is not installed."""

    exit_code = 4


class MachineError(EdgeresnetError):
    """The disk is full, memory ran out, or a device was lost."""

    exit_code = 5


def machine_error(problem: BaseException) -> MachineError | None:
    """Return the MachineError behind an exception, where the machine and not the user's input failed."""
    if isinstance(problem, MachineError):
        return problem
    if isinstance(problem, MemoryError):
        return MachineError("memory", "ran out", hint="close other programs, or lower the batch size")
    if isinstance(problem, OSError) and problem.errno in _DISK_FULL:
        where = f" while writing {problem.filename}" if problem.filename else ""
        hint = (
            "free some space, for example with `edgeresnet clean --older-than 7d`, and run again: finished stages stay"
        )
        return MachineError("the disk", f"is full{where}", hint=hint)
    return None


def closed(problem: BaseException) -> EdgeresnetError | None:
    """Return an error for a file that may not be read, written, or looked for in its folder."""
    if not isinstance(problem, PermissionError):
        return None
    hint = "check that you may read and write it, and the folders above it"
    return EdgeresnetError(str(problem.filename or "a file"), f"cannot be opened: {problem.strerror}", hint=hint)


def first_line(problem: BaseException) -> str:
    """Return the first line of a foreign exception's message, at most 300 characters."""
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:300]


def _rebuild(kind: type[EdgeresnetError], subject: str, problem: str, hint: str) -> EdgeresnetError:
    return kind(subject, problem, hint=hint)
