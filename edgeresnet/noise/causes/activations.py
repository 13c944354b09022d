"""Causes in the grids of activations: a range that does not suit the values, a grid of the wrong kind, channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..diagnosis import Cause
from ..grids import Grid
from ..observe import Seen
from . import grid_error, image_grids, ranges, words
from .evidence import Evidence, Site
from .remedies import CHOSEN_DB, EVERYWHERE_DB, NEVER_DB, SHOWN_DB, WRONG_DB, Place, Remedy
from .whatif import Change

ZERO, HALF, NEGATIVE, APART, DEAD = (
    "zero-point",
    "half-unused",
    "negatives-clipped",
    "channels-apart",
    "dead-channels",
)
_RANGE = ""  # to be found out
_LESS = 2.0  # a remedy is tried if it divides a tensor's own error by this: 3 dB
_MANY = 3  # places that have the same cause make it the network's
_APART = 8.0  # a channel is far from the others if it reaches further than their median by this factor
_CONSTANT = 1e-3  # a channel that varies by less of its magnitude is dead


class _Tried(NamedTuple):
    code: str
    grid: Grid
    error: float


def places(evidence: Evidence) -> list[Place]:
    """Return where other grids of activations would round much better."""
    found: list[Place] = []
    alike: dict[str, list[tuple[Site, _Tried]]] = {}
    for site in evidence.sites:
        if site.tensor not in evidence.ranges:
            continue
        if site.grid.per_channel:
            found += image_grids.places(evidence, site)
            continue
        before = grid_error.error(evidence.seen(site), site.grid)
        tried = [_coded(evidence, site, each) for each in _grids(evidence, site) if before > _LESS * each.error]
        if not tried:
            continue
        remedies = tuple(_remedy(evidence, site, each) for each in tried)
        least = min(each.error for each in tried)
        found.append(Place(remedies, site.noise * (1 - least / before)))
        for each in tried:
            alike.setdefault(each.code, []).append((site, each))
    return found + [_together(code, those) for code, those in alike.items() if _in_many(code, those)]


def _grids(evidence: Evidence, site: Site) -> Iterator[_Tried]:
    """Yield grids that may suit a tensor better, the smallest change first."""
    seen, grid = evidence.seen(site), site.grid
    positive = evidence.never_negative(site)
    if not evidence.symmetric_only:
        other = grid_error.moved(seen, grid)
        kind = ZERO if grid.zero.any() else HALF if positive and grid.low < 0 else NEGATIVE
        if kind != HALF:
            yield _Tried(kind, other, grid_error.error(seen, other))
    signed, shifted = grid.floor < 0, bool(grid.zero.any()) and not evidence.symmetric_only
    low, high = (-128, 127) if signed else (0, 255)
    if positive and shifted:
        low, high, shifted = 0, 255, False
    same = grid_error.best(seen, low, high, shifted=shifted)
    yield _Tried(_RANGE, same, grid_error.error(seen, same))
    if not evidence.symmetric_only and positive == signed:
        other = grid_error.best(seen, *((0, 255) if positive else (-128, 127)), shifted=not positive)
        yield _Tried(HALF if positive else NEGATIVE, other, grid_error.error(seen, other))
    each = grid_error.per_channel(seen, grid)
    far = _far(seen)
    if len(far):
        yield _Tried(DEAD if _constant(seen)[far].all() else APART, each, grid_error.per_channel_error(seen, each))


def _coded(evidence: Evidence, site: Site, tried: _Tried) -> _Tried:
    """Return why a range does not suit. Only now, since calibration images are run for it."""
    return tried._replace(code=ranges.code(evidence, site, tried.grid)) if tried.code == _RANGE else tried


def _far(seen: Seen) -> np.ndarray:
    """Return the channels that reach much further than most, the furthest first."""
    reach = seen.channel_reach
    living = reach[reach > 0]
    if len(living) < 2:
        return np.zeros(0, int)
    order = np.argsort(-reach, kind="stable")
    return order[reach[order] > _APART * float(np.median(living))]


def _constant(seen: Seen) -> np.ndarray:
    """Return which channels hardly vary."""
    return np.asarray(seen.channel_high - seen.channel_low <= _CONSTANT * seen.channel_reach)


def _remedy(evidence: Evidence, site: Site, tried: _Tried) -> Remedy:
    text = {ZERO: _zero, HALF: _half, NEGATIVE: _negative, APART: _apart, DEAD: _dead}.get(tried.code)

    def named() -> Cause:
        if text is None:
            return ranges.cause(evidence, site, tried.grid)
        return Cause(tried.code, site.layer, *text(site, evidence.seen(site)))

    plain = text is not None or ranges.plainly_wrong(site, tried.grid)
    enough = NEVER_DB if tried.code == HALF else WRONG_DB if plain else CHOSEN_DB
    return Remedy(Change(site.reads(tried.grid)), named, enough)


def _in_many(code: str, those: list[tuple[Site, _Tried]]) -> bool:
    return len(those) >= _MANY and code not in (APART, DEAD)


def _together(code: str, those: list[tuple[Site, _Tried]]) -> Place:
    """Return one place for a cause that many tensors have."""
    change = Change()
    for site, tried in those:
        change = change | Change(site.reads(tried.grid))
    names = list(dict.fromkeys(site.layer for site, _ in those))

    def named() -> Cause:
        what = _IN_MANY.get(code) or ranges.IN_MANY[code]
        evidence = f"{len(those)} tensors {what}: the inputs of {words.listed(names)}."
        return Cause(code, "", evidence, _REMEDY.get(code) or ranges.remedy(code))

    enough = SHOWN_DB if code in ranges.SHOWN else EVERYWHERE_DB
    return Place((Remedy(change, named, enough),), sum(site.noise for site, _ in those))


_IN_MANY = {
    ZERO: "have a zero point that does not suit them",
    HALF: "use half of their integers only",
    NEGATIVE: "lose their negative values",
}
_REMEDY = {
    ZERO: "Calibrate again. The zero point must stand for the smallest value.",
    HALF: "Quantize values that are never negative as uint8 with the zero point 0.",
    NEGATIVE: "Quantize values below zero as int8, or with a zero point.",
    APART: "Quantize with edgeresnet: it scales channels alike first. Or keep the layer in float: `--exclude`.",
    DEAD: "Prune the channel, and add what it contributes to the next layer's bias.",
}


def _zero(site: Site, seen: Seen) -> tuple[str, str]:
    grid, (low, high) = site.grid, seen.extremes
    below, above = seen.outside(grid.floor - float(grid.scale.max()), grid.ceiling + float(grid.scale.max()))
    return (
        f"{words.what_is_read(site)} lies between {words.number(low)} and {words.number(high)}, its grid between "
        f"{words.number(grid.floor)} and {words.number(grid.ceiling)}. "
        f"That clips {words.percent(below + above)} of the values.",
        _REMEDY[ZERO],
    )


def _half(site: Site, seen: Seen) -> tuple[str, str]:
    return (
        f"{words.what_is_read(site)} is never negative, but its grid begins at {words.number(site.grid.floor)}. "
        "Half of the integers are not used.",
        _REMEDY[HALF],
    )


def _negative(site: Site, seen: Seen) -> tuple[str, str]:
    below, _ = seen.outside(site.grid.floor - float(site.grid.scale.max()), np.inf)
    return (
        f"{words.what_is_read(site)} reaches down to {words.number(seen.extremes[0])}, but its grid begins at "
        f"{words.number(site.grid.floor)}. That clips {words.percent(below)} of the values.",
        _REMEDY[NEGATIVE],
    )


def _farthest(seen: Seen) -> tuple[int, str, str]:
    """Return the channel that is farthest from the others, what it reaches, and what a median channel does."""
    reach, channel = seen.channel_reach, int(_far(seen)[0])
    return channel, words.number(float(reach[channel])), words.number(float(np.median(reach[reach > 0])))


def _apart(site: Site, seen: Seen) -> tuple[str, str]:
    channel, reach, rest = _farthest(seen)
    return (
        f"{words.what_is_read(site)} reaches {reach} in channel {channel}, and "
        f"{rest} in a median channel. All channels share one scale.",
        _REMEDY[APART],
    )


def _dead(site: Site, seen: Seen) -> tuple[str, str]:
    channel, reach, rest = _farthest(seen)
    return (
        f"{words.what_is_read(site)} is always {reach} in channel {channel}, and at most "
        f"{rest} in a median channel. All channels share one scale.",
        _REMEDY[DEAD],
    )
