"""Trials of a sweep on the nodes of a cluster: how a trial is cut into pieces, and what a node does with each.

A piece for each stage that does not depend on the machine (training, pruning, ranges, quantizing); then one for the run
itself, which finds these stages made, compiles and measures. All runs are on one node: latencies of two machines are
never mixed. Artifacts travel through the shared store.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._version import __version__
from ..devices.book import Device
from ..errors import EdgeresnetError, MachineError, TargetError, foreign
from ..images import Samples
from ..models import sharded
from ..notes import RecogniseNotes
from ..portable import codec, machine
from ..portable.frozen import dataclass
from ..recipe import Recipe
from ..runs import StepId
from ..shards import fetching
from ..shards.nodes import Died, Node, Nodes
from ..shards.on_ray import NICENESS
from ..shards.work import DEATHS, refuse_other
from ..stages.table import STAGES
from ..store import Artifact, Given, Parent, Shared, Store, write_bytes
from ..sweeps.document import Objective, Outcome
from ..sweeps.loading import Sweep
from ..sweeps.loop import Shown, Trial
from ..sweeps.spread import Life, Piece, Spread
from . import making, trials
from .listener import Listener
from .planner import RECOGNISE, plan
from .resolving import Resolved, resolve
from .step import Step

_DEVICE = "edgeresnet_device_"  # and a name: the resource of a node that reaches this device


@dataclass(frozen=True)
class Host:
    """Where a sweep was started, and what must be the same on every node."""

    node: str
    name: str
    root: Path  # of its store
    folder: str
    shared: Shared | None
    versions: Mapping[str, str]

    def entered(self, node: str) -> Store:
        """Return the store of the node that this process runs on, in the folder that relative paths begin in.

        Refuse a node of other versions, and one that sees another shared store: it may have joined late.
        """
        refuse_other(self.versions, versions(), self.name)
        if self.shared is not None:
            self.shared.refuse_another(self.name)
        with contextlib.suppress(OSError):  # a node without it still has what absolute paths name
            os.chdir(self.folder)
        if node == self.node:
            return Store(self.root, self.shared)
        return Store(Store.open(fetching.cache()).root, self.shared)


@dataclass(frozen=True)
class Made:
    """An artifact that a node or the host's store has."""

    stage: str
    key: str
    digest: str


@dataclass(frozen=True)
class Prepared:
    """What a node reports of a stage."""

    digest: str
    made: bool
    seconds: float


@dataclass(frozen=True)
class Checking:
    """Finds what would end work on a node, before it begins. `niceness` is the lowest priority that may time."""

    host: Host
    niceness: int | None = None

    def __call__(self, node: str) -> bytes:
        """Raise where versions differ, or where the shared store is another one here or cannot be written."""
        self.host.entered(node)
        if self.niceness is not None and os.nice(0) > self.niceness:
            hint = f"start Ray on this node with `{NICENESS}=0 ray start …`"
            problem = f"come after all other programs (niceness {os.nice(0)}), which would spoil what they time"
            raise MachineError(f"Ray's workers on {platform.node()}", problem, hint=hint)
        if self.host.shared is not None:
            self.host.shared.check_writing(f"{platform.node()}-{node[:12]}")
        return b""


@dataclass(frozen=True)
class Preparing:
    """Finds or makes one step on a node."""

    host: Host
    step: Step
    made: Mapping[str, Made]  # parents by name; the others were given
    files: Mapping[str, str]  # digests of given files, by the same names
    key: str

    def __call__(self, node: str) -> bytes:
        """Return what was prepared, as JSON."""
        store = self.host.entered(node)
        with store.used(), foreign(trials.failed):
            parents = {name: self._parent(name, store) for name in self.step.parents}
            if self.step.key(making.digests_of(parents)) != self.key:
                hint = "install the same versions of all libraries on all nodes"
                raise MachineError(f"the node {platform.node()}", f"gives {self.step.id} another key", hint=hint)
            step = replace(self.step, parents={**self.step.parents, **_given(parents)})
            outcome = making.Maker(store, Listener()).outcome(step, parents)
        if outcome.artifact is not None and outcome.state == "done" and store.shared is not None:
            # this digest is what other nodes are sent to take from there
            store.shared.offer(outcome.artifact.path, self.step.id.stage, self.key, replace=True)
        if outcome.artifact is None:
            raise TargetError(str(step.id), f"was not made: {outcome.reason}", hint=outcome.hint)
        found = Prepared(outcome.artifact.digest, outcome.state == "made", outcome.seconds)
        return json.dumps(codec.encode(found)).encode()

    def _parent(self, name: str, store: Store) -> Parent:
        if name in self.made:
            return _artifact(store, self.made[name])
        given = self.step.parents[name]
        assert isinstance(given, Given)
        if isinstance(given.value, Samples):
            return replace(given, value=replace(given.value.arrived(), store=store))
        if isinstance(given.value, os.PathLike) and _file_digest(os.fspath(given.value)) != self.files[name]:
            subject = f"the node {platform.node()}"
            hint = "put the same file under the same path on all nodes"
            raise MachineError(subject, f"has no {given.value}, or another one than {self.host.name}", hint=hint)
        return given


