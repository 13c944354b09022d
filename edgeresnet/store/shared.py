"""A place that several machines share: a folder on a shared disk, or `s3://…` or `gs://…` through fsspec.

Each machine works in a store of its own. What it makes is pushed here, and what another one made is pulled, by key.
A file lies here once, under the digest of its bytes, and never changes. A manifest comes last and names them: what was
interrupted is not seen, and a changed byte is not used.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ArtifactError, EdgeresnetError, MachineError, first_line, machine_error
from ..portable import documents, manifest
from ..portable.codec import CodecError
from ..portable.documents import Unreadable
from ..portable.frozen import dataclass
from .artifact import ManifestRecord, other_format, read_manifest

MARK = ".edgeresnet-shared"
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_RIGHTS = "it must let this user read, list and write objects; `aws s3 ls` or `gcloud storage ls` shows who you are"


@dataclass(frozen=True)
class Shared:
    """A shared store as all machines know it: its address, and the mark that is in it."""

    url: str
    mark: str

    @staticmethod
    def open(url: str) -> Shared:
        """Return the shared store at an address; a new one gets its mark."""
        url = url if "://" in url else os.path.abspath(url)
        with _used(url):
            mark = _read_mark(url)
            if mark is None:
                _write(url, MARK, f"{uuid.uuid4().hex}\n".encode())
                mark = _read_mark(url) or ""
        return Shared(url, mark)

    def refuse_another(self, sender: str = "another machine") -> None:
        """Refuse a place that has this address on this machine alone, as a folder that is not shared."""
        with _used(self.url):
            mark = _read_mark(self.url)
        if mark != self.mark:
            seen = f"has the mark {mark[:8]}" if mark else "has no mark"
            raise MachineError(
                f"the shared store {self.url}",
                f"is another one on {platform.node()}: it {seen} there, and {self.mark[:8]} on {sender}",
                hint="mount the same disk on all nodes, or give an address as s3://bucket/folder",
            )

    def check_writing(self, name: str) -> None:
        """Write a small file that belongs to a machine: one that may only read is found before hours of work."""
        with _used(self.url):
            _write(self.url, f"machines/{name}", f"{self.mark}\n".encode())

    def push(self, folder: Path, stage: str, key: str) -> None:
        """Copy an artifact here. Files that are here already are not sent again."""
        record = read_manifest(manifest.read(folder))
        with _used(self.url):
            replaces = _size(self.url, _manifest(stage, key)) is not None  # made again: what lies here may be damaged
            for file in record.files:
                if replaces or _size(self.url, _object(file.sha256)) != file.size:
                    _put(self.url, folder / file.name, _object(file.sha256))
            _put(self.url, folder / manifest.NAME, _manifest(stage, key))

    def offer(self, folder: Path, stage: str, key: str, *, replace: bool = False) -> None:
        """Copy an artifact here that was made before this place was used. `replace`: also where another one lies."""
        with _used(self.url):
            there = _read(self.url, _manifest(stage, key))
        if there is None or (replace and there != (folder / manifest.NAME).read_bytes()):
            self.push(folder, stage, key)

    def fetch(self, stage: str, key: str, work: Path, final: Path) -> tuple[bool, str]:
        """Put an artifact into its place in a store. Return whether it is there, and what is wrong with it here."""
        work = work / f"pull-{uuid.uuid4().hex[:24]}"
        try:
            (work / "out").mkdir(parents=True)
            problem = self._pull(stage, key, work / "out")
            if problem is not None and not problem:
                final.parent.mkdir(parents=True, exist_ok=True)
                if os.path.lexists(final):  # damaged
                    final.rename(work / "old")
                (work / "out").rename(final)
            return problem == "", f"{stage} in {self.url} is damaged: {problem}" if problem else ""
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _pull(self, stage: str, key: str, folder: Path) -> str | None:
        """Copy an artifact into a folder. Return None where it is not here, else what is wrong with it, or nothing."""
        with _used(self.url):
            data = _read(self.url, _manifest(stage, key))
            if data is None:
                return None
            record = _checked(data, key)
            if isinstance(record, str):
                return record
            for file in record.files:
                if not manifest.is_inside(file.name):
                    return "its manifest names a file outside of it"
                (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
                if not _get(self.url, _object(file.sha256), folder / file.name):
                    return f"{file.name} is missing"
        (folder / manifest.NAME).write_bytes(data)
        return "; ".join(manifest.problems(folder, manifest.read(folder)))


def _checked(data: bytes, key: str) -> ManifestRecord | str:
    """Return a manifest that can be believed, or why it cannot."""
    if not documents.is_sealed(data, manifest.SEAL):
        return "its manifest has changed"
    try:
        written = documents.parse_json(data)
        assert isinstance(written, dict)
        other = other_format(written)
        record = other or read_manifest(written)
    except (Unreadable, CodecError) as problem:
        return f"its manifest is invalid: {problem}"
    return record if isinstance(record, str) or record.key == key else "its manifest has another key"


def _object(sha256: str) -> str:
    return f"objects/{sha256[:2]}/{sha256}"


def _manifest(stage: str, key: str) -> str:
    return f"artifacts/{stage}/{key}.json"


@functools.lru_cache(maxsize=4)
def _files(url: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it."""
    import fsspec

    kind = url.partition("://")[0] if "://" in url else "file"
    try:
        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as problem:
        extra = _EXTRAS.get(kind)
        hint = f"pip install 'edgeresnet[{extra}]'" if extra else f"install what fsspec needs for {kind}"
        raise EdgeresnetError(
            f"the shared store {url}", f"needs a package: {first_line(problem)}", hint=hint
        ) from problem
    return files, root.rstrip("/")


