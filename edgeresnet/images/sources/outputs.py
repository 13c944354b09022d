"""Folders that edgeresnet wrote itself: a store, an export. They may lie next to class folders, and are none."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ...portable import manifest
from ...portable.documents import parse_json, read_bytes
from ...store import MARK

_LARGEST = 1 << 24  # bytes of a manifest


def written_by_us(folder: Path) -> str:
    """Return what a folder is that edgeresnet wrote, such as "a store"; empty for any other folder."""
    with contextlib.suppress(OSError):  # what cannot be read is reported where its images are listed
        if (folder / MARK).is_file():
            return "a store"
        return "an export" if _has_manifest(folder) or _holds_exports(folder) else ""
    return ""


def _has_manifest(folder: Path) -> bool:
    written: object = None
    with contextlib.suppress(OSError, ValueError):
        written = parse_json(read_bytes(folder / manifest.NAME, _LARGEST))
    return isinstance(written, dict) and {"digest", "files"} <= written.keys()


def _holds_exports(folder: Path) -> bool:
    """Return whether there are only exports, and archives of them. A class folder ends at its first image."""
    found = False
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir() and _has_manifest(Path(entry.path)):
                found = True
            elif not entry.name.endswith(".tar.gz"):
                return False
    return found
