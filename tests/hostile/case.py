"""A case: a damaged input, written into an empty folder, and the command that reads it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .attempt import Outcome
from .world import World


def nothing_more(outcome: Outcome) -> str:
    """Ask nothing of an outcome but what all are asked."""
    return ""


@dataclass(frozen=True)
class Case:
    """`write` makes the damaged input in an empty folder, and returns the command's words."""

    name: str
    write: Callable[[Path], Sequence[str]]
    fault: Callable[[Outcome], str] = nothing_more  # what is wrong with an outcome, besides what always is


@dataclass(frozen=True)
class Row:
    """A row of the table: what was damaged, and its cases from a random source, without end."""

    title: str
    cases: Callable[[World, random.Random], Iterator[Case]]
    loads: tuple[str, ...] = ()  # modules that its commands load: imported once, before the cases
