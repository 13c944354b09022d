"""The run as it is stored: recipe, steps, results, verdicts, machine. Reports read this and nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from ..notes import QuantizeNotes
from ..portable import confidence, judging, machine
from ..portable.result import Deferred, Measured, NotMeasured, Result, Verdict, Word
from ..recipe import Recipe
from ..runs import Part, Problem, Run, StepId, StepRecord, id_of_time
from ..stages import verify
from . import choosing
from .planner import ANSWERED, as_written_of, int8_of
from .resolving import Resolved
from .step import Outcome


def run_of(
    resolved: Resolved,
    outcomes: Mapping[StepId, Outcome],
    began: float,
    problem: BaseException | None = None,
    where: StepId | None = None,
) -> Run:
    """Return the run. `where` is the step in which a problem ended it."""
    recipe, as_written = resolved.recipe, as_written_of(resolved.recipe, resolved.targets)
    unlabelled = recipe.images.evaluation is None
    places = recipe.places()
    found = {name: _result(name, outcomes, as_written.get(target), unlabelled) for name, target in places.items()}
    rounds = {name: resolved.round_of(target) for name, target in places.items()}
    results = {name: _described(each, recipe, rounds[name]) for name, each in found.items()}
    verdicts = _verdicts(recipe, results, rounds)
    return Run(
        id=f"{id_of_time(began)}-{recipe.digest[:6]}",
        recipe=recipe.to_json(),
        recipe_digest=recipe.digest,
        seconds=round(time.time() - began, 3),
        steps=tuple(_step_record(outcome) for outcome in outcomes.values()),
        results=results,
        verdicts=verdicts,
        verdict=_word(verdicts, results, incomplete=problem is not None),
        undecided=recipe.promises.undecided,
        problem=None if problem is None else _problem(problem, where),
        machine=machine.describe(),
    )


def with_result(run: Run, recipe: Recipe, result: Measured, step: StepRecord) -> Run:
    """Return a run as a new one, with what a device measured in its place: nothing else of it is done again.

    `recipe` is the run's own, with other promises where some are given.
    """
    began, by_target = time.time(), _rounds_of(run)
    rounds = {name: by_target.get(target, 1) for name, target in recipe.places().items()}
    results = {**run.results, result.target: _described(result, recipe, rounds.get(result.target, 1))}
    verdicts = _verdicts(recipe, results, rounds)
    return replace(
        run,
        id=f"{id_of_time(began)}-{recipe.digest[:6]}",
        recipe=recipe.to_json(),
        recipe_digest=recipe.digest,
        seconds=round(time.time() - began, 3),
        steps=tuple(step if each.step == step.step else each for each in run.steps),
        results=results,
        verdicts=verdicts,
        verdict=_word(verdicts, results, incomplete=run.problem is not None),
        undecided=recipe.promises.undecided,
    )


def part(resolved: Resolved, outcomes: Mapping[StepId, Outcome]) -> Part:
    """Return what a command for a part of a recipe shows."""
    recipe, known = resolved.recipe, resolved.targets
    measured = [(step, one.artifact) for step, one in outcomes.items() if step.stage == "verify"]
    return Part(
        recipe=recipe.to_json(),
        steps={str(step): _step_record(outcome) for step, outcome in outcomes.items()},
        results={str(step): verify.read_result(artifact) for step, artifact in measured if artifact},
        int8={name: str(step) for name, step in int8_of(recipe, known).items()},
        as_written={name: str(step) for name, step in as_written_of(recipe, known).items()},
    )


def _verdicts(recipe: Recipe, results: Mapping[str, Result], rounds: Mapping[str, int]) -> tuple[Verdict, ...]:
    promises = recipe.promises.promises()
    judged = [judging.judge(promises, name, result, rounds.get(name, 1)) for name, result in results.items()]
    return tuple(verdict for verdicts in judged for verdict in verdicts)


def _word(verdicts: tuple[Verdict, ...], results: Mapping[str, Result], *, incomplete: bool) -> Word:
    words = [*(verdict.verdict for verdict in verdicts), *map(judging.state_word, results.values())]
    return judging.worst([*words, judging.NOT_MEASURED] if incomplete else words)


def _step_record(outcome: Outcome) -> StepRecord:
    artifact = outcome.artifact
    return StepRecord(
        step=outcome.step.id,
        id=str(outcome.step.id),
        state=outcome.state,
        seconds=round(outcome.seconds, 3),
        key=artifact.key if artifact else None,
        digest=artifact.digest if artifact else None,
        path=str(artifact.path.absolute()) if artifact else None,
        notes=artifact.notes if artifact else None,
        reason=outcome.reason,
        hint=outcome.hint,
        warnings=tuple(outcome.warnings),
    )


def _result(target: str, outcomes: Mapping[StepId, Outcome], as_written: StepId | None, unlabelled: bool) -> Result:
    """Return a target's result. `as_written` is the step that ran its INT8 file before the target's compiler."""
    outcome = outcomes.get(StepId("verify", target))
    if outcome is None:
        reason = "no evaluation images were given" if unlabelled else "the run ended before this target was measured"
        return NotMeasured(target, reason)
    if outcome.artifact is None and outcome.state == "deferred":
        return Deferred(target, outcome.reason, outcome.hint, unlabelled)
    if outcome.artifact is None:
        return NotMeasured(target, outcome.reason, outcome.hint)
    reference = outcomes.get(ANSWERED)
    measured = verify.read_result(outcome.artifact, reference.artifact if reference else None)
    before = outcomes.get(as_written) if as_written else None
    if before is not None and before.artifact is not None:
        return replace(measured, as_written=verify.as_written(before.artifact))
    return measured


def _rounds_of(run: Run) -> dict[str, int]:
    """Return which verdict that of each target is, where a search for float layers had several rounds."""
    found = [(step.step.target, step.notes) for step in run.steps]
    return {name: each.control.round for name, each in found if isinstance(each, QuantizeNotes) and each.control}


def _described(result: Result, recipe: Recipe, rounds: int) -> Result:
    """Return a result with what follows from its recipe: which INT8 network ships, and what its probabilities are."""
    if not isinstance(result, Measured):
        return result
    ships = choosing.chosen(result, recipe.promises.promises(), rounds)
    return confidence.described(ships, recipe.verify.threshold)


def _problem(problem: BaseException, where: StepId | None) -> Problem:
    step = str(where or "")
    if isinstance(problem, KeyboardInterrupt):
        return Problem("interrupted", "run it again: it continues after the finished stages", step)
    hint = getattr(problem, "hint", "this is a bug of edgeresnet")
    return Problem(str(problem) or type(problem).__name__, hint, step)
