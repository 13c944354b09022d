"""What a device measured, brought home: it must belong to a bundle that was made here, and fit that bundle's images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import recipe
from ..errors import ArtifactError
from ..portable import evaluation, inference
from ..stages import verify
from ..stages.export import contents, write
from ..stages.export.contents import Bundle
from ..stages.table import ELSEWHERE
from ..store import Artifact, Store
from .document import amended
from .planner import as_written_of, elsewhere

_ONCE_MORE = "run deploy.py once more on the device"


def bring_home(path: Path, store: Store, changes: tuple[str, ...] = ()) -> dict[str, Any]:
    """The run that handed the bundle over as a new run, with the device's result in its place, judged and saved.

    Nothing is made or measured here. `changes` are of promises alone: `promises.max_drop_pp=1`.
    """
    other = [change for change in changes if not change.startswith("promises.")]
    if other:
        raise ArtifactError(
            f"--set {other[0]} beside --from says nothing: it was measured already", hint="promises can be set"
        )
    found = contents.opened(path)
    made = _exported(found["bundle"], path, store)
    run, target = _run_of(made, store)
    raw = run["recipe"]
    recipe.change(raw, changes)
    wanted = recipe.parse(raw, name=f"the recipe of run {run['id']}")
    try:
        result = _fitting(found["result"], Bundle.open(made.path / write.FOLDER), target)
        notes = {"images": len(result["reference_predicted"]), "from": path.name, "measured": found["measured"]}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as problem:
        raise ArtifactError(f"{path} is not whole: {problem!r}", hint=_ONCE_MORE) from problem
    except ArtifactError as problem:
        raise ArtifactError(f"{path} does not fit its bundle: {problem.message}", hint=problem.hint) from problem
    kept = _kept(result, made, target, notes, store)
    before = _as_written(run, as_written_of(wanted).get(target), store)
    where = {"key": kept.key, "digest": kept.digest, "path": str(kept.path.absolute())}
    step = {**where, "state": "done", "notes": notes, "reason": "", "hint": "", "seconds": 0.0}
    done = amended(run, wanted, target, {**result, **before}, step)
    store.save_run(done)
    return done


def _kept(result: dict[str, Any], made: Artifact, target: str, notes: dict[str, Any], store: Store) -> Artifact:
    """Where a run of the same recipe finds it, too."""
    step = elsewhere(target)
    with store.making(ELSEWHERE.name, step.key({"bundle": made.digest})) as making:
        (making.out / evaluation.RESULT).write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
        return making.commit(
            stage_version=ELSEWHERE.version,
            spec=step.spec,
            parents={"bundle": made.digest},
            libraries=result["versions"],
            machine=result["machine"],
            notes=notes,
            seconds=0.0,
            warnings=[],
        )


def _as_written(run: Mapping[str, Any], wanted: str | None, store: Store) -> dict[str, Any]:
    """What its Q/DQ cost before any compiler, where the run measured that and it is still here."""
    for step in run["steps"]:
        if step["id"] == wanted and step["key"]:
            artifact, _ = store.find(step["stage"], step["key"])
            if artifact is not None and artifact.digest == step["digest"]:
                return {"as_written": verify.as_written(artifact)}
    return {}


def _exported(digest: str, path: Path, store: Store) -> Artifact:
    for artifact in store.artifacts():
        if artifact.manifest["stage"] == "export" and artifact.notes.get("bundle") == digest:
            whole, problem = store.find("export", artifact.key)
            if whole is None:
                raise ArtifactError(problem, hint="run the recipe again, and hand the new bundle over")
            return whole
    raise ArtifactError(
        f"{path} was measured with bundle {digest[:12]}, which was not made in {store.root}",
        hint="name the store that it came from with --store, or hand over a bundle of this one",
    )


def _run_of(made: Artifact, store: Store) -> tuple[dict[str, Any], str]:
    """The newest run that handed this bundle over, and for which target. A damaged run is none."""
    for path in reversed(store.runs()):
        try:
            run = store.load_run(str(path))
        except ArtifactError:
            continue
        for step in run["steps"]:
            if step["stage"] == "export" and step["digest"] == made.digest:
                return run, step["id"].split(":")[1]
    raise ArtifactError(
        f"no run in {store.root} handed bundle {made.notes['bundle'][:12]} over",
        hint="`edgeresnet run` with the recipe that made it, then bring the result home again",
    )


def _fitting(result: Mapping[str, Any], held: Bundle, target: str) -> dict[str, Any]:
    """All that is judged, counted here from the answers to every image: what stands beside them must be the same."""
    about, labels, before = held.about, held.labels, np.asarray(held.array("expected")).argmax(1)
    if result["target"] != target or result["candidate"] != about["candidate"]:
        raise ArtifactError("it holds another target, or not the network that would ship", hint=_ONCE_MORE)
    known = None if labels is None else labels.tolist()
    same = result["labels"] == known and result["reference_predicted"] == before.tolist()
    same = same and result.get("images") == about.get("images")
    if not same or result["classes"] != about["classes"] or result["skipped"] != about["skipped"]:
        raise ArtifactError("its images are not the bundle's", hint=_ONCE_MORE)
    again = result.get("rebuilds", [])
    if len(again) + 1 < about["rebuilds"]:
        raise ArtifactError(
            f"what would ship was built {len(again) + 1} times, and {about['rebuilds']} were asked for",
            hint="run deploy.py once more on the device, without --rebuilds",
        )
    if result["candidate"] not in result["variants"] or not set(result["variants"]) <= set(about["variants"]):
        raise ArtifactError("its networks are not the bundle's", hint=_ONCE_MORE)
    for name, variant in [*result["variants"].items(), *((result["candidate"], build) for build in again)]:
        counted = inference.counts(before, np.asarray(variant["predicted"]), labels)
        if any(variant["accuracy"][key] != value for key, value in counted.items()):
            raise ArtifactError(f"{name}'s counts do not follow from its answers", hint=_ONCE_MORE)
        if set(variant["accuracy"]) != {*counted, "sqnr_db", *(() if labels is None else ("top5",))}:
            raise ArtifactError(f"{name}'s counts are not those of this bundle's images", hint=_ONCE_MORE)
        if not (variant["latency"] or {}).get("processes"):
            raise ArtifactError(f"{name} was not timed", hint=_ONCE_MORE)
    return dict(result)
