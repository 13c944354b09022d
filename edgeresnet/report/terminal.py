"""The run on a terminal: plain text that fits 80 columns, colour added by the door where there is a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from . import view

WIDTH = 80


def render(run: Mapping[str, Any]) -> str:
    seen = view.of(run)
    parts = [seen.title, *(wrapped(f"train: {sentence}") for sentence, _ in seen.trainings)]
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
    """Words to the left, numbers to the right, as narrow as the content; a row that is too wide loses no digit."""
    table = [head, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    left = [not any(row[i][:1].isdigit() or row[i][:1] in "+-" for row in rows) for i in range(len(head))]
    gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= WIDTH else " "
    lines = [
        gap.join(
            cell.ljust(w) if to_left else cell.rjust(w) for cell, w, to_left in zip(row, widths, left, strict=True)
        )
        for row in table
    ]
    return "\n".join(line.rstrip() for line in lines)


def wrapped(text: str, indent: int = 2) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
