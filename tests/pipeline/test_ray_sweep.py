"""A sweep on Ray as it is: two nodes on this machine, each with a store of its own; one is killed while it works."""

from __future__ import annotations

import functools
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeresnet.pipeline import Listener, spreading, trials
from edgeresnet.shards.on_ray import NICENESS
from edgeresnet.shards.ray_nodes import RayNodes
from edgeresnet.store import Store, manifest_in
from edgeresnet.sweeps import loading, loop
from edgeresnet.sweeps.document import SweepReport

from .. import clusters
from ..conftest import hears_interrupts, tiny

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings
pytest.importorskip("ray", reason="Ray is not installed")

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
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """A cluster of two nodes with one core each, and the second of them."""
    monkeypatch.setenv(NICENESS, "0")
    with clusters.two_nodes({"EDGERESNET_STORE": str(tmp_path / "second")}) as found:
        yield found


def write_sweep(folder: Path) -> None:
    raw = {"version": 1, "recipe": RECIPE, "space": SPACE, "objectives": ["max top1", "min size_mb"], "trials": 4}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(raw))


def swept(address: str, folder: Path, shown: loop.Shown) -> SweepReport:
    """Run a sweep of four trials on a cluster, with a store of its own."""
    write_sweep(folder)
    wanted, store = loading.load(folder / "sweep.yaml"), Store.open(folder / "store", str(folder / "shared"))
    nodes, _ = RayNodes.connected(address)
    opened = functools.partial(spreading.spread, nodes, wanted, store, shown, 1)
    return trials.sweep(wanted, store, Listener(), shown, cluster=opened)


def what_was_found(report: SweepReport) -> list[tuple[object, ...]]:
    """Return each point with its values, whatever its number, and whether it is on the front."""
    found = [
        (json.dumps(dict(point.values)), *(value.value for value in point.outcome.values), point.number in report.front)
        for point in report.points
    ]
    return sorted(found)


def check_nothing_was_measured_twice(store: Path) -> None:
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


def test_a_node_that_is_killed_costs_its_stage_alone(
    cluster: tuple[Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert capsys.readouterr().out == "", "Ray prints nothing into a result"
    assert what_was_found(found) == what_was_found(undisturbed)
    for folder in (calm, disturbed):
        check_nothing_was_measured_twice(folder / "store")


def test_an_interrupt_and_a_kill_cost_what_ran_then(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    words = ["sweep", "sweep.yaml", "--ray", "local", "--store", "store", "--json"]
    line, pipe = [sys.executable, "-m", "edgeresnet", *words], subprocess.PIPE
    runs = 0
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        process = subprocess.Popen(
            line, stdout=pipe, stderr=pipe, text=True, cwd=tmp_path, preexec_fn=hears_interrupts, start_new_session=True
        )
        while len(list(tmp_path.glob("store/runs/*.json"))) == runs and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.5)  # the next trial has begun
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        if code == 130:
            last = err.strip().splitlines()[-1]
            assert re.fullmatch(
                r"error: interrupted \(\d of 4 trials are stored: `edgeresnet sweep .*` goes on\)", last
            )
        runs = len(list(tmp_path.glob("store/runs/*.json")))
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=True)
    report = json.loads(done.stdout)
    assert [point["outcome"]["state"] for point in report["points"]] == ["feasible"] * 4
    assert re.match(r"4 trials, \d done already, 1 interrupted, tried again", done.stderr)
    check_nothing_was_measured_twice(tmp_path / "store")
