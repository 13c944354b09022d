"""What changed from one stored run to another: the recipe key by key, artifacts by digest, machines and versions."""

from __future__ import annotations

from ..json_diff import Change, changes, shown
from ..portable import codec
from ..portable.frozen import dataclass
from ..portable.result import Measured
from ..portable.times import Latency
from ..runs import Run, StepRecord

_MOVES = ("load",)  # of a machine from minute to minute: no change of it
_LASTING = {"host", "cpu", "instructions", "cores", "cpus", "system", "board", "gpus"}


@dataclass(frozen=True)
class ArtifactChange:
    """One step whose artifact differs. `same_key`: the same request came out differently."""

    step: str
    before: str | None  # its digest
    after: str | None
    same_key: bool


@dataclass(frozen=True)
class ArtifactChanges:
    """The steps whose artifacts differ, parents first, and how many do not."""

    differ: tuple[ArtifactChange, ...]
    first: str | None
    same: int


@dataclass(frozen=True)
class RunChanges:
    """All that changed between two runs."""

    recipe: tuple[Change, ...]
    verdicts: tuple[Change, ...]
    artifacts: ArtifactChanges
    machine: tuple[Change, ...]
    versions: tuple[Change, ...]


def between(before: Run, after: Run) -> RunChanges:
    """Return what changed from one run to another."""
    return RunChanges(
        recipe=tuple(changes(before.recipe, after.recipe)),
        verdicts=tuple(changes(_verdicts(before), _verdicts(after))),
        artifacts=_artifacts(before, after),
        machine=tuple(_machines(before, after)),
        versions=tuple(
            change._replace(path=f"{target}.{change.path}")
            for target, (one, other) in _measured_in_both(before, after).items()
            for change in changes(one.versions, other.versions)
        ),
    )


def same_measurement(before: Run, after: Run, target: str) -> bool:
    """Return whether a target's numbers are of one artifact: then nothing was measured in between."""
    one, other = (_digest(_steps(run).get(f"verify:{target}")) for run in (before, after))
    return one is not None and one == other


def other_conditions(before: Latency, after: Latency) -> str:
    """Return why times of two measurements are not comparable; empty where both are of one machine in one state."""
    one, other = (codec.encode(latency.processes[0].machine) for latency in (before, after))
    changed = list(changes(one, other))
    if not changed:
        return ""
    if [change.path for change in changed] == ["boot"]:
        return "the machine was restarted in between, or is another of the same name"
    is_other = any(change.path.split(".")[0] in _LASTING for change in changed)
    kind = "on another machine" if is_other else "on this machine in another state"
    named = "; ".join(f"{path} {shown(new)}, in run A {shown(old)}" for path, old, new in changed if path != "boot")
    return f"measured {kind}: {named}"


def _verdicts(run: Run) -> dict[str, str]:
    return {f"{one.target} {one.promise.name}": one.verdict for one in run.verdicts}


def _measured_in_both(before: Run, after: Run) -> dict[str, tuple[Measured, Measured]]:
    ours, theirs = (
        {target: result for target, result in run.results.items() if isinstance(result, Measured)}
        for run in (before, after)
    )
    return {target: (ours[target], theirs[target]) for target in ours if target in theirs}


def _machines(before: Run, after: Run) -> list[Change]:
    """Return what changed where the runs were done, and where a device measured its own numbers."""
    host = _lasting(before.machine, after.machine)
    devices = [
        Change(f"{target}: {change.path}", change.before, change.after)
        for target, (one, other) in _measured_in_both(before, after).items()
        for change in _lasting(one.machine, other.machine)
        if change not in host
    ]
    return [*host, *devices]


def _lasting(before: object, after: object) -> list[Change]:
    found = changes(codec.encode(before), codec.encode(after))
    return [change for change in found if change.path not in _MOVES]


def _steps(run: Run) -> dict[str, StepRecord]:
    return {step.id: step for step in run.steps}


def _digest(step: StepRecord | None) -> str | None:
    return step.digest if step else None


def _key(step: StepRecord | None) -> str | None:
    return step.key if step else None


def _artifacts(before: Run, after: Run) -> ArtifactChanges:
    ours, theirs = _steps(after), _steps(before)
    differ = []
    for name in dict.fromkeys((*ours, *theirs)):
        one, other = theirs.get(name), ours.get(name)
        if one and other and one.digest == other.digest:
            continue
        same_key = _key(one) is not None and _key(one) == _key(other)
        differ.append(ArtifactChange(name, _digest(one), _digest(other), same_key))
    first = differ[0].step if differ else None
    return ArtifactChanges(tuple(differ), first, len({*ours, *theirs}) - len(differ))
