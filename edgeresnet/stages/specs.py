"""What each stage reads: its parents (`…Inputs`) and what a recipe wants of it (`…Spec`), as frozen types.

A spec's `to_json` is what enters the key of an artifact: a different spelling there makes everything again. Light: no
torch, onnx or runtime, for planning reads this file.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .. import tasks
from ..images import Samples
from ..models.unwrap import Weights
from ..portable import codec, yardstick
from ..portable.frozen import dataclass
from ..portable.preprocessing import Preprocessing
from ..portable.session import Dialect
from ..portable.tasks import DEFAULT, TaskName
from ..portable.tasks.two_stage import AnyDetector
from ..recipe.base import Argument
from ..recipe.sections import Prune, Recover, Trace, Train
from ..store import Artifact, Given, Parent
from ..tasks import CLASSIFICATION

if TYPE_CHECKING:
    from ..portable.measure import TimingPlan

SECOND = "second"  # the parent that has a detector's second stage

Json: TypeAlias = dict[str, object]
Parents: TypeAlias = Mapping[str, Parent]
NetworkFile: TypeAlias = Given[Path | Weights]  # a checkpoint, or an ONNX file, that the user gave


class Spec(abc.ABC):
    """What a recipe wants of a stage. What the runner needs to know of one is here: it knows no spec from inside."""

    seed: int = 0  # a field of those whose stage chooses by chance
    timed: TimedSearch | None = None  # what the stage times while it works
    section = ""  # of the recipe, that wants its targets here; empty: `targets` itself

    @abc.abstractmethod
    def to_json(self) -> Json:
        """Return what enters the key."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that must be on this machine."""
        return ()

    @property
    def sole_target(self) -> str | None:
        """The one target whose failure is that of the stage. None: it has none, or more, and its failures name them."""
        return None


class SpecOfOneTarget(Spec):
    """What is wanted of a stage that works for one target."""

    target: str

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,)

    @property
    def sole_target(self) -> str:
        return self.target


class Inputs(abc.ABC):
    """The parents of a stage."""

    @classmethod
    @abc.abstractmethod
    def from_parents(cls, parents: Parents) -> Inputs:
        """Take each parent by its name in the key."""


@dataclass(frozen=True)
class Architecture:
    """Which network a stage builds."""

    arch: str | None  # None: an ONNX file holds its own
    classes: int
    channels: int
    libraries: Mapping[str, str] = field(default_factory=dict)  # versions of what else builds it
    sources_sha256: tuple[str, ...] = ()  # of a user's own code
    arguments: Mapping[str, Argument] = field(default_factory=dict)  # of a user's own function
    task: str = CLASSIFICATION
    detector: AnyDetector | None = None  # in detection: the anchors that its answers are about

    @property
    def learned(self) -> tasks.LearnedTask:
        """What it answers, and what it learns from."""
        return tasks.of(self.task, self.detector)

    def to_json(self) -> Json:
        found: Json = {"arch": self.arch, "classes": self.classes, "channels": self.channels}
        found |= _task(self.task, self.detector)
        found |= {"libraries": dict(self.libraries)} if self.libraries else {}
        found |= {"arch_args": dict(self.arguments)} if self.arguments else {}
        return found | ({"sources_sha256": list(self.sources_sha256)} if self.sources_sha256 else {})


@dataclass(frozen=True)
class TrainInputs(Inputs):
    training: Given[Samples]
    checkpoint: NetworkFile | None = None  # to fine-tune

    @classmethod
    def from_parents(cls, parents: Parents) -> TrainInputs:
        return cls(samples_of(parents, "training"), _file(parents["checkpoint"]) if "checkpoint" in parents else None)


@dataclass(frozen=True)
class TrainSpec(Spec):
    network: Architecture
    train: Train
    seed: int

    def to_json(self) -> Json:
        return {**self.network.to_json(), "train": self.train.model_dump(mode="json"), "seed": self.seed}


@dataclass(frozen=True)
class Int8Form:
    """How a stand-in for the INT8 network is written."""

    dialect: Dialect
    exclude: tuple[str, ...]
    images: Preprocessing


