"""What can be done to a JSON document in one place: delete, exchange, nest, enlarge. As data: it is repeatable."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Trail: TypeAlias = tuple["str | int", ...]

DELETE, RENAME = "delete", "rename"
# What Python's json cannot write, or should not: put in place of a mark in the text.
_RAW = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "5000 digits": "9" * 5000,
    "100 levels": "[" * 100 + "]" * 100,
    "100000 levels": "[" * 100_000 + "]" * 100_000,
    "2000 objects": '{"a":' * 2000 + "1" + "}" * 2000,
    "a lone surrogate": '"\\ud800"',
}
_VALUES: Mapping[str, Any] = {
    "null": None,
    "a list": [],
    "an object": {},
    "a list of null": [None],
    "an empty string": "",
    "a string": "x",
    "markup": "<script>alert(1)</script>",
    "escapes": "\x1b[31m\x00\u202e",
    "200000 letters": "x" * 200_000,
    "1e308": 1e308,
    "1e30": 1e30,
    "-1": -1,
    "-0.5": -0.5,
    "0": 0,
    "2^62": 2**62,
    "2^63": 2**63,
    "10^400": 10**400,
    "-10^400": -(10**400),
    "true": True,
}
CHANGES: Sequence[str] = (DELETE, RENAME, *_VALUES, *_RAW)


def trails(document: object) -> list[Trail]:
    """Return the way to each place in a document; of a long list, to its first two and its last entry."""
    return list(_trails(document, ()))


def _trails(value: object, trail: Trail) -> Iterator[Trail]:
    if trail:
        yield trail
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _trails(each, (*trail, key))
    elif isinstance(value, list):
        for index in sorted({0, 1, len(value) - 1} & set(range(len(value)))):
            yield from _trails(value[index], (*trail, index))


def changed(document: Any, trail: Trail, change: str) -> Any:
    """Return a copy with one place changed. A raw value is a string that `written` knows."""
    found = copy.deepcopy(document)
    here = found
    for step in trail[:-1]:
        here = here[step]
    last = trail[-1]
    if change == DELETE:
        del here[last]
    elif change == RENAME and isinstance(here, dict):
        here[f"{last}x"] = here.pop(last)
    elif change == RENAME:
        here.insert(int(last), here[int(last)])
    else:
        here[last] = _VALUES[change] if change in _VALUES else _mark(change)
    return found


def written(document: object, **style: Any) -> str:
    """Return a document as JSON, with its raw values."""
    text = json.dumps(document, ensure_ascii=False, **style)
    for change, raw in _RAW.items():
        text = text.replace(f'"{_mark(change)}"', raw)
    return text


def _mark(change: str) -> str:
    return f"\ufffe{change}"
