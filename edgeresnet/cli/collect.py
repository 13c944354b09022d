"""edgeresnet collect: a device's result, judged where its bundle was made."""

from __future__ import annotations

from pathlib import Path

import click

from . import _complete, _help, _logging, _options, _running

HINT = "the bundle that was measured holds its network and images"


@_help.command(
    "edgeresnet collect result.json --max-drop-pp 1",
    "edgeresnet collect result.json --as orin",
)
@click.argument("result", type=click.Path(dir_okay=False, path_type=Path))
@_help.option(
    "--as",
    "device",
    metavar="DEVICE",
    group=_help.TARGET,
    shell_complete=_complete.devices,
    show_default="the one that the run waits for",
    help="Device of the run that measured RESULT.",
)
@_options.max_drop_pp
@_options.changes
@_options.store
@_options.as_json
@_logging.option
def collect(
    result: Path,
    device: str | None,
    max_drop_pp: float | None,
    changes: tuple[str, ...],
    store_root: Path,
    as_json: bool,
    log: str | None,
) -> int:
    """Judge RESULT, which a device measured with its bundle.

    RESULT is the result.json that the bundle's deploy.py wrote. Nothing is
    measured here. The run that exported the bundle is stored again, with the
    device's result in it. If the recipe names several devices, --as says which
    one measured. --set can change promises only.
    """
    return collect_result(result, max_drop_pp, changes, store_root, device=device, as_json=as_json, log=log)


def collect_result(
    path: Path,
    max_drop_pp: float | None,
    changes: tuple[str, ...],
    store_root: Path,
    *,
    device: str | None = None,
    as_json: bool,
    log: str | None = None,
) -> int:
    """Collect a device's result, print the run, and return the exit code."""
    from .. import pipeline

    _logging.check(log)
    store = _options.open_store(store_root)
    promised = () if max_drop_pp is None else (f"promises.max_drop_pp={max_drop_pp}",)
    with store.used():
        run = pipeline.collect(path, store, (*promised, *changes), device)
    return _running.report_run(run, store, as_json=as_json, log=log)
