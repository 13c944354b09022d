"""How a detector's answers become boxes, where no architecture of ours says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..portable.tasks.detector import Detector
from .base import Section

Pixels = Annotated[float, Field(gt=0, le=65536)]
Sizes = Annotated[tuple[Pixels, ...], Field(min_length=1, max_length=64)]
Ratio = Annotated[float, Field(gt=0, le=1000)]


class Anchors(Section):
    """Anchors and thresholds of a detector, as torchvision's `AnchorGenerator` and `RetinaNet` have them."""

    sizes: Annotated[tuple[Sizes, ...], Field(min_length=1, max_length=16)] = Field(
        description="Sizes of the anchors of each level in pixels, the finest level first, as in [[32, 40], [64, 80]]."
    )
    ratios: Annotated[tuple[Ratio, ...], Field(min_length=1, max_length=64)] = Field(
        (0.5, 1.0, 2.0), description="Heights of anchors by their widths, the same for all levels."
    )
    stride: Literal[1, 2, 4, 8, 16, 32, 64] | None = Field(
        None,
        description="Pixels from a cell of the finest level to the next one; each level has the double. Unset: as an "
        "ONNX file's shapes show it, else 8.",
    )
    least: float = Field(0.05, ge=0, lt=1, description="Smallest score of a box.")
    overlap: float = Field(
        0.5, gt=0, le=1, description="Intersection over union from which the less probable of two boxes is removed."
    )
    candidates: int = Field(
        1000, ge=1, le=100_000, description="Number of boxes of a level that are looked at, the most probable ones."
    )
    most: int = Field(100, ge=1, le=100_000, description="Largest number of boxes in an image.")

    @model_validator(mode="after")
    def _of_equal_number(self) -> Anchors:
        if len({len(each) for each in self.sizes}) > 1:
            raise ValueError("sizes must have as many sizes for each level: one head serves all levels")
        return self

    def detector(self, size: int, classes: int, grids: tuple[int, ...]) -> Detector:
        """Return how answers become boxes; `grids` are the cells along a side, level by level."""
        return Detector(
            size, classes, grids, self.sizes, self.ratios, self.least, self.overlap, self.candidates, self.most
        )
