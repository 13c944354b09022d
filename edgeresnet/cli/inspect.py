"""edgeresnet inspect: what is this file, and would a target take it?"""

from __future__ import annotations

from pathlib import Path

import click

from . import _complete, _help, _options, _output


@_help.command(
    "edgeresnet inspect net.onnx --target tensorrt",
    "edgeresnet inspect val2017 --boxes instances_val2017.json",
)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@_help.option(
    "--target",
    "names",
    multiple=True,
    type=_help.TARGET_NAMES,
    group=_help.TARGET,
    show_default="all",
    help="Target to check an ONNX file for, installed or not. Repeatable.",
)
@_help.option(
    "--masks",
    type=click.Path(path_type=Path),
    group=_help.IMAGES,
    shell_complete=_complete.files,
    help="Folder of masks of the images in FILE, or a .json of COCO.",
)
@_help.option(
    "--boxes",
    type=click.Path(path_type=Path),
    group=_help.IMAGES,
    shell_complete=_complete.files,
    help="Boxes of objects in the images in FILE: a .json of COCO, or a folder of Pascal VOC.",
)
@_options.as_json
def inspect(path: Path, names: tuple[str, ...], masks: Path | None, boxes: Path | None, as_json: bool) -> int:
    """Show what FILE holds, and what each target says about it.

    FILE is a checkpoint or a folder of Hugging Face's hub, an ONNX file, or
    images (a folder, .csv, .json, .npz or .tar). For a checkpoint: the architecture, recognised by its tensors.
    For images: classes, sizes, unreadable files, duplicates, and images in two
    splits. A store or an export next to the images is left out. For masks:
    how many pixels each class has, and masks that cannot be used. For boxes:
    how many objects each class has, and boxes that may be wrong. For an ONNX
    file: errors and warnings of each target. An error means that the target
    refuses or misreads the file, a warning costs time.

    Nothing runs, and the targets need not be installed. Where TensorRT-RTX is
    installed, its parser reads the file too.

    Exit codes: 0 no problem; 2 a target would refuse or misread the file, or
    images cannot be read or are in two splits.
    """
    from .. import inspect as inspecting
    from .. import report
    from ..errors import ImagesError, ModelError

    text, code = report.inspect_text, 0
    if inspecting.is_named_checkpoint(path):
        checkpoint = inspecting.inspect_checkpoint(path)
        _show(checkpoint, text.checkpoint_text(checkpoint), as_json=as_json)
    elif inspecting.holds_images(path):
        images = inspecting.inspect_images(path, masks, boxes)
        _show(images, text.images_text(images), as_json=as_json)
        code = ImagesError.exit_code if images.wrong else 0
    else:
        onnx = inspecting.inspect_onnx(path, names)
        _show(onnx, text.onnx_text(onnx), as_json=as_json)
        code = ModelError.exit_code if onnx.refused_by else 0
    return code


def _show(document: object, text: str, *, as_json: bool) -> None:
    _output.print_json(document) if as_json else _output.echo(text, nl=False)
