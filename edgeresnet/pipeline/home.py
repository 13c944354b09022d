"""What a device measured, brought home: it must belong to a bundle that was made here, and fit that bundle's images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import export, recipe
from ..artifact import Artifact, Store
from ..device import bundle, trial
from ..device.bundle import Bundle
from ..errors import ArtifactError
from ..recipe import Recipe
from .stages import ELSEWHERE
from .steps import elsewhere


def bring_home(path: Path, store: Store) -> Recipe:
    """Puts a device's result where the run that handed the bundle over looks for it; gives that run's recipe."""
    found = bundle.opened(path)
    made = _exported(found["bundle"], path, store)
    wanted, target = _of_run(made, store)
    result = _fitting(found["result"], made, target, path)
    step = elsewhere(target)
    key = step.key({"bundle": made.digest})
    with store.making(ELSEWHERE.name, key) as making:
        (making.out / trial.RESULT).write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
        making.commit(
            stage_version=ELSEWHERE.version,
            spec=step.spec,
            parents={"bundle": made.digest},
            libraries=result["versions"],
            machine=result["machine"],
            notes={"images": len(result["reference_predicted"]), "from": path.name, "measured": found["measured"]},
            seconds=0.0,
            warnings=[],
        )
    return wanted


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


def _of_run(made: Artifact, store: Store) -> tuple[Recipe, str]:
    """The recipe of the newest run that handed this bundle over, and for which target."""
    for path in reversed(store.runs()):
        run = store.load_run(str(path))
        for step in run["steps"]:
            if step["stage"] == "export" and step["digest"] == made.digest:
                return recipe.parse(run["recipe"], name=f"the recipe of run {run['id']}"), step["id"].split(":")[1]
    raise ArtifactError(
        f"no run in {store.root} handed bundle {made.notes['bundle'][:12]} over",
        hint="`edgeresnet run` with the recipe that made it, then bring the result home again",
    )


def _fitting(result: Mapping[str, Any], made: Artifact, target: str, path: Path) -> dict[str, Any]:
    """Counted again from the answers to every image: what was judged must be what was answered."""
    held = Bundle.open(made.path / export.FOLDER)
    labels, expected = held.labels, held.array("expected")
    before, known = expected.argmax(1), None if labels is None else labels.tolist()
    problem = ""
    if result.get("target") != target or result.get("candidate") not in result.get("variants", {}):
        problem = "it holds another target, or not the network that would ship"
    elif result["labels"] != known or result["reference_predicted"] != before.tolist():
        problem = "its images are not the bundle's"
    else:
        again = [(result["candidate"], build) for build in result.get("rebuilds", ())]
        for name, variant in [*result["variants"].items(), *again]:
            given = np.asarray(variant["predicted"])
            counts = variant["accuracy"]
            fits = given.shape == before.shape and counts["images"] == len(before)
            right = int((given == labels).sum()) if fits and labels is not None else None
            if not fits or counts.get("top1") != right or counts["agree"] != (given == before).sum():
                problem = f"{name}'s counts do not follow from its answers"
    if problem:
        raise ArtifactError(f"{path} does not fit its bundle: {problem}", hint="run deploy.py once more on the device")
    return dict(result)
