"""What differs between two values of JSON, key by key, and how a value is written in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Change(NamedTuple):
    """One value before and after; None where there was nothing."""

    path: str
    before: object
    after: object


def changes(before: object, after: object, path: str = "") -> Iterator[Change]:
    """Yield changes key by key, down to what is not a mapping; a section of one side alone is one change."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        if before != after:
            yield Change(path, before, after)
        return
    for key in dict.fromkeys((*before, *after)):
        yield from changes(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))


def shown(value: object) -> str:
    """Return a value as a person writes it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, float) and float(short := f"{value:g}") == value:
        return short
    return str(value)
