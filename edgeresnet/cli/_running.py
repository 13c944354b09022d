"""A recipe run to its verdict, and a run printed with its page: what `run`, `verify`, `collect` and `export` share."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from . import _logging, _output, _verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..context import Workers
    from ..devices.book import Device
    from ..recipe import Recipe
    from ..report.lines import Line, Look
    from ..runs import Run
    from ..store import Store


def run_recipe(
    wanted: Recipe,
    store: Store,
    *,
    again: tuple[str, ...] = (),
    devices: Mapping[str, Device] | None = None,
    workers: Workers | None = None,
    log: str | None = None,
    quiet: bool,
    verbose: bool,
) -> Run:
    """Run a recipe to its verdict. A run that fails halfway has its page all the same, and is logged as failed."""
    from .. import pipeline
    from . import _progress

    ended: list[Run] = []
    try:
        with store.used(), _progress.listener(quiet=quiet, verbose=verbose) as listener:
            return pipeline.run(
                wanted,
                store,
                again=frozenset(again),
                listener=listener,
                on_failure=ended.append,
                devices=devices,
                workers=workers,
            )
    except KeyboardInterrupt:
        ended.clear()  # who stops a run waits for no page, and for no server
        raise
    finally:
        for run in ended:  # the error of the run matters more than one of its page, or of a server
            with contextlib.suppress(Exception):
                _write_text(run, store)
                page = _write_page(run, store)
                if not quiet:
                    _output.echo(f"page: {page}", err=True)
            with contextlib.suppress(Exception):
                _logging.log_run(run, store, log, _logging.NOT_LOGGED)


def report_run(run: Run, store: Store, *, as_json: bool, log: str | None = None) -> int:
    """Print a run, write its page and its Markdown, log it where that is wanted, and return the exit code."""
    _write_text(run, store)
    try:
        _write_page(run, store)
    finally:  # whatever becomes of the page, the verdict is seen
        _output.print_json(run) if as_json else _output.print_report(last_screen(run, store))
    return _logging.log_run(run, store, log, _verdict.exit_code(run))


def last_screen(run: Run, store: Store, look: Look | None = None) -> list[Line]:
    """Return the last screen of a run, with those of its files that are there; by default as stdout can show it."""
    from .. import report

    paths = (store.root / "runs" / f"{run.id}{suffix}" for suffix in (".html", ".md"))
    page, text = (str(path) if path.exists() else "" for path in paths)
    files = report.terminal.Files(page, text, _shipped(run, store))
    return report.terminal.lines(run, look or _output.look(), files)


def _shipped(run: Run, store: Store) -> dict[str, str]:
    """Return by target which folder of the store is to ship: a compiled network, or the bundle that a device measured.

    A folder that holds something else by now is left out.
    """
    from ..report import summary
    from ..store import manifest_in

    found = {}
    for result in run.measured:
        bundle, digest = f"export:{result.target.partition('@')[0]}", result.variants[summary.to_ship(result)].digest
        for step in run.steps:
            if step.key and (step.id == bundle or step.digest == digest):
                folder = store.path_of(step.stage, step.key)
                record = manifest_in(folder)
                if record is not None and record.digest == step.digest:
                    found[result.target] = str(folder / "bundle" if step.id == bundle else folder)
    return found


def _write_text(run: Run, store: Store) -> None:
    from .. import report
    from ..store import write_text

    path = store.root / "runs" / f"{run.id}.md"
    write_text(path, report.FORMATS["md"](run))


def _write_page(run: Run, store: Store) -> Path:
    from .. import report
    from ..store import write_text

    path = store.root / "runs" / f"{run.id}.html"
    write_text(path, report.html.of_store(run, store))
    return path
