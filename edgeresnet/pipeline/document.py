"""The run as it is stored: recipe, steps, measurements, verdicts, conditions. Reports read this and nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..portable import judging, machine
from ..recipe import Recipe
from ..stages import verify
from ..store import FORMAT
from .planner import as_written_of, int8_of
from .step import Outcome


def document(
    recipe: Recipe,
    outcomes: Mapping[str, Outcome],
    began: float,
    problem: BaseException | None = None,
    where: str = "",
) -> dict[str, Any]:
    """`where` is the step in which a problem ended it."""
    as_written = as_written_of(recipe)
    unlabelled = recipe.images.evaluation is None
    results = {name: _result(name, outcomes, as_written.get(name), unlabelled) for name in recipe.targets}
    return {
        **_head(recipe, began),
        "steps": [_step(outcome) for outcome in outcomes.values()],
        "results": results,
        **_judged(recipe, results, problem is not None),
        "problem": None if problem is None else {**_problem(problem), "step": where},
        "machine": machine.describe(),
    }


def amended(
    run: Mapping[str, Any], recipe: Recipe, target: str, result: dict[str, Any], step: Mapping[str, Any]
) -> dict[str, Any]:
    """A run as a new one, with what a device brought home in its place: nothing else of it is done again.

    `recipe` is the run's own, with other promises where some are given.
    """
    results = {**run["results"], target: result}
    steps = [{**each, **step} if each["id"] == f"verify:{target}" else each for each in run["steps"]]
    verdicts = _judged(recipe, results, run["problem"] is not None)
    return {**run, **_head(recipe, time.time()), "steps": steps, "results": results, **verdicts}


def _head(recipe: Recipe, began: float) -> dict[str, Any]:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(began))
    return {
        "format": FORMAT,
        "id": f"{stamp}-{int(began * 1e6) % 1_000_000:06d}-{recipe.digest[:6]}",
        "recipe": recipe.to_json(),
        "recipe_digest": recipe.digest,
        "seconds": round(time.time() - began, 3),
    }


def _judged(recipe: Recipe, results: Mapping[str, Mapping[str, Any]], incomplete: bool) -> dict[str, Any]:
    limits = recipe.promises.limits()
    verdicts = [verdict for name, result in results.items() for verdict in judging.judge(limits, name, result)]
    words = [verdict.verdict for verdict in verdicts]
    words += [_missing(result) for result in results.values() if "variants" not in result]
    if incomplete:
        words.append(judging.NOT_MEASURED)
    return {
        "verdicts": [verdict.to_json() for verdict in verdicts],
        "verdict": judging.worst(words),
        "undecided": recipe.promises.undecided,
    }


def part(recipe: Recipe, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """What a door to a part of a recipe shows: its steps, what was measured in them, and who wrote whose INT8."""
    measured = [(name, one.artifact) for name, one in outcomes.items() if one.step.stage.name == "verify"]
    return {
        "recipe": recipe.to_json(),
        "steps": {name: _step(outcome) for name, outcome in outcomes.items()},
        "results": {name: verify.read_result(artifact) for name, artifact in measured if artifact},
        "int8": int8_of(recipe),
        "as_written": as_written_of(recipe),
    }


def _step(outcome: Outcome) -> dict[str, Any]:
    artifact = outcome.artifact
    return {
        "id": outcome.step.id,
        "stage": outcome.step.stage.name,
        "state": outcome.state,
        "seconds": round(outcome.seconds, 3),
        "key": artifact.key if artifact else None,
        "digest": artifact.digest if artifact else None,
        "path": str(artifact.path.absolute()) if artifact else None,
        "notes": artifact.notes if artifact else None,
        "reason": outcome.reason,
        "hint": outcome.hint,
        "warnings": outcome.warnings,
    }


def _result(target: str, outcomes: Mapping[str, Outcome], as_written: str | None, unlabelled: bool) -> dict[str, Any]:
    """`as_written` is the step that ran the target's INT8 file as it is written, before the target's compiler."""
    outcome = outcomes.get(f"verify:{target}")
    if outcome is None or outcome.artifact is None:
        early = "there are no evaluation images" if unlabelled else "the run ended before it"
        reason = outcome.reason if outcome else early
        deferred = outcome is not None and outcome.state == "deferred"
        about = {"target": target, "reason": reason, "hint": outcome.hint if outcome else ""}
        return {**about, "deferred": True, "unlabelled": unlabelled} if deferred else about
    found = verify.read_result(outcome.artifact)
    before = outcomes.get(as_written or "")
    if before is not None and before.artifact is not None:
        found["as_written"] = verify.as_written(before.artifact)
    return found


def _missing(result: Mapping[str, Any]) -> str:
    return judging.DEFERRED if result.get("deferred") else judging.NOT_MEASURED


def _problem(problem: BaseException) -> dict[str, str]:
    if isinstance(problem, KeyboardInterrupt):
        return {"message": "interrupted", "hint": "run it again: finished stages are kept"}
    hint = getattr(problem, "hint", "this is a bug of edgeresnet")
    return {"message": str(problem) or type(problem).__name__, "hint": hint}
