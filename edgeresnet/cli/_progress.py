"""What a run shows while it works, on stderr: a live line on a terminal, plain lines in a log, nothing with --quiet.

A stage that is done has one line. Steps of one stage on one target share it, and so do those of the reference.
"""

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
    from rich.progress import TaskID

_EVERY_S = 10.0
_NAME = 20  # columns of a step's name in front of its bar: with a million images all of it fits eighty


@contextlib.contextmanager
def listener(
    *, quiet: bool, verbose: bool, metrics: Path | None = None, brief: bool = False, at_once: bool = False
) -> Iterator[Listener]:
    """Show a run's progress. `metrics` is a file that gets a line of JSON for every epoch of a training.

    `brief` is for many runs in a row: a step that is done has no line, unless `verbose` is set. `at_once`: they run on
    other machines, and a row shows what each does.
    """
    if quiet:
        yield _Recorder(metrics)
        return
    if not sys.stderr.isatty():
        plain = _Plain(metrics, verbose, brief and not verbose)
        with plain.ending():
            yield plain
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    rate, left = TextColumn("{task.fields[rate]}", markup=False), TimeRemainingColumn(compact=True)
    name = TextColumn("{task.description}", markup=False)
    counts: tuple[ProgressColumn, ...] = (BarColumn(8), MofNCompleteColumn(), rate, left)
    look = (name, *((TimeElapsedColumn(),) if at_once else counts))
    # Once a second: a thread of this process draws it, also while networks are timed in other processes.
    with Bars(*look, console=console, transient=True, refresh_per_second=1, get_time=time.monotonic) as bars:
        shown = _OnTerminal(metrics, verbose, bars, brief and not verbose)
        with shown.ending():
            yield shown


def line(shown: Listener, text: str) -> None:
    """Show a line among those of the steps; none with --quiet."""
    if isinstance(shown, _Reporter):
        shown.enter("")
        shown.line(text)


class Row:
    """What one of several things does now: a row of a terminal that changes, or a line of a log for each change."""

    def __init__(self, shown: Listener, name: str) -> None:
        self._shown, self._name = shown, name
        self._bar = shown.row(name) if isinstance(shown, _OnTerminal) else None

    def show(self, doing: str, *, is_news: bool) -> None:
        """Show what it does; a log has only what is news."""
        if isinstance(self._shown, _OnTerminal):
            assert self._bar is not None
            self._shown.bars.update(
                self._bar, description=f"{self._name} {_output.readable(visible(doing), sys.stderr)}"
            )
        elif is_news:
            line(self._shown, f"{self._name}: {doing}")

    def close(self) -> None:
        """Remove the row."""
        if isinstance(self._shown, _OnTerminal):
            assert self._bar is not None
            self._shown.bars.remove_task(self._bar)
            self._shown.bars.refresh()


@contextlib.contextmanager
def counted(name: str) -> Iterator[Progress]:
    """Show the progress of a command that has one thing to do, and no steps."""
    with listener(quiet=False, verbose=False) as shown:
        assert isinstance(shown, _Reporter)
        yield shown.counts(name)


@contextlib.contextmanager
def uncounted() -> Iterator[Progress]:
    """Show nothing instead."""
    yield lambda done, total, word: None


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


class _Group:
    """Steps that share a line: how long they took, what they made, and what was reported of them."""

    def __init__(self, name: str):
        self.name, self.seconds, self.made = name, 0.0, ""
        self.is_made = False
        self.reported: set[str] = set()

    def add(self, seconds: float, made: str) -> None:
        self.is_made = True
        self.seconds += seconds
        self.made = made or self.made

    def reports(self, reason: str) -> bool:
        """Take a reason why a step was not made; return whether it is a new one."""
        is_new = reason not in self.reported
        self.reported.add(reason)
        return is_new

    @property
    def words(self) -> str:
        """The line of what was made: "quantize:openvino           0.2 s  20 layers in INT8"; empty for nothing."""
        return f"{self.name:24} {self.seconds:6.1f} s  {self.made}".rstrip() if self.is_made else ""


def _made(outcome: Outcome) -> str:
    """Return what a step made, where a few words say it."""
    from ..notes import CalibrateNotes, PruneNotes, QuantizeNotes, RecogniseNotes, RecoverNotes, TrainNotes
    from ..report.summary import control_word

    notes = outcome.artifact.manifest.notes if outcome.artifact else None
    if isinstance(notes, RecogniseNotes):
        return notes.sentence()
    if isinstance(notes, TrainNotes | RecoverNotes):
        return f"{100 * notes.validation_top1:.2f} % {notes.metric} in validation"
    if isinstance(notes, PruneNotes):
        return f"{100 * notes.macs[1] / notes.macs[0]:.1f} % of the multiplications stay"
    if isinstance(notes, CalibrateNotes):
        return f"{notes.images} images"
    if isinstance(notes, QuantizeNotes):
        return f"{len(notes.int8)} layers in INT8{control_word(notes)}"
    return ""


