"""What a stage left behind, with its manifest; and what the user gave, which stands where an artifact would."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from .. import upgrade
from ..errors import quoted
from ..notes import BY_STAGE, Notes
from ..portable import codec, manifest
from ..portable.codec import CodecError
from ..portable.documents import Unreadable
from ..portable.frozen import dataclass
from ..portable.manifest import StoredFile
from ..portable.result import RunWarning
from ..runs import read_notes

FORMAT, UNSEALED_FORMAT = 3, 2  # of artifacts; those of the older one have no seal

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Origin:
    """What an artifact was made from. It records all that can enter a key."""

    stage_version: int
    spec: Mapping[str, object] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)  # name → digest
    libraries: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, object] | None = None


@dataclass(frozen=True)
class ManifestRecord:
    """The manifest of an artifact."""

    format: int
    key: str
    stage: str
    stage_version: int
    spec: Mapping[str, object]
    parents: Mapping[str, str]
    libraries: Mapping[str, str]
    machine: Mapping[str, object] | None
    notes: Notes = field(metadata={"opaque": True})  # read as the type that belongs to its stage
    seconds: float
    warnings: tuple[RunWarning, ...]
    digest: str
    files: tuple[StoredFile, ...]
    seal: str = ""  # none in an artifact of an older format

    def __post_init__(self) -> None:
        if not isinstance(self.notes, tuple(BY_STAGE.values())):
            object.__setattr__(self, "notes", read_notes(self.stage, self.notes))


@dataclass(frozen=True)
class Artifact:
    """What a stage left behind."""

    path: Path
    manifest: ManifestRecord

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def key(self) -> str:
        return self.manifest.key

    @property
    def stage(self) -> str:
        return self.manifest.stage

    @property
    def notes(self) -> Notes:
        return self.manifest.notes

    @property
    def size_mb(self) -> float:
        return sum(file.size for file in self.manifest.files) / 1e6


@dataclass(frozen=True)
class Given(Generic[T_co]):
    """What the user gave: a checkpoint or images. Its digest stands where an artifact's would."""

    digest: str
    value: T_co


Parent: TypeAlias = "Artifact | Given[object]"


def file_of(parent: Parent, name: str) -> Path:
    """Return the file that was given, or the one of this name in an artifact."""
    if isinstance(parent, Artifact):
        return parent.path / name
    assert isinstance(parent.value, (str, os.PathLike)), parent
    return Path(parent.value)


def manifest_in(folder: Path) -> ManifestRecord | None:
    """Return the manifest of a folder, whose files are not checked; None where there is none to believe."""
    try:
        written = manifest.read(folder)
        return None if other_format(written) else read_manifest(written)
    except (Unreadable, CodecError):
        return None


def other_format(written: Mapping[str, object]) -> str:
    """Return why a manifest is not one that this version reads; empty where it is."""
    number = written.get("format")
    if number not in (FORMAT, UNSEALED_FORMAT):
        return f"has format {quoted(number)}, but this version writes {FORMAT}"
    return "is damaged: its manifest has no seal" if number == FORMAT and manifest.SEAL not in written else ""


def read_manifest(written: Mapping[str, object]) -> ManifestRecord:
    """Return a manifest as a record; raise CodecError where it does not fit."""
    return codec.decode(ManifestRecord, upgrade.upgraded_manifest(written))
