"""Which piece of which trial runs where: timing alone, shared pieces once, dead workers replaced. Without a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeresnet.errors import EdgeresnetError, MachineError, TargetError
from edgeresnet.sweeps import loop, spread, study
from edgeresnet.sweeps.document import Outcome, Point
from edgeresnet.sweeps.spread import Life, Piece, Spread

from .fake import FakeRunner, computed, searched, sweep_of
from .fake_nodes import FakeNodes, node

pytestmark = pytest.mark.unit

GRID = {"train.rate": (0.01, 0.02, 0.03), "model.arch": ("resnet18", "resnet34")}


@dataclass(frozen=True)
class Named:
    """A job that records itself and its node, or fails."""

    name: str
    cluster: Cluster

    def __call__(self, where: str) -> bytes:
        if problem := self.cluster.fails(self.name, where):
            raise problem
        self.cluster.did.append((self.name, where))
        return self.name.encode()


@dataclass
class Cluster:
    """A fake cluster, and trials of three pieces: a training by `train.rate`, a quantizing, and what is timed."""

    nodes: FakeNodes
    fails: Callable[[str, str], Exception | None] = lambda name, where: None
    parts: int = 1
    did: list[tuple[str, str]] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    doing: list[str] = field(default_factory=list)
    timed_meanwhile: list[bool] = field(default_factory=list)  # when a trial ended

    def life(self, trial: loop.Trial) -> Life:
        try:
            for name in (f"train {trial.params['train.rate']}", f"quantize {trial.number}"):
                (yield Piece(name, name, Named(name, self))).answered.result()
            name = f"measure {trial.number}"
            (yield Piece(name, name, Named(name, self), alone=True)).answered.result()
        except MachineError:
            raise
        except EdgeresnetError as problem:
            return Outcome("failed", reason=problem.message)
        return computed(trial.params)

    def search(self, file: Path) -> list[Point]:
        sweep, shown = sweep_of(GRID, trials=6), loop.Shown()
        shown.warns = self.warned.append  # type: ignore[method-assign,assignment]
        shown.works = lambda trial, doing: self.doing.append(doing)  # type: ignore[method-assign]
        shown.ends = lambda point: self.timed_meanwhile.append(self.nodes.times)  # type: ignore[method-assign]
        opened = study.Study(sweep, file)
        runner = Spread(self.nodes, self.life, shown, "host", self.parts)
        with runner.ending():
            loop.search(sweep, opened, runner, shown)
        return opened.points

    def names(self, beginning: str) -> list[str]:
        return sorted(name for name, _ in self.did if name.startswith(beginning))


def values_of(points: list[Point]) -> list[str]:
    return sorted(f"{dict(point.values)} {point.outcome.values}" for point in points)


def check(cluster: Cluster, points: list[Point], file: Path) -> None:
    """Compare with a sweep in this process: the same points, and each piece was done once."""
    alone, _ = searched(sweep_of(GRID, trials=6), file, FakeRunner())
    assert values_of(points) == values_of(alone)
    assert cluster.names("train") == ["train 0.01", "train 0.02", "train 0.03"], "trials share what they can"
    assert cluster.names("quantize") == [f"quantize {number}" for number in range(1, 7)]
    assert cluster.names("measure") == [f"measure {number}" for number in range(1, 7)]


def test_trials_are_prepared_anywhere_and_timed_in_one_place_alone(tmp_path: Path) -> None:
    cluster = Cluster(FakeNodes.of("b", "c"))
    points = cluster.search(tmp_path / "study.db")
    check(cluster, points, tmp_path / "alone.db")
    assert {where for name, where in cluster.did if name.startswith("measure")} == {"host"}
    assert {where for name, where in cluster.did if name.startswith("train")} >= {"b", "c"}
    assert any(doing.startswith("train") and doing.endswith(" on b") for doing in cluster.doing)


def test_one_node_prepares_and_times_in_turn(tmp_path: Path) -> None:
    cluster = Cluster(FakeNodes.of(cpus=4), parts=4)
    points = cluster.search(tmp_path / "study.db")
    check(cluster, points, tmp_path / "alone.db")
    assert {parts for _, parts in cluster.nodes.started} == {4, None}


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    cluster = Cluster(FakeNodes.of("b"))
    cluster.nodes.dies = lambda name, start: start % 3 == 1
    points = cluster.search(tmp_path / "study.db")
    check(cluster, points, tmp_path / "alone.db")


def test_a_node_that_leaves_costs_what_it_did_then(tmp_path: Path) -> None:
    cluster = Cluster(FakeNodes.of("b", "c"))

    def dies(name: str, start: int) -> bool:
        if start == 5:
            del cluster.nodes.nodes["b"]
        return False

    cluster.nodes.dies = dies
    points = cluster.search(tmp_path / "study.db")
    check(cluster, points, tmp_path / "alone.db")
    assert "b" not in cluster.nodes.nodes


def test_three_deaths_over_one_piece_fail_its_trial_alone(tmp_path: Path) -> None:
    cluster = Cluster(FakeNodes.of("b"))
    nodes = cluster.nodes
    nodes.dies = lambda name, start: nodes.jobs[start] == Named("quantize 2", cluster)
    points = cluster.search(tmp_path / "study.db")
    states = {point.number: point.outcome for point in points}
    assert [number for number, about in states.items() if about.state == "failed"] == [2]
    assert states[2].reason == "quantize 2 cost 3 workers: the worker died"
    assert nodes.jobs.count(Named("quantize 2", cluster)) == 3


def test_a_trial_that_fails_is_counted_and_the_others_go_on(tmp_path: Path) -> None:
    cluster = Cluster(FakeNodes.of("b"))
    cluster.fails = lambda name, where: (
        TargetError("the network", "diverged", hint="") if "train 0.02" in name else None
    )
    points = cluster.search(tmp_path / "study.db")
    failed = [point for point in points if point.outcome.state == "failed"]
    assert {point.values["train.rate"] for point in failed} == {0.02}
    assert {point.outcome.reason for point in failed} == {"the network diverged"}
    assert len(points) == 6


def test_a_node_whose_disk_is_full_is_left_out_and_its_work_is_done_on_another(tmp_path: Path) -> None:
    cluster = Cluster(FakeNodes.of("b", "c"))
    full = MachineError("the disk", "is full", hint="free some space")
    cluster.fails = lambda name, where: full if where == "b" else None
    points = cluster.search(tmp_path / "study.db")
    check(cluster, points, tmp_path / "alone.db")
    assert cluster.warned == ["b is left out: the disk is full (free some space)"]
    assert [name for name, _ in cluster.nodes.started].count("b") == 1


def test_a_full_disk_where_it_is_measured_ends_the_sweep_and_what_runs(tmp_path: Path) -> None:
    cluster = Cluster(FakeNodes.of("b"))
    full = MachineError("the disk", "is full", hint="free some space")
    cluster.fails = lambda name, where: full if name.startswith("measure") else None
    with pytest.raises(MachineError, match="the disk is full"):
        cluster.search(tmp_path / "study.db")
    assert len(cluster.nodes.cancelled) == len(cluster.nodes._jobs)


def test_no_trial_ends_while_another_is_timed(tmp_path: Path) -> None:
    cluster = Cluster(FakeNodes.of("b"))
    during: list[bool] = []

    def fails(name: str, where: str) -> Exception | None:
        if name in ("quantize 2", "quantize 4", "quantize 5"):
            during.append(cluster.nodes.times)
            return TargetError("the network", "failed", hint="")
        return None

    cluster.fails = fails
    cluster.search(tmp_path / "study.db")
    assert any(during), "a trial failed while another was timed"
    assert cluster.timed_meanwhile == [False] * 6


def test_a_cluster_without_any_node_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "_PATIENCE", 3)
    cluster = Cluster(FakeNodes({}))
    with pytest.raises(MachineError, match="the Ray cluster has no node left that can go on"):
        cluster.search(tmp_path / "study.db")


def test_a_head_without_cpus_prepares_nothing_and_times(tmp_path: Path) -> None:
    cluster = Cluster(FakeNodes({"host": node("host", 0), "b": node("b", 2)}))
    points = cluster.search(tmp_path / "study.db")
    check(cluster, points, tmp_path / "alone.db")
    assert {where for name, where in cluster.did if not name.startswith("measure")} == {"b"}
