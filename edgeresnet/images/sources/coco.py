"""A .json as COCO writes it: images, categories, and annotations; its masks, from polygons or run lengths.

For masks, categories become classes in the order of their ids: 1, 2, …, and 0 is the background. One that is called
background is class 0 itself. A pixel in objects of two classes has no label; where one of them is a crowd, the other
counts. Boxes are in `coco_boxes.py`.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import ImagesError, shortened
from ...portable.documents import Unreadable, parse_json, read_bytes, shown
from ...portable.tasks.masks import IGNORED
from ...store import Store
from .. import place
from ..decode import Contradiction
from .drawing import polygon, runs
from .listing import Counted
from .naming import by_name
from .pairing import Pictures

BACKGROUND = "background"
_LARGEST = 1 << 31  # bytes
_WIDEST = 10**6  # pixels of an image
SHAPES = (
    "write it as COCO does: images (id, file_name), annotations (image_id, category_id, segmentation or bbox) and "
    "categories (id, name)"
)
_LAYER = {"crowd": 1, "object": 2}


class Shape(NamedTuple):
    """One annotation of an image."""

    number: int  # its class
    crowd: bool
    drawn: Any  # polygons, or a mapping with run lengths


class Entry(NamedTuple):
    """One image: its file below the folder, and its (width, height) as the file gives it."""

    name: str
    size: tuple[int, int] | None


class Shapes:
    """Masks that are drawn when they are needed."""

    ignored = IGNORED

    def __init__(self, path: Path, entries: Sequence[Entry], drawn: Sequence[Sequence[Shape]], around: int):
        """Keep the shapes of each image; `around` is the number of pixels outside all of them."""
        self._path, self._entries, self._drawn, self._around = path, entries, drawn, around
        self.hashes = [sha256(json.dumps([around, each]).encode()).digest() for each in drawn]

    def name(self, index: int) -> str:
        return f"{shown(self._path)}:{self._entries[index].name}"

    def read(self, index: int, size: tuple[int, int]) -> np.ndarray:
        width, height = self._entries[index].size or size
        if (width, height) != size:  # compared with the image's size by the caller, which then refuses it
            return np.broadcast_to(np.int32(0), (height, width))
        found, layer = (np.full((height, width), start, np.int32) for start in (self._around, 0))
        for shape in self._drawn[index]:
            inside, mine = self._inside(index, shape.drawn, height, width), _LAYER["crowd" if shape.crowd else "object"]
            clash = inside & (layer == mine) & (found != shape.number)
            found[inside & (layer < mine)] = shape.number
            found[clash] = IGNORED
            layer[inside & (layer < mine)] = mine
        return found

    def files(self) -> Sequence[str]:
        return ()

    def part(self, indices: Sequence[int]) -> Shapes:
        entries = [self._entries[index] for index in indices]
        return Shapes(self._path, entries, [self._drawn[index] for index in indices], self._around)

    def _inside(self, index: int, drawn: Any, height: int, width: int) -> np.ndarray:
        try:
            if isinstance(drawn, Mapping):
                if drawn["size"] != [height, width]:
                    raise ValueError(f"run lengths are of {drawn['size']} pixels, but the image has {[height, width]}")
                return runs(drawn["counts"], height, width)
            return np.logical_or.reduce([polygon(each, height, width) for each in drawn])
        except (ValueError, TypeError, KeyError, OverflowError) as problem:
            words = f"has a shape that cannot be drawn: {shortened(str(problem), 100)}"
            raise Contradiction(self.name(index), words, hint=SHAPES) from problem


class Coco(NamedTuple):
    """What a file holds."""

    images: Pictures
    masks: Shapes
    classes: tuple[str, ...]


def load(path: Path) -> object:
    """Return what a .json holds."""
    place.check_file(path)
    try:
        return parse_json(read_bytes(path, _LARGEST))
    except Unreadable as problem:
        raise ImagesError(shown(path), str(problem), hint=SHAPES) from problem


def is_coco(held: object) -> bool:
    """Return whether this is what COCO's files hold: a mapping that has images and annotations."""
    return isinstance(held, dict) and {"images", "annotations"} <= held.keys()


def has(held: object, key: str) -> bool:
    """Return whether every annotation has something under a key: boxes, or shapes."""
    found = held.get("annotations") if isinstance(held, dict) else None
    return isinstance(found, list) and bool(found) and all(isinstance(each, dict) and each.get(key) for each in found)


def opened(path: Path, held: object, root: Path, store: Store | None, names: Sequence[str] | None) -> Coco:
    """Open what a file holds. Its images lie below a folder; `names` are the classes in the network's order, if set."""
    if not isinstance(held, dict):
        raise ImagesError(shown(path), "is not a file of COCO", hint=SHAPES)
    classes, numbers = _classes(path, categories(path, held), names)
    entries = images(path, held, root)
    shapes = _shapes(path, held, numbers, entries)
    is_complete = set(numbers.values()) == set(range(len(classes))) and not _is_background(classes[0])
    files = [each.name for each in entries.values()]
    drawn = Shapes(path, list(entries.values()), [shapes[number] for number in entries], IGNORED if is_complete else 0)
    return Coco(Pictures(root, store, files), drawn, classes)


