"""The run on a terminal: plain text that fits 80 columns, colour added by the door where there is a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from .. import text
from . import view

WIDTH = 80
_LEAST = 12  # columns of a word that was cut


def render(run: Mapping[str, Any]) -> str:
    seen = view.of(run)
    parts = [wrapped(seen.title), *(wrapped(f"train: {sentence}") for sentence, _ in seen.trainings)]
    for sentence, head, rows in seen.cuts:
        parts.append(wrapped(f"prune: {sentence}"))
        parts += [columns(*view.filled(head, rows))] if rows else []
    parts += [wrapped(f"recover: {sentence}") for sentence, _ in seen.recoveries]
    if seen.rows:
        parts.append(columns(seen.columns, seen.rows))
    if seen.losses:
        parts.append("\n".join(wrapped(sentence) for sentence in seen.losses))
    if seen.latencies:
        parts.append(columns(*view.filled(view.LATENCY_COLUMNS, seen.latencies)))
    if seen.speedups:
        parts.append("\n".join(wrapped(sentence) for sentence in seen.speedups))
    if seen.advice:
        parts.append("\n".join(wrapped(sentence) for sentence in seen.advice))
    parts += [wrapped(f"{target}: {reason}") for target, reason in seen.absent]
    if seen.verdicts:
        parts.append("\n".join(wrapped(f"{v:12} {target} {name}: {why}", 13) for v, target, name, why in seen.verdicts))
    if seen.notes:
        parts.append("\n".join(wrapped(f"note: {note}") for note in seen.notes))
    parts.append(f"{seen.verdict}: {seen.meaning}")
    return "\n\n".join(parts) + "\n"


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Words to the left, numbers to the right, as narrow as the content; a row that is too wide loses no digit, but the
    middle of its longest words.
    """
    table = [[text.on_one_line(cell) for cell in row] for row in (head, *rows)]
    left = [not any(row[i][:1].isdigit() or row[i][:1] in "+-" for row in table[1:]) for i in range(len(head))]
    widths = _fitted([max(text.width(row[i]) for row in table) for i in range(len(head))], left)
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= WIDTH else " "
    lines = [
        gap.join(text.padded(text.cut(cell, w), w, left=to) for cell, w, to in zip(row, widths, left, strict=True))
        for row in table
    ]
    return "\n".join(line.rstrip() for line in lines)


def wrapped(sentence: str, indent: int = 2) -> str:
    """A word is never broken, however long it is: a path is there to be copied."""
    stretched, more = text.stretched(text.visible(sentence)), " " * indent
    return text.shrunk(
        textwrap.fill(stretched, WIDTH, subsequent_indent=more, break_long_words=False, break_on_hyphens=False)
    )


def _fitted(widths: list[int], are_words: Sequence[bool]) -> list[int]:
    """The widest columns of words become narrower until a row fits, none below what still tells something."""
    while sum(widths) + len(widths) - 1 > WIDTH:
        widest = max((index for index, words in enumerate(are_words) if words), key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    return widths
