"""Options that several doors share, and the two ways out of a recipe: opened, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..artifact import Store

store = click.option(
    "--store",
    "store_root",
    envvar="EDGERESNET_STORE",
    default="artifacts",
    show_default=True,
    show_envvar=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where artifacts and runs are kept.",
)
changes = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change one key of the recipe: train.epochs=3."
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
recipe = click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))


def open_store(root: Path) -> Store:
    from ..artifact import Store
    from ..errors import MachineError, machine_error

    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise machine_error(problem) or MachineError(
            f"the store {root} cannot be made: {problem.strerror}", hint="give another folder with --store"
        ) from problem
    return Store(root)


def print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=1, ensure_ascii=False))
