"""Which kind of file a path names: a checkpoint, or images."""

from __future__ import annotations

import os
from pathlib import Path

CHECKPOINTS = (".pt", ".pth", ".pt2", ".th", ".ckpt", ".safetensors", ".bin", ".pth.tar", ".pt.tar")  # not tar archives


def is_named_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint by its name, so that a spelling mistake is reported as that; or a folder
    that holds one.
    """
    from ..models import hub, keras, sharded

    if os.path.isdir(path):
        return hub.is_folder(path)
    return path.name.lower().endswith((*CHECKPOINTS, *keras.ENDINGS)) or sharded.is_index(path)


def holds_images(path: Path) -> bool:
    """Return whether a path is a folder, or a list or an archive of images by its name."""
    from ..images import sources

    return os.path.isdir(path) or sources.is_named_so(path)
