"""edgeresnet predict: what does the compiled network of a run say about this picture?"""

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
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="How many classes to name.")
@_options.store
@_options.as_json
def predict(image: Path, run_name: str | None, target: str | None, top: int, store_root: Path, as_json: bool) -> None:
    """Ask the compiled networks of a run about IMAGE, prepared as the recipe says."""
    from .. import predict as predicting

    store = _options.read_store(store_root)
    run = store.load_run(run_name)
    with store.used() if store.is_marked else contextlib.nullcontext():
        said = predicting.predict(store, run, image, target, top)
    if as_json:
        _output.print_json(said)
        return
    for name, answers in said.items():
        _output.echo(name)
        for answer in answers:
            _output.echo(f"  {100 * answer['probability']:6.2f} %  {on_one_line(answer['label'])}")
