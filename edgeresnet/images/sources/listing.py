"""A list of images and their labels, .csv or .json, read and checked against its own rules. Opens no image.

A .csv has a path and a label in each row, with a comma, semicolon or tab between; where a first row names the columns,
there may be others. A .json is a list of [path, label], a list of {"path": …, "label": …}, or {path: label}. Where no
labels are needed, paths are enough.
"""

from __future__ import annotations

import csv
import json
import os
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ...errors import ImagesError, listed, shortened
from ...portable.documents import Unreadable, parse_json, read_bytes, reason, shown
from .. import place

PATHS = ("path", "file", "filename", "file_name", "filepath", "image", "image_path")
LABELS = ("label", "class", "category", "target")
_INTEGER = re.compile(r"[+-]?\d+")
_LONGEST_LINE = 1 << 20  # characters of a .csv
_LARGEST = 1 << 30  # bytes of a .json
_SHAPES = 'write `path,label` rows with a first row `path,label`; or JSON: [["a.jpg", "cat"], …]'


class Listing(NamedTuple):
    """What a list holds."""

    names: list[str]
    classes: tuple[str, ...]  # the labels as they are written, in name order; empty without labels
    labels: np.ndarray
    numbered: bool  # every label is an integer


class Row(NamedTuple):
    where: int  # line of a .csv, entry of a .json
    name: str
    label: str | None  # None: the list has no labels; empty: it was left out


class Counted:
    """A count, and the first ten by name."""

    def __init__(self) -> None:
        self.count, self._first = 0, list[str]()

    def add(self, name: str) -> None:
        self.count += 1
        if len(self._first) < 10:
            self._first.append(name)

    def __str__(self) -> str:
        return listed(self._first, count=self.count)


def read(path: Path, *, labelled: bool, columns: Sequence[str] = LABELS, what: str = "label") -> Listing:
    """Read a list, and name all rows that break its rules. `columns` are names of that with a label, or `what`."""
    is_csv = path.suffix.lower() == ".csv"
    rows, unit = (_csv(path, columns), "line") if is_csv else (_json(path, columns), "entry")
    names, numbers, words = list[str](), array("q"), dict[str, int]()
    seen, twice, without = dict[str, int](), Counted(), Counted()
    for row in rows:
        name = os.path.normpath(row.name)
        if name in seen:
            twice.add(f"{name} ({unit} {seen[name]} and {row.where})")
        if row.label == "" or (row.label is None and (labelled or words)):
            without.add(f"{unit} {row.where}")
        seen.setdefault(name, row.where)
        names.append(name)
        if row.label is not None:
            numbers.append(words.setdefault(row.label, len(words)))
    if not names:
        raise ImagesError(shown(path), "lists no images", hint=_SHAPES)
    if twice.count:
        problem = f"lists some images twice ({twice.count}): {twice}"
        raise ImagesError(shown(path), problem, hint="list each image once, with one label")
    if without.count or 0 < len(numbers) < len(names):
        problem = f"gives some images no {what} ({without.count} of {len(names)}): {without}"
        raise ImagesError(shown(path), problem, hint=_SHAPES if columns is LABELS else _pairs(columns[0]))
    classes = tuple(sorted(words))
    ranks = {word: rank for rank, word in enumerate(classes)}
    order = np.array([ranks[word] for word in words], np.int64)
    labels = order[np.asarray(numbers)] if words else np.zeros(len(names), np.int64)
    return Listing(names, classes, labels, bool(words) and all(map(_INTEGER.fullmatch, words)))


def _pairs(what: str) -> str:
    return f"write `image,{what}` rows with a first row `image,{what}`, or a list of such pairs as JSON"


def has_column(path: Path, columns: Sequence[str]) -> bool:
    """Return whether the first row of a .csv has one of these columns."""
    with _opened(path) as file:
        try:
            first = file.readline(_LONGEST_LINE)
        except UnicodeDecodeError as problem:
            raise _not_text(path) from problem
    return any(word.strip(' "\r\n').lower() in columns for word in re.split("[,;\t]", first))


