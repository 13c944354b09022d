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
        step = outcome.step.id
        target = step.target
        control = _control(outcomes.get(StepId("quantize", target)))
        if step != StepId("verify", target) or control is None or target in self.ended or outcome.artifact is None:
            return None
        result = verify.read_result(outcome.artifact)
        if not isinstance(result, Measured):
            return None
        if result.choice:  # a bundle's networks are its rounds: the widest margin is among them
            self.ended.add(target)
            return None
        number, spent = resolved.rounds.get(target, (1, 0.0))
        self.spent[target, number] = spent
        found = judging.judge(resolved.recipe.promises.promises(), target, result, number)
        judged = [one for one in found if judging.can_show(one.promise, result)]
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
