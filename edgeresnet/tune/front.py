"""Chooses more layers for float than a forecast needs, for a device that measures once.

If the device breaks a promise, a new bundle must go there. So a bundle also has a network with a wider margin.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol

from ..deadline import Deadline
from .control import Layers, shortest
from .forecast import Forecast, Goals


class Question(Protocol):
    """Forecasts for the network that was searched."""

    def layers(self) -> Sequence[str]:
        """Return the layers that may stay in float, in the network's order."""

    def removed(self, chosen: Layers) -> float:
        """Return the estimated part of the noise at the logits that goes if these layers stay in float: 0 to 1."""

    def forecast(self, chosen: Layers, goals: Goals | None = None) -> Forecast:
        """Return what the verdict will be if these layers stay in float, for other goals than those of the search."""


def safer(question: Question, chosen: Sequence[str], goals: Goals, until: Deadline) -> tuple[str, ...] | None:
    """Return the chosen layers and as many more as the widest margin needs that any number of them keeps.

    None where the chosen ones keep it already, or where none is kept. OutOfTime where no other step fits.
    """
    layers, steps = question.layers(), until.part(1.0)
    rest = [layer for layer in layers if layer not in chosen]
    rest.sort(key=lambda layer: -question.removed(Layers({*chosen, layer})))

    def kept(more: Sequence[str], wanted: Goals) -> bool:
        return steps.take(functools.partial(question.forecast, Layers({*chosen, *more}), wanted)).kept

    for wanted in goals.with_wider():
        enough = functools.partial(kept, wanted=wanted)
        if enough([]):
            return None
        more = shortest(rest[:-1], enough)  # one layer stays in INT8 at least
        if more and enough(more):
            return tuple(layer for layer in layers if layer in {*chosen, *more})
    return None
