"""The anchors of a recipe's detector: those of its architecture, of the recipe, or torchvision's.

Reads shapes of outputs. Imports no torch and no onnx.
"""

from __future__ import annotations

from ..errors import ModelError
from ..graph import joining
from ..models import anchors
from ..portable.onnx_file import OnnxFile
from ..portable.tasks.detector import Detector
from ..portable.tasks.task import task_of
from ..portable.tasks.two_stage import AnyDetector
from ..recipe import Recipe
from ..recipe.anchors import Anchors

_STRIDES = (8, 4, 16, 2, 32)  # of the finest level, the usual one first


def detector(recipe: Recipe, arch: str | None, classes: int, onnx: OnnxFile | None) -> AnyDetector | None:
    """Return how the network's answers become boxes; None where the task has none."""
    if not task_of(recipe.task).has_boxes:
        return None
    size, given = recipe.preprocessing.size, recipe.model.anchors
    own = anchors.of(arch or "", size, classes)
    if given is None and own:
        return own
    if given and isinstance(own, Detector):
        _check_number(given, own, arch or "")
    levels = len(given.sizes) if given else len(anchors.SIZES)
    if given and given.stride:
        grids = anchors.grids(size, given.stride, levels)
    else:
        grids = own.grids if own else _grids(size, levels, cell_anchors(recipe), onnx)
    return given.detector(size, classes, grids) if given else anchors.usual(size, classes, grids)


def cell_anchors(recipe: Recipe) -> int:
    """Return how many anchors a cell has."""
    given = recipe.model.anchors
    return len(given.sizes[0]) * len(given.ratios) if given else len(anchors.SIZES[0]) * len(anchors.RATIOS)


def _check_number(given: Anchors, own: Detector, arch: str) -> None:
    """Refuse anchors for which a known network does not have as many answers."""
    has, wanted = (f"{len(of.sizes)} × {len(of.sizes[0]) * len(of.ratios)}" for of in (own, given))
    if has != wanted:
        problem = f"has {has} anchors (levels × anchors in a cell), but `model.anchors` has {wanted}"
        raise ModelError(arch, problem, hint="give as many anchors as the network has, or remove `model.anchors`")


def _grids(size: int, levels: int, each: int, onnx: OnnxFile | None) -> tuple[int, ...]:
    """Return the cells of each level: those of an ONNX file's outputs, as far as these show them."""
    outputs = onnx.outputs if onnx else ()
    shown = joining.grids_in(outputs) if outputs else None
    if shown and len(shown) == levels:
        return shown
    choices = [anchors.grids(size, stride, levels) for stride in _STRIDES]
    rows = joining.rows_in(outputs)
    return next((found for found in choices if each * sum(cells**2 for cells in found) == rows), choices[0])
