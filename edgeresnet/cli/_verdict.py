"""The exit code of a verdict: a run's, or a gate's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..portable.result import Word
    from ..runs import Undecided

_CODES: dict[Word, int] = {"BROKEN": 3, "NOT_MEASURED": 4}


class Judged(Protocol):
    """A run, or a gate's report."""

    @property
    def verdict(self) -> Word: ...

    @property
    def undecided(self) -> Undecided: ...


def exit_code(judged: Judged) -> int:
    """Return the exit code of a verdict. UNDECIDED fails only where the recipe wants that."""
    if judged.verdict == "UNDECIDED" and judged.undecided == "fail":
        return 4
    return _CODES.get(judged.verdict, 0)
