"""Text as a terminal shows it: how wide it is, and what of a name must never reach one; and a sentence that all say.
The standard library alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

# What moves the cursor, changes colours, or turns the direction of all that follows; and what is no character at all.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef\ud800-\udfff]"
)
_JOINER, _FILL = "\u200d", "\ufdd0"


def visible(text: str) -> str:
    """An escape sequence or an override of direction in a name is shown as its code. Lines and tabs stay."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def in_json(text: str) -> str:
    """The same of a JSON document, in its own words: what it says is what it said."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def on_one_line(text: str) -> str:
    """The same, of what must not begin a line of its own."""
    return visible(" ".join(text.splitlines()).replace("\t", " "))


def width(text: str) -> int:
    """Columns of a terminal."""
    return sum(map(_columns, text))


def padded(text: str, columns: int, *, left: bool) -> str:
    gap = " " * (columns - width(text))
    return text + gap if left else gap + text


def cut(text: str, columns: int) -> str:
    """The middle left out where it is wider: both ends of a path tell more than its middle."""
    if width(text) <= columns:
        return text
    head: list[str] = []
    tail: list[str] = []
    room = columns - 1
    begin, end = 0, len(text) - 1
    while begin <= end:
        side, char = (head, text[begin]) if width("".join(head)) <= width("".join(tail)) else (tail, text[end])
        room -= _columns(char)
        if room < 0:
            break
        side.append(char)
        begin, end = (begin + 1, end) if side is head else (begin, end - 1)
    return "".join(head) + "…" + "".join(reversed(tail))


def stretched(text: str) -> str:
    """As many characters as it has columns, for what counts characters: `shrunk` undoes it."""
    return "".join(char + _FILL * (_columns(char) - 1) for char in text)


def shrunk(text: str) -> str:
    return text.replace(_FILL, "")


def _columns(char: str) -> int:
    if char == _JOINER or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def ended_early(problem: Mapping[str, str]) -> str:
    """What every report says of a run that failed halfway."""
    return f"ended early{place(problem)}: {problem['message']}"


def place(problem: Mapping[str, str]) -> str:
    """Where that was; runs of older versions do not tell it."""
    return f" in step {problem['step']}" if problem.get("step") else ""
