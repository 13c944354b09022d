"""Shards, and the workers that do them: in any order, each once, and again where a worker dies."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import pytest

from edgeresnet import shards
from edgeresnet.errors import MachineError, TargetError
from edgeresnet.portable import machine
from edgeresnet.shards import Shard
from edgeresnet.shards.processes import Processes
from edgeresnet.shards.work import Answered, Work

from .works import Echo, InOrder, from_another

pytestmark = pytest.mark.unit


def test_shards_begin_where_batches_begin_and_cover_all_images() -> None:
    assert shards.cut(100, 32, 64) == [Shard(0, 64), Shard(64, 100)]
    assert shards.cut(100, 32, 70) == [Shard(0, 64), Shard(64, 100)]
    assert shards.cut(100, 7, 5) == [Shard(first, min(first + 7, 100)) for first in range(0, 100, 7)]
    assert shards.cut(0, 32, 64) == []


def gathered(tmp_path: Path, workers: InOrder, **echo: int) -> list[bytes]:
    pieces = shards.cut(70, 10, 10)
    return list(shards.gather(workers, Echo(tmp_path, **echo), pieces, lambda shard: shard.first, tmp_path / "kept"))


def test_answers_are_in_the_order_of_the_images_whatever_comes_first(tmp_path: Path) -> None:
    for order in itertools.islice(itertools.permutations(range(7)), 0, 5040, 800):
        folder = tmp_path / "".join(map(str, order))
        folder.mkdir()
        answers = gathered(folder, InOrder(order))
        assert [int(answer.split()[0]) for answer in answers] == [0, 10, 20, 30, 40, 50, 60]


def test_what_is_done_is_not_done_again_and_what_is_damaged_is(tmp_path: Path) -> None:
    with pytest.raises(TargetError):
        gathered(tmp_path, InOrder([5, 2, 4]), fails_over=40)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["20-30", "50-60"]
    (tmp_path / "kept" / "20-30").write_bytes(b"damaged")
    counts: list[int] = []
    workers = InOrder()
    pieces = shards.cut(70, 10, 10)
    list(shards.gather(workers, Echo(tmp_path), pieces, lambda shard: shard.first, tmp_path / "kept", counts.append))
    assert len(workers.did) == 6
    assert counts == [10, 20, 30, 40, 50, 60, 70]


def test_processes_divide_the_cores(tmp_path: Path) -> None:
    answers = dict(Processes(2).each(Echo(tmp_path), range(5)))
    assert answers == {n: f"{n} on {max(1, machine.cores() // 2)}".encode() for n in range(5)}


def test_a_killed_worker_costs_its_own_item_only(tmp_path: Path) -> None:
    answers = dict(Processes(2).each(Echo(tmp_path, dies_over=3), range(8)))
    assert sorted(answers) == list(range(8))
    assert sorted(path.name.split("-")[0] for path in tmp_path.glob("did*")) == [f"did{n}" for n in range(8)]


def test_an_item_that_kills_each_worker_ends_the_work(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="3 workers died over shard 1, the last one killed by the system") as raised:
        list(Processes(1).each(Echo(tmp_path, dies_over=1, deaths=9), range(3)))
    assert raised.value.hint == "run again with fewer workers: what is done stays"


def test_what_a_worker_raises_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="the network failed"):
        list(Processes(1).each(Echo(tmp_path, fails_over=1), range(3)))
    with pytest.raises(RuntimeError, match="KeyError: 'a bug'"):
        list(Processes(1).each(Echo(tmp_path, raises_over=1), range(3)))


def test_a_machine_with_other_versions_is_refused_with_both(tmp_path: Path) -> None:
    found = from_another(Echo(tmp_path), numpy="1.0").do(1)
    assert isinstance(found.problem, MachineError)
    assert f"has numpy {machine.versions('numpy')['numpy']}, but head has 1.0" in str(found.problem)
    assert from_another(Echo(tmp_path)).do(1) == Answered(f"1 on {machine.cores()}".encode())
    assert isinstance(pickle.loads(Work.packed(Echo(tmp_path), on_card=False)), Work)
