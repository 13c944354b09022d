"""The run on a terminal: plain text that fits 80 columns. `lines` marks verdicts, so that a command can colour them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import text
from ..portable.frozen import dataclass
from ..portable.result import Verdict, Word
from ..runs import Run
from . import summary, verdicts

_LEAST = 12  # columns of a word that was shortened


@dataclass(frozen=True)
class Line:
    """One line of a report. Where it has a verdict, its text begins with that word."""

    text: str
    verdict: Word | None = None


def render(run: Run) -> str:
    """Return a run as text."""
    return joined(lines(run))


def lines(run: Run) -> list[Line]:
    """Return a run line by line, with an empty line between its parts."""
    seen = summary.of(run)
    sentences = (
        [seen.title, *(f"train: {each.sentence}" for each in seen.trainings)],
        [f"recover: {each.sentence}" for each in seen.recoveries],
        [f"{target}: {reason}" for target, reason in seen.absent],
    )
    learned, recovered, absent = ([_plain(text.wrapped(each)) for each in group] for group in sentences)
    parts = [
        *learned,
        *_pruning(seen.pruning),
        *recovered,
        _plain(columns(*seen.accuracy_table)) if seen.accuracies else [],
        _plain(*map(text.wrapped, seen.losses)),
        _plain(columns(*seen.latency_table)) if seen.latencies else [],
        _plain(*(text.wrapped(each.sentence) for each in seen.speedups)),
        _plain(*map(text.wrapped, seen.advice)),
        *absent,
        verdict_lines(seen.verdicts),
        _plain(*(text.wrapped(f"note: {note}") for note in seen.notes)),
        [Line(f"{seen.verdict}: {seen.meaning}", seen.verdict)],
    ]
    return spaced(parts)


def verdict_lines(judged: Iterable[Verdict]) -> list[Line]:
    """Return verdicts with their reasons, the word of each marked."""
    found = []
    for each in judged:
        first, *more = verdicts.lines(each)
        found += [Line(first, each.verdict), *map(Line, more)]
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


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, words to the left, numbers to the right, as narrow as the content. A row that is too wide loses
    no digit, but the middle of its longest words.
    """
    table = [[text.on_one_line(cell) for cell in row] for row in (head, *rows)]
    left = [not any(row[i][:1].isdigit() or row[i][:1] in "+-" for row in table[1:]) for i in range(len(head))]
    widths = _fitted([max(text.width(row[i]) for row in table) for i in range(len(head))], left)
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= text.WIDTH else " "
    shown = [
        gap.join(text.padded(text.cut(cell, w), w, left=to) for cell, w, to in zip(row, widths, left, strict=True))
        for row in table
    ]
    return "\n".join(line.rstrip() for line in shown)


def _plain(*texts: str) -> list[Line]:
    return [Line(line) for each in texts for line in each.split("\n")]


def _pruning(found: summary.Pruning | None) -> list[list[Line]]:
    if found is None:
        return []
    tables = [(found.sentence, found.table), *((each.sentence, each.table) for each in found.searches)]
    parts = []
    for sentence, table in tables:
        parts.append(_plain(text.wrapped(f"prune: {sentence}")))
        parts += [_plain(columns(*table))] if table.rows else []
    return parts


def _fitted(widths: list[int], are_words: Sequence[bool]) -> list[int]:
    """Return widths that fit, taken from the widest columns of words; none goes below what still means something."""
    while sum(widths) + len(widths) - 1 > text.WIDTH:
        widest = max((index for index, words in enumerate(are_words) if words), key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    return widths
