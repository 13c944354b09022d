"""Boxes from a .json as COCO writes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import ImagesError, shortened
from ...portable.documents import shown
from ...store import Store
from ..boxes import Reading
from . import boxed, coco
from .boxed import Boxed
from .pairing import Pictures

_BOX = "write `bbox` as left, top, width and height, in pixels of the image as it is stored"
_FAR = 1 << 62


def opened(
    path: Path, held: object, root: Path, store: Store | None, names: Sequence[str] | None, classes: int | None
) -> Boxed:
    """Open what a file holds. Its images lie below a folder; `classes` is how many the network has, where known."""
    known = coco.categories(path, held)
    ordered, numbers = boxed.numbered(known, names, classes, shown(path))
    entries = coco.images(path, held, root, "boxes")
    read: dict[int, Reading] = defaultdict(Reading)
    for where, entry in coco.annotated(path, held, known, entries):
        box, number, crowd = _box(where, entry), numbers[entry["category_id"]], coco.crowd(where, entry)
        try:
            read[entry["image_id"]].add(box, number, crowd=crowd)
        except ValueError as problem:
            raise ImagesError(where, str(problem), hint=_BOX) from problem
    drawn = [read[number].drawn(f"{shown(path)}:{each.name}", each.size) for number, each in entries.items()]
    boxed.check_any(drawn, shown(path))
    return Boxed(Pictures(root, store, [each.name for each in entries.values()]), drawn, ordered)


def _box(where: str, entry: dict[str, Any]) -> tuple[float, ...]:
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(type(each) in (int, float) for each in box):
        problem = "has no box" if not box else f"has a box that is not four numbers: {shortened(str(box), 60)}"
        raise ImagesError(where, problem, hint=_BOX)
    return tuple(float(min(max(each, -_FAR), _FAR)) for each in box)  # JSON has integers of any size
