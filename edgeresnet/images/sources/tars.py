"""A .tar of class folders, read where it lies: each image by its place in the file, nothing unpacked.

Also one whose class folders are .tar files themselves, as ImageNet's training images come; and WebDataset's shards, one
or many, where `0001.cls` next to `0001.jpg` has the number of its class.
"""

from __future__ import annotations

import copy
import io
import posixpath
import tarfile
from array import array
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from ...errors import ImagesError, foreign, shortened
from ...portable.documents import shown
from ...store import Store
from .. import place
from ..cache import HashIndex
from .listing import Counted
from .walking import is_image

_LONGEST_NAME = 4096
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")


class Packed:
    """Images in one or several .tar files, each by its place in one of them."""

    classes: tuple[str, ...]
    labels: np.ndarray
    numbered = False

    def __init__(self, paths: Sequence[Path], names: Sequence[str], spans: np.ndarray, store: Store | None):
        """Name images and their `spans`: rows of which file, start and size. The images of a file are in a row."""
        self._paths, self._names, self._spans = paths, names, spans
        index, self.hashes = HashIndex(store), list[bytes]()
        for file, path in enumerate(paths):
            first, stop = np.searchsorted(spans[:, 0], (file, file + 1)).tolist()
            mine = zip(names[first:stop], *spans[first:stop, 1:].T.tolist(), strict=True)
            self.hashes += index.of_parts(path, mine)

    def name(self, index: int) -> str:
        path = self._paths[self._spans[index, 0]]
        return f"{path}:{self._names[index]}".encode("utf-8", "backslashreplace").decode()

    def path(self, index: int) -> None:
        return None

    def open(self, index: int) -> Image.Image:
        number, start, size = self._spans[index].tolist()
        with open(self._paths[number], "rb", buffering=0) as file:
            file.seek(start)
            return Image.open(io.BytesIO(file.read(size)))

    def files(self) -> Sequence[str]:
        return [str(self._paths[number]) for number in np.unique(self._spans[:, 0])]

    def part(self, indices: Sequence[int]) -> Packed:
        found = copy.copy(self)
        found._names = [self._names[index] for index in indices]
        found._spans, found.labels = self._spans[indices], self.labels[indices]
        found.hashes = [self.hashes[index] for index in indices]
        return found


class Tar(Packed):
    """A .tar, numbered as the same folder would be. A folder around all class folders is ignored."""

    def __init__(self, path: Path, store: Store | None, *, labelled: bool = True, members: Members | None = None):
        """Read a .tar, whose members may be known already."""
        members = read(path) if members is None else members
        self.classes, order, self.labels = _sorted(path, members, labelled)
        starts, sizes = (np.asarray(each, np.int64)[order] for each in (members.starts, members.sizes))
        spans = np.stack([np.zeros_like(starts), starts, sizes], 1)
        super().__init__([path], [members.names[index] for index in order], spans, store)


class Members(NamedTuple):
    """What a .tar holds, in its order."""

    names: list[str]
    starts: array[int]
    sizes: array[int]
    folders: set[str]
    links: list[tuple[str, str]]  # a name, and that of the member which holds its bytes

    def add(self, name: str, start: int, size: int) -> None:
        self.names.append(name)
        self.starts.append(start)
        self.sizes.append(size)


def read(path: Path) -> Members:
    """List what a .tar holds; refuse one that is compressed or damaged."""
    found = Members([], array("q"), array("q"), set(), [])
    place.check_file(path)
    hint = "pack its folder again without compression"
    with (
        foreign(lambda reason: ImagesError(shown(path), f"cannot be read as a plain .tar: {reason}", hint=hint)),
        open(path, "rb") as file,
    ):
        _walk(file, "", found, path.stat().st_size)
    places = dict(zip(found.names, zip(found.starts, found.sizes, strict=True), strict=True)) if found.links else {}
    lost = Counted()
    for name, other in found.links:
        if other in places:
            found.add(name, *places[other])
        else:
            lost.add(f"{name} → {other}")
    if lost.count:
        raise ImagesError(
            shown(path), f"has links to files outside it ({lost.count}): {lost}", hint="store the files themselves"
        )
    return found


