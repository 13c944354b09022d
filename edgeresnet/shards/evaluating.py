"""The answers of a compiled network to the images of a shard. A worker keeps the network loaded for its next shard."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..context import Workers
from ..images import Samples
from ..portable import evaluation, inference
from ..portable.frozen import dataclass
from ..portable.session import Layer, Session, Target
from ..portable.tasks.task import Outputs
from . import Shard, cut, gather
from .fetching import Source

IMAGES = 512  # of a shard
_REPEATED = 8  # shards of a session after which a batch is evaluated again


class Part(NamedTuple):
    """A shard with its images."""

    shard: Shard
    samples: Samples


@dataclass(frozen=True)
class Evaluating:
    """Evaluates the images of a shard."""

    target: Target
    network: evaluation.Network
    source: Source
    outputs: Outputs
    second: Source | None = None  # the weights of a detector's second stage, too large to travel with each shard

    def __call__(self, part: Part) -> bytes:
        opened, samples = _opened(self), part.samples.arrived()
        outputs = self.outputs.with_second(self.second.fetched() if self.second else None)
        seen: list[np.ndarray] = []
        done = part.shard.first

        def batches() -> Iterator[np.ndarray]:
            for batch in samples.batches(outputs.batch(inference.BATCH), may_be_none=True):
                seen.append(batch.indices + part.shard.first)
                yield self.network.images(batch.pixels, samples.preprocessing)

        def count(images: int) -> None:
            nonlocal done
            done += images

        with evaluation.as_failure(lambda: done):
            repeat = opened.is_due()
            given = inference.predict(opened.session, batches(), count, before=done, repeat=repeat, outputs=outputs)
            layers = opened.session.layers() if part.shard.first == 0 else []
        indices = np.concatenate([*seen, np.empty(0, np.int64)])
        return packed(indices, evaluation.Answers(given, layers), outputs)


class _Opened:
    """A network that is loaded, and how many shards it answered."""

    def __init__(self, session: Session):
        self.session, self._shards = session, 0

    def is_due(self) -> bool:
        """Return whether to evaluate a batch again: in the first shard of a session, and in some of the later ones."""
        self._shards += 1
        return self._shards % _REPEATED == 1


_kept: dict[tuple[str, str], _Opened] = {}  # the last network alone


def _opened(work: Evaluating) -> _Opened:
    key = work.target.name, work.network.digest
    if key not in _kept:
        for other in _kept.values():
            other.session.__exit__(None, None, None)
        _kept.clear()
        with evaluation.as_failure():
            _kept[key] = _Opened(work.target.load(work.source.fetched()).__enter__())
    return _kept[key]


def answers(
    workers: Workers,
    target: Target,
    network: evaluation.Network,
    source: Source,
    samples: Samples,
    outputs: Outputs,
    folder: Path,
    on_done: Callable[[int], None],
    second: Source | None = None,
) -> tuple[np.ndarray, evaluation.Answers]:
    """Return which images workers evaluated, and the answers to them: as one process gives them."""
    shards = cut(len(samples), inference.BATCH, IMAGES)
    found = gather(
        workers,
        Evaluating(target, network, source, replace(outputs, second=None), second),
        shards,
        lambda shard: Part(shard, samples.part(shard.first, shard.stop)),
        folder,
        on_done,
        on_card=target.on_card,
    )
    return merged((unpacked(part, outputs) for part in found), outputs)


def merged(
    parts: Iterable[tuple[np.ndarray, evaluation.Answers]], outputs: Outputs
) -> tuple[np.ndarray, evaluation.Answers]:
    """Put the answers to all shards together, in order. The first one lists the layers that ran."""
    indices, found = zip(*parts, strict=True)
    given = outputs.joined([each.given for each in found])
    return np.concatenate(indices), evaluation.Answers(given, found[0].layers)


def packed(indices: np.ndarray, found: evaluation.Answers, outputs: Outputs) -> bytes:
    """Return answers as they are stored."""
    buffer = io.BytesIO()
    arrays = outputs.arrays(found.given, "logits")
    np.savez(buffer, allow_pickle=False, indices=indices, layers=json.dumps(found.layers), **arrays)
    return buffer.getvalue()


def unpacked(data: bytes, outputs: Outputs) -> tuple[np.ndarray, evaluation.Answers]:
    """Return answers that were stored."""
    with np.load(io.BytesIO(data)) as stored:
        layers = [Layer(*layer) for layer in json.loads(str(stored["layers"]))]
        return stored["indices"], evaluation.Answers(outputs.restored(stored, "logits"), layers)
