"""Images with a mask each: a folder of images and one of masks, or a list of both.

A mask has its image's path with another ending. What fits no partner is refused: a forgotten mask would count as
nothing, and a forgotten image would not be missed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ...errors import ImagesError
from ...portable.documents import shown
from ...portable.preprocessing import Preprocessing
from ...store import Store
from .. import decode, masks, place
from . import listing
from .files import Files
from .image_source import ImageSource
from .listing import Counted
from .outputs import written_by_us
from .walking import below

COLUMNS = ("mask", "mask_path", "mask_file")
_LIST = "or list the pairs in a .csv with the columns image,mask"


class Masks(Protocol):
    """Masks in the order of their images, wherever they are stored."""

    ignored: int  # the number of pixels without a label

    @property
    def hashes(self) -> Sequence[bytes]: ...

    def name(self, index: int) -> str: ...

    def read(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """Return the number of each pixel, H×W, of the mask of an image of this (width, height)."""

    def files(self) -> Sequence[str]: ...
    def part(self, indices: Sequence[int]) -> Masks: ...


class Masked:
    """A source of images with a mask each. All labels are 0: there are no classes of images."""

    numbered = False

    def __init__(self, source: ImageSource, drawn: Masks, classes: Sequence[str]):
        self.source, self.masks, self.classes = source, drawn, tuple(classes)
        self.labels = np.zeros(len(source.labels), np.int64)
        self.name, self.path, self.open = source.name, source.path, source.open

    @property
    def hashes(self) -> Sequence[bytes]:
        return self.source.hashes

    def files(self) -> Sequence[str]:
        return [*self.source.files(), *self.masks.files()]

    def part(self, indices: Sequence[int]) -> Masked:
        return Masked(self.source.part(indices), self.masks.part(indices), self.classes)

    def label_content(self, index: int) -> bytes:
        """Return what a mask's numbers depend on, apart from how many classes there are."""
        return self.masks.hashes[index] + self.masks.ignored.to_bytes(4, "little")

    def mask(self, index: int, preprocessing: Preprocessing | None = None) -> np.ndarray:
        """Return a mask's class numbers, prepared as its image is, or at its own size; refuse what cannot be right."""
        name = self.masks.name(index)
        try:
            with self.open(index) as image:
                found = self.masks.read(index, image.size)
                masks.check_size(found, image, (name, self.name(index)))
                found = masks.with_ignored(found, self.masks.ignored, len(self.classes), name)
                return masks.fitted(found, image, preprocessing) if preprocessing else found
        except decode.BROKEN as problem:
            hint = "remove or replace it, or skip such files with `images: {unreadable: skip}`"
            raise ImagesError(self.name(index), f"cannot be decoded: {decode.reason(problem)}", hint=hint) from problem


class Drawn:
    """Masks in files of their own, wherever these lie."""

    def __init__(self, source: ImageSource, ignored: int):
        self._source, self.ignored = source, ignored
        self.name = source.name

    @property
    def hashes(self) -> Sequence[bytes]:
        return self._source.hashes

    def read(self, index: int, size: tuple[int, int]) -> np.ndarray:
        return masks.read(lambda: self._source.open(index), self.name(index), size)

    def files(self) -> Sequence[str]:
        return self._source.files()

    def part(self, indices: Sequence[int]) -> Drawn:
        return Drawn(self._source.part(indices), self.ignored)


class Pictures(Files):
    """All images below a folder, without classes."""

    def __init__(self, root: Path, store: Store | None, names: Sequence[str]):
        super().__init__(root, names, (), np.zeros(len(names), np.int64), store)


def pictures(root: Path, store: Store | None, without: Path | None = None) -> Pictures:
    """Return all images below a folder, in the order of their names; without those below another folder."""
    names = _below(root, "images", without)
    return Pictures(root, store, names)