@dataclass(frozen=True)
class Running:
    """Runs a recipe to its verdict on the node that measures."""

    host: Host
    recipe: Recipe
    devices: Mapping[str, Device]
    goals: tuple[Objective, ...]

    def __call__(self, node: str) -> bytes:
        """Return the outcome, as JSON; with the run as it was saved, where the host's store is on another machine."""
        store = self.host.entered(node)
        with store.used():
            outcome = trials.InProcess(self.goals, store, Listener(), self.devices).outcome(self.recipe)
        found: dict[str, Any] = {"outcome": codec.encode(outcome)}
        if outcome.run and node != self.host.node:
            found["run"] = (store.root / "runs" / f"{outcome.run}.json").read_text()
        return json.dumps(found).encode()


@contextlib.contextmanager
def spread(
    nodes: Nodes, wanted: Sweep, store: Store, shown: Shown, parts: int, devices: Mapping[str, Device]
) -> Iterator[Spread]:
    """Open what runs the trials of a sweep on the nodes of a cluster, once all nodes are found fit for it."""
    known = nodes.alive()
    host = Host(
        nodes.here, platform.node(), store.root.absolute(), os.path.realpath("."), store.shared, versions()
    )  # fmt: skip
    if store.shared is None and sum(node.cpus > 0 for node in known.values()) > 1:
        hint = "give `--shared`: a folder on a disk that all nodes mount, or s3://bucket/folder"
        raise EdgeresnetError("a sweep on several nodes", "needs a shared store", hint=hint)
    measuring = measuring_node(wanted.recipe(wanted.first), known, nodes.here)
    check(nodes, host, measuring, shown)
    lives = Lives(host, store, devices, wanted.objectives)
    opened = Spread(nodes, lives.of, shown, measuring, parts)
    with opened.ending():
        yield opened


def check(nodes: Nodes, host: Host, measuring: str, shown: Shown) -> None:
    """Refuse a cluster of which one node is not fit, before hours of work. One that leaves meanwhile is reported."""
    deaths = dict[str, int]()

    def started(node: Node) -> Any:
        if node.id == measuring:  # alone, as when it times
            return nodes.start(node, Checking(host, os.nice(0)), None)
        return nodes.start(node, Checking(host), 1)

    running = {started(node): node for node in nodes.alive().values() if node.cpus or node.id == measuring}
    try:
        while running:
            for handle in nodes.wait(list(running), 1.0):
                node = running.pop(handle)
                try:
                    problem = nodes.answer(handle).problem
                except Died as death:
                    nodes.wait((), 1.0)  # until a node that left is known to have left
                    deaths[node.id] = deaths.get(node.id, 0) + 1
                    if node.id not in nodes.alive():
                        shown.warns(f"{node.name} left the cluster")
                        continue
                    if deaths[node.id] < DEATHS:
                        running[started(node)] = node
                        continue
                    hint = "install edgeresnet on it, or look at its log (`ray logs`)"
                    problem = MachineError(f"the node {node.name}", f"cannot work: {death}", hint=hint)
                if problem is not None:
                    raise problem
    finally:
        nodes.cancel(list(running))


def measuring_node(recipe: Recipe, known: Mapping[str, Node], host: str) -> str:
    """Return the node that measures: where the sweep was started, or the one that offers the recipe's devices."""
    wanted = {f"{_DEVICE}{name}" for name in recipe.devices()}
    all_on_devices = all(recipe.delivery(name).where != "here" for name in recipe.targets)
    if not wanted or not all_on_devices or (host in known and wanted <= known[host].offers.keys()):
        return host
    return next((node.id for node in known.values() if wanted <= node.offers.keys()), host)


@functools.cache
def versions() -> Mapping[str, str]:
    """Return the versions that must be the same on all nodes: they decide keys, or what travels cannot be read."""
    libraries = {name for stage in STAGES.values() for name in stage.libraries} | {"ray"}
    known = {"edgeresnet": __version__, "Python": platform.python_version()}
    return {**known, **machine.versions(*sorted(libraries))}


