"""What changed for whom: how often the images of each class are found, before and now."""

from __future__ import annotations

from typing import Literal

from ...portable import intervals, judging
from ...portable.frozen import dataclass
from ...portable.intervals import Interval
from ...portable.result import Accuracy, Measured
from .cells import percent, signed, span

CLASS_COLUMNS = ("target", "class", "images", "recall before", "recall now", "lost pp (corrected 95 %)", "")


@dataclass(frozen=True)
class ClassChange:
    """One class on one target: the recall before and now in percent, and the points lost with a corrected interval."""

    target: str
    label: str
    images: int
    before_pct: float
    now_pct: float
    drop_pp: float
    interval: Interval  # corrected for looking at as many classes

    @property
    def word(self) -> Literal["worse", "better", ""]:
        """Which change is shown, if any."""
        return "worse" if self.interval.low > 0 else "better" if self.interval.high < 0 else ""

    @property
    def drop_cell(self) -> str:
        return f"{signed(self.drop_pp)} ({span(self.interval)})"

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells under CLASS_COLUMNS."""
        recalls = percent(self.before_pct), percent(self.now_pct)
        return self.target, self.label, str(self.images), *recalls, self.drop_cell, self.word


def class_changes(result: Measured) -> list[ClassChange]:
    """Return the change of each class that has images, in order; empty without labels."""
    if not result.has_labels:
        return []
    both = zip(judging.recalls(result), judging.flips(result), strict=True)
    known = [(recall, flips) for recall, flips in both if recall.images]
    z = intervals.z_for(len(known))
    changes = []
    for (label, images, before, now), (lost, won) in known:
        paired = Accuracy(images, agree=images - lost - won, top1=now, lost=lost, won=won)  # of this class alone
        recalls = 100 * before / images, paired.top1_pct
        changes.append(ClassChange(result.target, label, images, *recalls, paired.drop_pp, paired.drop_interval_pp(z)))
    return changes


def classes_without_images(result: Measured) -> list[str]:
    """Return the labels of the classes of which no image was evaluated."""
    return [recall.label for recall in judging.recalls(result) if not recall.images]


def balanced_accuracy_pct(result: Measured, variant: str) -> float:
    """Return the mean recall of the classes that have images, in percent."""
    recalls = [recall.now / recall.images for recall in judging.recalls(result, variant) if recall.images]
    return 100 * sum(recalls) / max(len(recalls), 1)
