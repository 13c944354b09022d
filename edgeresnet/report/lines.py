"""The lines that a report prints on a terminal, and how that terminal wants them. A verdict in them is marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .. import text
from ..portable.frozen import dataclass
from ..portable.result import Verdict, Word
from . import verdicts

_SYMBOLS: Mapping[Word, str] = {"KEPT": "✓", "BROKEN": "✗", "UNDECIDED": "?", "DEFERRED": "…", "NOT_MEASURED": "!"}


@dataclass(frozen=True)
class Line:
    """One line of a report. Where it has a verdict, its text holds `mark` for it: the word itself, or a symbol."""

    text: str
    verdict: Word | None = None
    mark: str = ""


@dataclass(frozen=True)
class Look:
    """What a terminal can show: symbols or words for verdicts, more letters than ASCII, and how many columns."""

    symbols: bool = True
    ascii_only: bool = False
    width: int = text.WIDTH

    def mark(self, word: Word) -> str:
        """Return what stands for a verdict."""
        return _SYMBOLS[word] if self.symbols and not self.ascii_only else word

    @property
    def cut_mark(self) -> str:
        return "~" if self.ascii_only else text.CUT

    @property
    def between(self) -> str:
        return ", " if self.ascii_only else " · "

    @property
    def arrow(self) -> str:
        return "->" if self.ascii_only else "→"

    @property
    def times(self) -> str:
        return "x" if self.ascii_only else "×"


def plain(*texts: str) -> list[Line]:
    """Return texts as lines without a verdict."""
    return [Line(line) for each in texts for line in each.split("\n")]


def verdict_lines(judged: Iterable[Verdict]) -> list[Line]:
    """Return verdicts with their reasons, the word of each marked."""
    found = []
    for each in judged:
        first, *more = verdicts.lines(each)
        found += [Line(first, each.verdict, each.verdict), *map(Line, more)]
    return found


def spaced(parts: Iterable[Sequence[Line]]) -> list[Line]:
    """Return all parts with an empty line between them, without those that are empty."""
    found: list[Line] = []
    for part in filter(None, parts):
        found += [Line(""), *part] if found else part
    return found


def joined(found: Iterable[Line]) -> str:
    """Return lines as one text."""
    return "".join(f"{line.text}\n" for line in found)