@dataclass(frozen=True)
class Lives:
    """Cuts trials into pieces."""

    host: Host
    store: Store
    devices: Mapping[str, Device]
    goals: tuple[Objective, ...]

    def of(self, trial: Trial) -> Life:
        """Yield the pieces of a trial: its stages one by one, then its run."""
        try:
            return (yield from self._pieces(trial))
        except MachineError:
            raise
        except EdgeresnetError as problem:
            return Outcome("failed", reason=problem.message, hint=problem.hint)

    def _pieces(self, trial: Trial) -> Life:
        done: list[tuple[Prepared, bool]] = []
        with foreign(trials.failed):
            resolved = resolve(trial.recipe, self.store)
        yield from self._prepared(resolved, done)
        job = Running(self.host, trial.recipe, self.devices, self.goals)
        ended = yield Piece(f"trial {trial.number}", "measure", job, alone=True)
        answer = json.loads(ended.answered.result())  # raises where its workers died
        outcome = codec.decode(Outcome, answer["outcome"])
        if "run" in answer:
            write_bytes(self.store.root / "runs" / f"{outcome.run}.json", answer["run"].encode())
        own = [each for each, is_own in done if is_own and each.made]
        seconds = outcome.seconds + sum(each.seconds for each in own)
        return replace(
            outcome, made=outcome.made + len(own), reused=max(0, outcome.reused - len(own)), seconds=round(seconds, 3)
        )

    def _prepared(self, resolved: Resolved, done: list[tuple[Prepared, bool]]) -> Life:
        """Yield the stages that any machine may make; add what nodes report to `done`."""
        known: dict[StepId, Made] = {}
        steps = list(plan(resolved))
        for place in range(len(steps)):
            step = steps[place]
            if step.stage.machine or not step.stage.is_here or any(each not in known for each in step.before):
                continue
            made = {name: known[parent] for name, parent in step.parents.items() if isinstance(parent, StepId)}
            given = {name: parent.digest for name, parent in step.parents.items() if isinstance(parent, Given)}
            key = step.key({name: made[name].digest if name in made else given[name] for name in step.parents})
            digest = self._stored(step, key)
            if digest is None:
                ended = yield Piece(key, str(step.id), self._preparing(step, made, key))
                try:
                    found = codec.decode(Prepared, json.loads(ended.answered.result()))
                except TargetError:
                    if step.target is None:
                        raise
                    continue  # the run reports it, and goes on with the other targets
                done.append((found, ended.is_own))
                digest = found.digest
            known[step.id] = Made(step.stage.name, key, digest)
            if step.id == RECOGNISE:
                steps = _recognised(resolved, _artifact(self.store, known[step.id]), steps)
        return Outcome("feasible")

    def _stored(self, step: Step, key: str) -> str | None:
        """Return the digest of what the host's store has under a key: its run will use that, so all nodes do."""
        if not self.store.path_of(step.stage.name, key).is_dir():
            return None
        artifact, _ = Store(self.store.root).find(step.stage.name, key)
        if artifact is not None and self.store.shared is not None:
            self.store.shared.offer(artifact.path, step.stage.name, key, replace=True)
        return artifact.digest if artifact else None

    def _preparing(self, step: Step, made: Mapping[str, Made], key: str) -> Preparing:
        """Return the job that makes a step: its images travel, files that were given do not."""
        travelling: dict[str, Any] = dict(step.parents)
        files = {}
        for name, parent in step.parents.items():
            if isinstance(parent, Given) and isinstance(parent.value, Samples):
                samples = parent.value.part(0, len(parent.value))
                travelling[name] = replace(parent, value=replace(samples, store=None))
            elif isinstance(parent, Given) and isinstance(parent.value, os.PathLike):
                files[name] = _file_digest(os.fspath(parent.value))
        return Preparing(self.host, replace(step, parents=travelling), made, files, key)


def _recognised(resolved: Resolved, artifact: Artifact, steps: list[Step]) -> list[Step]:
    """Return the steps as they are for the network that was recognised."""
    notes = artifact.notes
    assert isinstance(notes, RecogniseNotes)
    known = {step.id: step for step in plan(resolved.recognised(notes.arch))}
    return [known[step.id] for step in steps]


def _artifact(store: Store, wanted: Made) -> Artifact:
    """Return an artifact of this digest, pulled from the shared store where this one has another or none."""
    found, problem = store.find(wanted.stage, wanted.key)
    if (found is None or found.digest != wanted.digest) and store.shared is not None:
        final = store.path_of(wanted.stage, wanted.key)
        _, problem = store.shared.fetch(wanted.stage, wanted.key, store.root / "work", final)
        found, _ = Store(store.root).find(wanted.stage, wanted.key)
    if found is None or found.digest != wanted.digest:
        why = problem or ("it has other bytes" if found else "it is not there")
        hint = "run the sweep again: what is missing is made again"
        raise MachineError(f"the node {platform.node()}", f"cannot take {wanted.stage}: {why}", hint=hint)
    return found


def _given(parents: Mapping[str, Parent]) -> dict[str, Given[object]]:
    return {name: parent for name, parent in parents.items() if isinstance(parent, Given)}


def _file_digest(path: str) -> str:
    """Return the digest of a checkpoint or an ONNX file; empty where it is missing."""
    try:
        about = os.stat(path)
    except OSError:
        return ""
    return _digest(path, about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=16)
def _digest(path: str, changed: int, size: int) -> str:
    return sharded.digest_of(Path(path))
