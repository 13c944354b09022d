"""Boxes from files of Pascal VOC: an .xml for each image, with its objects.

Its pixels count from 1, and a box includes those of its corners. An object that is `difficult` is a crowd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from ...errors import ImagesError, shortened
from ...portable.documents import Unreadable, read_bytes, shown
from ...store import Store
from ..boxes import Drawn, Reading
from . import boxed, pairing
from .boxed import Boxed
from .pairing import Partner, Pictures

XML = Partner("file of boxes", "files of boxes", ("boxes", "annotation", "xml"), ".xml")
_LARGEST = 1 << 22  # bytes of one file
_DIGITS = 6  # of a side in pixels
_SHAPE = "write it as Pascal VOC does: <object><name>…</name><bndbox><xmin>…</xmin>…</bndbox></object>"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _Object(NamedTuple):
    name: str
    box: tuple[float, ...]
    crowd: bool


class _File(NamedTuple):
    path: Path
    size: tuple[int, int] | None
    objects: list[_Object]


class _Plain(ElementTree.TreeBuilder):
    """Builds elements; refuses a document type, which may define entities without end."""

    def doctype(self, *_: object) -> None:
        raise ValueError("has a document type, which is not read")


def of_folders(
    root: Path, box_root: Path, store: Store | None, names: Sequence[str] | None, classes: int | None
) -> Boxed:
    """Return the images of a folder with the boxes of another, which may be the same one."""
    pairs = pairing.of_folders(root, box_root, XML)
    source = Pictures(root, store, list(pairs))
    return _opened(source, [box_root / name for name in pairs.values()], names, classes, shown(box_root))


def of_list(path: Path, store: Store | None, names: Sequence[str] | None, classes: int | None) -> Boxed:
    """Return the images of a list with the files of boxes that it names next to them."""
    found, files = pairing.of_list(path, XML)
    source = Pictures(path.parent, store, found)
    return _opened(source, [path.parent / name for name in files], names, classes, shown(path))


def _opened(
    source: Pictures, paths: Sequence[Path], names: Sequence[str] | None, classes: int | None, where: str
) -> Boxed:
    files = [_read(path) for path in paths]
    known = dict(enumerate(sorted({each.name for file in files for each in file.objects})))
    if not known:
        boxed.check_any((), where)
    ordered, numbers = boxed.numbered(known, names, classes, where)
    of_names = {name: numbers[number] for number, name in known.items()}
    drawn = [_drawn(file, of_names) for file in files]
    boxed.check_any(drawn, where)
    return Boxed(source, drawn, ordered)


def _drawn(file: _File, numbers: Mapping[str, int]) -> Drawn:
    reading = Reading()
    for each in file.objects:
        try:
            reading.add(each.box, numbers[each.name], crowd=each.crowd)
        except ValueError as problem:
            raise ImagesError(shown(file.path), str(problem), hint=_SHAPE) from problem
    return reading.drawn(shown(file.path), file.size)


def _read(path: Path) -> _File:
    """Read one file; refuse what is not Pascal VOC's."""
    try:
        root = ElementTree.fromstring(read_bytes(path, _LARGEST), ElementTree.XMLParser(target=_Plain()))
        return _File(path, _size(root), [_object(each) for each in root.iter("object")])
    except ElementTree.ParseError as problem:
        line, column = problem.position
        raise ImagesError(shown(path), f"is not XML: line {line}, column {column + 1}", hint=_SHAPE) from problem
    except (Unreadable, ValueError, LookupError) as problem:
        raise ImagesError(shown(path), str(problem), hint=_SHAPE) from problem


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Return the size of the image; None where the file does not have it, or zeros for it."""
    sides = [root.findtext(f"size/{side}", "").strip() for side in ("width", "height")]
    if not all(side.isdecimal() and len(side) <= _DIGITS and int(side) for side in sides):
        return None
    return int(sides[0]), int(sides[1])


def _object(element: ElementTree.Element) -> _Object:
    name, box = element.findtext("name", "").strip(), element.find("bndbox")
    if not name or box is None:
        raise ValueError("has an object without a name or a bndbox")
    try:
        left, top, right, bottom = (float(box.findtext(corner, "")) for corner in _CORNERS)
    except ValueError as problem:
        words = ", ".join(shortened(box.findtext(corner, "").strip() or "nothing", 20) for corner in _CORNERS)
        raise ValueError(f"has a box that is not four numbers: {words}") from problem
    crowd = element.findtext("difficult", "").strip() == "1"
    return _Object(name, (left - 1, top - 1, right - left + 1, bottom - top + 1), crowd)