def _csv(path: Path, known_labels: Sequence[str]) -> Iterator[Row]:
    columns: tuple[int, int | None] | None = None
    width, odd = 0, Counted()
    with _opened(path) as file:
        reader = csv.reader(_lines(path, file), delimiter=_delimiter(path), skipinitialspace=True, strict=True)
        try:
            for cells in reader:
                if not any(map(str.strip, cells)):
                    continue
                if columns is None:
                    width, columns = len(cells), _named(path, cells, known_labels)
                    if columns:
                        continue
                    columns = _unnamed(path, cells)
                if len(cells) != width or not cells[columns[0]].strip():
                    odd.add(f"line {reader.line_num}")
                    continue
                label = None if columns[1] is None else cells[columns[1]].strip()
                yield Row(reader.line_num, cells[columns[0]].strip(), label)
        except csv.Error as problem:
            where = f"line {reader.line_num} of {shown(path)}"
            raise ImagesError(where, f"is not valid CSV: {problem}", hint=_SHAPES) from problem
        except UnicodeDecodeError as problem:
            raise _not_text(path) from problem
    if odd.count:
        raise ImagesError(
            shown(path),
            f"has rows without a path, or with more or fewer than the first row's {width} cells ({odd.count}): {odd}",
            hint="put quotes around a path that holds a comma",
        )


def _delimiter(path: Path) -> str:
    """Return a comma; where the first line has none, what spreadsheets write instead where numbers have commas."""
    with _opened(path) as file:
        try:
            first = file.readline(_LONGEST_LINE)
        except UnicodeDecodeError as problem:
            raise _not_text(path) from problem
    return next((mark for mark in (",", ";", "\t") if mark in first), ",")


def _named(path: Path, cells: Sequence[str], known_labels: Sequence[str]) -> tuple[int, int | None] | None:
    """Return the columns of path and label, as a first row names them; None where it names no path."""
    words = [cell.strip().lower() for cell in cells]
    paths, labels = ([at for at, word in enumerate(words) if word in known] for known in (PATHS, known_labels))
    if not paths:
        return None
    if len(paths) > 1 or len(labels) > 1:
        raise ImagesError(
            shown(path),
            f"names more than one column for the {'path' if len(paths) > 1 else 'label'}: {listed(cells, 80)}",
            hint=f"use one of {', '.join(PATHS)}, and one of {', '.join(LABELS)}",
        )
    return paths[0], labels[0] if labels else None


def _unnamed(path: Path, cells: Sequence[str]) -> tuple[int, int | None]:
    if len(cells) > 2:
        raise ImagesError(
            shown(path),
            f"has {len(cells)} columns, but its first row does not name them",
            hint=f"begin it with a row that names them: one of {', '.join(PATHS)}, and one of {', '.join(LABELS)}",
        )
    return 0, 1 if len(cells) == 2 else None


def _json(path: Path, known_labels: Sequence[str]) -> Iterator[Row]:
    try:
        held = parse_json(_decoded(path, read_bytes(path, _LARGEST)))
    except Unreadable as problem:
        raise ImagesError(shown(path), str(problem), hint=_SHAPES) from problem
    if not isinstance(held, list | dict):
        raise ImagesError(shown(path), "does not hold a list of images", hint=_SHAPES)
    for where, entry in enumerate(held.items() if isinstance(held, dict) else held, 1):
        name, label = _entry(entry, known_labels)
        if not isinstance(name, str) or not name or not _is_label(label):
            words = shortened(json.dumps(entry, ensure_ascii=False), 80)
            raise ImagesError(
                f"entry {where} of {shown(path)}", f"is not an image with its label: {words}", hint=_SHAPES
            )
        yield Row(where, name, None if label is None else str(label).strip())


def _entry(entry: Any, known_labels: Sequence[str]) -> tuple[Any, Any]:
    if isinstance(entry, str):
        return entry, None
    if isinstance(entry, dict):
        names, labels = ([entry[key] for key in known if key in entry] for known in (PATHS, known_labels))
        return (names[0] if len(names) == 1 else None), (labels[0] if labels else None)
    return (entry[0], entry[1]) if isinstance(entry, list | tuple) and len(entry) == 2 else (None, None)


def _is_label(label: Any) -> bool:
    return label is None or isinstance(label, str) or (isinstance(label, int) and not isinstance(label, bool))


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise _not_text(path) from problem


def _opened(path: Path) -> IO[str]:
    place.check_file(path)
    try:
        return open(path, encoding="utf-8-sig", newline="")
    except OSError as problem:
        hint = "give a .csv or .json list"
        raise ImagesError(shown(path), reason(problem), hint=hint) from problem


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    """Yield lines; refuse a file that has none, as of a disk image: it would fill the memory."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise ImagesError(f"line {number} of {shown(path)}", "is longer than a million characters", hint=_SHAPES)
        yield line


def _not_text(path: Path) -> ImagesError:
    with open(path, "rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return ImagesError(f"line {number} of {shown(path)}", "is not UTF-8", hint="save the list as UTF-8")
    return ImagesError(shown(path), "is not UTF-8", hint="save the list as UTF-8")
