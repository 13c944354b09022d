"""Files that somebody else wrote, read strictly: regular, not too large, and JSON of one type or one line of refusal.

What is read here was written by a person, by another program, or by us before a disk or a network damaged it. Nothing
in it is believed before its type says that it fits. Standard library only: devices use it as well.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from ..errors import ArtifactError, EdgeresnetError, machine_error, quoted
from . import codec
from .codec import CodecError

T = TypeVar("T")

SMALL, DOCUMENT = 1 << 20, 1 << 28  # bytes: of a configuration, of what was measured
DEEPEST = 64  # lists and objects in one another
_FORMS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_REASONS = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist",
    errno.ENAMETOOLONG: "has a path that is too long",
    errno.ELOOP: "is a link that leads to itself",
    errno.EACCES: "may not be read",
    errno.EPERM: "may not be read",
    errno.EISDIR: "is a folder, not a file",
}


class Unreadable(ValueError):
    """Why a file or a text is not used, as the rest of a sentence about it: "is not JSON: …"."""


class Missing(Unreadable):
    """There is no such file."""


def read_json(
    path: Path, kind: type[T], *, hint: str, most: int = DOCUMENT, error: type[EdgeresnetError] = ArtifactError
) -> T:
    """Read a JSON file as one type. What does not fit is an error of the given class, with the path inside the file."""
    try:
        return codec.decode(kind, parse_json(read_bytes(path, most)))
    except CodecError as problem:
        raise error(shown(path), f"is not valid: {problem}", hint=hint) from problem
    except Unreadable as problem:
        raise error(shown(path), str(problem), hint=hint) from problem


def stored_json(path: Path, kind: type[T], most: int = DOCUMENT) -> T | None:
    """Read a JSON file of ours that may be made again: None where there is none, or none that is valid."""
    try:
        return codec.decode(kind, parse_json(read_bytes(path, most)))
    except ValueError:
        return None


def read_bytes(path: Path, most: int = DOCUMENT) -> bytes:
    """Return the bytes of a regular file of at most `most` bytes; raise Unreadable for everything else."""
    try:
        with os.fdopen(_opened(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size  # the system may make up a file of no size
            found = b"" if size > most else file.read(min(most, max(size, SMALL)) + 1) or b""  # None: it has to wait
    except (OSError, ValueError) as problem:
        _refuse(problem)
    if max(size, len(found)) > most:
        raise Unreadable(f"is larger than {_size(most)}, the most that is read of such a file")
    return found


def check_regular(path: Path) -> None:
    """Raise Unreadable where a path is not that of a regular file. Nothing is opened: a pipe would wait."""
    try:
        _check_mode(os.stat(path).st_mode)
    except (OSError, ValueError) as problem:
        _refuse(problem)


def form_of(mode: int) -> str:
    """Return what a file is that is not a regular one: "a folder", "a pipe"; empty for a regular one."""
    if stat.S_ISREG(mode):
        return ""
    return next((form for is_it, form in _FORMS if is_it(mode)), "not a file")


def reason(problem: OSError | ValueError) -> str:
    """Return why the system refuses a path, as the rest of a sentence about it."""
    if isinstance(problem, OSError):
        known = _REASONS.get(problem.errno or 0)
        return known or f"cannot be read: {problem.strerror or type(problem).__name__}"
    return "has a name that no file can have"  # a NUL in it, or half of a character


def parse_json(data: bytes | str) -> object:
    """Return the value of a JSON text; raise Unreadable for what is not JSON, or is not plain: NaN, a key twice."""
    try:
        found: object = json.loads(
            data.decode("utf-8") if isinstance(data, bytes) else data,
            parse_constant=_refuse_constant,
            object_pairs_hook=_each_once,
        )
    except Unreadable:
        raise
    except json.JSONDecodeError as problem:
        raise Unreadable(f"is not JSON: line {problem.lineno}, column {problem.colno}") from problem
    except UnicodeDecodeError as problem:
        raise Unreadable("is not a text in UTF-8") from problem
    except ValueError as problem:  # an integer that Python refuses to read
        raise Unreadable("holds a number of too many digits") from problem
    except RecursionError as problem:
        raise _too_deep() from problem
    check_depth(found)
    return found


def check_depth(value: object) -> None:
    """Raise Unreadable for a value of more levels than a function can call itself on."""
    level: Sequence[object] = [value]
    for _ in range(DEEPEST + 1):
        lists = [each for each in level if isinstance(each, list)]
        lists += [list(each.values()) for each in level if isinstance(each, dict)]
        level = [part for each in lists for part in each if isinstance(part, (dict, list))]
        if not level:
            return
    raise _too_deep()


def seal(document: bytes, key: str) -> bytes:
    """Return a JSON object with the digest of its own bytes as its last key: a check spells nothing again."""
    return document[:-1] + b',"%s":"%s"}' % (key.encode(), hashlib.sha256(document).hexdigest().encode())


def is_sealed(data: bytes, key: str) -> bool:
    """Return whether these are bytes that `seal` returned: not one of them has changed."""
    return data == seal(data[: -len(seal(b"}", key))] + b"}", key)


def shown(path: Path | str) -> str:
    """Return a path as the subject of an error: whole, where it has a length that a person can read."""
    text = str(path)
    return text if len(text) <= 200 else quoted(text, 120)


def _opened(path: Path) -> int:
    """Open a regular file. Without waiting: a pipe would, until somebody writes into it."""
    _check_mode(os.stat(path).st_mode)  # before it is opened: opening some devices changes them
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check_mode(os.fstat(file).st_mode)
    except Unreadable:
        os.close(file)
        raise
    return file


def _check_mode(mode: int) -> None:
    if form := form_of(mode):
        raise Unreadable(f"is {form}, not a file")


def _refuse(problem: OSError | ValueError) -> NoReturn:
    if isinstance(problem, Unreadable):
        raise problem
    if isinstance(problem, OSError) and (broken := machine_error(problem)):
        raise broken from problem
    kind = Missing if isinstance(problem, FileNotFoundError) else Unreadable
    raise kind(reason(problem)) from problem


def _refuse_constant(name: str) -> NoReturn:
    raise Unreadable(f"holds {name}, which is not a number")


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise Unreadable(f"has the key {quoted(twice)} twice")
    return found


def _too_deep() -> Unreadable:
    return Unreadable(f"has more than {DEEPEST} levels of lists and objects in one another")


def _size(most: int) -> str:
    return f"{most >> 20} MB" if most >= 1 << 20 else f"{most >> 10} kB"
