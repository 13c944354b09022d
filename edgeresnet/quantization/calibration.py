"""The calibration images as the quantizer takes them: in the order of their content, most to learn from, some held out.

The order of the files and the network's own batch change nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..images import Samples
from .engine import most_held_out
from .session import batch_for

HELD_OUT = 4  # one image in four
_FEWEST = 16  # with fewer images, none is held out


@dataclass(frozen=True)
class Calibration:
    """Images to learn from, and images that are held out."""

    learn: Samples
    held_out: Samples

    @staticmethod
    def of(samples: Samples) -> Calibration:
        """Divide the images."""
        order = np.array(sorted(range(len(samples)), key=samples.hash), np.int64)
        side, channels = samples.preprocessing.size, samples.preprocessing.channels
        held = held_out(len(order), (channels, side, side))
        return Calibration(samples.subset(order[~held]), samples.subset(order[held]))

    @property
    def shape(self) -> tuple[int, int, int]:
        side = self.learn.preprocessing.size
        return self.learn.preprocessing.channels, side, side

    def batches(self, skip: int = 0, count: int | None = None, *, may_be_none: bool = False) -> Iterator[np.ndarray]:
        """Yield normalised images to learn from, without the first `skip`, at most `count`."""
        left = len(self.learn) if count is None else count
        for pixels in _pixels(self.learn, may_be_none=may_be_none):
            fresh = pixels[skip:][: max(left, 0)]
            skip = max(0, skip - len(pixels))
            left -= len(fresh)
            if len(fresh):
                yield self.learn.preprocessing.normalize(fresh)

    def first(self, count: int) -> np.ndarray:
        """Return the first images to learn from, normalised."""
        return np.concatenate(list(self.batches(count=count)))

    def held(self) -> np.ndarray:
        """Return the held-out images, normalised."""
        found = [self.held_out.preprocessing.normalize(pixels) for pixels in _pixels(self.held_out)]
        return np.concatenate(found) if found else np.empty((0, *self.shape), np.float32)


def held_out(count: int, shape: Sequence[int]) -> np.ndarray:
    """Return which of `count` images of this shape to hold out: one in four, evenly apart, and no more than suffice."""
    found = np.zeros(count, bool)
    few = min(count // HELD_OUT, most_held_out(shape)) if count >= _FEWEST else 0
    found[(np.arange(few) + 1) * count // max(few, 1) - 1] = True
    return found


def _pixels(samples: Samples, *, may_be_none: bool = False) -> Iterator[np.ndarray]:
    side, channels = samples.preprocessing.size, samples.preprocessing.channels
    for batch in samples.batches(batch_for((channels, side, side)), may_be_none=may_be_none):
        yield batch.pixels
