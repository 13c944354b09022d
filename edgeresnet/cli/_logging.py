"""`--log mlflow`: a run that ended is logged to a tracking server, and whether that worked is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import _help, _output

if TYPE_CHECKING:
    from ..runs import Run
    from ..store import Store

NOT_LOGGED = 5  # as for a machine that failed
option = _help.option(
    "--log",
    type=click.Choice(["mlflow"]),
    group=_help.OUTPUT,
    help="Kind of server to log the run to. MLFLOW_TRACKING_URI names the server, MLFLOW_EXPERIMENT_NAME the "
    "experiment, else edgeresnet. If the log fails, an exit code of 0 becomes 5.",
)


def check(log: str | None) -> None:
    """Refuse what would keep the run from being logged, before anything is computed."""
    if log:
        from .. import tracking

        tracking.check()


def log_run(run: Run, store: Store, log: str | None, code: int) -> int:
    """Log a run where that is wanted; return the exit code. The verdict stays what it is, whatever the server does."""
    if not log:
        return code
    from .. import tracking
    from ..errors import EdgeresnetError

    try:
        place = tracking.log(run, store)
    except EdgeresnetError as problem:
        _output.echo(f"warning: {problem.message} ({problem.hint})", err=True)
        return code or NOT_LOGGED
    _output.echo(f"logged: {place}", err=True)
    return code
