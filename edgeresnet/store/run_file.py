"""The file of a run: JSON with its own digest, so that an edited run is not taken for evidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from .. import upgrade
from ..errors import ArtifactError
from ..portable import codec, manifest
from ..portable.codec import CodecError
from ..runs import FORMAT, Run


def read(path: Path) -> Run:
    """Return the run in this file, whose digest must fit; one of an older format is upgraded."""
    try:
        data = path.read_bytes().rstrip()
        raw = json.loads(data)
    except FileNotFoundError as problem:
        raise ArtifactError(f"the run {path}", "does not exist", hint="`edgeresnet show` names the newest") from problem
    except (ValueError, OSError):
        raw = None
    if not isinstance(raw, dict) or "format" not in raw:
        raise _damaged(path, "it is not the file of a run")
    if raw["format"] not in (upgrade.RUN_FORMAT, FORMAT):
        raise ArtifactError(
            str(path),
            f"is a run of format {raw['format']}, but this version reads {upgrade.RUN_FORMAT} and {FORMAT}",
            hint="read it with the edgeresnet that wrote it, or run the recipe again",
        )
    digest = raw.pop("digest", None)
    if digest is None:
        raise ArtifactError(str(path), "is a report of a run, not its file", hint="give runs/<id>.json of the store")
    if not (_is_sealed(data) or _was_sealed(raw, digest)):
        raise _damaged(path, "it was changed after it was written")
    try:
        return codec.decode(Run, upgrade.upgraded_run(raw) if raw["format"] == upgrade.RUN_FORMAT else raw)
    except CodecError as problem:
        raise ArtifactError(
            str(path),
            f"does not hold a valid run: {problem}",
            hint="read it with the edgeresnet that wrote it, or run the recipe again",
        ) from problem


def _damaged(path: Path, why: str) -> ArtifactError:
    return ArtifactError(str(path), f"cannot be read: {why}", hint="remove it, or name another run by its id")


def sealed(run: Run) -> bytes:
    """Return the bytes of a run's file."""
    text = json.dumps(codec.encode(run), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _sealed(text.encode("utf-8", "backslashreplace"))


def _sealed(document: bytes) -> bytes:
    """Return a JSON object with the digest of its own bytes as its last key: a check spells nothing again."""
    return document[:-1] + b',"digest":"%s"}' % hashlib.sha256(document).hexdigest().encode()


def _is_sealed(data: bytes) -> bool:
    return data == _sealed(data[: -len(_sealed(b"}"))] + b"}")


def _was_sealed(run: Mapping[str, object], digest: object) -> bool:
    """Check the digest as runs had it at first: of the values' canonical spelling."""
    try:
        return digest == manifest.digest_of(run)
    except ValueError:  # NaN or infinity: never written here
        return False
