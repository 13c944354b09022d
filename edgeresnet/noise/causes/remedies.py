"""Tries remedies, and names those that work: each is run, and takes away noise that matters.

Places are tried in the order of the noise that a remedy could take away. The best remedy is accepted, and the others
are compared with the network that has it: two causes of the same noise are not named both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..diagnosis import Cause
from ..scan import Progress
from .whatif import Change, WhatIf

# A remedy that raises SQNR at the logits by less explains nothing that matters. In turn: what no tool does on purpose,
# what is plainly wrong, what a quantizer may have chosen; and in many places at once: what calibration images show, and
# all else. Good files of all quantizers stay below.
NEVER_DB, WRONG_DB, CHOSEN_DB, SHOWN_DB, EVERYWHERE_DB = 0.5, 1.0, 2.0, 3.0, 6.0
_NEXT_DB = 3.0  # after another remedy was accepted
_CLOSE_DB = 0.7  # the simplest remedy is named, if the best is not better by more
_PLACES, _NAMED = 8, 4


@dataclass(frozen=True)
class Remedy:
    """Another grid or other weights, and the cause that they point to."""

    change: Change
    named: Callable[[], Cause]  # its weight is filled in here
    enough_db: float


@dataclass(frozen=True)
class Place:
    """Where remedies are tried: a tensor or a layer's weights, or all such places of a network at once."""

    remedies: tuple[Remedy, ...]  # the simplest first
    promise: float  # the noise that the best could take away, estimated: orders the places


@dataclass(frozen=True)
class _Found:
    place: Place
    remedy: Remedy
    gain_db: float


def search(whatif: WhatIf, places: Sequence[Place], progress: Progress = lambda done, total, word: None) -> list[Cause]:
    """Return the causes whose remedies work, the one that explains most first."""
    waiting = sorted(places, key=lambda place: -place.promise)[:_PLACES]
    causes: list[Cause] = []
    left = 1.0  # of the noise
    while waiting and len(causes) < _NAMED:
        found = []
        for number, place in enumerate(waiting, 1):
            found.append(_tried(whatif, place))
            progress(number, len(waiting), "remedies")
        best = _simplest(found, _NEXT_DB if causes else 0.0)
        if best is None:
            break
        whatif.accept(best.remedy.change, best.gain_db)
        taken = left * (1 - 10 ** (-best.gain_db / 10))
        left -= taken
        cause = best.remedy.named()
        causes.append(Cause(cause.code, cause.layer, cause.evidence, cause.remedy, taken))
        waiting = [one.place for one in found if one.place is not best.place]
    return causes


def _tried(whatif: WhatIf, place: Place) -> _Found:
    """Return the simplest remedy that is nearly as good as the best."""
    gains = [whatif.gain_db(remedy.change) for remedy in place.remedies]
    index = next(index for index, gain in enumerate(gains) if gain >= max(gains) - _CLOSE_DB)
    return _Found(place, place.remedies[index], gains[index])


def _simplest(found: Sequence[_Found], least_db: float) -> _Found | None:
    """Return the best remedy; of nearly equal ones, that in one place."""
    worth = [one for one in found if one.gain_db >= max(one.remedy.enough_db, least_db)]
    if not worth:
        return None
    best = max(one.gain_db for one in worth)
    close = [one for one in worth if one.gain_db >= best - 2 * _CLOSE_DB]
    return min(close, key=lambda one: (one.remedy.enough_db, -one.gain_db))
