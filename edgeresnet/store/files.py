"""Files that are written completely or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ..errors import ArtifactError, machine_error


def write_text(path: Path, text: str) -> None:
    """Write text. A file's name that UTF-8 cannot hold is written as its codes, which JSON reads back."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, data: bytes | bytearray | memoryview) -> None:
    """Write a complete file or none: a full disk or a kill leaves the old one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as problem:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        problem.filename = problem.filename or str(path)
        raise machine_error(problem) or ArtifactError(
            str(path),
            f"cannot be written: {problem.strerror}",
            hint="check that the folder exists and that you may write to it",
        ) from problem
