"""A run as it is stored: its recipe, what became of each step, what was measured, and the verdict.

Everything that reads a run reads these types: reports, gates, comparisons, Python. Nothing here measures or judges.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal, TypeVar, get_args

from .errors import EdgeresnetError, quoted
from .notes import BY_STAGE, Notes
from .portable import codec, limits
from .portable.codec import CodecError
from .portable.frozen import OMIT, dataclass
from .portable.machine import Machine
from .portable.result import Measured, Result, RunWarning, Verdict, Word
from .portable.tasks import DEFAULT, TaskName
from .portable.tasks.task import Task, task_of

FORMAT = 3
State = Literal["made", "done", "failed", "skipped", "deferred", "todo"]
Undecided = Literal["warn", "fail"]
N = TypeVar("N")


@dataclass(frozen=True)
class StepId:
    """Which step: one stage, for which target (or `reference`), of which variant (or network). Empty: not of one."""

    stage: str
    target: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return ":".join(word for word in (self.stage, self.target, self.variant) if word)


def id_of_time(began: float) -> str:
    """Return an id that sorts by time: the moment in UTC, to the microsecond."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(began))}-{int(began * 1e6) % 1_000_000:06d}"


def read_notes(stage: str, notes: object) -> Notes:
    """Return the notes of a stage as its type; raise CodecError where they do not fit."""
    if stage not in BY_STAGE:
        raise CodecError("stage", f"is {stage!r}, which is not a stage")
    try:
        return codec.decode(BY_STAGE[stage], notes)
    except CodecError as problem:
        raise CodecError(f"notes.{problem.path}" if problem.path else "notes", problem.problem) from problem


@dataclass(frozen=True)
class StepRecord:
    """What became of a step. `id` is its `step` as text, for people and for command lines."""

    step: StepId
    id: str
    state: State
    seconds: float
    key: str | None
    digest: str | None
    path: str | None
    notes: Notes | None = field(metadata={"opaque": True})  # read as the type that belongs to its stage
    reason: str = ""
    hint: str = ""
    warnings: tuple[RunWarning, ...] = ()

    def __post_init__(self) -> None:
        if self.notes is not None and not isinstance(self.notes, tuple(BY_STAGE.values())):
            object.__setattr__(self, "notes", read_notes(self.step.stage, self.notes))
        if self.id != str(self.step):
            raise ValueError(f"the id {self.id!r} is not that of {self.step}")

    @property
    def stage(self) -> str:
        return self.step.stage


@dataclass(frozen=True)
class Problem:
    """What ended a run early, and in which step."""

    message: str
    hint: str
    step: str = ""

    @property
    def place(self) -> str:
        """Where that was: " in step trace"; empty where it was in none."""
        return f" in step {self.step}" if self.step else ""

    @property
    def ended_early(self) -> str:
        """What every report shows of it: "ended early in step trace: the disk is full"."""
        return f"ended early{self.place}: {self.message}"


@dataclass(frozen=True)
class ModelKeys:
    """Which network a recipe is about: what reports show of its section `model`."""

    arch: str | None = None
    checkpoint: str | None = None
    candidate: str | None = None
    classes: int | None = None


def model_of(recipe: Mapping[str, object]) -> ModelKeys:
    """Return which network a stored recipe is about; raise CodecError where it does not say."""
    section = recipe.get("model")
    if not isinstance(section, Mapping):
        raise CodecError("recipe.model", "is not an object")
    found = {key.name: section[key.name] for key in codec.keys(ModelKeys) if key.name in section}
    try:
        model: ModelKeys = codec.decode(ModelKeys, found)
    except CodecError as problem:
        raise CodecError(f"recipe.model.{problem.path}", problem.problem) from problem
    if not (model.arch or model.checkpoint):
        raise CodecError("recipe.model", "has neither arch nor checkpoint")
    return model


def task_in(recipe: Mapping[str, object]) -> Task:
    """Return the task of a stored recipe; raise CodecError where there is none of this name."""
    name = str(recipe.get("task", DEFAULT))
    if name not in get_args(TaskName):
        raise CodecError("recipe.task", f"is {name!r}, which is not a task")
    return task_of(name)


