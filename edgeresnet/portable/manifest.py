"""Names, sizes and sha256 of a folder's files: a folder that can prove it is complete.

The manifest ends with a digest of its own bytes, its seal: a byte that changed in it is damage like any other. Used by
artifacts on the host and by bundles on the device. Does not know what the files mean.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from ..errors import quoted
from . import codec, documents
from .codec import CodecError
from .documents import Unreadable
from .frozen import dataclass

NAME, SEAL = "manifest.json", "seal"


@dataclass(frozen=True)
class StoredFile:
    """One file of a folder."""

    name: str
    size: int
    sha256: str


def sha256_of(path: Path) -> str:
    """Return the digest of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def canonical(value: object) -> str:
    """Return the one spelling of a value, for digests. Refuse NaN: a digest of NaN would compare equal to nothing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: object) -> str:
    """Return the digest of a JSON value."""
    return hashlib.sha256(canonical(value).encode("utf-8", "backslashreplace")).hexdigest()


def files_in(folder: Path) -> tuple[StoredFile, ...]:
    """List every file below `folder` but the manifest itself, in name order."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return tuple(
        StoredFile(name, (folder / name).stat().st_size, sha256_of(folder / name)) for name in names if name != NAME
    )


def content_digest(files: Sequence[StoredFile]) -> str:
    """Return the digest of what came out: it depends on names and bytes alone."""
    return digest_of([[file.name, file.sha256] for file in files])


def write(folder: Path, files: Sequence[StoredFile] | None = None, **about: object) -> dict[str, object]:
    """Write and return the manifest of a folder, of `files_in` it; `about` are further keys of it."""
    files = files_in(folder) if files is None else files
    manifest = {**about, "digest": content_digest(files), "files": codec.encode(files)}
    text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / NAME).write_bytes(documents.seal(text.encode("utf-8", "backslashreplace"), SEAL))
    return read(folder)


def read(folder: Path) -> dict[str, object]:
    """Return the manifest of a folder; raise Unreadable where there is none that can be believed."""
    data = documents.read_bytes(folder / NAME)
    found = documents.parse_json(data)
    if not isinstance(found, dict) or not isinstance(found.get("files"), list):
        raise Unreadable("is not a manifest")
    if SEAL in found and not documents.is_sealed(data, SEAL):
        raise Unreadable("has changed since it was written")
    return found


def is_inside(name: str) -> bool:
    """Return whether a name is that of a file below a folder, and not longer than a name can be."""
    parts = PurePosixPath(name).parts
    fits = all(part != ".." and len(os.fsencode(part)) <= 255 for part in parts)
    return bool(parts) and fits and not name.startswith("/") and "\0" not in name and len(name) < 2000


def problems(
    folder: Path, manifest: Mapping[str, object], besides: tuple[str, ...] = (), *, sealed: bool = True
) -> list[str]:
    """Return what is not as the manifest has it; empty for a complete folder.

    An additional file is a problem too, unless it is one of those that may come later: `besides`. So is a missing seal,
    unless the manifest is of an older format, which had none.
    """
    if sealed and SEAL not in manifest:
        return ["the manifest has no seal"]
    try:
        files: tuple[StoredFile, ...] = codec.decode(tuple[StoredFile, ...], manifest["files"])
    except CodecError as problem:
        return [f"the list of files in the manifest is damaged: {problem}"]
    found: list[str] = []
    for file in files:
        path = folder / file.name
        if not is_inside(file.name):
            return [f"the list of files in the manifest is damaged: {quoted(file.name)} cannot be a file of it"]
        if not path.is_file():
            found.append(f"{file.name} is missing")
        elif path.stat().st_size != file.size:
            found.append(f"{file.name} has {path.stat().st_size} bytes instead of {file.size}")
        elif sha256_of(path) != file.sha256:
            found.append(f"{file.name} has changed")
    known = {file.name for file in files} | {NAME}
    found += [
        f"{name} is not in the manifest"
        for name in sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        if name not in known
        and not any(fnmatchcase(name, late) for late in besides if late.count("/") or "/" not in name)
    ]
    if not found and manifest.get("digest") != content_digest(files):
        found.append("the manifest's digest does not match its files")
    return found
