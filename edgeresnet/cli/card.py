"""edgeresnet card: a run as a model card for the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import click

from . import _complete, _help, _options, _output


@_help.command(
    "edgeresnet card --license mit --dataset imagenet-1k --output README.md",
)
@click.argument("run", required=False, shell_complete=_complete.runs)
@_help.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    group=_help.OUTPUT,
    help="File to write instead of stdout.",
)
@_help.option(
    "--name",
    default="",
    show_default="the network and its classes",
    group=_help.OUTPUT,
    help="Name of the model.",
)
@_help.option(
    "--license",
    "licence",
    default="",
    metavar="ID",
    group=_help.OUTPUT,
    help="License of the weights: apache-2.0, mit, …",
)
@_help.option(
    "--dataset",
    default="",
    metavar="NAME",
    group=_help.OUTPUT,
    help="Name of the evaluation images, or their id on the hub.",
)
@_help.option(
    "--base-model",
    default="",
    metavar="ID",
    group=_help.OUTPUT,
    help="Model on the hub that this one was made from.",
)
@_options.store
def card(
    run: str | None, output: Path | None, name: str, licence: str, dataset: str, base_model: str, store_root: Path
) -> None:
    """Print RUN as a model card for the Hugging Face hub.

    RUN is an id or a file, by default the newest run. The card has
    measurements, promises, conditions and digests. Without --dataset its head
    holds no results: the hub needs a name for the images.
    """
    from ..report import card as cards

    found = _options.read_store(store_root, run).load_run(run)
    text = cards.render(found, cards.About(name, licence, dataset, base_model))
    if not dataset and any(result.has_labels for result in found.measured):
        _output.echo("the head of the card has no results: name the evaluation images with --dataset", err=True)
    if output:
        _output.write_output(output, text)
    else:
        _output.echo(text, nl=False)
