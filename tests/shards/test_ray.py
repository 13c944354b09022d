"""Ray as it is: a cluster of two nodes on this machine, of which one is killed while it works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.errors import MachineError, TargetError
from edgeresnet.quantization import collecting
from edgeresnet.shards import evaluating
from edgeresnet.shards.on_ray import Ray
from edgeresnet.store import Store

from .. import clusters
from .flows import alone, answers_of
from .works import Echo

__all__ = ["alone"]  # a fixture

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings
pytest.importorskip("ray", reason="Ray is not installed")


@pytest.fixture
def cluster() -> Iterator[tuple[Any, Any]]:
    """A cluster of two nodes with one core each, and the second of them."""
    with clusters.two_nodes() as found:
        yield found


def test_a_node_that_leaves_costs_what_it_was_doing(cluster: tuple[Any, Any], tmp_path: Path) -> None:
    nodes, second = cluster
    workers = Ray.connected(nodes.address)
    assert len(dict(workers.each(Echo(tmp_path), range(4)))) == 4
    killer = threading.Timer(1.0, lambda: nodes.remove_node(second, allow_graceful=False))
    folder = tmp_path / "second"
    folder.mkdir()
    killer.start()
    answers = dict(workers.each(Echo(folder, seconds=0.1), range(40)))
    killer.join()
    assert answers == {number: f"{number} on 1".encode() for number in range(40)}
    did = [path.name.split("-")[0] for path in folder.glob("did*")]
    assert set(did) == {f"did{number}" for number in range(40)}
    assert len(did) <= 42  # what the node had done, and Ray had not heard of yet, is done again


def test_errors_and_deaths_come_back_as_one_line(cluster: tuple[Any, Any], tmp_path: Path) -> None:
    workers = Ray.connected(cluster[0].address)
    with pytest.raises(TargetError, match="the network failed"):
        list(workers.each(Echo(tmp_path, fails_over=1), range(3)))
    with pytest.raises(MachineError, match="a worker of Ray failed: The worker died"):
        list(workers.each(Echo(tmp_path, dies_over=1, deaths=9), range(3)))
    assert len(list(tmp_path.glob("death*"))) == 3


def test_a_cluster_gives_the_bytes_of_one_process(
    cluster: tuple[Any, Any], own_store: Store, alone: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "IMAGES", 64)
    monkeypatch.setattr(collecting, "IMAGES", 64)
    assert answers_of(own_store.root, Ray.connected(cluster[0].address)) == alone


def test_no_cluster_is_one_line() -> None:
    with pytest.raises(MachineError, match=r"the Ray cluster 127\.0\.0\.1:1 cannot be used: .*refused") as raised:
        Ray.connected("127.0.0.1:1")
    assert "--ray local" in raised.value.hint
