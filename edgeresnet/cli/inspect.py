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
    help="A target, installed or not; may be repeated. All by default.",
)
@_options.as_json
def inspect(path: Path, names: tuple[str, ...], as_json: bool) -> int:
    """Show what FILE is: a checkpoint, images (a folder, .csv, .json, .npz,
    .tar), or an ONNX file and what each target has against it.

    Of a checkpoint: which network it is, by its tensors. Of images:
    classes, sizes, what cannot be read, what is there twice or in two splits.
    Of an ONNX file: an error is what a target refuses, or reads as something
    other than was meant; a warning costs time. Where TensorRT-RTX is
    installed, its parser reads the file too. Nothing is run, and no target
    needs to be installed.

    Exit codes: 0 nothing is wrong with it; 2 a target would refuse or misread
    it, or images cannot be read or are in two splits.
    """
    from .. import inspect as inspecting
    from .. import report
    from ..errors import ImagesError, ModelError

    text, code = report.inspect_text, 0
    if inspecting.is_named_checkpoint(path):
        checkpoint = inspecting.inspect_checkpoint(path)
        _show(checkpoint, text.checkpoint_text(checkpoint), as_json=as_json)
    elif inspecting.holds_images(path):
        images = inspecting.inspect_images(path)
        _show(images, text.images_text(images), as_json=as_json)
        code = ImagesError.exit_code if images.wrong else 0
    else:
        onnx = inspecting.inspect_onnx(path, names)
        _show(onnx, text.onnx_text(onnx), as_json=as_json)
        code = ModelError.exit_code if onnx.refused_by else 0
    return code


def _show(document: object, text: str, *, as_json: bool) -> None:
    _output.print_json(document) if as_json else _output.echo(text, nl=False)
