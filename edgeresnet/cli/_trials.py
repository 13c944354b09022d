"""What a sweep shows of its trials: two lines for each, and on a terminal what those that run do now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report import sweep_text
from ..sweeps import loading, loop
from ..text import cut
from . import _progress

if TYPE_CHECKING:
    from ..pipeline import Listener
    from ..sweeps.document import Point
    from ..sweeps.loading import Sweep

_DOING = 60  # columns


class Lines(loop.Shown):
    """Shows a trial's values when it begins, and what came of it. Several may run at once."""

    def __init__(self, wanted: Sweep, listener: Listener, *, several: bool) -> None:
        self._wanted, self._listener, self._several = wanted, listener, several
        self._rows: dict[int, _progress.Row] = {}
        self.done = 0

    def opens(self, done: int, interrupted: int, failed: int) -> None:
        """Show how many trials there are, and which of them are not new."""
        self.done = done
        parts = [f"{self._wanted.trials} trials"]
        parts += [f"{done} done already"] if done else []
        parts += [f"{interrupted} interrupted, tried again"] if interrupted else []
        parts += [f"{failed} failed, tried again"] if failed else []
        self.line(", ".join(parts))

    def begins(self, trial: loop.Trial) -> None:
        """Show the values of a trial."""
        self.line(f"trial {trial.number} of {self._wanted.trials}: {loading.described(trial.params)}")
        if self._several:
            self._rows[trial.number] = _progress.Row(self._listener, f"trial {trial.number}")

    def works(self, trial: loop.Trial, doing: str) -> None:
        """Show what a trial does now: a row of a terminal, or a line of a log."""
        if trial.number in self._rows:
            self._rows[trial.number].show(cut(doing or "waits for a node", _DOING), is_news=bool(doing))

    def warns(self, sentence: str) -> None:
        """Show what happened to a node."""
        self.line(f"warning: {sentence}")

    def ends(self, point: Point) -> None:
        """Show what came of a trial."""
        self.done += 1
        if row := self._rows.pop(point.number, None):
            row.close()
        name = f"trial {point.number}" if self._several else " "
        self.line(f"{name} {sweep_text.point_line(self._wanted.objectives, point)}")

    def line(self, text: str) -> None:
        """Show a line among the others; none with --quiet."""
        _progress.line(self._listener, text)