def pictures(path: Path, held: object, root: Path, store: Store | None) -> Pictures:
    """Return the images of a file without their masks."""
    return Pictures(root, store, [each.name for each in images(path, held, root).values()])


def categories(path: Path, held: object) -> dict[int, str]:
    """Return the name of each category's id."""
    found = _entries(path, held, "categories")
    if not all(type(each.get("id")) is int and isinstance(each.get("name"), str) for each in found):
        raise ImagesError(shown(path), "has a category without an integer id or a name", hint=SHAPES)
    known: dict[int, str] = {each["id"]: each["name"] for each in found}
    if len(known) != len(found) or len(set(known.values())) != len(known) or not known:
        raise ImagesError(shown(path), "has no categories, or one twice", hint=SHAPES)
    return known


def annotated(
    path: Path, held: object, known: Container[int], entries: Container[int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each annotation with its place in the file; refuse one of an image or a category that is not there."""
    for at, entry in enumerate(_entries(path, held, "annotations"), 1):
        where = f"annotation {at} of {shown(path)}"
        for what, number, there in (("image", "image_id", entries), ("category", "category_id", known)):
            given = entry.get(number)
            if type(given) is not int or given not in there:
                problem = f"is of the {what} {shortened(str(given), 40)}, which the file does not have"
                raise ImagesError(where, problem, hint=SHAPES)
        yield where, entry


def _entries(path: Path, held: object, key: str) -> list[dict[str, Any]]:
    found = held.get(key) if isinstance(held, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ImagesError(shown(path), f"has no list of {key}", hint=SHAPES)
    return found


def _classes(
    path: Path, known: Mapping[int, str], names: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return the classes in the network's order, and the number of each category's id."""
    if names is None:
        ranked = sorted(known, key=lambda each: (not _is_background(known[each]), each))
        front = () if _is_background(known[ranked[0]]) else (BACKGROUND,)
        return (*front, *(known[each] for each in ranked)), {each: at for at, each in enumerate(ranked, len(front))}
    return tuple(names), by_name(shown(path), known, names)


def _is_background(name: str) -> bool:
    return name.lower() == BACKGROUND


def crowd(where: str, entry: Mapping[str, Any]) -> bool:
    """Return whether an annotation marks a region of many objects; refuse what is neither 0 nor 1."""
    given = entry.get("iscrowd") or 0
    if given not in (0, 1):
        problem = f"has `iscrowd: {shortened(str(given), 40)}`, which is neither 0 nor 1"
        raise ImagesError(where, problem, hint="write 1 for a region of many objects, and 0 for one object")
    return bool(given)


def images(path: Path, held: object, root: Path, labels: str = "masks") -> dict[int, Entry]:
    """Return the entry of each image's id, in the order of names. `labels` is what the file is to its images."""
    found: dict[int, Entry] = {}
    for entry in _entries(path, held, "images"):
        number, name = entry.get("id"), entry.get("file_name")
        if type(number) is not int or not isinstance(name, str) or not name or "\0" in name:
            raise ImagesError(shown(path), "has an image without an integer id or a file_name", hint=SHAPES)
        if number in found:
            raise ImagesError(shown(path), f"has the image id {number} twice", hint=SHAPES)
        found[number] = Entry(os.path.normpath(name), _size(entry.get("width"), entry.get("height")))
    absent = Counted()
    for name, _ in found.values():
        if not os.path.isfile(os.path.join(root, name)):
            absent.add(name)
    if absent.count or not found:
        problem = f"has {absent.count} of {len(found)} images that do not exist below {shown(root)}: {absent}"
        hint = f"name their folder as the source, and this file as its {labels}"
        raise ImagesError(shown(path), problem if found else "has no images", hint=hint)
    if len({each.name for each in found.values()}) < len(found):
        raise ImagesError(shown(path), "names an image's file twice", hint="give each image one entry")
    return dict(sorted(found.items(), key=lambda each: each[1].name))


def _size(width: object, height: object) -> tuple[int, int] | None:
    """Return the size of an image; None where it is not one."""
    if type(width) is not int or type(height) is not int:
        return None
    return (width, height) if 0 < min(width, height) <= max(width, height) <= _WIDEST else None


def _shapes(
    path: Path, held: object, numbers: Mapping[int, int], entries: Mapping[int, Entry]
) -> Mapping[int, list[Shape]]:
    found: dict[int, list[Shape]] = defaultdict(list)
    for where, entry in annotated(path, held, numbers, entries):
        drawn = entry.get("segmentation")
        if not drawn or not isinstance(drawn, list | dict):
            raise ImagesError(where, "has no shape, only a box or nothing", hint="give polygons or run lengths")
        found[entry["image_id"]].append(Shape(numbers[entry["category_id"]], crowd(where, entry), drawn))
    return found
