"""A survey of images before they are used: what is there, what cannot be read, what is there twice.

Decodes every image once and stores none. Changes nothing, and needs no recipe.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ..portable import machine
from . import box_counts, decode, mask_counts, place
from .box_counts import BoxCounts
from .mask_counts import MaskCounts
from .sources import Boxed, ImageSource, Masked, arrays, at, boxes_at, has_boxes, pairs_at
from .sources.naming import Named
from .sources.outputs import written_by_us


class _Seen(NamedTuple):
    size: tuple[int, int]
    mode: str
    turned: bool
    bits: int  # 8 or 16 as they are read; 0: they are not read
    why: str  # not empty: why it cannot be decoded


@dataclass(frozen=True)
class Split:
    """One set of images: class folders, or images without classes."""

    images: int
    classes: dict[str, int]
    sizes: list[tuple[tuple[int, int], int]]  # (width, height) and how many, the most frequent first
    modes: dict[str, int]  # Pillow's words: RGB, L, CMYK, P, I;16, …; RGB;16 where it has more bits than Pillow keeps
    turned: int  # how many should be turned, by their EXIF tag
    unreadable: list[tuple[str, str]]  # name, why
    duplicates: list[list[str]]  # the same bytes under several names
    contradictions: list[list[str]]  # of these, what lies in more than one class
    deep: int  # how many have one channel of 16 bits
    too_deep: int  # how many have bits that are not read: colours of 16, signed ones, 32


@dataclass(frozen=True)
class Survey:
    """What a path holds. `shared` are images of one split that are in another, too: (split, split, names)."""

    path: str
    splits: dict[str, Split]
    shared: list[tuple[str, str, list[str]]]
    ours: dict[str, str]  # folders that edgeresnet wrote, and what they are: left out
    masks: MaskCounts | None = None  # what masks hold, where there are such
    wrong_masks: tuple[tuple[str, str], ...] = ()  # which cannot be used, and why
    boxes: BoxCounts | None = None  # what boxes hold, where there are such
    wrong_boxes: tuple[tuple[str, str], ...] = ()


def survey(path: Path, mask_path: Path | None = None, box_path: Path | None = None) -> Survey:
    """Look at all images that a folder, a list, a .tar or an .npz holds, and at their masks and boxes."""
    boxed = boxes_at(path, str(box_path) if box_path else None) if box_path or has_boxes(path) else None
    masked = pairs_at(path, mask_path)
    first = masked or boxed
    if first:
        split = _looked_at(Named(first.source, (), [0]), _names_by_content(first))
        found = Survey(str(path), {path.name: split}, [], {})
        return _with_boxes(_with_masks(found, masked), boxed)
    sources = _sources(path)
    holders = {name: _names_by_content(source) for name, source in sources.items()}
    shared = []
    for one, other in itertools.combinations(holders, 2):
        both = sorted(min(holders[one][content]) for content in holders[one].keys() & holders[other].keys())
        if both:
            shared.append((one, other, both))
    splits = {name: _looked_at(source, holders[name]) for name, source in sources.items()}
    return Survey(str(path), splits, shared, _ours(path) if os.path.isdir(path) else {})


def _with_masks(found: Survey, source: Masked | None) -> Survey:
    if source is None:
        return found
    counts, wrong = mask_counts.of_files(source)
    return replace(found, masks=counts, wrong_masks=tuple(wrong))


def _with_boxes(found: Survey, source: Boxed | None) -> Survey:
    if source is None:
        return found
    counts, wrong = box_counts.of_files(source)
    return replace(found, boxes=counts, wrong_boxes=tuple(wrong))


def _sources(path: Path) -> Mapping[str, ImageSource]:
    if os.path.isfile(path) and path.suffix.lower() == ".npz":
        return arrays.parts(path)
    folders = _splits(path) if os.path.isdir(path) else {path.name: path}
    return {name: at(each, "calibration", None) for name, each in folders.items()}


def _splits(root: Path) -> dict[str, Path]:
    """Return the sets below one folder. `train` and `val` are two sets: they hold folders of images themselves.

    Where only one folder is left next to what edgeresnet wrote, the images are in there.
    """
    ours = _ours(root)
    inside = [each for each in _folders(root) if each.name not in ours]
    nested = [each for each in inside if _folders(each, hidden=True)]
    if ours and len(nested) == len(inside) == 1:
        return _splits(nested[0])
    return {each.name: each for each in nested} if nested and len(nested) == len(inside) else {root.name: root}


def _folders(root: Path, *, hidden: bool = False) -> list[Path]:
    place.check_real(root, os.stat(root))
    with os.scandir(root) as entries:
        return sorted(
            Path(entry.path) for entry in entries if os.path.isdir(entry) and (hidden or entry.name[0] != ".")
        )


def _ours(root: Path) -> dict[str, str]:
    """Return the folders in this one that edgeresnet wrote, and what they are."""
    return {each.name: what for each in _folders(root) if (what := written_by_us(each))}


def _names_by_content(source: ImageSource) -> dict[bytes, list[str]]:
    found: dict[bytes, list[str]] = defaultdict(list)
    for index, content in enumerate(source.hashes):
        found[content].append(source.name(index))
    return found


def _looked_at(source: ImageSource, holders: dict[bytes, list[str]]) -> Split:
    count = len(source.labels)
    with ThreadPoolExecutor(machine.cores()) as pool:
        seen = list(pool.map(lambda index: _seen(source, index), range(count)))
    readable = [each for each in seen if not each.why]
    labels = Counter(source.labels.tolist())
    return Split(
        images=count,
        classes={name: labels[number] for number, name in enumerate(source.classes)},
        sizes=Counter(each.size for each in readable).most_common(),
        modes=dict(Counter(each.mode for each in readable).most_common()),
        turned=sum(each.turned for each in readable),
        unreadable=[(source.name(index), each.why) for index, each in enumerate(seen) if each.why],
        duplicates=[sorted(names) for names in holders.values() if len(names) > 1],
        contradictions=_contradictions(source),
        deep=sum(each.bits == 16 for each in readable),
        too_deep=sum(each.bits == 0 for each in readable),
    )


def _contradictions(source: ImageSource) -> list[list[str]]:
    """Return the names of each image, by its content, that lies in more than one class."""
    classes: dict[bytes, dict[int, str]] = defaultdict(dict)
    for index, content in enumerate(source.hashes):
        classes[content].setdefault(int(source.labels[index]), source.name(index))
    return [sorted(names.values()) for names in classes.values() if len(names) > 1]


def _seen(source: ImageSource, index: int) -> _Seen:
    try:
        with source.open(index) as image:
            bits = decode.depth(image)  # before it is loaded
            read = next((each for each in (8, 16) if decode.has_bits(image, each)), 0)
            image.load()
            mode = f"{image.mode};{bits}" if bits > 8 and image.mode[0] not in "IF" else image.mode
            return _Seen(image.size, mode, decode.turned(image), read, "")
    except decode.BROKEN as problem:
        return _Seen((0, 0), "", False, 0, decode.reason(problem))
