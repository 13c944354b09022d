"""What classes are called, and in which order the network answers them: from a file, or from integer labels alone.

The order counts: a network's first answer is the first name. What could be read in two ways is refused.
"""

from __future__ import annotations

import copy
import difflib
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ImagesError, listed, shortened
from ...portable.documents import Unreadable, parse_json, read_bytes, shown

if TYPE_CHECKING:
    from .image_source import ImageSource

_FORMS = (
    "one name per line in the order of the network's answers; `id name` lines; "
    'or JSON: ["cat", …], [["id", "cat"], …], {"cat": 0, …}, {"0": "cat", …}'
)


_LARGEST = 1 << 24  # bytes of a file of names
_HUB = ("id2label", "label_names")  # of the `config.json` of transformers and of timm
_MOST_DIGITS = 18
_LONGEST, _MOST = 100, 5000  # of names that are compared with a misspelt one


class Named:
    """A source whose classes have other names and numbers."""

    numbered = False

    def __init__(self, source: ImageSource, classes: Sequence[str], numbers: Sequence[int]):
        """Rename the classes; `numbers` is what each class of the source becomes."""
        self._source, self.classes = source, tuple(classes)
        self.labels = np.asarray(numbers, np.int64)[source.labels]
        self.name, self.path, self.open = source.name, source.path, source.open

    @property
    def hashes(self) -> Sequence[bytes]:
        return self._source.hashes

    def files(self) -> Sequence[str]:
        return self._source.files()

    def part(self, indices: Sequence[int]) -> Named:
        found = copy.copy(self)
        source = found._source = self._source.part(indices)
        found.labels = self.labels[indices]
        found.name, found.path, found.open = source.name, source.path, source.open
        return found


@dataclass(frozen=True)
class Names:
    """Class names in the order of the network's answers. `ids`: their folders or labels, where the file has them."""

    path: Path
    names: tuple[str, ...]
    ids: tuple[str, ...] = ()

    @staticmethod
    def read(path: Path) -> Names:
        """Read a file of class names."""
        try:
            text = read_bytes(path, _LARGEST).decode("utf-8-sig")
        except UnicodeDecodeError as problem:
            raise ImagesError(shown(path), "is not UTF-8", hint="save the names as UTF-8") from problem
        except Unreadable as problem:
            raise ImagesError(shown(path), str(problem), hint=_FORMS) from problem
        ids, names = _of_json(path, text) if path.suffix.lower() == ".json" else _of_lines(path, text)
        if not names or not all(names):
            raise ImagesError(shown(path), "names no classes, or has a class without a name", hint=_FORMS)
        twice = [word for word, count in Counter(ids).items() if count > 1]
        if twice:
            raise ImagesError(shown(path), f"has {shortened(twice[0], 80)} twice", hint="write each id once")
        return Names(path, _unlike(names), tuple(ids))

    def in_order(self) -> tuple[str, ...]:
        """Return the names of masks' numbers: the first is that of 0. Refuse ids that number them otherwise."""
        if self.ids and all(word.isdecimal() for word in self.ids):
            odd = next((word for at, word in enumerate(self.ids) if int(word) != at), None)
            if odd is not None:
                problem = f"gives a class the number {odd}, but masks count the classes from 0, in this file's order"
                raise ImagesError(shown(self.path), problem, hint="write the names in the order of masks' numbers")
        return self.names

    def of(self, source: ImageSource, where: str) -> Named:
        """Give a source's classes their names, or refuse those that do not match."""
        words = source.classes
        known = {word: number for number, word in enumerate(self.names)}
        known |= {word: number for number, word in enumerate(self.ids)}
        strange = [word for word in words if word not in known]
        if not strange:
            return Named(source, self.names, [known[word] for word in words])
        if source.numbered:
            return _by_number(source, self.names, f"{self.path} names {len(self.names)} classes")
        if len(strange) == len(words) and not self.ids and {name.split()[0] for name in self.names} >= set(words):
            raise ImagesError(
                f"the classes of {where}",
                f"are the first words of {self.path}, which can be ids or parts of names",
                hint="if they are ids, put a tab after each",
            )
        if len(strange) == len(words) == len(self.names) and not self.ids:
            _check_order(words, self.path, where)
            return Named(source, self.names, range(len(words)))
        near = _nearest(strange[0], known)
        raise ImagesError(
            shown(self.path),
            f"names {len(self.names)} classes, and {len(strange)} of the {len(words)} of {where} are not among them: "
            f"{listed(strange, 80)}",
            hint=f"did you mean {near}?" if near else _FORMS,
        )


def settled(source: ImageSource, names: Names | None, classes: int | None, where: str) -> ImageSource:
    """Name and number the classes as the network answers them. `classes` is how many it has, where that is known."""
    if not source.classes:
        return source
    if names is not None:
        return names.of(source, where)
    if not source.numbered:
        return source
    if classes is not None:
        return _by_number(source, [str(number) for number in range(classes)], f"there are {classes} classes")
    there = set(_numbers(source.classes, where))
    absent = [number for number in range(len(there)) if number not in there and number < max(there)]
    if min(there) < 0 or absent:
        odd = f"none is {absent[0]}" if absent else f"one is {min(there)}"
        raise ImagesError(
            f"the labels of {where}",
            f"are integers up to {max(there)}, but {odd}",
            hint="labels count the outputs from 0: set `model.classes`, or list the classes in `images.names`",
        )
    return _by_number(source, [str(number) for number in range(len(there))], "")


