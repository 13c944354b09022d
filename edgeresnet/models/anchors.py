"""Anchors of the networks that find boxes, by name: what reads their answers. Imports no torch.

A test compares them with those that torchvision makes.
"""

from __future__ import annotations

from ..portable.tasks.detector import Detector
from ..portable.tasks.two_stage import AnyDetector, TwoStage
from . import names

RATIOS = (0.5, 1.0, 2.0)  # height by width
_MOST = 300  # boxes of an image that torchvision's RetinaNets return
# Three sizes for each level of torchvision's RetinaNets, as it rounds them.
SIZES = tuple((float(x), float(int(x * 2 ** (1 / 3))), float(int(x * 2 ** (2 / 3)))) for x in (32, 64, 128, 256, 512))
SMALL_SIZES = ((8.0, 11.0), (16.0, 22.0), (32.0, 45.0))
_FIRST, _SMALL_FIRST, _TWO_STAGE_FIRST = 8, 2, 4  # stride of the finest level
TWO_STAGE_SIZES = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))


def of(arch: str, size: int, classes: int) -> AnyDetector | None:
    """Return how the answers of a known network to images of this size are read; None where it finds no boxes."""
    if names.detector(arch) is None:
        return None
    if arch in names.TWO_STAGE:
        return TwoStage(size, classes, grids(size, _TWO_STAGE_FIRST, len(TWO_STAGE_SIZES)), TWO_STAGE_SIZES, RATIOS)
    if arch in names.TORCHVISION_DETECTORS:
        return usual(size, classes, grids(size, _FIRST, len(SIZES)))
    return Detector(size, classes, grids(size, _SMALL_FIRST, len(SMALL_SIZES)), SMALL_SIZES, RATIOS)


def usual(size: int, classes: int, cells: tuple[int, ...]) -> Detector:
    """Return how the answers of a RetinaNet are read that has torchvision's anchors, with these grids of cells."""
    return Detector(size, classes, cells, SIZES, RATIOS, most=_MOST)


def grids(size: int, stride: int, levels: int) -> tuple[int, ...]:
    """Return the cells along a side of each level. The first has this stride, and each next one the double.

    Each layer that halves an image rounds up, so that strides in pixels need not be powers of two.
    """
    cells, found = size, []
    while stride > 1:
        cells, stride = -(-cells // 2), stride // 2
    for _ in range(levels):
        found.append(cells)
        cells = -(-cells // 2)
    return tuple(found)
