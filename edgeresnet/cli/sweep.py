"""edgeresnet sweep: try many points of a space around a recipe, and show which of them none beats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _help, _options, _output

if TYPE_CHECKING:
    from ..pipeline import Listener
    from ..sweeps.document import SweepReport
    from ..sweeps.loading import Sweep

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
    """Try many values in a recipe, and find the best.

    SWEEP is a YAML file: a recipe, a space of its keys, objectives, and how many
    trials to run. Each trial is a run of its recipe: stages that trials share are
    made once. The result is the front: the trials that no other one is shown to
    beat, each with its recipe. An interrupted sweep goes on where it was. The
    exit code is 0 with a front, 3 if every trial breaks a promise, else 4.
    """
    from ..pipeline import trials
    from ..report import sweep_text
    from ..report.html import sweep_page
    from ..store import write_text
    from ..sweeps import loading, study
    from . import _progress

    wanted, store = loading.load(sweep_path), _options.open_store(store_root)
    with store.used(), _progress.listener(quiet=quiet, verbose=verbose, brief=True) as listener:
        shown = _shown(wanted, listener)
        try:
            found = trials.sweep(wanted, store, listener, shown, retry_failed=retry_failed)
        except KeyboardInterrupt as problem:
            words = f"{shown.done} of {wanted.trials} trials are stored: `edgeresnet sweep {sweep_path}` goes on"
            raise KeyboardInterrupt(words) from problem
    page = study.folder_of(store, wanted) / "page.html"
    write_text(page, sweep_page.render(found))
    if as_json:
        _output.print_json(found)
    else:
        _output.echo(sweep_text.render(found, str(page), width=_output.look().width), nl=False)
    return _exit_code(found)


def _shown(wanted: Sweep, listener: Listener) -> Any:
    """Return what shows two lines for each trial: its values when it begins, and what came of it."""
    from ..report import sweep_text
    from ..sweeps import loading, loop
    from ..sweeps.document import Point
    from . import _progress

    class Lines(loop.Shown):
        done = 0

        def opens(self, done: int, interrupted: int, failed: int) -> None:
            self.done = done
            parts = [f"{wanted.trials} trials"]
            parts += [f"{done} done already"] if done else []
            parts += [f"{interrupted} interrupted, tried again"] if interrupted else []
            parts += [f"{failed} failed, tried again"] if failed else []
            _progress.line(listener, ", ".join(parts))

        def begins(self, trial: loop.Trial) -> None:
            words = f"trial {trial.number} of {wanted.trials}: {loading.described(trial.params)}"
            _progress.line(listener, words)

        def ends(self, point: Point) -> None:
            self.done += 1
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
