"""edgeresnet clean: remove from the store by age or size."""

from __future__ import annotations

from pathlib import Path

import click

from . import _help, _options, _output


@_help.command(
    "edgeresnet clean --older-than 7d",
)
@_help.option("--older-than", metavar="AGE", help="Remove what was not used for this time: 12h, 7d.")
@_help.option(
    "--larger-than",
    metavar="MB",
    type=click.FloatRange(min=0),
    help="Remove the oldest until the store has at most this size, in MB.",
)
@_help.option("--all", "everything", is_flag=True, help="Remove everything.")
@_options.store
def clean(older_than: str | None, larger_than: float | None, everything: bool, store_root: Path) -> None:
    """Remove old artifacts and runs from the store.

    Give one of --older-than, --larger-than and --all. Refuses while a run
    uses the store. The next run of a recipe makes what is missing again.
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
