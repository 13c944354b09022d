"""What is stored about images between runs: content hashes, and decoded pixels. Safe to delete; that costs time only.

Never trusted blindly: a hash belongs to a file's size and time, every chunk of pixels has a checksum, and the index of
the pixels has its own digest.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import ImagesError
from ..portable import documents, machine
from ..store import Store
from . import place

Chunk = tuple[np.ndarray, np.ndarray]

_LAYOUT = 1  # of the table: another one is another file
_FRESH_NS = 2_000_000_000  # a file changed this recently may change again within one tick of its clock
_BLOCK = 500  # looked up at a time
_LARGEST_PART_OF_DISK = 0.25


class Thing(NamedTuple):
    """What has content: its name in the index, a stamp that changes with it, when it changed, and how it is hashed."""

    name: bytes
    stamp: str
    changed_ns: int
    hashed: Callable[[], bytes]


class HashIndex:
    """sha256 of files. A file is read once per stamp: size, inode, and times of change that `touch` cannot set."""

    def __init__(self, store: Store | None):
        self._path = store.cache / f"hashes{_LAYOUT}.sqlite" if store else None

    def of(self, paths: Iterable[Path]) -> list[bytes]:
        return self._of(map(_file, paths))

    def of_parts(self, path: Path, parts: Iterable[tuple[str, int, int]]) -> list[bytes]:
        """Return the hashes of parts of one file, each (name, offset, size)."""
        file = _file(path, sys.maxsize)  # an archive may be of any size

        def part(name: str, offset: int, size: int) -> Thing:
            key = file.name + b"\0" + os.fsencode(name)
            return Thing(key, f"{file.stamp} {offset} {size}", file.changed_ns, lambda: _sha256(path, offset, size))

        return self._of(part(*each) for each in parts)

    def _of(self, things: Iterable[Thing]) -> list[bytes]:
        """Return the hashes. Files are read block by block, so that a hundred thousand of them need little memory."""
        found: list[bytes] = []
        things = iter(things)
        with ThreadPoolExecutor(machine.cores()) as pool:
            while block := list(itertools.islice(things, _BLOCK)):
                known = self._known([thing.name for thing in block])
                wanted = [thing for thing in block if known.get(thing.name, ("",))[0] != thing.stamp]
                fresh = dict(zip(wanted, pool.map(lambda thing: thing.hashed(), wanted), strict=True))
                self._remember(
                    (thing.name, thing.stamp, content)
                    for thing, content in fresh.items()
                    if time.time_ns() - thing.changed_ns > _FRESH_NS
                )
                found += [fresh.get(thing) or known[thing.name][1] for thing in block]
        return found

    def _known(self, names: Sequence[bytes]) -> dict[bytes, tuple[str, bytes]]:
        found: dict[bytes, tuple[str, bytes]] = {}
        # A damaged or locked index knows nothing; it costs the time to read the files once more.
        with contextlib.suppress(sqlite3.Error), self._open() as database:
            marks = ",".join("?" * len(names))
            for name, stamp, content in database.execute(f"SELECT * FROM hashes WHERE path IN ({marks})", names):
                found[name] = stamp, content
        return found

    def _remember(self, rows: Iterable[tuple]) -> None:
        # A full disk or a locked index costs the next run some time, nothing else.
        with contextlib.suppress(sqlite3.Error), self._open() as database, database:
            database.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", rows)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        where = ":memory:"
        if self._path:
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                where = str(self._path)
        database = _connect(where)
        try:
            yield database
        finally:
            database.close()


class DecodedCache:
    """Decoded images in one file, in order, with the indices they have and a checksum per chunk."""

    def __init__(self, store: Store, key: str, shape: tuple[int, int, int], pixel: np.dtype):
        self._folder = store.cache / "pixels"
        self._data = self._folder / f"{key[:32]}.bin"
        self._index = self._folder / f"{key[:32]}.json"
        self._shape, self._pixel = shape, pixel
        self._image_bytes = int(np.prod(shape)) * pixel.itemsize

    def stream(self, size: int) -> Iterator[Chunk] | None:
        """Return images from disk, in the chunks that decoding gave; None where they are not complete."""
        indices = self._indices()
        return None if indices is None else self._read(indices, size)

    def mapped(self) -> np.ndarray | None:
        """Return all images as an array that stays on disk; None where they are not complete."""
        indices = self._indices()
        if indices is None:
            return None
        return np.memmap(self._data, self._pixel, "r", shape=(len(indices), *self._shape))

    def _indices(self) -> np.ndarray | None:
        try:
            sealed = documents.read_bytes(self._index)
            if not documents.is_sealed(sealed, "digest"):
                return None
            index = json.loads(sealed)  # as it was written, since its digest fits
            indices = np.asarray(index["indices"], dtype=np.int64)
            complete = self._data.stat().st_size == len(indices) * self._image_bytes
            return indices if complete and list(_checksums(self._data)) == index["checksums"] else None
        except (OSError, ValueError, KeyError):
            return None

    def fill(self, chunks: Iterator[Chunk], expected_bytes: int) -> Iterator[Chunk]:
        """Pass chunks through and store them, if they fit. Where the cache cannot be written, store nothing."""
        if not self._has_room(expected_bytes):
            yield from chunks
            return
        _remove_abandoned(self._folder)
        partial = self._data.with_suffix(f".{os.getpid()}.part")
        indices: list[int] = []
        complete = True
        with contextlib.ExitStack() as until_done:
            for numbers, pixels in chunks:
                if not indices:
                    complete = _claimed(partial, until_done)
                complete = complete and _appended(partial, pixels)
                indices += numbers.tolist()
                yield numbers, pixels
            if complete and indices:
                self._publish(partial, indices)

    def _has_room(self, expected_bytes: int) -> bool:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return expected_bytes <= _LARGEST_PART_OF_DISK * shutil.disk_usage(self._folder).free
        except OSError:
            return False

    def _publish(self, data: Path, indices: list[int]) -> None:
        with contextlib.suppress(OSError):
            index = {"indices": indices, "checksums": list(_checksums(data))}
            self._index.unlink(missing_ok=True)
            data.replace(self._data)
            partial = self._index.with_suffix(f".{os.getpid()}.part")
            partial.write_bytes(documents.seal(json.dumps(index).encode(), "digest"))
            partial.replace(self._index)

    def _read(self, indices: np.ndarray, size: int) -> Iterator[Chunk]:
        with open(self._data, "rb") as file:
            for numbers in np.split(indices, np.flatnonzero(np.diff(indices // size)) + 1):
                data = file.read(len(numbers) * self._image_bytes)
                yield numbers, np.frombuffer(data, self._pixel).reshape(len(numbers), *self._shape)


def _claimed(path: Path, until_done: contextlib.ExitStack) -> bool:
    """Create a part, locked as long as this process writes it; return False where that is impossible."""
    try:
        file = until_done.enter_context(open(path, "ab"))  # noqa: SIM115
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_ino != path.stat().st_ino:  # another process removed it before it was locked
            return False
        until_done.callback(_removed, path)
        file.truncate(0)
    except OSError:
        return False
    return True


def _remove_abandoned(folder: Path) -> None:
    """Remove the parts of processes that were killed: no process locks them any more."""
    for path in folder.glob("*.part"):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _removed(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _appended(path: Path, pixels: np.ndarray) -> bool:
    try:
        with open(path, "ab") as file:
            file.write(np.ascontiguousarray(pixels).data)
    except OSError:
        return False
    return True


def _checksums(path: Path) -> Iterator[int]:
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            yield zlib.crc32(block)


def _connect(where: str) -> sqlite3.Connection:
    database = sqlite3.connect(where, timeout=30)
    try:
        database.execute("CREATE TABLE IF NOT EXISTS hashes (path BLOB PRIMARY KEY, stamp TEXT, sha256 BLOB)")
    except sqlite3.DatabaseError as problem:
        database.close()
        if where == ":memory:":
            raise
        if not isinstance(problem, sqlite3.OperationalError):  # damaged, and not merely locked or without space
            with contextlib.suppress(OSError):
                os.unlink(where)
        return _connect(":memory:")
    return database


def _file(path: Path, most: int = place.LARGEST) -> Thing:
    """Return a file to hash. Of one that is larger than any image the beginning is enough: it will not be decoded."""
    path = path.absolute()
    stat = place.check_image(path, sys.maxsize)
    stamp = f"{stat.st_size} {stat.st_ino} {stat.st_mtime_ns} {stat.st_ctime_ns}"
    size = -1 if stat.st_size <= most else 1 << 20
    return Thing(os.fsencode(path), stamp, stat.st_ctime_ns, lambda: _sha256(path, size=size))


def _sha256(path: Path, offset: int = 0, size: int = -1) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            return hashlib.sha256(file.read(size)).digest()
    except OSError as problem:
        raise _unreadable(path, problem) from problem


def _unreadable(path: Path, problem: OSError) -> ImagesError:
    return ImagesError(str(path), f"cannot be read: {problem.strerror}", hint="repair or remove it")