def _walk(file: BinaryIO, inside: str, found: Members, length: int) -> None:
    with tarfile.TarFile(fileobj=file) as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # or all would stay in memory, a kilobyte each
            _check(member, length)
            name = posixpath.normpath(posixpath.join(inside, member.name.lstrip("/")))
            if any(part[0] == "." for part in name.split("/")):
                continue
            if member.isdir():
                found.folders.add(name)
            elif member.islnk() or member.issym():
                here = inside if member.islnk() else posixpath.dirname(name)
                found.links.append((name, posixpath.normpath(posixpath.join(here, member.linkname))))
            elif member.issparse():
                raise tarfile.ReadError(f"{name} is stored as a sparse file")
            elif member.isfile() and not inside and "/" not in name and name.endswith(".tar"):
                file.seek(member.offset_data)
                _walk(file, name.removesuffix(".tar"), found, member.offset_data + member.size)
            elif member.isfile() and is_image(posixpath.basename(name)):
                found.add(name, member.offset_data, member.size)
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE).strip(b"\0"):  # reading ended before its end
            raise tarfile.ReadError(f"it is damaged at byte {tar.offset}")


def _check(member: tarfile.TarInfo, length: int) -> None:
    """Refuse a member whose header cannot be true: reading would end outside the file, or never."""
    if len(member.name) > _LONGEST_NAME:
        raise tarfile.ReadError(f"a name in it has {len(member.name):,} characters")
    if not 0 <= member.size <= length:
        raise tarfile.ReadError(f"{shortened(member.name, 40)} is said to have more bytes than the archive")
    if member.isfile() and member.offset_data + member.size > length:
        raise tarfile.ReadError(f"{shortened(member.name, 40)} is not complete")


def _sorted(path: Path, found: Members, labelled: bool) -> tuple[tuple[str, ...], list[int], np.ndarray]:
    """Return classes, the members in a folder's order, and their labels. What is not in a class folder is ignored."""
    depth = _depth(found.names)
    parts = [name.split("/", depth + 1) for name in found.names]
    inside = [len(each) > depth + 1 for each in parts]
    label = {index: parts[index][depth] for index in compress(range(len(parts)), inside)}
    # Of two members of one name the last one counts, as when they are unpacked.
    last = {found.names[index]: index for index in (label or range(len(parts)))}
    classes = tuple(sorted(set(label.values())))
    if not last or (labelled and not classes):
        what = "class folders" if labelled else "images"
        raise ImagesError(shown(path), f"has no {what}", hint="put the images of each class into a folder of its own")
    if not classes:
        return (), [last[name] for name in sorted(last)], np.zeros(len(last), np.int64)
    _refuse_empty(path, found, depth, classes)
    order = sorted(last.values(), key=lambda index: (label[index], found.names[index]))
    numbers = {word: number for number, word in enumerate(classes)}
    return classes, order, np.array([numbers[label[index]] for index in order], np.int64)


def _depth(names: Sequence[str]) -> int:
    """Return how many folders stand around the class folders."""
    depth = 0
    while names:
        heads = {"/".join(name.split("/")[: depth + 1]) for name in names}
        deeper = any(name.count("/") > depth + 1 for name in names)
        if len(heads) > 1 or not deeper:
            break
        depth += 1
    return depth


def _refuse_empty(path: Path, found: Members, depth: int, classes: Sequence[str]) -> None:
    at_level = (folder.split("/") for folder in found.folders if folder.count("/") == depth)
    empty = sorted({folder[depth] for folder in at_level} - set(classes))
    if empty:
        raise ImagesError(
            f"the class folder {shown(path)}:{shortened(empty[0], 80)}", "has no images", hint="fill it or leave it out"
        )
