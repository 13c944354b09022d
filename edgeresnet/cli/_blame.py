"""Whose fault an unexpected exception is: of a file that the user named, or of edgeresnet.

The last net under all readers. Each of them refuses what it cannot read in its own words; here ends what none of them
expected of a file.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import EdgeresnetError, first_line
from ..portable import documents

_TEXT_FILES = (".yaml", ".yml", ".json")
_MOST = 1 << 17  # bytes of a recipe that are looked at for names
_WORD = re.compile(r"[^\s,{}\[\]'\"]+")
_HINT = "check the file; if it is intact, EDGERESNET_DEBUG=1 shows where reading it failed: please report that"


def of_named_file(problem: BaseException) -> EdgeresnetError | None:
    """Return an error that names the file which a command was given and could not read; None for all other problems."""
    if not isinstance(problem, (OSError, ValueError)):
        return None
    names = {name for name in _named() if any(map(str.isalnum, name))}
    for path in _paths(problem):
        if _is_named(path, names):
            why = problem.strerror if isinstance(problem, OSError) and problem.strerror else first_line(problem)
            return EdgeresnetError(path, f"cannot be read: {why}", hint=_HINT)
    return None


def _paths(problem: BaseException) -> Iterator[str]:
    """Yield the files that an exception is about: its own, then those that the functions it came through were given."""
    if isinstance(problem, OSError):
        yield from (os.fspath(each) for each in (problem.filename, problem.filename2) if isinstance(each, (str, Path)))
    frames, here = [], problem.__traceback__
    while here is not None:
        frames.append(here.tb_frame)
        here = here.tb_next
    for frame in reversed(frames):
        code = frame.f_code
        given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        yield from (str(frame.f_locals[name]) for name in given if isinstance(frame.f_locals.get(name), Path))


def _named() -> Iterator[str]:
    """Yield the words that may name a file: those of the command line, and those of a recipe or list that it names."""
    for word in sys.argv[1:]:
        name = word.rpartition("=")[2]
        yield name
        if name.endswith(_TEXT_FILES):
            try:
                text = documents.read_bytes(Path(name), _MOST).decode("utf-8", "replace")
                yield from _WORD.findall("\n".join(line.partition(" #")[0] for line in text.splitlines()))
            except (OSError, ValueError):
                continue


def _is_named(path: str, names: set[str]) -> bool:
    """Return whether one of the names is this path, or a folder above it."""
    parts = Path(path).parts
    above = {str(Path(*parts[:count])) for count in range(1, len(parts) + 1)} - {"/", "."}
    return any(name in above or str(Path(name)) in above for name in names if name and len(name) < 4096)
