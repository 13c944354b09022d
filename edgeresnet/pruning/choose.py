"""Which units stay for a goal: the least important go first, in widths that compilers like. Removes nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import ModelError
from .units import Cuttable, Place, Pool

_LEAST = 8  # no compiler gains by a narrower step
_STEPS = 400  # of strength, from nothing removed to as much as possible


@dataclass(frozen=True)
class Choice:
    """What stays: yes or no for each unit of each pool."""

    cuttable: Cuttable
    kept: tuple[np.ndarray, ...]

    @cached_property
    def widths(self) -> dict[Place, int]:
        """How many channels stay in each place; a place in no pool keeps all."""
        found: dict[Place, int] = {}
        for pool, kept in zip(self.cuttable.pools, self.kept, strict=True):
            for place, rows in pool.places.items():
                found[place] = found.get(place, 0) + int(kept.sum()) * rows.shape[1]
        return found

    @cached_property
    def macs(self) -> int:
        return sum(weights * positions for weights, positions in self._weights())

    @cached_property
    def params(self) -> int:
        vectors = sum(self.widths.get(Place(layer, "out"), length) for layer, length in self.cuttable.vectors)
        return vectors + sum(weights for weights, _ in self._weights())

    @cached_property
    def ratio(self) -> float:
        """The part that goes of the channels that may be removed."""
        pools = [(pool, kept) for pool, kept in zip(self.cuttable.pools, self.kept, strict=True) if pool.may_be_cut]
        count = sum(pool.units * pool.channels for pool, _ in pools)
        return sum(int((~kept).sum()) * pool.channels for pool, kept in pools) / max(count, 1)

    def _weights(self) -> list[tuple[int, int]]:
        """Return for each layer how many weights it has, and how often each is multiplied."""
        found = []
        for layer in self.cuttable.layers:
            outputs = self.widths.get(Place(layer.name, "out"), layer.outputs)
            inputs = self.widths.get(Place(layer.name, "in"), layer.inputs) if layer.groups == 1 else layer.inputs
            found.append((outputs * (inputs // layer.groups) * layer.kernel, layer.positions))
        return found


class Chooser:
    """All choices that one ranking gives, from nothing removed on, each a little stronger than the one before."""

    def __init__(self, cuttable: Cuttable, scores: Sequence[np.ndarray], *, multiple: int, every_layer_alike: bool):
        self.cuttable, self.scores = cuttable, scores
        self.multiple, self.alike = multiple, every_layer_alike
        may = [values for pool, values in zip(cuttable.pools, scores, strict=True) if pool.may_be_cut]
        if not may:
            why = "; ".join(cuttable.tied()) or "it has no convolution that could be pruned"
            raise ModelError("this network", "has no layer that can be pruned", hint=why)
        self._ranked = np.sort(np.concatenate(may))
        self.dense = self.at(0.0)

    def at(self, strength: float) -> Choice:
        """Return a choice. `strength` is the part of the units that would go if every width were possible."""
        count = len(self._ranked)
        worst = self._ranked[min(int(strength * count), count - 1)] if strength > 0 else -np.inf
        both = zip(self.cuttable.pools, self.scores, strict=True)
        return Choice(self.cuttable, tuple(self._kept(pool, values, worst, strength) for pool, values in both))

    def _kept(self, pool: Pool, values: np.ndarray, worst: float, strength: float) -> np.ndarray:
        if not pool.may_be_cut or strength <= 0:
            return np.ones(pool.units, bool)
        wanted = round(pool.units * (1 - strength)) if self.alike else int((values > worst).sum())
        step = self._step(pool)
        least = 0 if self._may_vanish(pool) else min(step, pool.units)
        keep = min(pool.units, max(step * round(wanted / step), least))
        kept = np.zeros(pool.units, bool)
        kept[np.argsort(-values, kind="stable")[:keep]] = True
        return kept

    def _step(self, pool: Pool) -> int:
        """Return how many units go or stay together, so that widths are multiples; fewer in a narrow layer."""
        step = self.multiple
        while step > _LEAST and pool.units * pool.channels < 2 * step:
            step //= 2
        return max(1, step // pool.channels)

    @property
    def finest(self) -> int:
        """The smallest step of a width in this network."""
        return min(self._step(pool) * pool.channels for pool in self.cuttable.pools if pool.may_be_cut)

    def _may_vanish(self, pool: Pool) -> bool:
        """Return whether all units of a pool may go: its layers have others, as where a padded shortcut adds some."""
        return any(pool.places.keys() < other.places.keys() for other in self.cuttable.pools)

    def mildest(self, reaches: Callable[[Choice], bool]) -> Choice | None:
        """Return the mildest choice that reaches a goal; None where none does. What need not go is given back."""
        low, high = 0, _STEPS
        if not reaches(self.at(1.0)):
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if reaches(self.at(middle / _STEPS)) else (middle + 1, high)
        return self._given_back(self.at(low / _STEPS), reaches)

    def _given_back(self, choice: Choice, reaches: Callable[[Choice], bool]) -> Choice:
        """Give units back while the goal is reached, the most important first: rounded widths fall in large steps."""
        tried: set[int] = set()
        while True:
            fallen = [index for index, kept in enumerate(choice.kept) if not kept.all() and index not in tried]
            if not fallen:
                return choice
            best = max(fallen, key=lambda index: self.scores[index][~choice.kept[index]].max())
            more = self._wider(choice, best)
            if reaches(more):
                choice = more
            else:
                tried.add(best)

    def _wider(self, choice: Choice, index: int) -> Choice:
        """Return a choice that is wider by one step of one pool's width."""
        pool, kept = self.cuttable.pools[index], choice.kept[index].copy()
        step = self._step(pool)
        gone = np.flatnonzero(~kept)
        back = gone[np.argsort(-self.scores[index][gone], kind="stable")]
        kept[back[: step - int(kept.sum()) % step]] = True
        return Choice(self.cuttable, (*choice.kept[:index], kept, *choice.kept[index + 1 :]))

    def for_goal(self, goal: str, value: float) -> Choice:
        """Return the mildest choice for a goal: `macs` and `params` are the part that stays, `ratio` the part of the
        channels that goes.
        """

        def reaches(one: Choice) -> bool:
            return one.ratio >= value if goal == "ratio" else getattr(one, goal) <= value * getattr(self.dense, goal)

        found = self.mildest(reaches)
        if found is None:
            best = self.at(1.0)
            reached = best.ratio if goal == "ratio" else getattr(best, goal) / getattr(self.dense, goal)
            curve = ", ".join(f"{self.at(part).macs / self.dense.macs:.2f}" for part in (0.25, 0.5, 0.75, 1.0))
            stay = f"remaining MACs at 25, 50, 75 and 100 % of the strength: {curve}"
            raise ModelError(
                f"prune.{goal} {value:g}",
                f"cannot be reached: with every layer at its smallest width it is {reached:.3f}",
                hint="; ".join([stay, *self.cuttable.tied()]),
            )
        return found
