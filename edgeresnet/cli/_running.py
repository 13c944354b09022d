"""A recipe run to its verdict, and a run printed with its page: what `run`, `verify`, `collect` and `export` share."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from . import _output, _verdict

if TYPE_CHECKING:
    from ..recipe import Recipe
    from ..report.lines import Line
    from ..runs import Run
    from ..store import Store


def run_recipe(wanted: Recipe, store: Store, *, again: tuple[str, ...] = (), quiet: bool, verbose: bool) -> Run:
    """Run a recipe to its verdict. A run that fails halfway has its page all the same."""
    from .. import pipeline
    from ..errors import EdgeresnetError
    from . import _progress

    ended: list[Run] = []
    try:
        with store.used(), _progress.listener(quiet=quiet, verbose=verbose) as listener:
            return pipeline.run(wanted, store, again=frozenset(again), listener=listener, on_failure=ended.append)
    except EdgeresnetError:
        with contextlib.suppress(Exception):  # the error of the run matters more than one of its page
            for run in ended:
                _write_text(run, store)
                page = _write_page(run, store)
                if not quiet:
                    _output.echo(f"page: {page}", err=True)
        raise


def report_run(run: Run, store: Store, *, as_json: bool) -> int:
    """Print a run, write its page and its Markdown, and return the exit code."""
    _write_text(run, store)
    try:
        _write_page(run, store)
    finally:  # whatever becomes of the page, the verdict is seen
        _output.print_json(run) if as_json else _output.print_report(last_screen(run, store))
    return _verdict.exit_code(run)


def last_screen(run: Run, store: Store) -> list[Line]:
    """Return the last screen of a run, with those of its page and report that are there."""
    from .. import report

    page, text = (store.root / "runs" / f"{run.id}{suffix}" for suffix in (".html", ".md"))
    files = report.terminal.Files(*(str(path) if path.exists() else "" for path in (page, text)))
    return report.terminal.lines(run, _output.look(), files)


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
