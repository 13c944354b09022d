"""What a run shows while it works, on stderr: a bar on a terminal, plain lines in a log, nothing when asked."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..context import Progress
from ..pipeline import Listener, Outcome, Step
from ..text import cut, visible
from . import _output

_EVERY_S = 10.0
_NAME = 20  # columns of a step beside its bar: with a million images all of it fits eighty


@contextlib.contextmanager
def listener(*, quiet: bool, verbose: bool, metrics: Path | None = None) -> Iterator[Listener]:
    """`metrics` is a file that gets a line of JSON for every epoch that a training has done."""
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
    # Once a second: a thread of this process draws it, also while networks are timed in processes beside this one.
    with Bars(*look, console=console, transient=True, refresh_per_second=1, get_time=time.monotonic) as bars:
        shown = _OnTerminal(metrics, verbose, bars)
        yield shown
    shown.summary()


@contextlib.contextmanager
def counted(name: str) -> Iterator[Progress]:
    """For a door that has one thing to do, and no steps."""
    with listener(quiet=False, verbose=False) as shown:
        assert isinstance(shown, _Teller)
        yield shown.counts(name)


def span(seconds: float) -> str:
    """A time that is left, no finer than it is known."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _per_second(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 1 else f"{span(1 / rate)} each"


class _Recorder(Listener):
    def __init__(self, metrics: Path | None):
        self.metrics = metrics

    def records(self, step: Step, line: Mapping[str, Any]) -> None:
        if self.metrics:
            with open(self.metrics, "a") as file:
                file.write(json.dumps(line) + "\n")


class _Teller(_Recorder):
    def __init__(self, metrics: Path | None, verbose: bool):
        super().__init__(metrics)
        self.verbose = verbose
        self.made = self.found = self.missing = 0

    def line(self, text: str) -> None:
        _output.echo(text, err=True)

    def counts(self, name: str) -> Progress:
        raise NotImplementedError

    def begins(self, step: Step) -> Progress:
        return self.counts(step.id)

    def ends(self, outcome: Outcome) -> None:
        name = outcome.step.id
        if outcome.state == "made":
            self.made += 1
            self.line(f"{name:24} {outcome.seconds:6.1f} s")
        elif outcome.state == "done":
            self.found += 1
            if self.verbose and outcome.artifact:
                self.line(f"{name:24} found done, {outcome.artifact.digest[:12]}")
        else:
            self.missing += 1
            self.line(f"{name:24} {outcome.state}: {outcome.reason}")
        for sentence in outcome.warnings:
            self.line(f"{name:24} {sentence}")

    def records(self, step: Step, line: Mapping[str, Any]) -> None:
        super().records(step, line)
        if self.verbose:
            learned = f"loss {line['loss']:.4f}, {line['images_per_s']:.0f} images/s"
            self.line(f"{step.id:24} epoch {line['epoch']}: {learned}, {100 * line['validation_top1']:.2f} % right")

    def waits(self, step: Step) -> None:
        self.line(f"{step.id:24} another run is making it: waiting")

    def warns(self, sentence: str) -> None:
        self.line(f"warning: {sentence}")

    def summary(self) -> None:
        if self.found and not self.made and not self.missing:
            self.line(f"nothing to do: all {self.found} stages were found done (`--again verify` measures anew)")
        elif self.found:
            self.line(f"found done: {self.found} of {self.found + self.made + self.missing} stages")


class _Pace:
    """How much is done in a second: of this count alone, and only of what was done while somebody looked.

    A step may count several times: the images of each network, then processes. Epochs go on with one count.
    """

    def __init__(self) -> None:
        self.first, self.last = 0, (0, 0, "")
        self.began: float | None = None

    def begins(self, done: int, total: int, word: str) -> bool:
        """Told each time; whether another count than before has begun."""
        _, before_total, before_word = self.last
        is_other = total != before_total and word != before_word
        is_new = self.began is None or done < self.last[0] or is_other
        self.last = (done, total, word)
        if is_new:
            self.first, self.began = done, time.monotonic()
        return is_new

    @property
    def per_second(self) -> float:
        """0 where it is not known yet."""
        took = time.monotonic() - (self.began or 0.0)
        return (self.last[0] - self.first) / took if took > 0 else 0.0


class _Plain(_Teller):
    """One line every ten seconds: a log is read later."""

    def counts(self, name: str) -> Progress:
        last, pace = time.monotonic(), _Pace()

        def progress(done: int, total: int, word: str) -> None:
            nonlocal last
            pace.begins(done, total, word)
            now = time.monotonic()
            if now - last >= _EVERY_S:
                last, rate = now, pace.per_second
                told = f", {_per_second(rate)}, {span((total - done) / rate)} left" if rate else ""
                self.line(f"{name:24} {done} of {total} {word}{told}")

        return progress


class _OnTerminal(_Teller):
    def __init__(self, metrics: Path | None, verbose: bool, bars):  # type: ignore[no-untyped-def]
        super().__init__(metrics, verbose)
        self.bars = bars

    def line(self, text: str) -> None:
        self.bars.console.print(visible(text), markup=False, highlight=False)

    def counts(self, name: str) -> Progress:
        task, pace = self.bars.add_task(cut(visible(name), _NAME), total=None, rate=""), _Pace()

        def progress(done: int, total: int, word: str) -> None:
            if pace.begins(done, total, word):
                self.bars.reset(task)  # what it knew of the count before would be taken for this one's
            rate = pace.per_second
            told = f"{word}, {_per_second(rate)}" if rate else word
            self.bars.update(task, completed=done, total=total, rate=told)

        return progress

    def ends(self, outcome: Outcome) -> None:
        for task in self.bars.task_ids:
            self.bars.remove_task(task)
        super().ends(outcome)
