"""What a run reports while it works."""

from __future__ import annotations

from collections.abc import Mapping

from ..context import Progress
from .step import Outcome, Step


class Listener:
    """Receives what happens. Override what is to be shown."""

    def begins(self, step: Step) -> Progress:
        return lambda done, total, word: None

    def records(self, step: Step, line: Mapping[str, object]) -> None: ...

    def ends(self, outcome: Outcome) -> None: ...

    def waits(self, step: Step) -> None: ...

    def warns(self, sentence: str) -> None: ...

    def remarks(self, step: Step, sentence: str, detail: bool) -> None:
        """Receive what a device reports while it measures; a detail is a line of its output."""
