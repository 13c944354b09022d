"""What workers answer, merged: the same bytes as one process gives, over any number of shards in any order."""

from __future__ import annotations

import numpy as np
import pytest

from edgeresnet import shards
from edgeresnet.quantization.ranges import HALVES, Origin, Ranges, Views

pytestmark = pytest.mark.unit

IMAGES, ORIGIN = 131, Origin("network", "images", "preprocessing")


def values(readable: np.ndarray) -> dict[int, dict[str, np.ndarray]]:
    """Return what two tensors hold for each image that can be read: also zeros of both signs, and ever larger ones."""
    rng = np.random.default_rng(0)
    found = {}
    for index in np.flatnonzero(readable).tolist():
        image = rng.standard_normal((3, 4, 4), np.float32) * np.float32(1.1) ** index
        image[rng.random(image.shape) < 0.2] = rng.choice([np.float32(0.0), np.float32(-0.0)])
        found[index] = {"x": image, "y": np.maximum(image[:2], -0.0), "dead": np.full((1, 2, 2), -0.0, np.float32)}
    return found


def collected(images: list[dict[str, np.ndarray]]) -> Ranges:
    """Return the ranges of these images, as one process collects them in a row."""
    views = Views(Ranges(ORIGIN))
    for number, tensors in enumerate(images):
        for name, image in tensors.items():
            views.add(name, image, number % HALVES)
    views.counted(len(images))
    return views.plain


@pytest.mark.parametrize("lost", [(), (0, 1, 2), (17, 40, 41, 99), tuple(range(64, 128))])
@pytest.mark.parametrize("size", [1000, 66, 19])
def test_ranges_of_shards_are_those_of_one_process(size: int, lost: tuple[int, ...]) -> None:
    readable = np.ones(IMAGES, bool)
    readable[list(lost)] = False
    every = values(readable)
    cut = shards.cut(IMAGES, 1, size)
    assert len(cut) == {1000: 1, 66: 2, 19: 7}[size]
    merged = Ranges(ORIGIN)
    for shard in cut:
        part = collected([every[index] for index in range(shard.first, shard.stop) if index in every])
        merged.add(Ranges.parsed(part.dump()))
    assert merged.dump() == collected(list(every.values())).dump()
