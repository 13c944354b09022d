"""What a run shows while it works, on stderr: a bar on a terminal, plain lines in a log, nothing with --quiet."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..context import Progress
from ..pipeline import Listener, Outcome, Step
from ..text import cut, visible
from . import _output

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

_EVERY_S = 10.0
_NAME = 20  # columns of a step's name in front of its bar: with a million images all of it fits eighty


@contextlib.contextmanager
def listener(*, quiet: bool, verbose: bool, metrics: Path | None = None) -> Iterator[Listener]:
    """Show a run's progress. `metrics` is a file that gets a line of JSON for every epoch of a training."""
    if quiet:
        yield _Recorder(metrics)
        return
    if not sys.stderr.isatty():
        plain = _Plain(metrics, verbose)
        yield plain
        plain.summary()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    rate, left = TextColumn("{task.fields[rate]}", markup=False), TimeRemainingColumn(compact=True)
    look = TextColumn("{task.description}", markup=False), BarColumn(8), MofNCompleteColumn(), rate, left
    # Once a second: a thread of this process draws it, also while networks are timed in other processes.
    with Bars(*look, console=console, transient=True, refresh_per_second=1, get_time=time.monotonic) as bars:
        shown = _OnTerminal(metrics, verbose, bars)
        yield shown
    shown.summary()


@contextlib.contextmanager
def counted(name: str) -> Iterator[Progress]:
    """Show the progress of a command that has one thing to do, and no steps."""
    with listener(quiet=False, verbose=False) as shown:
        assert isinstance(shown, _Reporter)
        yield shown.counts(name)


def span(seconds: float) -> str:
    """Write a time that is left, no finer than it is known."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _per_second(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 1 else f"{span(1 / rate)} each"


class _Recorder(Listener):
    def __init__(self, metrics: Path | None):
        self.metrics = metrics

    def records(self, step: Step, line: Mapping[str, object]) -> None:
        if self.metrics:
            with open(self.metrics, "a") as file:
                file.write(json.dumps(line) + "\n")


class _Reporter(_Recorder):
    def __init__(self, metrics: Path | None, verbose: bool):
        super().__init__(metrics)
        self.verbose = verbose
        self.made = self.found = self.missing = 0

    def line(self, text: str) -> None:
        _output.echo(text, err=True)

    def counts(self, name: str) -> Progress:
        raise NotImplementedError

    def begins(self, step: Step) -> Progress:
        return self.counts(str(step.id))

    def ends(self, outcome: Outcome) -> None:
        name = str(outcome.step.id)
        if outcome.state == "made":
            self.made += 1
            self.line(f"{name:24} {outcome.seconds:6.1f} s")
        elif outcome.state == "done":
            self.found += 1
            if self.verbose and outcome.artifact:
                self.line(f"{name:24} already done, {outcome.artifact.digest[:12]}")
        else:
            self.missing += 1
            self.line(f"{name:24} {outcome.state}: {outcome.reason}")
        for warning in outcome.warnings:
            self.line(f"{name:24} {warning}")

    def records(self, step: Step, line: Mapping[str, object]) -> None:
        super().records(step, line)
        if self.verbose:
            top1 = line["validation_top1"]
            assert isinstance(top1, float)
            learned = f"loss {line['loss']:.4f}, {line['images_per_s']:.0f} images/s"
            self.line(f"{step.id!s:24} epoch {line['epoch']}: {learned}, {100 * top1:.2f} % correct")

    def waits(self, step: Step) -> None:
        self.line(f"{step.id!s:24} another run is making it: waiting")

    def warns(self, sentence: str) -> None:
        self.line(f"warning: {sentence}")

    def summary(self) -> None:
        if self.found and not self.made and not self.missing:
            self.line(f"nothing to do: all {self.found} stages are done already (`--again verify` measures again)")
        elif self.found:
            self.line(f"already done: {self.found} of {self.found + self.made + self.missing} stages")


class _Rate:
    """How much is done in a second: of this count alone, and only of what was done while this process watched.

    A step may count several times: the images of each network, then processes. Epochs go on with one count.
    """

    def __init__(self) -> None:
        self.first, self.last = 0, (0, 0, "")
        self.began: float | None = None

    def begins(self, done: int, total: int, word: str) -> bool:
        """Take the next count; return whether another one than before has begun."""
        _, before_total, before_word = self.last
        is_other = total != before_total and word != before_word
        is_new = self.began is None or done < self.last[0] or is_other
        self.last = (done, total, word)
        if is_new:
            self.first, self.began = done, time.monotonic()
        return is_new

    @property
    def per_second(self) -> float:
        """Return the rate, or 0 where it is not known yet."""
        took = time.monotonic() - (self.began or 0.0)
        return (self.last[0] - self.first) / took if took > 0 else 0.0


class _Plain(_Reporter):
    """One line every ten seconds: a log is read later."""

    def counts(self, name: str) -> Progress:
        last, speed = time.monotonic(), _Rate()

        def progress(done: int, total: int, word: str) -> None:
            nonlocal last
            speed.begins(done, total, word)
            now = time.monotonic()
            if now - last >= _EVERY_S:
                last, rate = now, speed.per_second
                more = f", {_per_second(rate)}, {span((total - done) / rate)} left" if rate else ""
                self.line(f"{name:24} {done} of {total} {word}{more}")

        return progress


class _OnTerminal(_Reporter):
    def __init__(self, metrics: Path | None, verbose: bool, bars: Bars):
        super().__init__(metrics, verbose)
        self.bars = bars

    def line(self, text: str) -> None:
        self.bars.console.print(visible(text), markup=False, highlight=False)

    def counts(self, name: str) -> Progress:
        task, speed = self.bars.add_task(cut(visible(name), _NAME), total=None, rate=""), _Rate()

        def progress(done: int, total: int, word: str) -> None:
            if speed.begins(done, total, word):
                self.bars.reset(task)  # its rate of the count before would be taken for this one's
            rate = speed.per_second
            shown = f"{word}, {_per_second(rate)}" if rate else word
            self.bars.update(task, completed=done, total=total, rate=shown)

        return progress

    def ends(self, outcome: Outcome) -> None:
        for task in self.bars.task_ids:
            self.bars.remove_task(task)
        super().ends(outcome)
