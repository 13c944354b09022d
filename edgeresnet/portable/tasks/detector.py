"""How the answers of a detector become boxes: its anchors, and which boxes are left of all that overlap.

These steps are outside the network, in numpy: they are the same for every variant and on every device.
"""

from __future__ import annotations

from ..frozen import dataclass


@dataclass(frozen=True)
class Detector:
    """One network's anchors and thresholds, as torchvision names them.

    An answer to one image has a row for each anchor: a logit for each class, then four offsets. Rows are in order of
    levels, then of cells (row by row), then of the anchors of a cell.
    """

    size: int  # of an image, in pixels
    classes: int  # for which there are logits
    grids: tuple[int, ...]  # cells along a side, by level, the finest first
    sizes: tuple[tuple[float, ...], ...]  # of anchors, by level, in pixels
    ratios: tuple[float, ...]  # height by width
    least: float = 0.05  # score of a box
    overlap: float = 0.5  # IoU from which the less probable of two boxes of a class goes
    candidates: int = 1000  # boxes of a level that are looked at, the most probable ones
    most: int = 100  # boxes of an image
