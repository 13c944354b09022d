"""Options that several doors share, and the two ways out of a recipe: opened, or refused."""

from __future__ import annotations

import os
import sys
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
    type=click.Path(path_type=Path),
    help="Where artifacts and runs are kept.",
)
changes = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change one key of the recipe: train.epochs=3."
)
as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
recipe = click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))


def open_store(root: Path) -> Store:
    from ..artifact import Store

    return Store.open(root)


def write_output(path: Path, text: str) -> None:
    """A file where the user said; a folder that is not there is a slip of the pen, not a wish."""
    from ..artifact import write_text
    from ..errors import EdgeresnetError

    if not path.parent.is_dir():
        raise EdgeresnetError(f"there is no folder {path.parent}", hint="make it, or write elsewhere")
    write_text(path, text)
    echo(f"wrote {path}", err=True)


def echo(text: str, *, err: bool = False, nl: bool = True, color: bool | None = None) -> None:
    """Prints; a reader that has left (`| head`) takes nothing from the exit code, which is the verdict's."""
    try:
        click.echo(text, err=err, nl=nl, color=color)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if err else sys.stdout).fileno())


def print_json(value: Any) -> None:
    import json

    echo(json.dumps(value, indent=1, ensure_ascii=False))
