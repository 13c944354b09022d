"""edgeresnet predict: which class does the compiled network of a run see in this image, and where?"""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from . import _complete, _help, _options, _output


@_help.command(
    "edgeresnet predict picture.jpg --top 3",
    "edgeresnet predict picture.jpg --output boxes.png",
)
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_help.option("--run", "run_name", shell_complete=_complete.runs, show_default="newest", help="Id of the run.")
@_help.option(
    "--target", type=_help.PART_NAMES, group=_help.TARGET, show_default="all", help="Target of the run to use."
)
@_help.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    group=_help.OUTPUT,
    help="Number of classes, or of boxes, to list.",
)
@_help.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    group=_help.OUTPUT,
    show_default="none",
    help="PNG file for a mask, or for the image with its boxes. Each target and variant is added to the name.",
)
@_options.store
@_options.as_json
def predict(
    image: Path,
    run_name: str | None,
    target: str | None,
    top: int,
    output: Path | None,
    store_root: Path,
    as_json: bool,
) -> None:
    """Show what the compiled networks of a run see in IMAGE.

    Prints the most likely classes for each target, with their probability. In segmentation, prints each class's share
    of the pixels. In detection, prints boxes with their score and their place in IMAGE. --output draws masks and boxes.
    """
    from .. import predict as predicting

    store = _options.read_store(store_root)
    run = store.load_run(run_name)
    with store.used() if store.is_marked else contextlib.nullcontext():
        found = predicting.predict(store, run, image, target, top)
    if there := [] if target else run.measured_on_devices:
        _output.echo(f"left out, since a device compiled it: {', '.join(there)}", err=True)
    written = predicting.write_pictures(found, image, run, output) if output else []
    for path in written:
        _output.echo(f"wrote {path}", err=True)
    if output and not written:
        _output.echo("no picture was written: these networks give one class to an image", err=True)
    if as_json:
        _output.print_json({name: each.answers for name, each in found.items()})
        return
    for name, predicted in found.items():
        _output.echo(name)
        for line in [each.line for each in predicted.answers] or ["no box"]:
            _output.echo(f"  {line}")
