"""What a network answers, as rows of numbers: one for an image, or one for each of some pixels, anchors or cells of it.

Those of all would not fit into memory. The places that are looked at are always the same.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx

from ..graph import about
from ..portable.tasks import segmentation
from . import session

Unit = Literal["image", "pixel", "anchor", "cell"]

_ANCHORS = 1024  # or cells, whose answers stand for those of all
_OFFSETS = 4  # of a box, after an anchor's logits
_OF_CELL = 3  # anchors of a cell of Faster R-CNN; their logits and offsets are at the end of its row
_UNITS: dict[int, Unit] = {3: "anchor", 4: "pixel"}


def unit_of(model: onnx.ModelProto) -> Unit:
    """Return what has a row of its own: a complete image, each pixel, or each anchor or cell of a detector."""
    if about.entry({each.key: each.value for each in model.metadata_props}, "answers") == about.CELLS:
        return "cell"
    return _UNITS.get(len(model.graph.output[0].type.tensor_type.shape.dim), "image")


def answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Return a network's answers to normalised images, as rows."""
    run = session.Runner(model, [model.graph.output[0].name])
    size = session.batch_for(images.shape[1:])
    batches = (images[i : i + size] for i in range(0, len(images), size))
    return np.concatenate([rows(found[0]) for _, found in run.over(batches)])


def rows(answer: np.ndarray) -> np.ndarray:
    """Return answers as rows: of images, or of some pixels, anchors or cells of each image."""
    few = sampled(answer)
    return few.reshape(-1, few.shape[-1])


def sampled(answer: np.ndarray) -> np.ndarray:
    """Return answers as images × numbers, or as images × places × numbers: of some pixels, anchors or cells."""
    if answer.ndim == 4:
        return segmentation.sampled(answer)
    if answer.ndim != 3:
        return answer
    rows = answer.shape[1]
    return np.ascontiguousarray(answer[:, np.unique(np.linspace(0, rows - 1, min(_ANCHORS, rows)).astype(int))])


def top(found: np.ndarray, unit: Unit) -> np.ndarray:
    """Return the class that each row answers. That of an anchor is -1 where no class is as probable as not.

    Of a cell it is a number for each anchor: 0 where an object is as probable as not, else -1.
    """
    if unit == "cell":
        first = found.shape[-1] - _OF_CELL * (1 + _OFFSETS)
        return np.where(found[..., first : first + _OF_CELL] > 0, 0, -1)
    if unit != "anchor":
        return np.asarray(found.argmax(-1))
    logits = found[..., :-_OFFSETS]
    return np.where(logits.max(-1) > 0, logits.argmax(-1), -1)
