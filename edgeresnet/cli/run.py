"""edgeresnet run: do what is not done, measure, judge, print the verdict."""

from __future__ import annotations

from pathlib import Path

import click

from . import _complete, _options, _running


@click.command()
@_options.recipe
@_options.store
@_options.changes
@click.option(
    "--again",
    multiple=True,
    metavar="STAGE",
    shell_complete=_complete.stages,
    help="Re-run a stage: verify measures once more. May be repeated.",
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
    """Run what RECIPE still needs: measure, judge, report.

    Stages that are done already are not repeated: a second run has nothing to
    do, and says so. The exit code is the verdict's: 0 kept, 3 broken, 4 not
    measured.
    """
    from .. import recipe

    wanted, store = recipe.load(recipe_path, changes), _options.open_store(store_root)
    done = _running.run_recipe(wanted, store, again=again, quiet=quiet, verbose=verbose)
    return _running.report_run(done, store, as_json=as_json)
