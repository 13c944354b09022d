"""How a trial is cut into pieces, what a node is refused for, and how artifacts travel. Without Ray."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeresnet import recipe
from edgeresnet.errors import EdgeresnetError, MachineError, ModelError, TargetError
from edgeresnet.pipeline import Listener, spreading, trials
from edgeresnet.portable import codec
from edgeresnet.shards import fetching
from edgeresnet.shards.work import Answered
from edgeresnet.store import Shared, Store
from edgeresnet.sweeps import loading, loop
from edgeresnet.sweeps.document import Outcome
from edgeresnet.sweeps.loading import Sweep
from edgeresnet.sweeps.spread import Ended, Piece

from ..conftest import tiny
from ..sweeps.fake import sweep_of
from ..sweeps.fake_nodes import FakeNodes, node


def host_of(tmp_path: Path, shared: Shared | None = None, **versions: str) -> spreading.Host:
    wanted = {**spreading.versions(), **versions}
    return spreading.Host("host", "the head", tmp_path / "store", str(tmp_path), shared, wanted)


def opened(nodes: FakeNodes, store: Store, wanted: Sweep) -> Any:
    return spreading.spread(nodes, wanted, store, loop.Shown(), 1, {}).__enter__()


@pytest.mark.unit
def test_several_nodes_need_a_shared_store_and_one_does_not(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    with pytest.raises(EdgeresnetError, match="a sweep on several nodes needs a shared store") as raised:
        opened(FakeNodes.of("b"), store, sweep_of())
    assert raised.value.hint.startswith("give `--shared`: a folder on a disk that all nodes mount")
    assert opened(FakeNodes.of(), store, sweep_of()).slots == 1
    assert opened(FakeNodes({"host": node("host"), "head": node("head", 0)}), store, sweep_of()).slots == 2


@pytest.mark.unit
@pytest.mark.parametrize("name", ["edgeresnet", "Python", "torch-pruning"])
def test_a_node_of_another_version_is_refused_with_both(name: str, tmp_path: Path) -> None:
    with pytest.raises(MachineError) as raised:
        spreading.check(FakeNodes.of("b"), host_of(tmp_path, None, **{name: "0.0.1"}), "host", loop.Shown())
    assert f"has {name} {spreading.versions()[name]}, but the head has 0.0.1" in raised.value.message


@pytest.mark.unit
def test_a_shared_store_that_a_node_sees_differently_or_cannot_write_is_refused(tmp_path: Path) -> None:
    shared = Shared.open(str(tmp_path / "shared"))
    spreading.check(FakeNodes.of("b"), host_of(tmp_path, shared), "host", loop.Shown())
    with pytest.raises(MachineError, match=r"the shared store .*/shared is another one on ") as raised:
        spreading.check(FakeNodes.of("b"), host_of(tmp_path, replace(shared, mark="another")), "host", loop.Shown())
    assert "on the head" in raised.value.message
    with pytest.raises(MachineError, match="is another one on "):  # a node that joins later
        host_of(tmp_path, replace(shared, mark="another")).entered("late")
    (tmp_path / "shared" / "machines").rename(tmp_path / "machines")
    (tmp_path / "shared" / "machines").write_text("nothing can be written into a file")
    with pytest.raises(EdgeresnetError, match=r"the shared store .*/shared cannot be "):
        spreading.check(FakeNodes.of("b"), host_of(tmp_path, shared), "host", loop.Shown())


@pytest.mark.unit
def test_a_node_that_cannot_work_is_refused_by_name(tmp_path: Path) -> None:
    nodes = FakeNodes.of("b")
    nodes.dies = lambda name, start: name == "b"
    with pytest.raises(MachineError, match="the node b cannot work: the worker died"):
        spreading.check(nodes, host_of(tmp_path), "host", loop.Shown())


@pytest.mark.unit
def test_a_node_that_leaves_while_it_is_checked_does_not_end_the_sweep(tmp_path: Path) -> None:
    nodes, shown, warned = FakeNodes.of("b"), loop.Shown(), list[str]()
    shown.warns = warned.append  # type: ignore[method-assign,assignment]

    def leaves(name: str, start: int) -> bool:
        nodes.nodes.pop("b", None)
        return name == "b"

    nodes.dies = leaves
    spreading.check(nodes, host_of(tmp_path), "host", shown)
    assert warned == ["b left the cluster"]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("targets", "offers", "measures"),
    [
        ({"onnxruntime": {}}, {"edgeresnet_device_orin": 1}, "host"),  # latencies of this machine alone
        ({"onnxruntime": {"where": ["orin"]}}, {"edgeresnet_device_orin": 1}, "b"),
        ({"onnxruntime": {"where": ["orin"]}}, {}, "host"),
        ({"onnxruntime": {"where": ["orin", "nano"]}}, {"edgeresnet_device_orin": 1}, "host"),
        ({"onnxruntime": {"where": ["orin"]}, "openvino": {}}, {"edgeresnet_device_orin": 1}, "host"),
    ],
)
def test_one_node_measures_all_trials(targets: Mapping[str, Any], offers: Mapping[str, float], measures: str) -> None:
    known = {"host": node("host"), "b": node("b", 1, **offers)}
    assert spreading.measuring_node(recipe.parse(tiny(targets=targets)), known, "host") == measures


@pytest.mark.unit
def test_a_node_whose_workers_come_after_other_programs_does_not_time(tmp_path: Path) -> None:
    host = host_of(tmp_path)
    assert spreading.Checking(host, os.nice(0))("host") == b""
    with pytest.raises(MachineError, match=r"Ray's workers on .* come after all other programs") as raised:
        spreading.Checking(host, os.nice(0) - 1)("host")
    assert raised.value.hint == "start Ray on this node with `RAY_worker_niceness=0 ray start …`"


def lived(tmp_path: Path, answers: Callable[[str], Answered], **changes: Any) -> tuple[Outcome, list[str]]:
    """Let a trial live with these answers to its pieces; return what became of it, and the pieces."""
    store = Store.open(tmp_path / "store")
    host = spreading.Host("host", "the head", store.root, str(tmp_path), None, spreading.versions())
    lives = spreading.Lives(host, store, {}, sweep_of().objectives)
    life, pieces = lives.of(loop.Trial(7, {}, recipe.parse(tiny(**{"promises": {}, **changes})))), list[str]()
    ended: list[Outcome] = []

    def drained() -> Generator[Piece, Ended, None]:
        ended.append((yield from life))

    piece = next(each := drained(), None)
    while piece is not None:
        pieces.append(piece.title)
        assert piece.alone == (piece.title == "measure")
        with contextlib.suppress(StopIteration):
            piece = each.send(Ended(answers(piece.title), is_own=piece.title != "trace"))
            continue
        piece = None
    return ended[0], pieces


def answer(title: str) -> Answered:
    """Answer as a node does that made everything, and measured on another machine than this one."""
    if title != "measure":
        return Answered(json.dumps({"digest": title, "made": True, "seconds": 2.0}).encode())
    about = Outcome("feasible", run="20260101-000000-abcdef", seconds=5.0, made=3, reused=4)
    return Answered(json.dumps({"outcome": codec.encode(about), "run": "a sealed run"}).encode())


@pytest.mark.unit
def test_a_trial_counts_what_was_made_for_it_and_stores_its_run(tmp_path: Path) -> None:
    found, pieces = lived(tmp_path, answer, quantize={"effort": "fast"}, images__calibration={"from": "training"})
    assert pieces == ["train", "trace", "calibrate", "quantize:onnxruntime", "measure"]
    assert (found.state, found.made, found.reused) == ("feasible", 6, 1), "the trace was made for another trial"
    assert found.seconds == 11.0
    assert (tmp_path / "store" / "runs" / "20260101-000000-abcdef.json").read_text() == "a sealed run"


@pytest.mark.unit
def test_what_fails_in_a_piece_fails_the_trial_and_the_machine_ends_the_sweep(tmp_path: Path) -> None:
    def fails(title: str, problem: Exception) -> Callable[[str], Answered]:
        return lambda piece: Answered(b"", problem) if piece == title else answer(piece)

    wanted = {"quantize": {"effort": "fast"}, "images__calibration": {"from": "training"}}
    diverged = ModelError("the training", "diverged", hint="lower the rate")
    found, pieces = lived(tmp_path, fails("train", diverged), **wanted)
    assert (found.state, found.reason, found.hint) == ("failed", "the training diverged", "lower the rate")
    assert pieces == ["train"]
    refused = TargetError("onnxruntime", "refuses it", hint="")
    found, pieces = lived(tmp_path, fails("measure", refused), **wanted)
    assert (found.state, found.reason) == ("failed", "onnxruntime refuses it")
    full = MachineError("the disk", "is full", hint="")
    for title in ("trace", "measure"):
        with pytest.raises(MachineError):
            lived(tmp_path, fails(title, full), **wanted)


@pytest.mark.unit
def test_a_recipe_that_cannot_be_planned_is_a_failed_trial(tmp_path: Path) -> None:
    found, pieces = lived(tmp_path, answer, images__evaluation=str(tmp_path / "none"))
    assert (found.state, pieces) == ("failed", [])
    assert "none" in found.reason


def test_artifacts_travel_and_a_trial_is_what_a_run_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes, each with a store of its own: one prepares, the other measures."""
    monkeypatch.setattr(fetching, "cache", lambda: tmp_path / "b")
    raw = {
        "version": 1,
        "recipe": tiny(promises={}, train__epochs=1, verify={"processes": 1, "seconds": 0.1}),
        "space": {"targets.onnxruntime.threads": [1, 2]},
        "objectives": ["max top1", "min size_mb"],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(raw))
    wanted, store = loading.load(tmp_path / "sweep.yaml"), Store.open(tmp_path / "store", str(tmp_path / "shared"))
    nodes, shown = FakeNodes.of("b"), loop.Shown()
    cluster = functools.partial(spreading.spread, nodes, wanted, store, shown, 1)
    report = trials.sweep(wanted, store, Listener(), shown, cluster=cluster)
    assert [point.outcome.state for point in report.points] == ["feasible"] * 2, report.points
    assert sorted(
        path.name for path in (tmp_path / "b").iterdir() if path.is_dir() and path.name in ("train", "verify")
    )
    assert len(list((tmp_path / "b").glob("train/*"))) == 1, "both trials share a training"
    assert not list((tmp_path / "b").glob("verify/*"))
    made = [
        step["key"]
        for path in store.runs()
        for step in json.loads(path.read_text())["steps"]
        if step["state"] == "made"
    ]
    assert len(made) == len(set(made))
    assert sum(point.outcome.made for point in report.points) == len(list(store.root.glob("*/*/manifest.json")))
    best = recipe.parse(wanted.raw(report.points[0].values))
    assert trials.InProcess(wanted.objectives, Store(store.root), Listener()).outcome(best).made == 0