class _Reporter(_Recorder):
    def __init__(self, metrics: Path | None, verbose: bool, brief: bool = False):
        super().__init__(metrics)
        self.verbose, self.brief = verbose, brief
        self.made = self.found = self.missing = 0
        self.digests: set[str] = set()  # of what this run made: two steps may share an artifact
        self.group = _Group("")
        self.warned: set[str] = set()  # what was reported already

    def line(self, text: str) -> None:
        _output.echo(text, err=True)

    def counts(self, name: str) -> Progress:
        raise NotImplementedError

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Show what is done when all is over, and the summary where nothing was raised."""
        try:
            yield
        finally:
            self.enter("")
        self.summary()

    def enter(self, name: str) -> None:
        """Show the line of the steps before, unless the next one shares it."""
        if name != self.group.name:
            if self.group.words and not self.brief:
                self.line(self.group.words)
            self.group = _Group(name)

    def name_of(self, step: Step) -> str:
        """Return the name of the line that a step is shown in; each has its own with --verbose."""
        about = step.id
        if self.verbose:
            return str(about)
        if about.target == "reference":
            return "reference"
        return f"{about.stage}:{about.target}" if about.target and about.target != "dense" else about.stage

    def begins(self, step: Step) -> Progress:
        self.enter(self.name_of(step))
        return self.counts(self.group.name)

    def ends(self, outcome: Outcome) -> None:
        name = self.name_of(outcome.step)
        self.enter(name)
        if outcome.state == "made":
            self.made += 1
            self.digests |= {outcome.artifact.digest} if outcome.artifact else set()
            self.group.add(outcome.seconds, _made(outcome))
        elif outcome.state == "done":
            is_shared = outcome.artifact is not None and outcome.artifact.digest in self.digests
            self.made, self.found = self.made + is_shared, self.found + (not is_shared)
            if self.verbose and outcome.artifact:
                self.line(f"{name:24} already done, {outcome.artifact.digest[:12]}")
        else:
            self.missing += 1
            if self.group.reports(outcome.reason):
                self.line(f"{name:24} {outcome.state}: {outcome.reason}")
        for warning in [] if self.brief else outcome.warnings:  # the run's report has them
            if str(warning) not in self.warned:
                self.line(f"{name:24} {warning}")

    def records(self, step: Step, line: Mapping[str, object]) -> None:
        from ..notes import TOP1

        super().records(step, line)
        if self.verbose:
            score = line["validation_top1"]
            assert isinstance(score, float)
            learned = f"loss {line['loss']:.4f}, {line['images_per_s']:.0f} images/s"
            self.line(
                f"{step.id!s:24} epoch {line['epoch']}: {learned}, {100 * score:.2f} % {line.get('metric', TOP1)}"
            )

    def waits(self, step: Step) -> None:
        self.line(f"{step.id!s:24} another run is making it: waiting")

    def warns(self, sentence: str) -> None:
        self.warned.add(sentence)
        self.line(f"warning: {sentence}")

    def remarks(self, step: Step, sentence: str, detail: bool) -> None:
        if self.verbose or not detail:
            self.line(f"{self.name_of(step):24} {sentence}")

    def summary(self) -> None:
        if self.brief:
            return
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
    def __init__(self, metrics: Path | None, verbose: bool, bars: Bars, brief: bool = False):
        super().__init__(metrics, verbose, brief)
        self.bars = bars
        self.tasks: dict[str, list[TaskID]] = {}

    def line(self, text: str) -> None:
        self.bars.console.print(_output.readable(visible(text), sys.stderr), markup=False, highlight=False)

    def row(self, name: str) -> TaskID:
        """Add a row without a count; what is shown in it changes."""
        return self.bars.add_task(name, total=None, rate="")

    def counts(self, name: str) -> Progress:
        shown_name = _output.readable(cut(visible(name), _NAME), sys.stderr)
        task, speed = self.bars.add_task(shown_name, total=None, rate=""), _Rate()
        self.tasks.setdefault(name, []).append(task)

        def progress(done: int, total: int, word: str) -> None:
            if speed.begins(done, total, word):
                self.bars.reset(task)  # its rate of the count before would be taken for this one's
            rate = speed.per_second
            shown = f"{word}, {_per_second(rate)}" if rate else word
            self.bars.update(task, completed=done, total=total, rate=shown)

        return progress

    def ends(self, outcome: Outcome) -> None:
        for task in self.tasks.pop(self.name_of(outcome.step), []):  # those of other devices go on
            self.bars.remove_task(task)
        self.bars.refresh()  # or the line that is printed next would stand above it once more
        super().ends(outcome)
