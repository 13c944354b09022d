"""edgeresnet predict: which class does the compiled network of a run see in this image?"""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from ..text import on_one_line
from . import _complete, _options, _output


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--run", "run_name", shell_complete=_complete.runs, help="A run's id; the newest by default.")
@click.option("--target", shell_complete=_complete.targets, help="One of the run's targets; all of them by default.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Number of classes to list.")
@_options.store
@_options.as_json
def predict(image: Path, run_name: str | None, target: str | None, top: int, store_root: Path, as_json: bool) -> None:
    """Show how the compiled networks of a run classify IMAGE."""
    from .. import predict as predicting

    store = _options.read_store(store_root)
    run = store.load_run(run_name)
    with store.used() if store.is_marked else contextlib.nullcontext():
        found = predicting.predict(store, run, image, target, top)
    if as_json:
        _output.print_json(found)
        return
    for name, predictions in found.items():
        _output.echo(name)
        for each in predictions:
            _output.echo(f"  {100 * each.probability:6.2f} %  {on_one_line(each.label)}")
