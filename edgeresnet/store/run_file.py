"""The file of a run: JSON with its own digest, so that an edited run is not taken for evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .. import upgrade
from ..errors import ArtifactError, quoted
from ..portable import codec, documents, manifest
from ..portable.codec import CodecError
from ..portable.documents import Missing, Unreadable, shown
from ..runs import FORMAT, Run

_SEAL = "digest"


def read(path: Path) -> Run:
    """Return the run in this file, whose digest must fit; one of an older format is upgraded."""
    try:
        data = documents.read_bytes(path).rstrip()
        raw = documents.parse_json(data)
    except Missing as problem:
        raise ArtifactError(
            f"the run {shown(path)}", "does not exist", hint="`edgeresnet show` names the newest"
        ) from problem
    except Unreadable as problem:
        raise _damaged(path, f"it {problem}") from problem
    if not isinstance(raw, dict) or "format" not in raw:
        raise _damaged(path, "it is not the file of a run")
    if type(raw["format"]) is not int or raw["format"] not in (upgrade.RUN_FORMAT, FORMAT):
        raise ArtifactError(
            shown(path),
            f"is a run of format {quoted(raw['format'])}, but this version reads {upgrade.RUN_FORMAT} and {FORMAT}",
            hint="read it with the edgeresnet that wrote it, or run the recipe again",
        )
    digest = raw.pop("digest", None)
    if digest is None:
        raise ArtifactError(shown(path), "is a report of a run, not its file", hint="give runs/<id>.json of the store")
    if not (documents.is_sealed(data, _SEAL) or _was_sealed(raw, digest)):
        raise _damaged(path, "it was changed after it was written")
    try:
        return codec.decode(Run, upgrade.upgraded_run(raw) if raw["format"] == upgrade.RUN_FORMAT else raw)
    except CodecError as problem:
        raise ArtifactError(
            shown(path),
            f"does not hold a valid run: {problem}",
            hint="read it with the edgeresnet that wrote it, or run the recipe again",
        ) from problem


def _damaged(path: Path, why: str) -> ArtifactError:
    return ArtifactError(shown(path), f"cannot be read: {why}", hint="remove it, or name another run by its id")


def sealed(run: Run) -> bytes:
    """Return the bytes of a run's file."""
    text = json.dumps(codec.encode(run), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return documents.seal(text.encode("utf-8", "backslashreplace"), _SEAL)


def _was_sealed(run: Mapping[str, object], digest: object) -> bool:
    """Check the digest as runs had it at first: of the values' canonical spelling."""
    try:
        return digest == manifest.digest_of(run)
    except ValueError:  # NaN or infinity: never written here
        return False
