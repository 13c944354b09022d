"""The weights of a detector's second stage do not travel with each shard: workers read them where they are."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeresnet.portable import inference
from edgeresnet.portable.tasks.task import Outputs
from edgeresnet.portable.tasks.two_stage import FILE
from edgeresnet.shards import evaluating
from edgeresnet.shards.fetching import Source

from ..portable.tasks.test_outputs import TWO, weights
from .works import InOrder

pytestmark = pytest.mark.unit


class Travelled(InOrder):
    """Does what arrives of some work."""

    def each(self, work: Callable[[Any], bytes], items: Any, *, on_card: bool = False) -> Any:
        self.sent = pickle.dumps(work)
        return super().each(pickle.loads(self.sent), items, on_card=on_card)


class Two(SimpleNamespace):
    """Two images."""

    def __len__(self) -> int:
        return 2


def test_weights_of_the_second_stage_are_read_by_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / FILE, allow_pickle=False, **weights().arrays())
    found = Source(tmp_path, "trace", "key", "digest", None, "here")
    monkeypatch.setattr(Source, "fetched", lambda self: self.path)
    opened = SimpleNamespace(session=SimpleNamespace(layers=list), is_due=lambda: False)
    monkeypatch.setattr(evaluating, "_opened", lambda work: opened)
    answer = np.zeros((2, TWO.rows, TWO.columns), np.float32)
    monkeypatch.setattr(inference, "predict", lambda *given, outputs, **others: outputs.kept(answer))
    samples: Any = Two(part=lambda first, stop: samples, arrived=lambda: samples)
    monkeypatch.setattr(evaluating, "cut", lambda *given: [evaluating.Shard(0, 2)])
    outputs, workers = Outputs("detection", 3, 32, TWO, weights()), Travelled()
    named: Any = SimpleNamespace(name="target", on_card=False)
    network: Any = SimpleNamespace(digest="network")
    given = named, network, found, samples, outputs, tmp_path / "parts", lambda done: None, found
    _, answers = evaluating.answers(workers, *given)
    assert pickle.loads(workers.sent).outputs.second is None
    assert np.array_equal(answers.given.found.boxes, outputs.kept(answer).found.boxes)
    assert len(answers.given) == 2
