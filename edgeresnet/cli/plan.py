"""edgeresnet plan: what a run would do."""

from __future__ import annotations

from pathlib import Path

from . import _help, _options, _output


@_help.command(
    "edgeresnet plan recipe.yaml --set train.epochs=3",
)
@_options.recipe
@_options.store
@_options.changes
@_options.on
@_options.as_json
def plan(recipe_path: Path, store_root: Path, changes: tuple[str, ...], on: tuple[str, ...], as_json: bool) -> None:
    """List the stages of RECIPE, and which of them are done.

    No stage runs, and no device is reached. A stage is done if the store holds
    its result.
    """
    from .. import pipeline, recipe, report
    from ..pipeline import lookup

    wanted, _ = lookup.found_for(recipe.load(recipe_path, changes), recipe_path.parent, str(recipe_path), on)
    outcomes = pipeline.preview(wanted, _options.open_store(store_root))
    rows = [
        (
            str(o.step.id),
            o.state,
            o.artifact.digest[:12] if o.artifact else o.reason,
            ", ".join(map(str, o.step.parents)),
        )
        for o in outcomes
    ]
    if as_json:
        keys = ("id", "state", "digest_or_reason", "reads")
        _output.print_json([dict(zip(keys, row, strict=True)) for row in rows])
        return
    _output.echo(report.tables.columns(("step", "state", "digest", "reads"), rows))
    left = sum(outcome.state != "done" for outcome in outcomes)
    _output.echo(f"\n{left} of {len(outcomes)} stages to do" if left else f"\nall {len(outcomes)} stages are done")
