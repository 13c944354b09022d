"""Image files on a disk: class folders, or a list that names them. Lists files and opens none."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import ImagesError
from ...portable.documents import shown
from ...store import Store
from .. import decode, place
from ..cache import HashIndex
from . import listing
from .outputs import written_by_us
from .walking import below


class Files:
    """Files below a folder, or anywhere. `numbered`: the classes are integers, and not the words of folders."""

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        classes: tuple[str, ...],
        labels: np.ndarray,
        store: Store | None,
        *,
        numbered: bool = False,
    ):
        self.root, self._names = root, names
        self.classes, self.labels, self.numbered = classes, labels, numbered
        self.hashes = HashIndex(store).of(root / name for name in names)

    def name(self, index: int) -> str:
        """Return a name for people: bytes that are not text are written out."""
        return self.path(index).encode("utf-8", "backslashreplace").decode()

    def open(self, index: int) -> Image.Image:
        return decode.open_file(self.path(index))

    def path(self, index: int) -> str:
        return os.path.join(self.root, self._names[index])

    def files(self) -> Sequence[str]:
        return [self.path(index) for index in range(len(self._names))]

    def part(self, indices: Sequence[int]) -> Files:
        found = copy.copy(self)
        found._names = [self._names[index] for index in indices]
        found.labels, found.hashes = self.labels[indices], [self.hashes[index] for index in indices]
        return found


class Folder(Files):
    """One folder per class, in name order, as torchvision's ImageFolder numbers them. Ignore hidden files, and what
    edgeresnet wrote itself.

    Where no label is needed, the images may lie in the folder itself: it has no classes then.
    """

    def __init__(self, root: Path, store: Store | None, *, labelled: bool = True):
        classes, names, labels = _found(root, labelled)
        super().__init__(root, names, classes, labels, store)


class Listed(Files):
    """The files that a .csv or .json list names, from its own folder on."""

    def __init__(self, path: Path, store: Store | None, *, labelled: bool = True):
        found = listing.read(path, labelled=labelled)
        missing = listing.Counted()
        for name in found.names:
            if not os.path.isfile(os.path.join(path.parent, name)):
                missing.add(name)
        if missing.count:
            raise ImagesError(
                f"{missing.count} of the {len(found.names)} files that {shown(path)} lists",
                f"do not exist: {missing}",
                hint="write / for \\: its paths are those of Windows"
                if "\\" in str(missing)
                else f"paths start at the folder of the list, {shown(path.parent)}",
            )
        super().__init__(path.parent, found.names, found.classes, found.labels, store, numbered=found.numbered)


def _found(root: Path, labelled: bool) -> tuple[tuple[str, ...], list[str], np.ndarray]:
    if not place.is_folder(place.mode_of(root)):
        hint = "it must contain one folder of images per class"
        raise ImagesError(f"the folder {shown(root)}", "does not exist", hint=hint)
    if what := written_by_us(root):
        hint = "name the folder that holds the class folders"
        raise ImagesError(shown(root), f"is {what} of edgeresnet, and holds no class folders", hint=hint)
    inside = sorted(entry.name for entry in os.scandir(root) if entry.name[0] != "." and os.path.isdir(entry.path))
    ours = {name: what for name in inside if (what := written_by_us(root / name))}
    classes = tuple(name for name in inside if name not in ours)
    flat = [] if classes or labelled else sorted(below(root, ".", ours))
    if flat:
        return (), flat, np.zeros(len(flat), np.int64)
    if not classes:
        wanted = "class folders" if labelled else "images"
        only = "".join(f", and {name} is {what} of edgeresnet" for name, what in ours.items())
        hint = "put the images of each class into a folder of its own"
        raise ImagesError(shown(root), f"has no {wanted}{only}", hint=hint)
    names: list[str] = []
    counts = []
    for label in classes:
        inside = sorted(below(root, label))
        if not inside:
            raise ImagesError(f"the class folder {shown(root / label)}", "has no images", hint="fill it or remove it")
        names += inside
        counts.append(len(inside))
    return classes, names, np.repeat(np.arange(len(classes)), counts)
