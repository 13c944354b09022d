"""edgeresnet schema: the JSON Schema of a recipe, a sweep, a run or a result, for editors and for programs."""

from __future__ import annotations

import click

from . import _help, _output


@_help.command(
    "edgeresnet schema recipe",
    "edgeresnet schema sweep",
)
@click.argument("document", type=click.Choice(["recipe", "run", "result", "sweep"]), default="recipe")
def schema(document: str) -> None:
    """Print the JSON Schema of a recipe, a run, a result or a sweep.

    A recipe's schema, the default, has the options of every target. A run is
    what commands print with --json. A result is what deploy.py writes on a
    device. A sweep is what `edgeresnet sweep` reads.
    """
    _output.print_json(schema_of(document))


def schema_of(document: str) -> object:
    """Return the JSON Schema of one kind of document."""
    from .. import recipe, report

    if document == "recipe":
        return recipe.schema()
    if document == "sweep":
        from ..sweeps import keys

        return keys.schema()
    if document == "run":
        from ..runs import Run

        return report.schema.of(Run, title="a run of edgeresnet")
    from ..stages.export.contents import DeviceResult

    return report.schema.of(DeviceResult, title="a device's result of edgeresnet")
