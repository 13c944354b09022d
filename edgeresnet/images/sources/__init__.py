"""What is there: class folders, a .tar of them, lists, arrays, and what their classes are called. Decodes nothing.

A source knows its classes, and for each image a label, a name for people, a content hash, and how to open it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ...errors import ImagesError
from ...recipe import Source
from ...store import Store
from .arrays import Arrays, digits, npz
from .cifar import cifar10
from .files import Folder, Listed
from .naming import Names, settled
from .tars import COMPRESSED, Tar

__all__ = [
    "Arrays",
    "Folder",
    "ImageSource",
    "Listed",
    "Names",
    "Tar",
    "at",
    "cifar10",
    "digits",
    "is_named_so",
    "npz",
    "open_source",
]

DIGITS = "digits"
CIFAR10 = "cifar10"
KINDS = (".csv", ".json", ".npz", ".tar")


class ImageSource(Protocol):
    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def numbered(self) -> bool:
        """The classes are integers as somebody wrote them, and not yet the network's answers."""

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def hashes(self) -> Sequence[bytes]: ...

    def name(self, index: int) -> str: ...
    def path(self, index: int) -> str | None: ...
    def open(self, index: int) -> Image.Image: ...


def open_source(
    asked: Source, slot: str, store: Store | None, *, names: str | None = None, classes: int | None = None
) -> ImageSource:
    """`names` is a file of what the classes are called, `classes` how many the network has: None where nobody said."""
    called = Names.read(Path(names).expanduser()) if names else None
    return settled(_opened(asked, slot, store), called, classes, asked.source)


def at(path: Path, slot: str, store: Store | None) -> ImageSource:
    """Whatever holds images there, by its name. Calibration images need no labels."""
    try:
        return _at(path, slot, store)
    except PermissionError as problem:
        where = problem.filename or path
        raise ImagesError(f"{where} may not be read", hint="ask whose it is, or read as who owns it") from problem


def _at(path: Path, slot: str, store: Store | None) -> ImageSource:
    labelled, kind = slot != "calibration", path.suffix.lower()
    if path.is_dir() or not (path.exists() or kind in KINDS):
        return Folder(path, store, labelled=labelled)
    if not path.is_file():
        raise ImagesError(f"there is no file {path}", hint="paths are read from the folder where edgeresnet is started")
    if kind in (".csv", ".json"):
        return Listed(path, store, labelled=labelled)
    if kind == ".npz":
        return npz(path, slot)
    if kind == ".tar":
        return Tar(path, store, labelled=labelled)
    if path.name.lower().endswith(COMPRESSED):
        raise ImagesError(
            f"{path} is compressed, and images are read in place", hint="unpack it, or store a plain .tar"
        )
    raise ImagesError(
        f"{path} is a file of a kind that is not known",
        hint=f"images come in class folders, or as {', '.join(KINDS)}",
    )


def is_named_so(path: Path) -> bool:
    """Its name says that it is a list, or an archive, or arrays."""
    return path.name.lower().endswith((*KINDS, *COMPRESSED))


def _opened(asked: Source, slot: str, store: Store | None) -> ImageSource:
    if asked.source == DIGITS:
        return digits(evaluation=slot == "evaluation")
    if asked.source == CIFAR10:
        return cifar10(Path(asked.root or ".").expanduser(), train=slot != "evaluation", download=asked.download)
    return at(Path(asked.source).expanduser(), slot, store)
