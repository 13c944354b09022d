"""edgeresnet inspect: what is this file, and would a target take it?"""

from __future__ import annotations

from pathlib import Path

import click

from . import _complete, _options, _output


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--target",
    "names",
    multiple=True,
    shell_complete=_complete.targets,
    help="May be repeated; all targets by default, here or not.",
)
@_options.as_json
def inspect(path: Path, names: tuple[str, ...], as_json: bool) -> int:
    """Say what FILE is: a checkpoint, images (a folder, .csv, .json, .npz,
    .tar), or an ONNX file and what each target has against it.

    Of a checkpoint: which network it is, told from its tensors. Of images:
    classes, sizes, what cannot be read, what is there twice or in two splits.
    Of an ONNX file, an error is what a target refuses or reads as something else than was
    meant; a warning costs time. Where TensorRT-RTX is installed, its parser
    reads the file too. Runs nothing and needs no target to be here.

    Exit codes: 0 nothing is wrong with it; 2 a target would refuse or misread
    it, or images cannot be read or are in two splits.
    """
    from .. import inspect as inspecting
    from .. import report
    from ..errors import ImagesError, ModelError

    if inspecting.is_named_checkpoint(path):
        held = inspecting.checkpoint(path)
        _output.print_json(held) if as_json else _output.echo(report.inspect_text.checkpoint(held), nl=False)
        return 0
    if inspecting.holds_images(path):
        looked = inspecting.images(path)
        _output.print_json(looked) if as_json else _output.echo(report.inspect_text.images(looked), nl=False)
        return ImagesError.exit_code if looked["wrong"] else 0
    about = inspecting.inspect(path, names)
    if as_json:
        _output.print_json(about)
    else:
        _output.echo(report.inspect_text.render(about), nl=False)
    return ModelError.exit_code if about["refused_by"] else 0
