"""Which file belongs to which image: of two folders by their paths, or by a list of both.

What fits no partner is refused: a forgotten mask would count as nothing, and a forgotten image would not be missed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import ImagesError
from ...portable.documents import shown
from ...store import Store
from .. import place
from . import listing
from .files import Files
from .listing import Counted
from .outputs import written_by_us
from .walking import below


class Partner(NamedTuple):
    """What each image has a file of. With an ending of their own, both kinds of files may lie in one folder."""

    one: str
    many: str
    columns: tuple[str, ...]  # of a list
    ending: str = ""

    @property
    def hint(self) -> str:
        return f"or list the pairs in a .csv with the columns image,{self.columns[0]}"


class Pictures(Files):
    """Images below a folder, without classes."""

    def __init__(self, root: Path, store: Store | None, names: Sequence[str]):
        super().__init__(root, names, (), np.zeros(len(names), np.int64), store)


def pictures(root: Path, store: Store | None) -> Pictures:
    """Return all images below a folder, in the order of their names."""
    return Pictures(root, store, _below(root, "images", None))


def of_folders(root: Path, other_root: Path, partner: Partner) -> dict[str, str]:
    """Return the images of a folder, each with the file of another that has its path with another ending."""
    images = _below(root, "images", other_root)
    found = _below(other_root, partner.many, root)
    if partner.ending:
        images = [name for name in images if not name.lower().endswith(partner.ending)]
        found = [name for name in found if name.lower().endswith(partner.ending)]
    elif os.path.samefile(root, other_root):
        problem = f"is the folder of the images and that of the {partner.many}"
        hint = f"put {partner.many} into a folder of their own, {partner.hint}"
        raise ImagesError(shown(root), problem, hint=hint)
    if not found or not images:
        where, what = (root, "images") if not images else (other_root, f"{partner.many}, which end in {partner.ending}")
        raise ImagesError(shown(where), f"has no {what}", hint=f"name the folder that holds them, {partner.hint}")
    partners = _by_stem(found, other_root, partner.many, partner)
    return _paired(_by_stem(images, root, "images", partner), partners, (root, other_root), partner)


def is_list(path: Path, partner: Partner) -> bool:
    """Return whether the first row of a .csv names a column of partners."""
    return listing.has_column(path, partner.columns)


def of_list(path: Path, partner: Partner) -> tuple[list[str], list[str]]:
    """Return the images of a list, and the files that it names next to them."""
    found = listing.read(path, labelled=True, columns=partner.columns, what=partner.one)
    others = [found.classes[number] for number in found.labels]
    absent = Counted()
    for name in (*found.names, *others):
        if not os.path.isfile(os.path.join(path.parent, name)):
            absent.add(name)
    if absent.count:
        hint = f"paths start at the folder of the list, {shown(path.parent)}"
        raise ImagesError(f"{absent.count} of the files that {shown(path)} lists", f"do not exist: {absent}", hint=hint)
    return found.names, others


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


def _by_stem(names: Sequence[str], root: Path, what: str, partner: Partner) -> dict[str, str]:
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
        raise ImagesError(shown(root), problem, hint=f"rename them, {partner.hint}")
    return {stem: several[0] for stem, several in alike.items()}


def _paired(
    images: Mapping[str, str], others: Mapping[str, str], roots: tuple[Path, Path], partner: Partner
) -> dict[str, str]:
    root, other_root = roots
    for one, other, where, words in (
        (images, others, root, (f"images without a {partner.one}", f"put one for each into {shown(other_root)}")),
        (others, images, other_root, (f"{partner.many} without an image", "remove them")),
    ):
        alone = Counted()
        for stem, name in one.items():
            if stem not in other:
                alone.add(name)
        if alone.count:
            problem = f"has {words[0]} ({alone.count} of {len(one)}): {alone}"
            raise ImagesError(shown(where), problem, hint=f"{words[1]}, {partner.hint}")
    return {name: others[stem] for stem, name in images.items()}