@dataclass(frozen=True)
class Run:
    """A run: its recipe, its steps, its results and verdicts, and the machine that it ran on."""

    id: str
    recipe: Mapping[str, object]
    recipe_digest: str
    seconds: float
    steps: tuple[StepRecord, ...]
    results: Mapping[str, Result]
    verdicts: tuple[Verdict, ...]
    verdict: Word
    undecided: Undecided
    problem: Problem | None
    machine: Machine
    format: Literal[3] = 3

    def check_read(self) -> None:
        model_of(self.recipe)
        limits.check(self, 0, limits.MANY, "seconds")
        for name, result in self.results.items():
            if result.target != name:
                raise CodecError(f"results.{name}.target", f"is {quoted(result.target)}")

    @property
    def measured(self) -> list[Measured]:
        """The targets that were measured."""
        return [result for result in self.results.values() if isinstance(result, Measured)]

    @property
    def measured_on_devices(self) -> list[str]:
        """The parts that devices measured. A device compiles what it measures, so those networks are not here."""
        bundles = {step.step.target for step in self.steps if step.stage == "export"}
        return [one.target for one in self.measured if one.target.partition("@")[0] in bundles]

    def measured_here(self, wanted: Sequence[str] = ()) -> dict[str, Measured]:
        """Return what this machine compiled and measured, of these targets or of all; refuse what a device did."""
        known, there = {one.target: one for one in self.measured}, self.measured_on_devices
        here = {name: one for name, one in known.items() if name not in there}
        for name in wanted or ([] if here else there[:1]):
            parts = [part for part in there if name in (part, part.partition("@")[0])]
            if parts:
                hint = f"measure it here: `edgeresnet run RECIPE --set targets.{parts[0].partition('@')[0]}.where=here`"
                raise EdgeresnetError(parts[0], "was compiled on its device, so it cannot run here", hint=hint)
            if name not in known:
                hint = f"it measured {', '.join(known) or 'no target'}"
                raise EdgeresnetError(f"run {self.id}", f"has no measurement on {name}", hint=hint)
        return {name: here[name] for name in wanted or here}

    def verdicts_of(self, target: str) -> list[Verdict]:
        """Return the verdicts on one target."""
        return [verdict for verdict in self.verdicts if verdict.target == target]

    def verdict_of(self, target: str) -> Word:
        """Return the worst verdict on one target; what was not measured is never KEPT."""
        from .portable import judging  # needed here alone: most commands judge nothing

        return judging.worst([judging.state_word(self.results[target]), *(v.verdict for v in self.verdicts_of(target))])

    def notes_of(self, kind: type[N]) -> list[N]:
        """Return the notes of this type, step by step."""
        return [step.notes for step in self.steps if isinstance(step.notes, kind)]


@dataclass(frozen=True)
class Part:
    """What a command for a part of a recipe shows: its steps, what was measured in them, and who wrote which INT8."""

    recipe: Mapping[str, object]
    steps: Mapping[str, StepRecord]
    results: Mapping[str, Measured]
    int8: Mapping[str, str]  # target → the step that writes its INT8 network
    as_written: Mapping[str, str]  # target → the step that runs that network before the target's compiler


@dataclass(frozen=True)
class Margins:
    """What a change may cost, in a gate. None: that is not gated."""

    max_loss_pp: float | None = 1.0
    max_slowdown_pct: float | None = 10.0  # against the half-precision variant, and against the yardstick
    max_runtime_slowdown_pct: float | None = 25.0  # of the yardstick itself, against plain Python: a coarse comparison
    max_growth_pct: float | None = 10.0  # of what would ship, in bytes
    max_energy_growth_pct: float | None = field(default=10.0, metadata=OMIT)  # of an inference, if recorded
    max_throughput_loss_pct: float | None = field(default=10.0, metadata=OMIT)  # in images/s, if recorded


@dataclass(frozen=True)
class BaselineId:
    """Which baseline a run was compared with."""

    path: str
    digest: str
    run: str


@dataclass(frozen=True)
class GateReport:
    """A run compared with a baseline: the document that every report of a gate is made of."""

    format: int
    run: str
    baseline: BaselineId
    margins: Margins
    verdict: Word
    undecided: Undecided
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