@dataclass(frozen=True)
class TimedTarget:
    """One target of a search for a speed-up: what would ship to it, and how that is compiled."""

    target: str
    options: Any  # the target's own frozen dataclass
    ships: str
    preprocessing: Preprocessing | None = None  # inside the network, which takes pixels
    int8: Int8Form | None = None

    def compile_spec(self) -> CompileSpec:
        return CompileSpec(self.target, self.options, self.preprocessing)

    def to_json(self) -> Json:
        found: Json = {**self.compile_spec().to_json(), "ships": self.ships}
        if self.int8:
            found |= {"dialect": codec.encode(self.int8.dialect), "images": self.int8.images.to_json()}
            found |= {"exclude": list(self.int8.exclude)}
        return found


@dataclass(frozen=True)
class TimedSearch:
    """What a search for a speed-up measures, and how."""

    targets: Mapping[str, TimedTarget]
    timing: TimingPlan
    batch: int | Literal["dynamic"]
    preprocessing: Preprocessing  # how large images are; the key has it from the stage's own spec

    def to_json(self) -> Json:
        return {
            "timed": {name: each.to_json() for name, each in self.targets.items()},
            "verify": codec.encode(self.timing),
            "batch": self.batch,
        }


@dataclass(frozen=True)
class PruneInputs(Inputs):
    network: Artifact | NetworkFile
    training: Given[Samples] | None = None
    evaluation: Given[Samples] | None = None

    @classmethod
    def from_parents(cls, parents: Parents) -> PruneInputs:
        some = {name: samples_of(parents, name) for name in ("training", "evaluation") if name in parents}
        return cls(_network(parents["network"]), **some)


