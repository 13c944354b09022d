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

import contextlib
import copy
import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

E = TypeVar("E", bound="EdgeresnetError")

_WORD = 40  # characters that a word keeps in a line that is too long
_CAUSE = 160  # characters of a foreign message
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
        return _rebuild, (type(self), self.subject, self.problem, self.hint), dict(self.__dict__)


class RecipeError(EdgeresnetError):
    """All wrong keys of a recipe together: a user corrects a recipe once, not once per key."""

    def __init__(self, subject: str, problem: str, *, hint: str, problems: Sequence[str] = ()) -> None:
        super().__init__(subject, problem, hint=hint)
        self.problems = tuple(problems)


class ImagesError(EdgeresnetError):
    """A folder, a file in it, or how two sets of images relate."""


class ModelError(EdgeresnetError):
    """A checkpoint, an architecture, or a traced graph. `lines` of Python do what the hint says: they are for copying,
    so each is printed whole.
    """

    def __init__(self, subject: str, problem: str, *, hint: str, lines: Sequence[str] = ()) -> None:
        super().__init__(subject, problem, hint=hint)
        self.lines = tuple(lines)


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


@contextlib.contextmanager
def foreign(
    refusal: Callable[[str], EdgeresnetError], *, but: tuple[type[Exception], ...] = (), memory: bool = False
) -> Iterator[None]:
    """Turn whatever another library raises over a user's file into an error, made of the reason in a few words.

    Errors of ours, of the machine, and those in `but` stay as they are. With `memory`, a lack of memory is the file's
    failure, not the machine's: one that lies about its sizes asks for any amount.
    """
    try:
        yield
    except EdgeresnetError:
        raise
    except Exception as problem:
        machine = machine_error(problem) and not (memory and isinstance(problem, MemoryError))
        if machine or isinstance(problem, but):
            raise
        raise refusal(shortened(first_line(problem), 100)) from problem


def first_line(problem: BaseException) -> str:
    """Return the first line of a foreign exception's message, and not all of a long one."""
    return shortened((str(problem).strip() or type(problem).__name__).splitlines()[0], _CAUSE)


def quoted(value: object, most: int = 80) -> str:
    """Return a user's value as a message shows it: in quotes where it is text, on one line, its middle cut."""
    if isinstance(value, int) and value.bit_length() > 256:  # Python refuses to print the largest
        return "a huge integer"
    if isinstance(value, str):
        return shortened(repr(value if len(value) <= 2 * most else value[:most] + value[-most:]), most)
    return shortened(str(value), most)


def listed(names: Iterable[str], most: int = 150, count: int | None = None) -> str:
    """Return the first of these names, up to ten and as many as a line has room for, and how many more there are.

    `count` is how many there are, where these are only the first of them.
    """
    known, shown, room = list(names), list[str](), most
    for name in (shortened(each, 80) for each in known[:10]):
        room -= len(name) + 2
        if shown and room < 0:
            break
        shown.append(name)
    more = (len(known) if count is None else count) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def shortened(text: str, most: int) -> str:
    """Return text on one line, without its middle where it is longer than `most`."""
    if len(text) > most:
        text = text[: most // 2] + "…" + text[-(most // 2 - 1) :]
    return " ".join(text.split())


def fitted(sentence: str, most: int) -> str:
    """Return a sentence of at most `most` characters: its longest words lose their middles first."""
    if len(sentence) <= most and "\n" not in sentence:
        return sentence
    words = shortened(sentence, 8 * most).split()
    while (excess := len(" ".join(words)) - most) > 0:
        longest = max(range(len(words)), key=lambda index: len(words[index]))
        length = len(words[longest])
        if length <= _WORD:
            return shortened(" ".join(words), most)
        words[longest] = shortened(words[longest], max(_WORD, length - excess))
    return " ".join(words)


def _rebuild(kind: type[EdgeresnetError], subject: str, problem: str, hint: str) -> EdgeresnetError:
    return kind(subject, problem, hint=hint)
