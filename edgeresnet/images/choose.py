"""Which images: class-balanced choices by seed, splits, what two sets share. Content decides, not names."""

from __future__ import annotations

import hashlib

import numpy as np

from ..errors import ImagesError
from .samples import Samples


def balanced(samples: Samples, count: int, seed: int) -> np.ndarray:
    """Return the indices of `count` images, from the classes in turn. Neither their names nor their order matters."""
    ranked: list[list[int]] = []
    for label in np.unique(samples.labels):
        mine = np.flatnonzero(samples.labels == label)
        ranked.append(sorted(mine.tolist(), key=lambda index: _lot(seed, samples.hash(index))))
    taken: list[int] = []
    for turn in range(max(len(rank) for rank in ranked)):
        taken += [rank[turn] for rank in ranked if turn < len(rank)]
    return np.sort(np.asarray(taken[:count], dtype=np.int64))


def split(samples: Samples, part: float, seed: int) -> tuple[Samples, Samples]:
    """Return (the rest, a class-balanced part). All copies of an image are on the same side."""
    fewest = 1 if samples.has_parts else len(samples.classes)
    count = max(fewest, round(part * len(samples)))
    chosen = set(balanced(samples, min(count, len(samples) - 1), seed).tolist())
    contents = {samples.hash(index) for index in chosen}
    is_part = np.fromiter((samples.hash(index) in contents for index in range(len(samples))), bool, len(samples))
    if is_part.all():
        problem = "are too few or too similar to separate some of them"
        raise ImagesError(f"{len(samples)} images", problem, hint="give more images")
    return samples.subset(np.flatnonzero(~is_part)), samples.subset(np.flatnonzero(is_part))


def shared(one: Samples, other: Samples) -> list[int]:
    """Return the indices of images in `one` that are in `other`, too, by content."""
    theirs = {other.hash(index) for index in range(len(other))}
    return [index for index in range(len(one)) if one.hash(index) in theirs]


def _lot(seed: int, content: bytes) -> bytes:
    return hashlib.blake2b(content, key=str(seed).encode(), digest_size=16).digest()
