"""What a sweep shows of trials that run at once: rows of a terminal, lines of a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from edgeresnet import recipe
from edgeresnet.cli import _progress, _trials
from edgeresnet.sweeps import loop
from edgeresnet.sweeps.document import Point

from ..conftest import tiny
from ..sweeps.fake import outcome, sweep_of

pytestmark = pytest.mark.unit


def trial(number: int) -> loop.Trial:
    return loop.Trial(number, {"train.rate": 0.01}, recipe.parse(tiny()))


def happens(lines: _trials.Lines) -> None:
    """Let two trials run at once, of which one ends."""
    lines.opens(1, 0, 0)
    for number in (2, 3):
        lines.begins(trial(number))
        lines.works(trial(number), f"train on node-{number}")
    lines.works(trial(2), "")
    lines.warns("node-3 is left out: the disk is full")
    lines.ends(Point(2, {}, outcome(90, 1, seconds=3.0)))


def test_a_log_has_a_line_for_each_piece(capsys: pytest.CaptureFixture[str]) -> None:
    with _progress.listener(quiet=False, verbose=False, brief=True, at_once=True) as listener:
        happens(_trials.Lines(sweep_of(), listener, several=True))
    assert capsys.readouterr().err.splitlines() == [
        "8 trials, 1 done already",
        "trial 2 of 8: train.rate 0.01",
        "trial 2: train on node-2",
        "trial 3 of 8: train.rate 0.01",
        "trial 3: train on node-3",
        "warning: node-3 is left out: the disk is full",
        "trial 2 top1 % 90.00, p50 ms 1.000; 2 stages made, 0 reused, 3 s",
    ]


def test_nothing_is_shown_where_that_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with _progress.listener(quiet=True, verbose=False, brief=True, at_once=True) as listener:
        happens(_trials.Lines(sweep_of(), listener, several=True))
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_row_for_each_trial_that_runs_within_80_columns() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=80, force_terminal=True, color_system=None)
    columns = TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, auto_refresh=False) as bars:
        listener = _progress._OnTerminal(None, False, bars, True)
        lines = _trials.Lines(sweep_of(), listener, several=True)
        happens(lines)
        assert [task.description for task in bars.tasks] == ["trial 3 train on node-3"]
        lines.works(trial(3), f"quantize:openvino on {'node' * 40}")
        assert len(console.render_lines(bars.get_renderable())) == 1, "one row, one line"
        lines.works(trial(3), "")
        assert [task.description for task in bars.tasks] == ["trial 3 waits for a node"]