@dataclass(frozen=True)
class PruneSpec(Spec):
    network: Architecture
    prune: Prune
    multiple: int
    preprocessing: Preprocessing
    seed: int
    timed: TimedSearch | None = None  # with `prune.speedup`
    section = "prune.speedup"

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.timed.targets) if self.timed else ()

    def to_json(self) -> Json:
        return {
            **self.network.to_json(),
            "prune": self.prune.model_dump(mode="json"),
            "multiple": self.multiple,
            "size": self.preprocessing.size,
            "preprocessing": self.preprocessing.to_json(),
            **(self.timed.to_json() if self.timed else {}),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class RecoverInputs(Inputs):
    network: Artifact | NetworkFile  # pruned
    dense: Artifact | NetworkFile  # before it was pruned
    training: Given[Samples]

    @classmethod
    def from_parents(cls, parents: Parents) -> RecoverInputs:
        return cls(_network(parents["network"]), _network(parents["dense"]), samples_of(parents, "training"))


@dataclass(frozen=True)
class RecoverSpec(Spec):
    network: Architecture
    recover: Recover
    seed: int

    def to_json(self) -> Json:
        return {**self.network.to_json(), "recover": self.recover.model_dump(mode="json"), "seed": self.seed}


@dataclass(frozen=True)
class TraceInputs(Inputs):
    network: Artifact | NetworkFile
    images: Given[Samples]  # a few, for the comparison

    @classmethod
    def from_parents(cls, parents: Parents) -> TraceInputs:
        return cls(_network(parents["network"]), samples_of(parents, "images"))


@dataclass(frozen=True)
class TraceSpec(Spec):
    network: Architecture
    trace: Trace
    as_probabilities: bool = False  # the network keeps its softmax: what is compared with it has one

    def to_json(self) -> Json:
        found: Json = {**self.network.to_json(), "trace": self.trace.model_dump(mode="json")}
        return found | ({"as_probabilities": True} if self.as_probabilities else {})


@dataclass(frozen=True)
class CompileInputs(Inputs):
    network: Artifact | NetworkFile

    @classmethod
    def from_parents(cls, parents: Parents) -> CompileInputs:
        return cls(_network(parents["network"]))


@dataclass(frozen=True)
class CompileSpec(SpecOfOneTarget):
    target: str
    options: Any  # the target's own frozen dataclass
    preprocessing: Preprocessing | None = None  # inside the network, which takes pixels
    build: str = ""  # the second build and later ones: each is an artifact of its own
    joins: AnyDetector | None = None  # of somebody's detector, whose outputs may have to be joined

    def to_json(self) -> Json:
        found: Json = {"target": self.target, "options": codec.encode(self.options)}
        found |= {"preprocessing": self.preprocessing.to_json()} if self.preprocessing else {}
        found |= {"joins": codec.encode(self.joins)} if self.joins else {}
        return found | ({"build": self.build} if self.build else {})


@dataclass(frozen=True)
class VerifyInputs(Inputs):
    evaluation: Given[Samples]
    variants: Mapping[str, Artifact]  # compiled
    reference: Artifact | None = None  # None: this is the reference
    yardstick: Artifact | None = None  # compiled, where latency is measured
    second: Artifact | None = None  # traced: it has the second stage of a detector of two

    @classmethod
    def from_parents(cls, parents: Parents) -> VerifyInputs:
        found = {name: artifact_of(parent) for name, parent in parents.items() if name != "evaluation"}
        others = (found.pop(name, None) for name in ("reference", yardstick.NAME, SECOND))
        return cls(samples_of(parents, "evaluation"), found, *others)


@dataclass(frozen=True)
class VerifySpec(SpecOfOneTarget):
    target: str
    timing: TimingPlan | None  # None: latency is not measured
    ships: str  # the variant that would
    task: TaskName = DEFAULT
    detector: AnyDetector | None = None  # how answers become boxes

    def to_json(self) -> Json:
        timing = self.timing and codec.encode(self.timing)
        found: Json = {"target": self.target, "latency": timing, "candidate": self.ships}
        return found | _task(self.task, self.detector)


@dataclass(frozen=True)
class DeviceSpec(Spec):
    """A target that a device measures: neither its runtime nor its version has a part in it here.

    `device` is one of devices.yaml; empty where a person carries the bundle.
    """

    target: str
    device: str = ""

    def to_json(self) -> Json:
        return {"on": self.target, "device": self.device} if self.device else {"on": self.target}


@dataclass(frozen=True)
class DeviceInputs(Inputs):
    bundle: Artifact

    @classmethod
    def from_parents(cls, parents: Parents) -> DeviceInputs:
        return cls(artifact_of(parents["bundle"]))


@dataclass(frozen=True)
class ExportInputs(Inputs):
    evaluation: Given[Samples]
    reference: Artifact  # whose answers the device's are compared with
    variants: Mapping[str, Artifact | NetworkFile]

    @classmethod
    def from_parents(cls, parents: Parents) -> ExportInputs:
        variants = {name: _network(each) for name, each in parents.items() if name not in ("evaluation", "reference")}
        return cls(samples_of(parents, "evaluation"), artifact_of(parents["reference"]), variants)


@dataclass(frozen=True)
class ExportSpec(Spec):
    target: str  # on the device: neither its runtime nor its version has a part in the bundle
    options: Any  # the target's own frozen dataclass
    ships: str  # the variant that would
    float32: tuple[str, ...]  # variants that the device measures in float32
    carried: str  # digest of the code that goes along
    timing: TimingPlan
    rebuilds: int
    network: str  # what it is called
    judged: bool  # False: the images have no labels to judge by
    preprocessing: Preprocessing | None = None  # inside the network, which takes pixels
    task: TaskName = DEFAULT
    detector: AnyDetector | None = None  # how answers become boxes

    def to_json(self) -> Json:
        found: Json = {"on": self.target, "options": codec.encode(self.options), "candidate": self.ships}
        found |= {"float32": list(self.float32), "carried": self.carried, "verify": codec.encode(self.timing)}
        found |= {"rebuilds": self.rebuilds, "network": self.network, "judged": self.judged}
        found |= _task(self.task, self.detector)
        return found | ({"preprocessing": self.preprocessing.to_json()} if self.preprocessing else {})


def _task(task: str, detector: AnyDetector | None) -> Json:
    """Return what a key has of a task: nothing of the first one, whose keys are older than tasks."""
    found: Json = {"task": task} if task != DEFAULT else {}
    return found | ({"detector": codec.encode(detector)} if detector else {})


def artifact_of(parent: Parent) -> Artifact:
    assert isinstance(parent, Artifact), parent
    return parent


def samples_of(parents: Parents, name: str) -> Given[Samples]:
    given = parents[name]
    assert isinstance(given, Given), name
    assert isinstance(given.value, Samples), name
    return Given(given.digest, given.value)


def _file(parent: Parent) -> NetworkFile:
    assert isinstance(parent, Given), parent
    assert isinstance(parent.value, (Path, Weights)), parent
    return Given(parent.digest, parent.value)


def _network(parent: Parent) -> Artifact | NetworkFile:
    return parent if isinstance(parent, Artifact) else _file(parent)
