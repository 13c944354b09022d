"""How far the answers of two networks to each image are the same, part by part: pixels, or boxes."""

from __future__ import annotations

import numpy as np

from .. import limits
from ..codec import CodecError
from ..frozen import dataclass
from ..intervals import Z95, Interval
from .resampling import Level, Ratios


@dataclass(frozen=True)
class Agreement:
    """In each image, the parts of an answer that are the reference's, and all parts that either answer has."""

    agree: tuple[int, ...]
    parts: tuple[int, ...]

    def check_read(self) -> None:
        if len(self.agree) != len(self.parts):
            raise CodecError("agree", f"has {len(self.agree)} entries, not {len(self.parts)}")
        limits.check_all(self, 0, limits.MANY, "parts", self.parts)
        if any(not 0 <= agree <= parts for agree, parts in zip(self.agree, self.parts, strict=True)):
            raise CodecError("agree", "has more parts than an image, or fewer than none")

    @property
    def images(self) -> int:
        return len(self.parts)

    @property
    def share(self) -> float:
        """The share of parts that agree; 1 where there is none."""
        return sum(self.agree) / sum(self.parts) if sum(self.parts) else 1.0

    def changed(self) -> np.ndarray:
        """Return the share of each image's parts that do not agree."""
        agree, parts = np.asarray(self.agree, np.float64), np.asarray(self.parts, np.float64)
        return np.asarray(1 - np.divide(agree, parts, out=np.ones_like(parts), where=parts > 0))

    def interval(self, z: float = Z95, times: float = 1.0) -> Interval:
        """Return the interval over images of the share that agrees; `times` as many images give its multiple."""
        agree, parts = (np.asarray(each, np.float64).reshape(-1, 1) for each in (self.agree, self.parts))
        return Level(Ratios(agree, parts)).interval(z, times)
