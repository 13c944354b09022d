"""Sweeps on real Ray clusters on this machine, for `scale.py`: the cost of a trial, and nodes that are killed."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from edgeresnet.pipeline import Listener, spreading, trials
from edgeresnet.shards.on_ray import NICENESS
from edgeresnet.shards.ray_nodes import RayNodes
from edgeresnet.store import Store, manifest_in
from edgeresnet.sweeps import loading, loop, study
from edgeresnet.sweeps.document import Outcome, SweepReport
from edgeresnet.sweeps.loading import Sweep
from edgeresnet.sweeps.spread import Life, Piece, Spread

SWEEP: dict[str, Any] = {
    "version": 1,
    "recipe": {
        "version": 1,
        "model": {"arch": "cifar_resnet8", "classes": 10},
        "preprocessing": {"size": 8, "mean": [0.305], "std": [0.376]},
        "images": {
            "training": {"from": "digits", "count": 500},
            "evaluation": "digits",
            "calibration": {"from": "training", "count": 64},
        },
        "train": {"epochs": 2, "rate": 0.01, "batch": 32, "schedule": "one-cycle", "precision": "f32"},
        "quantize": {"effort": "fast"},
        "verify": {"processes": 1, "seconds": 0.1},
        "targets": {"onnxruntime": {}},
    },
    "space": {"train.epochs": [1, 2], "quantize.estimator": ["mse", "min-max"]},
    "objectives": ["max top1", "min size_mb"],  # the same in each run: no latency
    "trials": 4,
}
_HEAD = "node-0"


class Done(NamedTuple):
    """One run: the sweep's points and front, how long it took, and what was found wrong."""

    found: list[tuple[object, ...]]
    seconds: float
    problems: list[str]
    prepared_again: int
    pieces: int  # that nodes began
    killed: bool


def nothing(node: str) -> bytes:
    """Do nothing on a node."""
    return b"{}"


def overhead(sweep: Sweep, folder: Path, outcome: Callable[[loop.Trial], Outcome]) -> None:
    """Print what a trial costs on a local cluster whose two pieces, one prepared and one measured, do nothing."""

    def life(trial: loop.Trial) -> Life:
        yield Piece(f"prepare {trial.number}", "prepare", nothing)
        yield Piece(f"measure {trial.number}", "measure", nothing, alone=True)
        return outcome(trial)

    began: list[float] = []

    class Timed(Spread):
        def submit(self, trial: loop.Trial) -> Future[Outcome]:
            began.append(time.perf_counter())
            return super().submit(trial)

    opening = time.perf_counter()
    nodes, _ = RayNodes.connected("local")
    opened = study.Study(sweep, folder / "study.db")
    shown = loop.Shown()
    print(f"starting Ray and opening the study: {time.perf_counter() - opening:.1f} s", flush=True)
    with contextlib.closing(nodes):
        runner = Timed(nodes, life, shown, nodes.here)
        with runner.ending():
            loop.search(sweep, opened, runner, shown)
    took = sorted(1000 * (b - a) for a, b in itertools.pairwise(began))
    print(
        f"{len(took)} trials on Ray: median {statistics.median(took):.0f} ms, mean {statistics.mean(took):.0f} ms, "
        f"95 % within {took[int(0.95 * len(took))]:.0f} ms, slowest {took[-1]:.0f} ms"
    )


def kills(nodes: int, runs: int) -> None:
    """Run a sweep on fresh clusters; kill a node at a random moment of every second run; print how they compare."""
    with tempfile.TemporaryDirectory() as folder:
        calm = _run(nodes, None, Path(folder))
    print(f"{nodes} nodes, undisturbed: {calm.seconds:.0f} s, {len(calm.found)} trials", flush=True)
    wrong, killed = list(calm.problems), 0
    for number in range(runs):
        chance = random.Random(100 * nodes + number)
        kill = (chance.randint(1, calm.pieces - 1), chance.uniform(0, 0.5), chance.randrange(1, nodes))
        with tempfile.TemporaryDirectory() as folder:
            done = _run(nodes, kill if number % 2 else None, Path(folder))
        problems = [*done.problems, *([] if done.found == calm.found else ["another front or other values"])]
        killed += done.killed
        when = f"node {kill[2]} killed at piece {kill[0]} of {calm.pieces}" if done.killed else "undisturbed"
        again = f", {done.prepared_again} stages prepared again" if done.killed else ""
        print(
            f"  run {number + 1}: {when}: {done.seconds:.0f} s{again}; {'; '.join(problems) or 'the same'}", flush=True
        )
        wrong += problems
    print(f"{nodes} nodes: {runs} runs, {killed} with a killed node: {len(wrong)} problems", flush=True)
    assert not wrong


