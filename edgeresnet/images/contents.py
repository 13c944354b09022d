"""What the labels of a set hold, where they are of parts of its images: masks or boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from . import box_counts, mask_counts
from .samples import Samples


class Contents(NamedTuple):
    """What labels hold, as a line; why they may not be what is meant; and how many images have each class, at most."""

    kind: str  # "masks" or "boxes"
    words: str
    doubts: tuple[str, ...]
    images: Mapping[str, int]


def of(samples: Samples) -> Contents | None:
    """Return what the labels of a set hold; None where they are of complete images. Refuse those that are wrong."""
    if samples.has_masks:
        masks = mask_counts.of_samples(samples)
        unseen = len(samples) - masks.masks
        images = {name: unseen + masks.classes.get(name, 0) for name in samples.classes}
        return Contents("masks", masks.words, (masks.doubt,) if masks.doubt else (), images)
    if samples.has_boxes:
        boxes = box_counts.of_samples(samples)
        return Contents(
            "boxes", boxes.words, boxes.doubts, {name: boxes.classes.get(name, 0) for name in samples.classes}
        )
    return None
