"""A sweep on Ray as it is: two nodes on this machine, each with a store of its own; one is killed while it works."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeresnet.pipeline import Listener, spreading, trials
from edgeresnet.shards.ray_nodes import RayNodes
from edgeresnet.store import Store, manifest_in
from edgeresnet.sweeps import loading, loop
from edgeresnet.sweeps.document import SweepReport

from ..conftest import tiny

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings
ray = pytest.importorskip("ray", reason="Ray is not installed")

RECIPE = tiny(
    promises={},
    train__epochs=2,
    verify={"processes": 1, "seconds": 0.1},
    quantize={"effort": "fast"},
    images__calibration={"from": "training", "count": 64},
)
SPACE = {"train.epochs": [1, 2], "quantize.estimator": ["mse", "min-max"]}


class Watched(loop.Shown):
    """Calls a function at the first piece that has this beginning."""

    def __init__(self, beginning: str, do: Callable[[], None]) -> None:
        self._beginning, self._do, self.seen = beginning, do, list[str]()

    def works(self, trial: loop.Trial, doing: str) -> None:
        if doing.startswith(self._beginning) and not any(each.startswith(self._beginning) for each in self.seen):
            threading.Timer(0.5, self._do).start()
        self.seen.append(doing)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """A cluster of two nodes with one core each, and the second of them."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "node_name": "first"})
    second = found.add_node(num_cpus=1, node_name="second", env_vars={"EDGERESNET_STORE": str(tmp_path / "second")})
    found.wait_for_nodes()
    try:
        yield found, second
    finally:
        ray.shutdown()
        found.shutdown()


def swept(address: str, folder: Path, shown: loop.Shown) -> SweepReport:
    """Run a sweep of four trials on a cluster, with a store of its own."""
    raw = {"version": 1, "recipe": RECIPE, "space": SPACE, "objectives": ["max top1", "min size_mb"], "trials": 4}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(raw))
    wanted, store = loading.load(folder / "sweep.yaml"), Store.open(folder / "store", str(folder / "shared"))
    nodes, _ = RayNodes.connected(address)
    elsewhere = functools.partial(spreading.spread, nodes, wanted, store, shown, 1)
    return trials.sweep(wanted, store, Listener(), shown, elsewhere=elsewhere)


def what_was_found(report: SweepReport) -> list[tuple[object, ...]]:
    """Return each point with its values, whatever its number, and whether it is on the front."""
    found = [
        (json.dumps(dict(point.values)), *(value.value for value in point.outcome.values), point.number in report.front)
        for point in report.points
    ]
    return sorted(found)


def check_nothing_was_measured_twice(store: Path, shared: Path) -> None:
    """Compare runs with one another: each key was made once. And all artifacts are intact."""
    made = [
        step["key"]
        for path in sorted(store.glob("runs/*.json"))
        for step in json.loads(path.read_text())["steps"]
        if step["state"] == "made"
    ]
    assert len(made) == len(set(made))
    found = list(store.glob("*/*/manifest.json"))
    assert found
    for path in found:
        record = manifest_in(path.parent)
        assert record is not None
        assert Store(store).find(record.stage, record.key)[1] == ""
    assert list(shared.glob("artifacts/train/*.json"))


def test_a_node_that_is_killed_costs_its_stage_alone(cluster: tuple[Any, Any], tmp_path: Path) -> None:
    nodes, second = cluster
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    for folder in (calm, disturbed):
        folder.mkdir()
    usual = loop.Shown()
    undisturbed = swept(nodes.address, calm, usual)
    assert [point.outcome.state for point in undisturbed.points] == ["feasible"] * 4
    assert list((tmp_path / "second" / "train").iterdir()), "the second node prepared"
    assert not list((tmp_path / "second").glob("verify")), "and did not measure"
    assert sum(point.outcome.made for point in undisturbed.points) == len(
        list((calm / "store").glob("*/*/manifest.json"))
    )
    watched = Watched("train on second", lambda: nodes.remove_node(second, allow_graceful=False))
    for path in (tmp_path / "second").glob("train/*"):
        path.rename(tmp_path / path.name)  # or nothing were left to do
    found = swept(nodes.address, disturbed, watched)
    assert "train on second" in watched.seen
    assert what_was_found(found) == what_was_found(undisturbed)
    for folder in (calm, disturbed):
        check_nothing_was_measured_twice(folder / "store", folder / "shared")
