"""Rounds of a search for the layers that stay in float: after a verdict that is not KEPT, with a wider margin.

At most four verdicts, since each one is another chance to be wrong. If none is KEPT, the best round is what ships.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..notes import ControlNotes, QuantizeNotes
from ..portable import judging
from ..portable.result import Measured
from ..runs import StepId
from ..stages import verify
from .resolving import Resolved
from .step import Outcome, Step


@dataclass
class Rounds:
    """What became of each target's rounds so far: how far each was from its promises, and when it had begun."""

    distances: dict[str, dict[int, float]] = field(default_factory=dict)
    spent: dict[tuple[str, int], float] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def next_after(
        self, outcome: Outcome, outcomes: Mapping[StepId, Outcome], resolved: Resolved
    ) -> tuple[int, float] | None:
        """Return the round that follows a target's measurement, and the seconds spent before; None: none follows."""
        target = outcome.step.id.target
        if outcome.step.id != StepId("verify", target):
            return None
        return self._next(target, [outcome], outcomes, resolved)

    def next_on_devices(self, outcomes: Mapping[StepId, Outcome], resolved: Resolved) -> dict[str, tuple[int, float]]:
        """Return the same for each target that devices measure, once all of them have.

        A bundle is for all devices of its target: one verdict that is not KEPT is enough for another one.
        """
        verified: dict[str, list[Outcome]] = {}
        for place, target in resolved.recipe.places().items():
            if place != target and (outcome := outcomes.get(StepId("verify", place))):
                verified.setdefault(target, []).append(outcome)
        found = {target: self._next(target, each, outcomes, resolved) for target, each in verified.items()}
        return {target: wanted for target, wanted in found.items() if wanted}

    def _next(
        self, target: str, verified: Sequence[Outcome], outcomes: Mapping[StepId, Outcome], resolved: Resolved
    ) -> tuple[int, float] | None:
        control = _control(outcomes.get(StepId("quantize", target)))
        if control is None or target in self.ended:
            return None
        read = [verify.read_result(outcome.artifact) for outcome in verified if outcome.artifact]
        results = [each for each in read if isinstance(each, Measured)]
        if not results:
            return None
        if any(each.choice for each in results):  # a bundle's networks are its rounds: the widest margin is among them
            self.ended.add(target)
            return None
        number, spent = resolved.rounds.get(target, (1, 0.0))
        self.spent[target, number] = spent
        promises = resolved.recipe.promises.promises()
        found = [(one, each) for each in results for one in judging.judge(promises, each.target, each, number)]
        judged = [one for one, each in found if judging.can_show(one.promise, each)]
        found_far = self.distances.setdefault(target, {})
        found_far[number] = max(map(judging.distance, judged), default=0.0)
        if all(one.verdict == judging.KEPT for one in judged):
            self.ended.add(target)
            return None
        assert resolved.recipe.quantize
        after, minutes = spent + control.seconds, resolved.recipe.quantize.minutes
        if number < judging.ROUNDS and control.ended in ("enough", "found") and after < 60 * minutes:
            return number + 1, after
        self.ended.add(target)
        best = min(found_far, key=lambda each: (found_far[each], each))
        return (best, self.spent[target, best]) if best != number else None


def _control(outcome: Outcome | None) -> ControlNotes | None:
    notes = outcome.artifact.notes if outcome and outcome.artifact else None
    return notes.control if isinstance(notes, QuantizeNotes) else None


def steps_of(steps: Sequence[Step], target: str) -> list[Step]:
    """Return the steps that depend on a target's INT8 network, and the one that writes it."""
    found: list[Step] = []
    names = {StepId("quantize", target)}
    for step in steps:
        if step.id in names or names & set(step.before):
            names.add(step.id)
            found.append(step)
    return found
