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
from ..portable.result import Accuracy, Measured, RunWarning
from ..runs import Run, StepId, StepRecord
from ..stages import verify
from ..stages.export import contents, fits, write
from ..stages.export.contents import Bundle
from ..stages.table import ON_DEVICE
from ..store import Artifact, Origin, Store
from .document import with_result
from .planner import as_written_of, device_step
from .resolving import resolved_targets
from .step import Step


def collect(path: Path, store: Store, changes: tuple[str, ...] = ()) -> Run:
    """Return the run that handed the bundle over as a new run, with the device's result in it, judged and saved.

    Nothing is made or measured here. `changes` are of promises alone: `promises.max_drop_pp=1`.
    """
    others = [change for change in changes if not change.startswith("promises.")]
    if others:
        raise ArtifactError(
            f"--set {others[0]}", "cannot change a finished measurement", hint="only promises can be set here"
        )
    device = contents.opened(path)
    bundle = _bundle(device.bundle, path, store)
    run, target = _run_of(bundle, device.bundle, store)
    raw = copy.deepcopy(dict(run.recipe))
    recipe.change(raw, changes)
    wanted = recipe.parse(raw, name=f"the recipe of run {run.id}")
    try:
        fits.check_fit(device.result, Bundle.open(bundle.path / write.FOLDER), target)
    except ArtifactError as problem:
        raise problem.within(f"{path} does not match its bundle") from problem
    notes = VerifyNotes(len(device.result.reference_predicted), origin=path.name, measured=device.measured)
    stored = stored_result(device.result, bundle, device_step(target), notes, store)
    before = _as_written(run, as_written_of(wanted, resolved_targets(wanted)).get(target), store)
    step = StepId("verify", target)
    where = str(stored.path.absolute())
    record = StepRecord(step, str(step), "done", 0.0, stored.key, stored.digest, where, notes)
    result = replace(device.result, as_written=before) if before else device.result
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


def _as_written(run: Run, wanted: StepId | None, store: Store) -> Accuracy | None:
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


def _run_of(bundle: Artifact, digest: str, store: Store) -> tuple[Run, str]:
    """Return the newest run that handed this bundle over, and for which target. A damaged run is skipped."""
    for path in reversed(store.runs()):
        try:
            run = store.load_run(str(path))
        except ArtifactError:
            continue
        for step in run.steps:
            if step.stage == "export" and step.digest == bundle.digest:
                return run, step.step.target
    raise ArtifactError(
        f"bundle {digest[:12]}",
        f"does not belong to any run in {store.root}",
        hint="run the recipe that made the bundle, then collect the result again",
    )
