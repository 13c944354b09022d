"""What is there: class folders, the shipped digits, torchvision's CIFAR-10. Lists and hashes; decodes nothing.

A source knows its classes, and for each image a label, a name for people, a content hash, and how to open it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from ..artifact import Store
from ..errors import ImagesError
from ..recipe import Source
from . import decode
from .cache import HashIndex

DIGITS = "digits"
CIFAR10 = "cifar10"


class ImageSource(Protocol):
    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def hashes(self) -> Sequence[bytes]: ...

    def name(self, index: int) -> str: ...
    def path(self, index: int) -> str | None: ...
    def open(self, index: int) -> Image.Image: ...


class Folder:
    """One folder per class, in name order, as torchvision's ImageFolder numbers them. Hidden files are passed over.

    Where no label is needed the images may lie in the folder itself: it has no classes then.
    """

    def __init__(self, root: Path, store: Store | None, *, labelled: bool = True):
        self.root = root
        self.classes, self._names, self.labels = _listed(root, labelled)
        self.hashes = HashIndex(store).of([root / name for name in self._names])

    def name(self, index: int) -> str:
        """For people: a name that is no text is shown with its odd bytes written out."""
        return self.path(index).encode("utf-8", "backslashreplace").decode()

    def open(self, index: int) -> Image.Image:
        return decode.open_file(self.path(index))

    def path(self, index: int) -> str:
        return f"{self.root}/{self._names[index]}"


class Arrays:
    """Images that came as one array: uint8, N×H×W or N×H×W×3."""

    def __init__(self, title: str, pixels: np.ndarray, labels: np.ndarray, classes: Sequence[str]):
        self._title, self._pixels = title, pixels
        self.labels = labels.astype(np.int64)
        self.classes = tuple(classes)
        self.hashes = [hashlib.sha256(image.tobytes()).digest() for image in pixels]

    def name(self, index: int) -> str:
        return f"{self._title}[{index}]"

    def path(self, index: int) -> None:
        return None

    def open(self, index: int) -> Image.Image:
        return Image.fromarray(self._pixels[index])


def open_source(asked: Source, slot: str, channels: int, store: Store | None) -> ImageSource:
    if asked.source == DIGITS:
        return digits(evaluation=slot == "evaluation")
    if asked.source == CIFAR10:
        return cifar10(Path(asked.root or "."), train=slot != "evaluation", download=asked.download)
    return Folder(Path(asked.source).expanduser(), store, labelled=slot != "calibration")


def digits(*, evaluation: bool) -> Arrays:
    """The 1,797 handwritten digits that ship with the project; 450 of them are set aside for evaluation."""
    path = shipped("calibration_data") / "digits.npz"
    with np.load(path) as file:
        mine = file["evaluation"] == evaluation
        return Arrays("digits", file["images"][mine], file["labels"][mine], [str(n) for n in range(10)])


def cifar10(root: Path, *, train: bool, download: bool) -> Arrays:
    from torchvision import datasets

    try:
        data = datasets.CIFAR10(root, train=train, download=download)
    except (RuntimeError, OSError) as problem:
        raise ImagesError(
            f"CIFAR-10 is not in {root}: {problem}",
            hint="put torchvision's cifar-10-batches-py there, or write `{from: cifar10, root: DIR, download: true}`",
        ) from problem
    return Arrays("cifar10", data.data, np.asarray(data.targets), data.classes)


def shipped(folder: str) -> Path:
    """A folder that travels with the project: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside, beside = package / folder, package.parent / folder
    return inside if inside.is_dir() else beside


def _listed(root: Path, labelled: bool) -> tuple[tuple[str, ...], list[str], np.ndarray]:
    if not root.is_dir():
        raise ImagesError(f"there is no folder {root}", hint="it should hold one folder of images per class")
    classes = tuple(sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != "."))
    flat = [] if classes or labelled else sorted(_files(root, "."))
    if flat:
        return (), flat, np.zeros(len(flat), np.int64)
    if not classes:
        what = "class folders" if labelled else "images"
        raise ImagesError(f"{root} has no {what}", hint="put the images of each class into a folder of its own")
    names: list[str] = []
    counts = []
    for label in classes:
        inside = sorted(_files(root, label))
        if not inside:
            raise ImagesError(f"the class folder {root / label} has no images", hint="fill it or remove it")
        names += inside
        counts.append(len(inside))
    return classes, names, np.repeat(np.arange(len(classes)), counts)


def _files(root: Path, label: str) -> list[str]:
    found: list[str] = []
    for folder, inner, files in os.walk(root / label, followlinks=True):
        inner[:] = [name for name in inner if name[0] != "."]
        prefix = os.path.relpath(folder, root)
        found += [
            os.path.normpath(os.path.join(prefix, name)) for name in files if name[0] != "." and name != "Thumbs.db"
        ]
    return found
