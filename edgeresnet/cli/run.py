"""edgeresnet run: do what is not done, measure, judge, print the verdict."""

from __future__ import annotations

from pathlib import Path

from . import _complete, _help, _logging, _options, _running, _workers


@_help.command(
    "edgeresnet run recipe.yaml",
    "edgeresnet run recipe.yaml --again verify",
    "edgeresnet run recipe.yaml --on orin --on nano",
    "edgeresnet run recipe.yaml --ray auto --shared s3://bucket/edgeresnet",
)
@_options.recipe
@_options.store
@_options.changes
@_help.option(
    "--again",
    multiple=True,
    metavar="STAGE",
    shell_complete=_complete.stages,
    help="Stage to run again, as in verify, which measures once more. Repeatable.",
)
@_options.on
@_workers.options
@_logging.option
@_options.quiet
@_options.verbose
@_options.as_json
def run(
    recipe_path: Path,
    store_root: Path,
    changes: tuple[str, ...],
    again: tuple[str, ...],
    on: tuple[str, ...],
    scale: _workers.ScaleOptions,
    log: str | None,
    quiet: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Run what RECIPE still needs, and judge its promises.

    Stages that are done are not repeated: a second run has nothing to do, and
    says so. Writes a report and a page into the store. The exit code is the
    verdict's: 0 kept, 3 broken, 4 not measured.
    """
    from .. import recipe
    from ..pipeline import lookup

    _logging.check(log)
    wanted, store = recipe.load(recipe_path, changes), scale.open_store(store_root)
    wanted, known = lookup.found_for(wanted, recipe_path.parent, str(recipe_path), on)
    workers = scale.start(quiet=quiet)
    done = _running.run_recipe(
        wanted, store, again=again, devices=known, workers=workers, log=log, quiet=quiet, verbose=verbose
    )
    return _running.report_run(done, store, as_json=as_json, log=log)
