"""Text as a terminal shows it: how wide it is, and what of a name must never reach one. The standard library alone."""

from __future__ import annotations

import itertools
import re
import textwrap
import unicodedata

WIDTH = 80  # of a report on a terminal
CUT = "…"  # stands for what was left out of a name

# What moves the cursor, changes colours, or turns the direction of all that follows; and what is not a character.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef\ud800-\udfff]"
)
_JOINER, _FILL = "\u200d", "\ufdd0"


def visible(text: str) -> str:
    """Show escape sequences and overrides of direction as their codes. Lines and tabs stay."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def in_json(text: str) -> str:
    """Escape the same characters in a JSON document, as JSON does: its content does not change."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def on_one_line(text: str) -> str:
    """Show a text as `visible` does, on a single line."""
    return visible(" ".join(text.splitlines()).replace("\t", " "))


def as_sentence(clause: str) -> str:
    """Return a clause with a capital letter and a full stop."""
    return f"{clause[:1].upper()}{clause[1:]}" + ("" if clause.endswith((".", "?", "!")) else ".")


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(map(_columns, text))


def cut(text: str, columns: int, mark: str = CUT) -> str:
    """Cut out the middle of a text that is wider: the ends of a path matter more."""
    if width(text) <= columns:
        return text
    head: list[str] = []
    tail: list[str] = []
    room = columns - len(mark)
    begin, end = 0, len(text) - 1
    while begin <= end:
        side, char = (head, text[begin]) if width("".join(head)) <= width("".join(tail)) else (tail, text[end])
        room -= _columns(char)
        if room < 0:
            break
        side.append(char)
        begin, end = (begin + 1, end) if side is head else (begin, end - 1)
    return "".join(head) + mark + "".join(reversed(tail))


def beginning(text: str, columns: int) -> str:
    """Return as much of the beginning of a text as fits."""
    taken = itertools.accumulate(map(_columns, text))
    return text[: next((at for at, reached in enumerate(taken) if reached > columns), len(text))]


def stretched(text: str) -> str:
    """Fill a text up to as many characters as it has columns, for code that counts characters: `shrunk` undoes it."""
    return "".join(char + _FILL * (_columns(char) - 1) for char in text)


def shrunk(text: str) -> str:
    """Return what `stretched` was given."""
    return text.replace(_FILL, "")


def _columns(char: str) -> int:
    if char == _JOINER or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wrapped(sentence: str, indent: int = 2, width: int = WIDTH) -> str:
    """Return a sentence in lines of 80 columns. A word is never broken, however long: a path is there to be copied."""
    one_line, more = stretched(visible(sentence)), " " * indent
    return shrunk(
        textwrap.fill(one_line, width, subsequent_indent=more, break_long_words=False, break_on_hyphens=False)
    )
