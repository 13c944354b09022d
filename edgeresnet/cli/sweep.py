"""edgeresnet sweep: try many points of a space around a recipe, and show which of them none beats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _help, _options, _output

if TYPE_CHECKING:
    from ..pipeline import Listener
    from ..store import Store
    from ..sweep.document import SweepReport
    from ..sweep.loading import Sweep
    from ..sweep.loop import Shown
    from ..sweep.study import Study

_BROKEN, _NOT_MEASURED = 3, 4


@_help.command(
    "edgeresnet sweep sweep.yaml",
    "edgeresnet sweep sweep.yaml --retry-failed",
)
@click.argument("sweep_path", metavar="SWEEP", type=click.Path(path_type=Path))
@_options.store
@_help.option("--retry-failed", is_flag=True, help="Try again what failed in an earlier call.")
@_options.quiet
@_options.verbose
@_options.as_json
def sweep(sweep_path: Path, store_root: Path, retry_failed: bool, quiet: bool, verbose: bool, as_json: bool) -> int:
    """Try points of a space around a recipe, and find the best of them.

    SWEEP is a YAML file: a recipe, a space of its keys, objectives, and how many
    trials to run. Each trial is a run of its recipe: stages that trials share are
    made once. The result is the front: the trials that no other one is shown to
    beat, each with its recipe. An interrupted sweep goes on where it was. The
    exit code is 0 with a front, 3 if every trial breaks a promise, else 4.
    """
    from ..report import sweep_text
    from ..report.html import sweep_page
    from ..store import write_text
    from ..sweep import loading, results, study
    from . import _progress

    wanted, store = loading.load(sweep_path), _options.open_store(store_root)
    folder = study.folder_of(store, wanted)
    with store.used(), _progress.listener(quiet=quiet, verbose=verbose, brief=True) as listener:
        with study.opened(store, wanted) as tried:
            _progress.line(listener, _begins(wanted, tried, retry_failed))
            ended = _searched(wanted, tried, store, listener, f"edgeresnet sweep {sweep_path}")
        found = results.report_of(wanted, tried.points, ended, folder)
    page = folder / "page.html"
    write_text(page, sweep_page.render(found))
    if as_json:
        _output.print_json(found)
    else:
        _output.echo(sweep_text.render(found, str(page), width=_output.look().width), nl=False)
    return _exit_code(found)


def _begins(wanted: Sweep, tried: Study, retry_failed: bool) -> str:
    """Return the first line of progress: how much is done already."""
    again = tried.forget_failed() if retry_failed else 0
    done, parts = len(tried.points), [f"{wanted.trials} trials"]
    parts += [f"{done} done already"] if done else []
    interrupted = tried.interrupted - again
    parts += [f"{interrupted} interrupted, tried again"] if interrupted else []
    parts += [f"{again} failed, tried again"] if again else []
    return ", ".join(parts)


def _searched(wanted: Sweep, tried: Study, store: Store, listener: Listener, command: str) -> str:
    """Run the trials; return why no more were run."""
    from ..pipeline import trials
    from ..sweep import loop

    try:
        runner = trials.InProcess(wanted.objectives, store, listener)
        return loop.search(wanted, tried, runner, _shown(wanted, listener))
    except KeyboardInterrupt as problem:
        done = len(tried.points)
        raise KeyboardInterrupt(f"{done} of {wanted.trials} trials are stored: `{command}` goes on") from problem


def _shown(wanted: Sweep, listener: Listener) -> Shown:
    """Return what shows two lines for each trial: its values when it begins, and what came of it."""
    from ..report import sweep_text
    from ..sweep import loading, loop
    from ..sweep.document import Point
    from . import _progress

    class Lines(loop.Shown):
        def begins(self, trial: loop.Trial) -> None:
            words = f"trial {trial.number} of {wanted.trials}: {loading.described(trial.params)}"
            _progress.line(listener, words)

        def ends(self, point: Point) -> None:
            _progress.line(listener, f"  {sweep_text.point_line(wanted.objectives, point)}")

    return Lines()


def _exit_code(found: SweepReport) -> int:
    """Return the exit code of a sweep; print why where nothing was measured."""
    if found.front:
        return 0
    failed = found.of_state("failed")
    if len(failed) == len(found.points):
        first = failed[0].outcome if failed else None
        what = f"all {len(failed)} trials failed: {first.reason}" if first else f"no trial was run: {found.ended}"
        hint = first.hint if first and first.hint else "give more `minutes`" if not first else "correct its cause"
        _output.error(what, hint)
        return _NOT_MEASURED
    return _BROKEN if any(point.outcome.verdict == "BROKEN" for point in found.points) else _NOT_MEASURED