def _run(count: int, kill: tuple[int, float, int] | None, folder: Path) -> Done:
    """Run the sweep on a fresh cluster. `kill`: at which piece, how many seconds after it began, and which node."""
    (folder / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    wanted, store = loading.load(folder / "sweep.yaml"), Store.open(folder / "store", str(folder / "shared"))
    begun, timers, fired = list[str](), list[threading.Timer](), threading.Event()

    def remove(node: Any) -> None:
        fired.set()
        cluster.remove_node(node, allow_graceful=False)

    class Seen(loop.Shown):
        def works(self, trial: loop.Trial, doing: str) -> None:
            begun.extend([doing] if doing else [])
            if kill and len(begun) == kill[0] and not timers:
                timers.append(threading.Timer(kill[1], remove, [others[kill[2] - 1]]))
                timers[0].start()

    with _cluster(count, folder) as (cluster, others):
        nodes, _ = RayNodes.connected(cluster.address)
        shown = Seen()
        opened = functools.partial(spreading.spread, nodes, wanted, store, shown, 1)
        began = time.perf_counter()
        try:
            report = trials.sweep(wanted, store, Listener(), shown, cluster=opened)
        finally:
            for timer in timers:
                timer.cancel()
                timer.join()
        seconds = time.perf_counter() - began
    problems = list(_problems(report, folder))
    return Done(_found(report), seconds, problems, _prepared_again(folder), len(begun), fired.is_set())


@contextlib.contextmanager
def _cluster(count: int, folder: Path) -> Iterator[tuple[Any, list[Any]]]:
    """Start a cluster of nodes with a core and a store each; yield it and all nodes but the first."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ[NICENESS] = "0"
    cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "node_name": _HEAD})
    try:
        others = [
            cluster.add_node(
                num_cpus=1, node_name=f"node-{number}", env_vars={"EDGERESNET_STORE": str(folder / f"node-{number}")}
            )
            for number in range(1, count)
        ]
        cluster.wait_for_nodes()
        yield cluster, others
    finally:
        ray.shutdown()
        cluster.shutdown()


def _found(report: SweepReport) -> list[tuple[object, ...]]:
    """Return each point with its values, and whether it is on the front: in whichever order trials ended."""
    return sorted(
        (json.dumps(dict(each.values)), *(value.value for value in each.outcome.values), each.number in report.front)
        for each in report.points
    )


def _problems(report: SweepReport, folder: Path) -> Iterator[str]:
    """Yield what must not be: trials that failed, artifacts that are damaged, keys that were measured twice."""
    for point in report.points:
        if point.outcome.state != "feasible":
            yield f"trial {point.number}: {point.outcome.reason}"
    if len(report.points) != SWEEP["trials"]:
        yield f"{len(report.points)} trials"
    for root in (folder / "store", *folder.glob("node-*")):
        for path in root.glob("*/*/manifest.json"):
            record = manifest_in(path.parent)
            problem = Store(root).find(record.stage, record.key)[1] if record else f"{path} is damaged"
            if problem:
                yield problem
    fresh = Store.open(folder / "fresh", str(folder / "shared"))
    for path in (folder / "shared" / "artifacts").glob("*/*.json"):
        found, problem = fresh.find(path.parent.name, path.stem)
        if found is None:
            yield problem or f"{path} is not there"
    runs = [json.loads(path.read_text()) for path in (folder / "store").glob("runs/*.json")]
    made = [step["key"] for run in runs for step in run["steps"] if step["state"] == "made"]
    if len(made) != len(set(made)):
        yield "a stage was made twice where it is measured"


def _prepared_again(folder: Path) -> int:
    """Return how many artifacts were made on more than one node: a manifest has how long its making took."""
    made: dict[str, set[float]] = {}
    for path in folder.glob("*/*/*/manifest.json"):
        if (record := manifest_in(path.parent)) is not None:
            made.setdefault(record.key, set()).add(record.seconds)
    return sum(len(each) - 1 for each in made.values())
