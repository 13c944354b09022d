"""How often the class of an image is correct, before and now: the counts, and what they show."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from .. import intervals, limits
from ..codec import CodecError
from ..frozen import OMIT, dataclass
from ..intervals import Interval
from .image_scores import ScoreName

TOP1 = ScoreName("top-1", "Top-1", "top1")


@dataclass(frozen=True)
class Accuracy:
    """The answers to all images compared with the reference's, as counts. Without labels, only how many agree."""

    images: int
    agree: int
    top1: int | None = field(default=None, metadata=OMIT)
    lost: int | None = field(default=None, metadata={"key": "flips_lost", **OMIT})  # correct before, and no longer
    won: int | None = field(default=None, metadata={"key": "flips_won", **OMIT})
    sqnr_db: float | None = None  # None: no difference at all
    top5: int | None = field(default=None, metadata=OMIT)

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "images")
        limits.check(self, 0, self.images, "agree", "top1", "lost", "won", "top5")
        if len({each is None for each in (self.top1, self.lost, self.won)}) > 1:
            raise CodecError("", "has only a part of the counts that labels give: top1, flips_lost, flips_won")

    @property
    def has_labels(self) -> bool:
        return self.top1 is not None

    @property
    def agree_pct(self) -> float:
        return 100 * self.agree / max(self.images, 1)

    @property
    def has_image_scores(self) -> bool:
        """Whether an image is a score by itself, and can lose a part of it."""
        return False

    def changed_images(self) -> list[tuple[int, float]]:
        """Return the images whose own score changed, and the points lost; here an image is lost or won instead."""
        return []

    def of_image(self, number: int) -> tuple[float, float]:
        """Return the score of one image before and now."""
        raise NotImplementedError("an image of one class has no score of its own")

    @property
    def agreeing(self) -> str:
        """How many answers are the reference's, as the beginning of a sentence."""
        return f"{self.agree} of {self.images} answers are"

    @property
    def uncompared(self) -> str:
        """Why no answer is compared with the reference's; empty where some are."""
        return ""

    @property
    def flips_pct(self) -> float:
        return 100 * (self.images - self.agree) / max(self.images, 1)

    @property
    def score_pct(self) -> float:
        """Top-1 in percent. Only with labels."""
        assert self.top1 is not None
        return 100 * self.top1 / max(self.images, 1)

    @property
    def before_pct(self) -> float:
        """The reference's top-1 in percent. Only with labels."""
        return 100 * self._before / max(self.images, 1)

    @property
    def _before(self) -> int:
        assert self.top1 is not None
        assert self.lost is not None
        assert self.won is not None
        return self.top1 + self.lost - self.won

    @property
    def has_sqnr(self) -> bool:
        return True

    @property
    def name(self) -> ScoreName:
        return TOP1

    @property
    def drop_pp(self) -> float:
        """Points of top-1 lost against the reference. Only with labels."""
        assert self.lost is not None
        assert self.won is not None
        return 100 * (self.lost - self.won) / max(self.images, 1)

    def drop_interval_pp(self, z: float = intervals.Z95, times: float = 1.0) -> Interval:
        """Return the score interval of the drop, in points. The answers are paired: same images before and after.

        `times` as many images like these give its multiple.
        """
        assert self.lost is not None
        assert self.won is not None
        low, high = intervals.tango(times * self.lost, times * self.won, times * self.images, z)
        return Interval(100 * low, 100 * high)

    def score_interval_pct(self, z: float = intervals.Z95, times: float = 1.0) -> Interval:
        """Return the interval of top-1, in percent."""
        assert self.top1 is not None
        return self._share(self.top1, z, times)

    def before_interval_pct(self, z: float = intervals.Z95, times: float = 1.0) -> Interval:
        """Return the interval of the reference's top-1, in percent."""
        return self._share(self._before, z, times)

    def flips_interval_pct(self, z: float = intervals.Z95, times: float = 1.0) -> Interval:
        """Return the interval of the part of answers that are not the reference's, in percent."""
        return self._share(self.images - self.agree, z, times)

    def independent_drop_pp(self, now: Any) -> Interval:
        """Return the interval of the points lost to answers to other images."""
        assert isinstance(now, Accuracy)
        assert self.top1 is not None
        assert now.top1 is not None
        low, high = intervals.independent_drop(self.top1, self.images, now.top1, now.images)
        return Interval(100 * low, 100 * high)

    def _share(self, hits: int, z: float, times: float) -> Interval:
        low, high = intervals.wilson(times * hits, times * self.images, z)
        return Interval(100 * low, 100 * high)
