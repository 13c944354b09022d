"""A device's result, collected: it must belong to a bundle that was made here, and fit that bundle's images."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import recipe
from ..errors import ArtifactError
from ..notes import ExportNotes, VerifyNotes
from ..portable import codec, evaluation
from ..portable.result import AnyAccuracy, Measured, RunWarning
from ..runs import Run, StepId, StepRecord
from ..stages import verify
from ..stages.export import contents, fits, write
from ..stages.export.contents import Bundle, DeviceResult
from ..stages.table import ON_DEVICE
from ..store import Artifact, Origin, Store
from .document import with_result
from .planner import as_written_of, device_step
from .resolving import resolved_targets
from .step import Step


def collect(path: Path, store: Store, changes: tuple[str, ...] = (), device: str | None = None) -> Run:
    """Return the run that handed the bundle over as a new run, with the device's result in it, judged and saved.

    Nothing is made or measured here. `changes` are of promises alone: `promises.max_drop_pp=1`. `device` is the one
    that measured, or its part of the run: `orin` or `tensorrt@orin`. None: the part that waits for this bundle.
    """
    others = [change for change in changes if not change.startswith("promises.")]
    if others:
        raise ArtifactError(
            f"--set {others[0]}", "cannot change a finished measurement", hint="only promises can be set here"
        )
    found = contents.opened(path)
    bundle = _bundle(found.bundle, path, store)
    run, target = _run_of(bundle, found.bundle, store, device)
    part = _part_of(run, target, found, path, device)
    raw = copy.deepcopy(dict(run.recipe))
    recipe.change(raw, changes)
    wanted = recipe.parse(raw, name=f"the recipe of run {run.id}")
    try:
        fits.check_fit(found.result, Bundle.open(bundle.path / write.FOLDER), target)
    except ArtifactError as problem:
        raise problem.within(f"{path} does not match its bundle") from problem
    notes = VerifyNotes(found.result.count, origin=path.name, measured=found.measured)
    step, result = device_step(target, part.partition("@")[2]), replace(found.result, target=part)
    stored = stored_result(result, bundle, step, notes, store)
    before = _as_written(run, as_written_of(wanted, resolved_targets(wanted)).get(target), store)
    where = str(stored.path.absolute())
    record = StepRecord(step.id, str(step.id), "done", 0.0, stored.key, stored.digest, where, notes)
    result = replace(result, as_written=before) if before else result
    done = with_result(run, wanted, result, record)
    store.save_run(done)
    return done


def stored_result(
    result: Measured,
    bundle: Artifact,
    step: Step,
    notes: VerifyNotes,
    store: Store,
    warnings: Sequence[RunWarning] = (),
) -> Artifact:
    """Store a device's result as its step's, where a run of the same recipe finds it, too."""
    parents = {"bundle": bundle.digest}
    machine = codec.encode(result.machine)
    origin = Origin(ON_DEVICE.version, step.spec.to_json(), parents, result.versions, machine)
    with store.making(ON_DEVICE.name, step.key(parents)) as making:
        text = json.dumps(codec.encode(result), ensure_ascii=False)
        (making.out / evaluation.RESULT).write_text(text, encoding="utf-8")
        return making.commit(notes, origin, warnings=warnings)


def _as_written(run: Run, wanted: StepId | None, store: Store) -> AnyAccuracy | None:
    """Return what its Q/DQ cost before any compiler, where the run measured that and the artifact still exists."""
    for step in run.steps:
        if step.step == wanted and step.key:
            artifact, _ = store.find(step.stage, step.key)
            if artifact is not None and artifact.digest == step.digest:
                return verify.as_written(artifact)
    return None


def _bundle(digest: str, path: Path, store: Store) -> Artifact:
    for artifact in store.artifacts():
        if isinstance(artifact.notes, ExportNotes) and artifact.notes.bundle == digest:
            intact, problem = store.find("export", artifact.key)
            if intact is None:
                raise ArtifactError(
                    "the bundle", f"cannot be used: {problem}", hint="run the recipe again, and export a new bundle"
                )
            return intact
    raise ArtifactError(
        str(path),
        f"was measured with bundle {digest[:12]}, which is not in the store {store.root}",
        hint="give the store that made the bundle, `--store DIR`, or measure a bundle of this store",
    )


def _run_of(bundle: Artifact, digest: str, store: Store, device: str | None) -> tuple[Run, str]:
    """Return the newest run that handed this bundle over, and for which target: to this device, if a run did.

    A damaged run is skipped.
    """
    newest: tuple[Run, str] | None = None
    for path in reversed(store.runs()):
        try:
            run = store.load_run(str(path))
        except ArtifactError:
            continue
        for step in run.steps:
            if step.stage == "export" and step.digest == bundle.digest:
                newest = newest or (run, step.step.target)
                if device is None or _named(device, _parts_of(run, step.step.target)):
                    return run, step.step.target
    if newest:
        return newest
    raise ArtifactError(
        f"bundle {digest[:12]}",
        f"does not belong to any run in {store.root}",
        hint="run the recipe that made the bundle, then collect the result again",
    )


def _parts_of(run: Run, target: str) -> list[str]:
    """Return the parts of a run that a target's bundle is for: the target's, or one for each of its devices."""
    return [part for part in run.results if part.partition("@")[0] == target]


def _named(device: str, parts: Sequence[str]) -> list[str]:
    """Return the part that is meant by the name of its device, or by its own."""
    return [part for part in parts if device in (part, part.partition("@")[2])]


def _part_of(run: Run, target: str, found: DeviceResult, path: Path, device: str | None) -> str:
    """Return the part of a run that a result belongs to; refuse to choose between several."""
    parts = _parts_of(run, target)
    if device is not None:
        if named := _named(device, parts):
            return named[0]
        raise ArtifactError(f"--as {device}", f"is not a device of run {run.id}", hint=_choose(parts))
    notes = {step.step.target: step.notes for step in run.steps if isinstance(step.notes, VerifyNotes)}
    again = [part for part in parts if part in notes and notes[part].measured == found.measured]
    waiting = [part for part in parts if not isinstance(run.results[part], Measured)]
    by_hand = [part for part in parts if part in notes and notes[part].identity is None]
    fitting = again or waiting or by_hand
    if len(fitting) == 1:
        return fitting[0]
    problem = (
        f"may be of any of {', '.join(fitting)}" if fitting else "is of a bundle that its devices measured already"
    )
    raise ArtifactError(str(path), problem, hint=_choose(parts))


def _choose(parts: Sequence[str]) -> str:
    devices = [device for device in (part.partition("@")[2] for part in parts) if device]
    if not devices:
        return "leave it out: this bundle is for any device"
    return f"name the device that measured it: {' or '.join(f'`--as {each}`' for each in devices[:5])}"
