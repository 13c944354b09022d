"""The files below a folder of images. Links are followed, but never back into a folder that they lie in."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from ...errors import ImagesError
from ...portable.documents import reason, shown
from .. import place

_MOST_WAYS = 100  # to one folder: more of them come of links that lead to one another


def is_image(name: str) -> bool:
    """Return whether a file counts as an image, by its name: all but hidden files, and what Windows leaves behind."""
    return name[0] != "." and name != "Thumbs.db"


def below(root: Path, label: str, without: Collection[str] = ()) -> list[str]:
    """List the images in a folder below the root, as paths from there. Refuse pipes, devices and links to nothing."""
    found: list[str] = []
    ways: Counter[tuple[int, int]] = Counter()
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(label, frozenset())]
    while waiting:
        inside, above = waiting.pop()
        about = os.stat(root / inside)
        place.check_real(root / inside, about)
        here = about.st_dev, about.st_ino
        if here in above:
            continue
        ways[here] += 1
        if ways[here] > _MOST_WAYS:
            problem = f"is where more than {_MOST_WAYS} links lead"
            raise ImagesError(shown(root / inside), problem, hint="remove the links that lead back to it")
        folders, files = _entries(root, inside)
        waiting += [(folder, above | {here}) for folder in folders if os.path.basename(folder) not in without]
        found += files
    return found


def _entries(root: Path, inside: str) -> tuple[list[str], list[str]]:
    """Return the folders and the images in a folder, as paths from the root; refuse what is neither."""
    folders, files = list[str](), list[str]()
    with os.scandir(root / inside) as entries:
        for entry in entries:
            if entry.name[0] == ".":
                continue
            name = os.path.normpath(os.path.join(inside, entry.name))
            try:
                if entry.is_dir():
                    folders.append(name)
                elif is_image(entry.name):
                    files.append(name)
                    if not entry.is_file():
                        place.check_image(entry.path)  # refuses it
            except PermissionError:
                raise
            except OSError as problem:
                raise ImagesError(shown(entry.path), reason(problem), hint="repair or remove it") from problem
    return folders, files