def of_folders(root: Path, mask_root: Path, store: Store | None, ignored: int) -> tuple[ImageSource, Masks]:
    """Return the images of a folder with the masks of another: the same paths, with other endings."""
    images = _below(root, "images", mask_root)
    if place.is_folder(place.mode_of(mask_root)) and os.path.samefile(root, mask_root):
        problem = "is the folder of the images and that of the masks"
        raise ImagesError(shown(root), problem, hint=f"put masks into a folder of their own, {_LIST}")
    found = _below(mask_root, "masks", root)
    drawn = _by_stem(found, mask_root, "masks")
    pairs = _paired(_by_stem(images, root, "images"), drawn, root, mask_root)
    return Pictures(root, store, list(pairs)), Drawn(Pictures(mask_root, store, list(pairs.values())), ignored)


def is_list(path: Path) -> bool:
    """Return whether the first row of a .csv names a column of masks."""
    return listing.has_column(path, COLUMNS)


def of_list(path: Path, store: Store | None, ignored: int) -> tuple[ImageSource, Masks]:
    """Return the images of a list with the masks that it names next to them."""
    found = listing.read(path, labelled=True, columns=COLUMNS, what="mask")
    mask_names = [found.classes[number] for number in found.labels]
    absent = Counted()
    for name in (*found.names, *mask_names):
        if not os.path.isfile(os.path.join(path.parent, name)):
            absent.add(name)
    if absent.count:
        hint = f"paths start at the folder of the list, {shown(path.parent)}"
        raise ImagesError(f"{absent.count} of the files that {shown(path)} lists", f"do not exist: {absent}", hint=hint)
    return Pictures(path.parent, store, found.names), Drawn(Pictures(path.parent, store, mask_names), ignored)


def _below(root: Path, what: str, without: Path | None) -> list[str]:
    """List the files below a folder. Another folder in it, and what edgeresnet wrote, are left out."""
    if not place.is_folder(place.mode_of(root)):
        hint = "paths start at the folder where you started edgeresnet"
        raise ImagesError(f"the folder of {what} {shown(root)}", "does not exist", hint=hint)
    inside = [entry.name for entry in os.scandir(root) if entry.name[0] != "." and entry.is_dir()]
    ours: Collection[str] = [name for name in inside if written_by_us(root / name)]
    other = os.path.relpath(without, root) if without else ""
    left_out = other + os.sep if other and not other.startswith((os.pardir, os.curdir)) else None
    found = sorted(name for name in below(root, ".", ours) if not (left_out and name.startswith(left_out)))
    if not found:
        raise ImagesError(shown(root), f"has no {what}", hint=f"name the folder that holds the {what}")
    return found


def _by_stem(names: Sequence[str], root: Path, what: str) -> dict[str, str]:
    """Return files by their paths without endings; refuse two that differ in nothing else."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[os.path.splitext(name)[0]].append(name)
    twice = Counted()
    for several in alike.values():
        if len(several) > 1:
            twice.add(" = ".join(several))
    if twice.count:
        problem = f"has {what} that differ in their endings alone ({twice.count}): {twice}"
        raise ImagesError(shown(root), problem, hint=f"rename them, {_LIST}")
    return {stem: several[0] for stem, several in alike.items()}


def _paired(images: Mapping[str, str], drawn: Mapping[str, str], root: Path, mask_root: Path) -> dict[str, str]:
    for one, other, where, words in (
        (images, drawn, root, ("images without a mask", f"put a mask for each into {shown(mask_root)}")),
        (drawn, images, mask_root, ("masks without an image", "remove them")),
    ):
        alone = Counted()
        for stem, name in one.items():
            if stem not in other:
                alone.add(name)
        if alone.count:
            problem = f"has {words[0]} ({alone.count} of {len(one)}): {alone}"
            raise ImagesError(shown(where), problem, hint=f"{words[1]}, {_LIST}")
    return {name: drawn[stem] for stem, name in images.items()}
