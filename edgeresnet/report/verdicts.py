"""How verdicts are shown: as lines of a terminal, and as rows of a table. Light: a gate loads it at every change."""

from __future__ import annotations

from collections.abc import Iterable

from ..portable.result import Verdict
from ..text import wrapped

COLUMNS = ("verdict", "target", "promise", "why")


def rows(verdicts: Iterable[Verdict]) -> list[tuple[str, ...]]:
    """Return the cells under COLUMNS, verdict by verdict."""
    return [(each.verdict, each.target, each.promise.name, each.reason) for each in verdicts]


def lines(verdict: Verdict) -> list[str]:
    """Return one verdict with its reason in lines of 80 columns; the first begins with its word."""
    return wrapped(f"{verdict.verdict:12} {verdict.target} {verdict.promise.name}: {verdict.reason}", 13).split("\n")
