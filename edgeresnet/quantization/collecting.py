"""Ranges collected by workers, a shard of the calibration images each, and merged to what one process collects.

Counts add up exactly, and extremes are extremes in any order. Which half an image belongs to follows from its place
among all: a shard that begins at an odd place brings its halves exchanged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx

from ..context import Workers
from ..images import Samples
from ..portable.frozen import dataclass
from ..shards import cut, gather
from .calibration import Calibration
from .equalize import Equalizer
from .net import Net
from .ranges import Origin, Ranges, Views, add_batches, refuse_constant
from .session import batch_for

IMAGES = 128  # of a shard


@dataclass(frozen=True)
class Collecting:
    """Collects the ranges of a network over the images of a shard."""

    network: bytes
    origin: Origin
    equalizer: Equalizer | None

    def __call__(self, part: Samples) -> bytes:
        samples = part.arrived()
        images = Calibration(samples, samples.subset(np.empty(0, np.int64)))
        views = empty(self.origin, self.equalizer)
        batches = images.batches(may_be_none=True)
        add_batches(onnx.ModelProto.FromString(self.network), batches, views, name=samples.name)
        ranges = [each.dump().decode() for each in (views.plain, views.equalized) if each is not None]
        return json.dumps(ranges).encode()


def empty(origin: Origin, equalizer: Equalizer | None) -> Views:
    """Return the ranges of no image."""
    if equalizer is None:
        return Views(Ranges(origin))
    return Views(Ranges(origin), Ranges(origin), equalizer.of)


def collected(
    workers: Workers,
    model: onnx.ModelProto,
    images: Calibration,
    origin: Origin,
    equalizer: Equalizer | None,
    folder: Path,
    on_done: Callable[[int], None],
) -> Views:
    """Let workers collect ranges: they are those that one process collects, to the byte."""
    found = gather(
        workers,
        Collecting(model.SerializeToString(), origin, equalizer),
        cut(len(images.learn), batch_for(images.shape), IMAGES),
        lambda shard: images.learn.part(shard.first, shard.stop),
        folder,
        on_done,
    )
    views = merged(found, origin, equalizer)
    if views.plain.images:
        refuse_constant(views.plain, Net(model))
    return views


def merged(parts: Iterable[bytes], origin: Origin, equalizer: Equalizer | None) -> Views:
    """Put the ranges of all shards together, in order."""
    views = empty(origin, equalizer)
    for part in parts:
        texts: list[str] = json.loads(part)
        for ranges, text in zip((views.plain, views.equalized), texts, strict=False):
            if ranges is not None:
                ranges.add(Ranges.parsed(text.encode()))
    return views
