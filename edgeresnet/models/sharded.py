"""Weights in several files: an index says which of them holds which tensor, as transformers writes large networks.

Reads the index alone. Whoever reads the files gives the tensors; here they are compared with what the index says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..errors import ModelError, listed, shortened
from ..portable import manifest
from ..portable.documents import Unreadable, parse_json, read_bytes, shown

_ENDINGS = (".safetensors.index.json", ".bin.index.json")
_LARGEST = 1 << 26  # bytes of an index
_ROOM = 80  # characters for names of files or tensors
_AGAIN = "download the complete folder again"


def is_index(path: Path) -> bool:
    """Return whether a file is an index, by its name."""
    return path.name.endswith(_ENDINGS)


def together(index: Path, read: Callable[[Path], Any]) -> dict[str, Any]:
    """Return the tensors of all files that an index names, as `read` returns those of one file.

    Refuse a file that is missing or outside the folder, and tensors that only the index or only a file has.
    """
    named = _named(index)
    found: dict[str, Any] = {}
    extra: list[str] = []
    for file in _files(index, named):
        for name, tensor in _mapping(read(index.parent / file)).items():
            if named.get(name) == file:
                found[name] = tensor
            else:
                extra.append(str(name))
    if missing := [name for name in named if name not in found]:
        problem = f"names tensors that its files do not hold ({len(missing)}): {listed(missing, _ROOM)}"
        raise ModelError(shown(index), problem, hint=_AGAIN)
    if extra:
        problem = f"leaves out tensors that its files hold ({len(extra)}): {listed(extra, _ROOM)}"
        raise ModelError(shown(index), problem, hint=_AGAIN)
    return found


def digest_of(path: Path) -> str:
    """Return the digest of a checkpoint: of its bytes or, for an index, of the files that it names."""
    if not is_index(path):
        return manifest.sha256_of(path)
    return manifest.digest_of([[file, manifest.sha256_of(path.parent / file)] for file in _files(path, _named(path))])


def _named(index: Path) -> dict[str, str]:
    """Return which file holds each tensor."""
    try:
        held = parse_json(read_bytes(index, _LARGEST))
    except Unreadable as problem:
        raise ModelError(shown(index), str(problem), hint=_AGAIN) from problem
    named = held.get("weight_map") if isinstance(held, dict) else None
    if not isinstance(named, dict) or not named or not all(isinstance(file, str) for file in named.values()):
        raise ModelError(shown(index), "does not say which file holds which tensor", hint=_AGAIN)
    return named


def _files(index: Path, named: Mapping[str, str]) -> list[str]:
    """Return the names of the files, sorted. Each must be there, in the folder of the index or below it."""
    files = sorted(set(named.values()))
    if outside := [file for file in files if _leaves(file)]:
        problem = f"names a file outside its folder: {shortened(outside[0], _ROOM)}"
        raise ModelError(shown(index), problem, hint="use an index whose files are next to it")
    if missing := [file for file in files if not os.path.isfile(index.parent / file)]:
        problem = f"names files that are missing ({len(missing)}): {listed(missing, _ROOM)}"
        raise ModelError(shown(index), problem, hint="download them into the same folder")
    return files


def _leaves(name: str) -> bool:
    """Return whether a file's name leads out of its folder, on any system."""
    return not name or any(path.anchor or ".." in path.parts for path in (PurePosixPath(name), PureWindowsPath(name)))


def _mapping(held: Any) -> Mapping[str, Any]:
    return held if isinstance(held, Mapping) else {}
