"""edgeresnet schema: what a recipe may say, for editors and for people."""

from __future__ import annotations

import click

from . import _output


@click.command()
def schema() -> None:
    """Print the JSON Schema of a recipe, with the options of every target."""
    from .. import recipe

    _output.print_json(recipe.schema())
