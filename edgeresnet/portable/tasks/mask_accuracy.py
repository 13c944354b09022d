"""How good masks are, before and now: read as the accuracy of classes is, so that no report asks which one it has."""

from __future__ import annotations

import functools
from dataclasses import field
from typing import ClassVar, Literal

from .. import limits
from ..frozen import OMIT, dataclass
from . import overlap
from .agreement import Agreement
from .image_scores import ClassStatistics, ImageScores, ScoreName, Statistics
from .overlap import Overlaps

MIOU = ScoreName("mIoU", "mIoU", "miou")
_STATISTICS = Statistics(
    overlap.miou_interval,
    overlap.drop,
    overlap.drop_interval,
    lambda found: found.miou_of_images(),
)
OF_CLASSES = ClassStatistics(
    lambda found, number: int((found.counts.labelled[:, number] > 0).sum()),
    lambda found, number: float(found.iou()[number]),
    overlap.class_interval,
    overlap.class_drop_interval,
)


@dataclass(frozen=True)
class MaskAccuracy(ImageScores):
    """The masks of all images compared with the reference's and, with labels, the overlaps of both with these."""

    agreement: Agreement
    answers: tuple[int, ...]  # classes that any pixel is answered as
    before: Overlaps | None = field(default=None, metadata=OMIT)  # the reference's
    now: Overlaps | None = field(default=None, metadata=OMIT)
    sqnr_db: float | None = None  # over logits of some pixels; None: no difference at all
    has_sqnr: bool = field(default=True, metadata=OMIT)  # False: the answers are classes without logits
    task: Literal["segmentation"] = "segmentation"
    statistics: ClassVar[Statistics] = _STATISTICS

    def check_read(self) -> None:
        limits.check_all(self, 0, overlap.IGNORED - 1, "answers", self.answers)
        self.check_pair()

    @property
    def name(self) -> ScoreName:
        return MIOU

    @functools.cached_property
    def has_labels(self) -> bool:
        return self.now is not None and any(self.now.labelled)

    @property
    def agreeing(self) -> str:
        """How many answers are the reference's, as the beginning of a sentence."""
        return f"{self.agree_pct:.2f} % of the pixels are"
