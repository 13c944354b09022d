"""What lies at a path, looked at before anything opens it: a pipe would wait for a writer, /proc would never end."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from pathlib import Path

from ..errors import ImagesError
from ..portable.documents import form_of, reason, shown

LARGEST = 1 << 30  # bytes of one image: what is larger holds something else
_MADE_UP = ("/proc", "/sys")  # the kernel writes their files while one reads
_HINT = "give a folder of images, or a list, an archive or arrays of them"


def mode_of(path: Path | str) -> int | None:
    """Return the mode of what lies at a path; None where nothing does. Refuse what no image can lie in."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise
    except (OSError, ValueError) as problem:
        raise ImagesError(shown(path), reason(problem), hint=_HINT) from problem
    check_real(path, found)
    return found.st_mode


def check_image(path: Path | str, most: int = LARGEST) -> os.stat_result:
    """Return what is known about an image's file; refuse a pipe, a device, and what is too large for any image."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as problem:
        raise ImagesError(shown(path), reason(problem), hint="repair or remove it") from problem
    check_real(path, found)
    if form := form_of(found.st_mode):
        raise ImagesError(shown(path), f"is {form}, not an image", hint="remove it")
    if found.st_size > most:
        raise ImagesError(shown(path), f"has {found.st_size:,} bytes, more than any image", hint="remove it")
    return found


def check_file(path: Path | str) -> None:
    """Refuse what is not a file: a list or an archive is opened only after this."""
    mode = mode_of(path)
    if mode is None:
        raise ImagesError(shown(path), "does not exist", hint=_HINT)
    if form := form_of(mode):
        raise ImagesError(shown(path), f"is {form}, not a file", hint=_HINT)


def check_real(path: Path | str, found: os.stat_result) -> None:
    """Refuse a file or folder that the kernel makes up."""
    root = _made_up().get(found.st_dev)
    if root:
        raise ImagesError(shown(path), f"lies in {root}, which holds no files of yours", hint=_HINT)


def is_folder(mode: int | None) -> bool:
    return mode is not None and stat.S_ISDIR(mode)


@functools.cache
def _made_up() -> dict[int, str]:
    """Return the file systems of these folders, by their device numbers; nothing on systems without them."""
    found = {}
    for root in _MADE_UP:
        with contextlib.suppress(OSError):
            found[os.stat(root).st_dev] = root
    found.pop(os.stat("/").st_dev, None)
    return found