def by_name(where: str, known: Mapping[int, str], names: Sequence[str]) -> dict[int, int]:
    """Return the number of each category's id among the names of classes."""
    strange = [name for name in known.values() if name not in names]
    if strange:
        problem = f"has categories that are not among the {len(names)} names of classes: {listed(strange, 80)}"
        raise ImagesError(where, problem, hint="add them to `images.names`, or leave that out")
    return {each: names.index(name) for each, name in known.items()}


def _nearest(word: str, known: Iterable[str]) -> str:
    """Return the most similar name, of those that can be compared in no time; empty where none is similar."""
    near = itertools.islice((name for name in known if len(name) <= _LONGEST), _MOST)
    return next(iter(difflib.get_close_matches(word, near, 1)), "") if len(word) <= _LONGEST else ""


def _numbers(words: Sequence[str], where: str) -> list[int]:
    """Return labels as numbers; refuse those of more digits than any count of classes has."""
    for word in words:
        if len(word) > _MOST_DIGITS:
            problem = f"are not all numbers of classes: {shortened(word, 40)} has {len(word):,} digits"
            raise ImagesError(f"the labels of {where}", problem, hint="labels count the network's outputs from 0")
    return [int(word) for word in words]


def _by_number(source: ImageSource, names: Sequence[str], there: str) -> Named:
    numbers = np.array(_numbers(source.classes, "the images"), np.int64)
    outside = np.flatnonzero((numbers[source.labels] < 0) | (numbers[source.labels] >= len(names)))
    if len(outside):
        first = int(outside[0])
        raise ImagesError(
            "labels",
            f"are out of range ({len(outside)}): {source.name(first)} is of class {numbers[source.labels[first]]}, "
            f"and {there}",
            hint="labels count the network's outputs from 0",
        )
    return Named(source, names, numbers.tolist())


def _by_value(word: str) -> tuple[int, str]:
    """Return what sorts decimal numbers by their values, however many digits they have."""
    digits = word.lstrip("0")
    return len(digits), digits


def _check_order(words: Sequence[str], path: Path, where: str) -> None:
    """Refuse numbers that are not in the order of their values: folders are in text order, names perhaps are not."""
    if all(word.isdecimal() for word in words) and list(words) != sorted(words, key=_by_value):
        raise ImagesError(
            f"the classes of {where}",
            f"are numbers in the order {listed(words[:4], 80)}, …, and {path} does not assign names to them",
            hint="write `id name` lines: the class folder, then its name",
        )


def _of_lines(path: Path, text: str) -> tuple[list[str], list[str]]:
    """Read names from lines. They begin with an id where all have a tab, or where all first words have a digit and
    differ.
    """
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if not all(lines):
        raise ImagesError(f"line {lines.index('') + 1} of {path}", "is empty", hint=_FORMS)
    by_tab, by_space = ([line.split(mark, 1) for line in lines] for mark in ("\t", None))
    if all(len(parts) == 2 for parts in by_tab):
        return _two(by_tab)
    first = {parts[0] for parts in by_space if len(parts) == 2 and any(map(str.isdigit, parts[0]))}
    return _two(by_space) if len(first) == len(lines) else ([], lines)


def _two(pairs: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    return [pair[0].strip() for pair in pairs], [pair[1].strip() for pair in pairs]


def _of_json(path: Path, text: str) -> tuple[list[str], list[str]]:
    try:
        held: Any = parse_json(text)
    except Unreadable as problem:
        raise ImagesError(shown(path), str(problem), hint=_FORMS) from problem
    inside = [held.get(key) for key in _HUB] if isinstance(held, dict) else []
    held = next((each for each in inside if isinstance(each, dict | list)), held)
    if isinstance(held, dict):
        held = _in_order(path, held)
    if isinstance(held, list) and all(isinstance(entry, str) for entry in held):
        return [], held
    pairs = isinstance(held, list) and all(_is_pair(entry) for entry in held)
    if not pairs:
        raise ImagesError(shown(path), "is not a list of names", hint=_FORMS)
    return _two(held)


def _in_order(path: Path, held: Mapping[str, object]) -> list[object]:
    """Return the entries in the order of the network's answers: {name: number} is torchvision's class_to_idx;
    {number: name} or {number: [id, name]}; {id: name}, sorted.
    """
    numbers = [str(number) for number in range(len(held))]
    by_value = {str(value): name for name, value in held.items() if type(value) is int}
    if by_value.keys() == set(numbers):
        return [by_value[number] for number in numbers]
    if held.keys() == set(numbers):
        return [held[number] for number in numbers]
    if list(held) != sorted(held):
        raise ImagesError(shown(path), "does not give an order of its classes", hint=_FORMS)
    return [[word, name] for word, name in held.items()]


def _is_pair(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry)


def _unlike(names: Sequence[str]) -> tuple[str, ...]:
    """Make names unique: one that several classes have (ImageNet has two cranes) gets its class's number."""
    often = Counter(names)
    return tuple(f"{name} ({number})" if often[name] > 1 else name for number, name in enumerate(names))
