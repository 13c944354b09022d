"""How good boxes are, before and now: read by the same names as the accuracy of classes and of masks."""

from __future__ import annotations

import functools
from dataclasses import field
from typing import ClassVar, Literal

from .. import limits
from ..frozen import OMIT, dataclass
from . import precision
from .agreement import Agreement
from .image_scores import ClassStatistics, ImageScores, ScoreName, Statistics
from .precision import SURE, Matched

MAP = ScoreName("mAP", "mAP", "map")
_STATISTICS = Statistics(
    precision.map_interval, precision.drop, precision.drop_interval, lambda found: found.map_of_images()
)
OF_CLASSES = ClassStatistics(
    lambda found, number: int(found.images_of_classes[number]),
    lambda found, number: float(found.of_classes[number]),
    precision.class_interval,
    precision.class_drop_interval,
)


@dataclass(frozen=True)
class BoxAccuracy(ImageScores):
    """The boxes of all images compared with the reference's and, with labels, which of both are objects."""

    agreement: Agreement  # of boxes with a score of 0.5 or more
    answers: tuple[int, ...]  # classes that any box has
    before: Matched | None = field(default=None, metadata=OMIT)  # the reference's
    now: Matched | None = field(default=None, metadata=OMIT)
    sqnr_db: float | None = None  # over some rows of answers; None: no difference at all
    has_sqnr: bool = field(default=True, metadata=OMIT)  # False: the answers are boxes, without logits
    task: Literal["detection"] = "detection"
    statistics: ClassVar[Statistics] = _STATISTICS

    def check_read(self) -> None:
        limits.check_all(self, 0, limits.MANY, "answers", self.answers)
        self.check_pair()

    @property
    def name(self) -> ScoreName:
        return MAP

    @functools.cached_property
    def has_labels(self) -> bool:
        return self.now is not None and bool(self.now.objects.any())

    @property
    def uncompared(self) -> str:
        """Why no box is compared with the reference's; empty where some are."""
        return "" if any(self.agreement.parts) else f"no box has a score of {SURE:g} or more"

    @property
    def agreeing(self) -> str:
        """How many answers are the reference's, as the beginning of a sentence."""
        if self.uncompared:
            return f"0 of 0 boxes with a score of {SURE:g} or more are"
        return f"{self.agree_pct:.2f} % of the boxes are"
