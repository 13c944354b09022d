"""What a file holds: an ONNX file and each target's problems with it, a checkpoint, or images. Runs nothing.

Reads images in folders, lists, arrays and archives, too. Compiles and changes nothing. Each kind of file has its own
module, which is loaded when there is such a file: looking at a checkpoint needs no onnx.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .kinds import CHECKPOINTS, holds_images, is_named_checkpoint

if TYPE_CHECKING:
    from .checkpoint import CheckpointReport as CheckpointReport
    from .onnx import GraphValue as GraphValue
    from .onnx import OnnxReport as OnnxReport
    from .onnx import ParserReport as ParserReport
    from .pictures import ImagesReport as ImagesReport

__all__ = [
    "CHECKPOINTS",
    "holds_images",
    "inspect_checkpoint",
    "inspect_images",
    "inspect_onnx",
    "is_named_checkpoint",
]


def inspect_onnx(path: Path, names: Iterable[str] = ()) -> OnnxReport:
    """Inspect an ONNX file for these targets, or for all of them."""
    from . import onnx

    return onnx.inspect_onnx(path, names)


def inspect_checkpoint(path: Path) -> CheckpointReport:
    """Inspect a checkpoint by its tensors' names and shapes, and its publisher's record."""
    from . import checkpoint

    return checkpoint.inspect_checkpoint(path)


def inspect_images(path: Path, masks: Path | None = None, boxes: Path | None = None) -> ImagesReport:
    """Inspect a folder of images, a list of them, a .tar or an .npz; with its masks or boxes, where these lie apart."""
    from . import pictures

    return pictures.inspect_images(path, masks, boxes)
