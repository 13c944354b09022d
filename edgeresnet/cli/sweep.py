"""edgeresnet sweep: try many points of a space around a recipe, and show which of them none beats."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _help, _options, _output, _workers

if TYPE_CHECKING:
    from ..pipeline.trials import Cluster
    from ..shards.ray_nodes import RayNodes
    from ..store import Store
    from ..sweeps.document import SweepReport
    from ..sweeps.loading import Sweep
    from ..sweeps.loop import Shown

_BROKEN, _NOT_MEASURED = 3, 4


@_help.command(
    "edgeresnet sweep sweep.yaml",
    "edgeresnet sweep sweep.yaml --retry-failed",
    "edgeresnet sweep sweep.yaml --ray auto --shared s3://bucket/folder",
)
@click.argument("sweep_path", metavar="SWEEP", type=click.Path(path_type=Path))
@_options.store
@_help.option("--retry-failed", is_flag=True, help="Try again what failed in an earlier call.")
@_workers.for_trials
@_options.quiet
@_options.verbose
@_options.as_json
def sweep(
    sweep_path: Path,
    store_root: Path,
    retry_failed: bool,
    scale: _workers.TrialsOptions,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Try many values in a recipe, and find the best.

    SWEEP is a YAML file: a recipe, a space of its keys, objectives, and how many
    trials to run. Each trial is a run of its recipe: stages that trials share are
    made once. The result is the front: the trials that no other one is shown to
    beat, each with its recipe. An interrupted sweep goes on where it was. On a
    Ray cluster all nodes prepare networks, and one of them measures. The
    exit code is 0 with a front, 3 if every trial breaks a promise, else 4.
    """
    from ..pipeline import trials
    from ..report import sweep_text
    from ..report.html import sweep_page
    from ..store import write_text
    from ..sweeps import loading, study
    from . import _progress, _trials

    wanted, store = loading.load(sweep_path), scale.open_store(store_root)
    nodes = scale.start(quiet=quiet)
    progress = _progress.listener(quiet=quiet, verbose=verbose, brief=True, at_once=nodes is not None)
    with store.used(), contextlib.closing(nodes) if nodes else contextlib.nullcontext(), progress as listener:
        shown = _trials.Lines(wanted, listener, several=nodes is not None)
        cluster = _cluster(nodes, wanted, store, shown, scale.workers or 1) if nodes else None
        try:
            found = trials.sweep(wanted, store, listener, shown, retry_failed=retry_failed, cluster=cluster)
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


def _cluster(nodes: RayNodes, wanted: Sweep, store: Store, shown: Shown, parts: int) -> Cluster:
    from ..pipeline import spreading

    return functools.partial(spreading.spread, nodes, wanted, store, shown, parts)


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