def _is_disk(files: Any) -> bool:
    return "file" in (files.protocol if isinstance(files.protocol, tuple) else (files.protocol,))


def _write(url: str, name: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "data")
        source.write_bytes(data)
        _put(url, source, name)


def _put(url: str, source: Path, name: str) -> None:
    """Store a file under a name: complete or not at all. A disk needs a rename for that; an object store does not."""
    files, root = _files(url)
    if not _is_disk(files):
        files.put_file(str(source), f"{root}/{name}")
        return
    final = Path(root, name)
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(f"{final.name}.{uuid.uuid4().hex}.part")
    try:
        shutil.copyfile(source, part)
        part.replace(final)
    finally:
        part.unlink(missing_ok=True)


def _get(url: str, name: str, target: Path) -> bool:
    files, root = _files(url)
    try:
        files.get_file(f"{root}/{name}", str(target))
    except FileNotFoundError:
        return False
    return True


def _read(url: str, name: str) -> bytes | None:
    files, root = _files(url)
    try:
        found: bytes = files.cat_file(f"{root}/{name}")
    except FileNotFoundError:
        return None
    return found


def _read_mark(url: str) -> str | None:
    data = _read(url, MARK)
    return None if data is None else data.decode("ascii", "replace").strip()[:32]


def _size(url: str, name: str) -> int | None:
    files, root = _files(url)
    try:
        found: int = files.info(f"{root}/{name}")["size"]
    except FileNotFoundError:
        return None
    return found


@contextlib.contextmanager
def _used(url: str) -> Iterator[None]:
    """Turn what a file system raises into one line about the shared store."""
    subject = f"the shared store {url}"
    try:
        yield
    except EdgeresnetError:
        raise
    except PermissionError as problem:
        hint = _RIGHTS if "://" in url else "check that you may write there"
        raise ArtifactError(
            subject, f"cannot be used without permission: {first_line(problem)}", hint=hint
        ) from problem
    except FileNotFoundError as problem:
        hint = "create the bucket first, or correct its name"
        raise ArtifactError(subject, f"does not exist: {first_line(problem)}", hint=hint) from problem
    except Exception as problem:
        hint = "check the address, the network and your credentials; what was made stays in the local store"
        raise machine_error(problem) or MachineError(
            subject, f"cannot be reached: {first_line(problem)}", hint=hint
        ) from problem
