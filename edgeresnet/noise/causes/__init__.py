"""Why layers lose accuracy. A cause is named only where its remedy, computed, takes away noise that matters.

A family of causes is a file. `find` asks all of them.
"""

from __future__ import annotations

import numpy as np

from ..diagnosis import Cause
from ..scan import Progress
from . import activations, compiling, given, saturation, weights, wiring
from .evidence import Evidence
from .remedies import search

_LITTLE = 0.02  # of the noise, estimated: no remedy of so little is run


def find(evidence: Evidence, progress: Progress = lambda done, total, word: None) -> tuple[Cause, ...]:
    """Return the causes that were found, the one that explains most first."""
    noise = float(np.square(evidence.scan.total).sum())
    places = [*activations.places(evidence), *weights.places(evidence)] if evidence.varied else []
    found = search(evidence.whatif, [each for each in places if each.promise > _LITTLE * noise], progress)
    for family in (compiling, saturation, wiring, given):
        found += family.causes(evidence)
    return tuple(sorted(found, key=lambda cause: -cause.weight))
