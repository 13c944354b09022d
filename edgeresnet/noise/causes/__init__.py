"""Why layers lose accuracy. A cause is named only where its remedy, computed, takes away noise that matters.

A family of causes is a file. `find` asks all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from ..diagnosis import Cause
from . import activations, compiling, given, saturation, weights, wiring
from .evidence import Evidence
from .remedies import search


def find(evidence: Evidence, advance: Callable[[], None] = lambda: None) -> tuple[Cause, ...]:
    """Return the causes that were found, the one that explains most first."""
    places = [*activations.places(evidence), *weights.places(evidence)]
    found = search(evidence.whatif, places, advance) if places else []
    for family in (compiling, saturation, wiring, given):
        found += family.causes(evidence)
    return tuple(sorted(found, key=lambda cause: -cause.weight))
