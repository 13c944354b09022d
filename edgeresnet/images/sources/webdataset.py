"""WebDataset's shards: .tar files in which `0001.cls` next to `0001.jpg` has the number of its class.

One file, or many by a pattern: `images-{000..099}.tar`. Images keep the order of the files and of their members.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import ImagesError
from ...portable.documents import shown
from ...store import Store
from .listing import Counted
from .masked import Drawn
from .tars import Members, Packed, Tar, read

_PATTERN = re.compile(r"\{(\d+)\.\.(\d+)\}")
_IMAGES = {"jpg", "jpeg", "png", "ppm", "pgm", "pbm", "pnm", "bmp", "gif", "tif", "tiff", "webp"}
_LABEL = ".cls"
_MASK = ".mask.png"
_MASK_HINT = "write shards with `0001.jpg` and `0001.mask.png` in them, or name a folder of masks"
_LARGEST = 32  # bytes of a label
_MOST = 100_000  # files of a pattern
_HINT = "write shards with `0001.jpg` and `0001.cls` in them, where `0001.cls` holds an integer"


def is_pattern(path: Path) -> bool:
    """Return whether a path names several .tar files."""
    return _PATTERN.search(path.name) is not None and path.suffix.lower() == ".tar" and not path.exists()


def opened(path: Path, store: Store | None, *, labelled: bool) -> Packed:
    """Open a .tar, or several by a pattern: shards of WebDataset, or one of class folders."""
    paths = expanded(path)
    members = [read(each) for each in paths]
    if any(name.endswith(_LABEL) for each in members for name in each.names):
        return WebDataset(path, paths, members, store)
    if not labelled and any(name.lower().endswith(_MASK) for each in members for name in each.names):
        return masked(path, store, 0)[0]
    if len(paths) == 1:
        return Tar(paths[0], store, labelled=labelled, members=members[0])
    if labelled:
        raise ImagesError(shown(path), f"names {len(paths)} files without any label", hint=_HINT)
    return Unlabelled(paths, members, store)


def expanded(path: Path) -> list[Path]:
    """Return the files that a path names: `{000..099}` in its name are numbers as wide as they are written."""
    found = None if path.exists() else _PATTERN.search(path.name)
    if found is None:
        return [path]
    first, last, width = int(found[1]), int(found[2]), len(found[1])
    if not 0 <= last - first < _MOST:
        raise ImagesError(shown(path), f"names {last - first + 1} files", hint="write it as in images-{000..099}.tar")
    names = [f"{path.name[: found.start()]}{n:0{width}}{path.name[found.end() :]}" for n in range(first, last + 1)]
    missing = Counted()
    for name in names:
        if not os.path.isfile(path.parent / name):
            missing.add(name)
    if missing.count:
        hint = "complete the set, or change the numbers in the pattern"
        raise ImagesError(
            f"{missing.count} of the {len(names)} files that {shown(path)} names", f"do not exist: {missing}", hint=hint
        )
    return [path.parent / name for name in names]


def has_masks(path: Path) -> bool:
    """Return whether the first of these shards holds a mask."""
    return any(name.lower().endswith(_MASK) for name in read(expanded(path)[0]).names)


def masked(path: Path, store: Store | None, ignored: int) -> tuple[Packed, Drawn]:
    """Open shards in which `0001.mask.png` lies next to `0001.jpg`."""
    paths = expanded(path)
    members = [read(each) for each in paths]
    chosen, drawn = [], []
    alone = Counted()
    for file, each in zip(paths, members, strict=True):
        masks = {_key(name): at for at, name in enumerate(each.names) if name.lower().endswith(_MASK)}
        taken = set(masks.values())
        images = [
            at for at, name in enumerate(each.names) if at not in taken and name.rpartition(".")[2].lower() in _IMAGES
        ]
        keys = [_key(each.names[at]) for at in images]
        for key in sorted(masks.keys() ^ set(keys)) + [key for key, often in Counter(keys).items() if often > 1]:
            alone.add(f"{file.name}:{key}")
        chosen.append(images)
        drawn.append([masks.get(key, 0) for key in keys])
    if alone.count or not any(chosen):
        problem = f"has samples without one image and one mask ({alone.count}): {alone}"
        raise ImagesError(shown(path), problem if alone.count else "has no images", hint=_MASK_HINT)
    return Unlabelled(paths, members, store, chosen), Drawn(Unlabelled(paths, members, store, drawn), ignored)


class Unlabelled(Packed):
    """Images without labels: all, or the chosen members of each file."""

    def __init__(
        self,
        paths: Sequence[Path],
        members: Sequence[Members],
        store: Store | None,
        chosen: Sequence[Sequence[int]] | None = None,
    ):
        wanted = chosen or [range(len(each.names)) for each in members]
        names = [each.names[at] for each, mine in zip(members, wanted, strict=True) for at in mine]
        spans = _spans(members, wanted)
        self.classes, self.labels = (), np.zeros(len(names), np.int64)
        super().__init__(paths, names, spans, store)


class WebDataset(Packed):
    """Images with the numbers of their classes."""

    numbered = True

    def __init__(self, path: Path, paths: Sequence[Path], members: Sequence[Members], store: Store | None):
        names, numbers, chosen = list[str](), list[int](), []
        without, odd = Counted(), Counted()
        for each, file in zip(members, paths, strict=True):
            labels = _labels(file, each, odd)
            images = [i for i, name in enumerate(each.names) if name.rpartition(".")[2].lower() in _IMAGES]
            for index in images:
                name = each.names[index]
                names.append(name)
                numbers.append(labels.get(_key(name), -1))
                if _key(name) not in labels:
                    without.add(f"{file.name}:{name}")
            chosen.append(images)
        if odd.count:
            raise ImagesError(shown(path), f"has labels that are not integers ({odd.count}): {odd}", hint=_HINT)
        if without.count or not names:
            problem = f"has images without a label ({without.count}): {without}" if names else "has no images"
            raise ImagesError(shown(path), problem, hint=_HINT)
        there, self.labels = np.unique(numbers, return_inverse=True)
        self.classes = tuple(map(str, there.tolist()))
        super().__init__(paths, names, _spans(members, chosen), store)


def _labels(path: Path, members: Members, odd: Counted) -> dict[str, int]:
    """Return the number of each sample's class."""
    found: dict[str, int] = {}
    with open(path, "rb") as file:
        for name, start, size in zip(members.names, members.starts, members.sizes, strict=True):
            if not name.endswith(_LABEL):
                continue
            file.seek(start)
            text = file.read(min(size, _LARGEST + 1)).strip()
            if len(text) <= _LARGEST and re.fullmatch(rb"\d{1,9}", text):
                found[_key(name)] = int(text)
            else:
                odd.add(f"{path.name}:{name}")
    return found


def _key(name: str) -> str:
    """Return what the members of a sample share: their name up to the first dot after the last slash."""
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}{base.partition('.')[0]}"


def _spans(members: Sequence[Members], chosen: Sequence[Sequence[int]]) -> np.ndarray:
    """Return rows of file, start and size of the chosen members."""
    rows = []
    for file, (each, indices) in enumerate(zip(members, chosen, strict=True)):
        picked = list(indices)
        starts, sizes = (np.asarray(column, np.int64)[picked] for column in (each.starts, each.sizes))
        rows.append(np.stack([np.full(len(picked), file), starts, sizes], 1))
    return np.concatenate(rows)
