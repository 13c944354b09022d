"""edgeresnet clean: remove from the store by age or size."""

from __future__ import annotations

from pathlib import Path

import click

from . import _options, _output


@click.command()
@click.option("--older-than", metavar="AGE", help="What was not touched for this long: 12h, 7d.")
@click.option(
    "--larger-than", metavar="MB", type=click.FloatRange(min=0), help="The oldest, until the store is no larger."
)
@click.option("--all", "everything", is_flag=True, help="All of it.")
@_options.store
def clean(older_than: str | None, larger_than: float | None, everything: bool, store_root: Path) -> None:
    """Remove artifacts, caches and runs from the store.

    Refused while a run uses the store. A recipe makes again what it needs when
    it is run.
    """
    from ..errors import EdgeresnetError
    from ..store import seconds_of

    if sum([older_than is not None, larger_than is not None, everything]) != 1:
        raise EdgeresnetError(
            "what to remove", "is not clear", hint="give one of --older-than, --larger-than and --all"
        )
    store = _options.open_store(store_root)
    age = 0.0 if everything else seconds_of(older_than) if older_than else float("inf")
    with store.used(alone=True):
        removed, freed_mb = store.clean(age, larger_than)
    _output.echo(f"removed {removed} entries, {freed_mb:.1f} MB, from {store.root}")
