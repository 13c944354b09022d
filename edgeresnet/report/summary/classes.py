"""What changed for whom: how often the images of each class are found, before and now."""

from __future__ import annotations

from typing import Literal

from ...portable import intervals
from ...portable.frozen import dataclass
from ...portable.intervals import Interval
from ...portable.result import Measured
from ...portable.tasks.task import task_of
from .cells import percent, signed, span


def class_columns(score: str) -> tuple[str, ...]:
    """Return the heads over a class's cells. `score` is what the metric of one class is called."""
    return "target", "class", "images", f"{score} before", f"{score} now", "lost pp (corrected 95 %)", ""


@dataclass(frozen=True)
class ClassChange:
    """One class on one target: its score before and now in percent, and the points lost with a corrected interval."""

    target: str
    label: str
    images: int
    before_pct: float
    now_pct: float
    drop_pp: float
    interval: Interval  # corrected for looking at as many classes
    score: str = "recall"

    @property
    def word(self) -> Literal["worse", "better", ""]:
        """Which change is shown, if any."""
        return "worse" if self.interval.low > 0 else "better" if self.interval.high < 0 else ""

    @property
    def drop_cell(self) -> str:
        return f"{signed(self.drop_pp)} ({span(self.interval)})"

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells under `class_columns`."""
        scores = percent(self.before_pct), percent(self.now_pct)
        return self.target, self.label, str(self.images), *scores, self.drop_cell, self.word


def class_changes(result: Measured) -> list[ClassChange]:
    """Return the change of each class that has images, in order; empty without labels."""
    if not result.has_labels:
        return []
    task = task_of(result.task)
    known = [each for each in task.classes(result) if each.of.images]
    z = intervals.z_for(len(known))
    return [
        ClassChange(
            result.target,
            label,
            of.images,
            of.before_pct,
            of.score_pct,
            of.drop_pp,
            of.drop_interval_pp(z),
            task.class_score,
        )
        for label, of in known
    ]


def classes_without_images(result: Measured) -> list[str]:
    """Return the labels of the classes of which no image was evaluated."""
    return [each.label for each in task_of(result.task).classes(result) if not each.of.images]
