"""Evaluation and calibration by workers leave the files of one process."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgeresnet.quantization import collecting
from edgeresnet.shards import evaluating
from edgeresnet.shards.processes import Processes
from edgeresnet.store import Store

from .flows import alone, answers_of
from .works import InOrder

__all__ = ["alone"]  # a fixture


@pytest.mark.parametrize(("shards", "order"), [(1, []), (2, [1, 0]), (7, [3, 6, 0, 5, 1, 4, 2])])
def test_any_number_of_shards_in_any_order_gives_the_same_bytes(
    own_store: Store, alone: dict[str, str], monkeypatch: pytest.MonkeyPatch, shards: int, order: Sequence[int]
) -> None:
    size = {1: 448, 2: 224, 7: 64}[shards]
    monkeypatch.setattr(evaluating, "IMAGES", size)
    monkeypatch.setattr(collecting, "IMAGES", {1: 512, 2: 192, 7: 64}[shards])
    workers = InOrder(order)
    assert answers_of(own_store.root, workers) == alone
    assert workers.did.count(0) == (2 if shards > 1 else 0)  # one shard is done here
    assert len(workers.did) >= 2 * shards - 2


def test_real_processes_give_the_same_bytes(
    own_store: Store, alone: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "IMAGES", 128)
    assert answers_of(own_store.root, Processes(2)) == alone
