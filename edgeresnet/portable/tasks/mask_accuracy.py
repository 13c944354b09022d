"""How good masks are, before and now: read as the accuracy of classes is, so that no report asks which one it has."""

from __future__ import annotations

import functools
import math
from dataclasses import field
from typing import Any, Literal, NamedTuple

import numpy as np

from .. import limits
from ..codec import CodecError
from ..frozen import OMIT, dataclass
from ..intervals import Z95, Interval
from . import overlap
from .overlap import Agreement, Overlaps


class ScoreName(NamedTuple):
    """What a task's metric is called: in tables, in capitals, and in documents."""

    short: str
    title: str
    key: str


MIOU = ScoreName("mIoU", "mIoU", "miou")


@dataclass(frozen=True)
class MaskAccuracy:
    """The masks of all images compared with the reference's and, with labels, the overlaps of both with these."""

    agreement: Agreement
    answers: tuple[int, ...]  # classes that any pixel is answered as
    before: Overlaps | None = field(default=None, metadata=OMIT)  # the reference's
    now: Overlaps | None = field(default=None, metadata=OMIT)
    sqnr_db: float | None = None  # over logits of some pixels; None: no difference at all
    has_sqnr: bool = field(default=True, metadata=OMIT)  # False: the answers are classes without logits
    task: Literal["segmentation"] = "segmentation"

    def check_read(self) -> None:
        limits.check_all(self, 0, overlap.IGNORED - 1, "answers", self.answers)
        if (self.before is None) != (self.now is None):
            raise CodecError("", "has overlaps of one network, and not of both")
        for name, found in (("before", self.before), ("now", self.now)):
            if found and found.images != self.images:
                raise CodecError(name, f"is of {found.images} images, not of {self.images}")
        if self.before and self.now and self.before.classes != self.now.classes:
            raise CodecError("now", "is of other classes than before")

    @property
    def images(self) -> int:
        return len(self.agreement.pixels)

    @property
    def name(self) -> ScoreName:
        return MIOU

    @functools.cached_property
    def has_labels(self) -> bool:
        return self.now is not None and any(self.now.labelled)

    @property
    def pair(self) -> tuple[Overlaps, Overlaps]:
        """The overlaps before and now. Only with labels."""
        assert self.before is not None
        assert self.now is not None
        return self.before, self.now

    @property
    def agree_pct(self) -> float:
        return 100 * self.agreement.share

    @property
    def agreeing(self) -> str:
        """How many answers are the reference's, as the beginning of a sentence."""
        return f"{self.agree_pct:.2f} % of the pixels are"

    @property
    def flips_pct(self) -> float:
        return 100 - self.agree_pct

    @property
    def score_pct(self) -> float:
        """The mIoU in percent. Only with labels."""
        return 100 * self.pair[1].miou

    @property
    def before_pct(self) -> float:
        """The reference's mIoU in percent. Only with labels."""
        return 100 * self.pair[0].miou

    @property
    def drop_pp(self) -> float:
        """Points of mIoU lost against the reference. Only with labels."""
        return 100 * overlap.drop(*self.pair)

    @property
    def lost(self) -> int:
        """How many images have a lower mIoU than before. Only with labels."""
        return int((self._gains < 0).sum())

    @property
    def won(self) -> int:
        """How many images have a higher mIoU than before. Only with labels."""
        return int((self._gains > 0).sum())

    @property
    def is_of_masks(self) -> bool:
        """Whether an image is a score by itself, and can lose a part of it."""
        return True

    def changed_images(self) -> list[tuple[int, float]]:
        """Return the images with other pixels than the reference's, and the points that each of them lost.

        Without labels, each pixel that changed counts as lost.
        """
        agree, pixels = np.asarray(self.agreement.agree), np.asarray(self.agreement.pixels)
        lost = -self._gains if self.has_labels else 1 - agree / np.maximum(pixels, 1)
        return [(int(number), 100 * float(lost[number])) for number in np.flatnonzero(agree < pixels)]

    def of_image(self, number: int) -> tuple[float, float]:
        """Return the mIoU of one image before and now, in percent. Only with labels."""
        before, now = self._of_images
        return float(before[number]), float(now[number])

    @functools.cached_property
    def _of_images(self) -> tuple[np.ndarray, np.ndarray]:
        before, now = (100 * np.nan_to_num(each.miou_of_images()) for each in self.pair)
        return before, now

    @functools.cached_property
    def _gains(self) -> np.ndarray:
        before, now = self._of_images
        return np.asarray((now - before) / 100)

    def drop_interval_pp(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the drop, paired over images, in points.

        `times` as many images like these give its multiple.
        """
        return _percent(overlap.drop_interval(*self.pair, z, times))

    def score_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the mIoU, in percent."""
        return _percent(overlap.miou_interval(self.pair[1], z, times))

    def before_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the reference's mIoU, in percent."""
        return _percent(overlap.miou_interval(self.pair[0], z, times))

    def independent_drop_pp(self, now: Any) -> Interval:
        """Return the interval of the points lost to answers to other images."""
        one, other = self.score_interval_pct(), now.score_interval_pct()
        lost = self.score_pct - now.score_pct
        low = lost - math.hypot(self.score_pct - one.low, other.high - now.score_pct)
        return Interval(low, lost + math.hypot(one.high - self.score_pct, now.score_pct - other.low))

    def flips_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the part of pixels that are not the reference's, in percent."""
        low, high = _percent(overlap.agree_interval(self.agreement, z, times))
        return Interval(100 - high, 100 - low)


@dataclass(frozen=True)
class ClassOverlap:
    """One class: its IoU in percent before and now, and the images that have it in their labels."""

    before: Overlaps
    now: Overlaps
    number: int

    @property
    def images(self) -> int:
        return int((self.now.counts.labelled[:, self.number] > 0).sum())

    @property
    def before_pct(self) -> float:
        return self._iou(self.before)

    @property
    def score_pct(self) -> float:
        return self._iou(self.now)

    @property
    def drop_pp(self) -> float:
        return self.before_pct - self.score_pct

    def before_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the reference's IoU, in percent."""
        return _percent(overlap.class_interval(self.before, self.number, z, times))

    def score_interval_pct(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the IoU, in percent."""
        return _percent(overlap.class_interval(self.now, self.number, z, times))

    def drop_interval_pp(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval of the points lost, paired over images."""
        return _percent(overlap.class_drop_interval(self.before, self.now, self.number, z, times))

    def _iou(self, found: Overlaps) -> float:
        value = float(found.iou()[self.number])
        return 0.0 if math.isnan(value) else 100 * value


def _percent(interval: Interval) -> Interval:
    return Interval(100 * interval.low, 100 * interval.high)
