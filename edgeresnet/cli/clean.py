"""edgeresnet clean: the store emptied by age or size."""

from __future__ import annotations

from pathlib import Path

import click

from . import _options


@click.command()
@click.option("--older-than", metavar="AGE", help="Whatever was not touched for so long: 12h, 7d.")
@click.option("--larger-than", metavar="MB", type=float, help="The oldest, until the store is no larger.")
@click.option("--all", "everything", is_flag=True, help="All of it.")
@_options.store
def clean(older_than: str | None, larger_than: float | None, everything: bool, store_root: Path) -> None:
    """Remove artifacts, caches and runs from the store.

    What a run is making at this moment stays. A recipe run again makes anew
    what it needs.
    """
    from ..artifact import seconds_of
    from ..errors import EdgeresnetError

    if sum([older_than is not None, larger_than is not None, everything]) != 1:
        raise EdgeresnetError("nothing was named to remove", hint="give --older-than, --larger-than or --all")
    store = _options.open_store(store_root)
    age = 0.0 if everything else seconds_of(older_than) if older_than else float("inf")
    removed, freed_mb = store.clean(age, larger_than)
    click.echo(f"removed {removed} entries, {freed_mb:.1f} MB, from {store.root}")
