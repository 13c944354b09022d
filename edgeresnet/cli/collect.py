"""edgeresnet collect: a device's result, judged where its bundle was made."""

from __future__ import annotations

from pathlib import Path

import click

from . import _options, _running

HINT = "the bundle that was measured holds its network and images"


@click.command()
@click.argument("result", type=click.Path(dir_okay=False, path_type=Path))
@_options.max_drop_pp
@_options.changes
@_options.store
@_options.as_json
def collect(result: Path, max_drop_pp: float | None, changes: tuple[str, ...], store_root: Path, as_json: bool) -> int:
    """Judge RESULT, which a bundle measured on its device.

    RESULT is the result.json that the bundle's deploy.py wrote. The run that
    exported the bundle is stored again, with the device's result in it.
    Nothing is measured here. Promises alone can be changed with --set.
    """
    return collect_result(result, max_drop_pp, changes, store_root, as_json=as_json)


def collect_result(
    path: Path, max_drop_pp: float | None, changes: tuple[str, ...], store_root: Path, *, as_json: bool
) -> int:
    """Collect a device's result, print the run, and return the exit code."""
    from .. import pipeline

    store = _options.open_store(store_root)
    promised = () if max_drop_pp is None else (f"promises.max_drop_pp={max_drop_pp}",)
    with store.used():
        run = pipeline.collect(path, store, (*promised, *changes))
    return _running.report_run(run, store, as_json=as_json)
