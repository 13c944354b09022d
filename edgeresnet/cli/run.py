"""edgeresnet run: do what is not done, measure, judge, print the verdict."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _complete, _options, _output

if TYPE_CHECKING:
    from ..recipe import Recipe
    from ..store import Store


@click.command()
@_options.recipe
@_options.store
@_options.changes
@click.option(
    "--again",
    multiple=True,
    metavar="STAGE",
    shell_complete=_complete.stages,
    help="Do a stage anew: verify measures once more.",
)
@_options.quiet
@_options.verbose
@_options.as_json
def run(
    recipe_path: Path,
    store_root: Path,
    changes: tuple[str, ...],
    again: tuple[str, ...],
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Do what RECIPE names and is not done yet; measure, judge, report.

    The second run of a recipe does nothing and says so. The exit code is the
    verdict's: 0 kept, 3 broken, 4 not measured.
    """
    from .. import recipe

    wanted, store = recipe.load(recipe_path, changes), _options.open_store(store_root)
    return told(ran(wanted, store, again=again, quiet=quiet, verbose=verbose), store, as_json=as_json)


def ran(wanted: Recipe, store: Store, *, again: tuple[str, ...], quiet: bool, verbose: bool) -> dict[str, Any]:
    """Every door that runs a recipe to its verdict; one that fails halfway has its page all the same."""
    from .. import pipeline
    from ..errors import EdgeresnetError
    from . import _progress

    try:
        with store.used(), _progress.listener(quiet=quiet, verbose=verbose) as listener:
            return pipeline.run(wanted, store, again=frozenset(again), listener=listener)
    except EdgeresnetError as problem:
        with contextlib.suppress(Exception):  # whatever is wrong with the page, what is wrong with the run comes next
            if problem.run is not None:
                _write_text(problem.run, store)
                page = _write_page(problem.run, store)
                if not quiet:
                    _output.echo(f"page: {page}", err=True)
        raise


def told(done: dict[str, Any], store: Store, *, as_json: bool) -> int:
    """Every door that ends in a verdict: the run is reported; gives the exit code."""
    from .. import report

    path = _write_text(done, store)
    if as_json:
        _output.print_json(done)
    else:
        _output.print_report(report.FORMATS["terminal"](done))
    page = _write_page(done, store)
    if not as_json:
        _output.echo(f"page: {page}\nreport: {path}")
    return exit_code(done)


def _write_text(done: Mapping[str, Any], store: Store) -> Path:
    from .. import report
    from ..store import write_text

    path = store.root / "runs" / f"{done['id']}.md"
    write_text(path, report.FORMATS["md"](done))
    return path


def _write_page(done: Mapping[str, Any], store: Store) -> Path:
    from .. import report
    from ..store import write_text

    path = store.root / "runs" / f"{done['id']}.html"
    write_text(path, report.html.of_store(done, store))
    return path


def exit_code(done: dict) -> int:
    if done["verdict"] == "UNDECIDED" and done["undecided"] == "fail":
        return 4
    return {"BROKEN": 3, "NOT_MEASURED": 4}.get(done["verdict"], 0)
