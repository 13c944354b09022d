"""Causes in a grid with a zero point or a scale per channel, as images have: channels that do not fit into theirs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..diagnosis import Cause
from ..grids import Grid
from ..observe import Seen
from . import ranges, words
from .evidence import Evidence, Site
from .remedies import CHOSEN_DB, WRONG_DB, Place, Remedy
from .whatif import Change

ZERO = "zero-point"
_REMEDY = "Calibrate again, with the preprocessing of these images. Each zero point must stand for a channel's zero."


def places(evidence: Evidence, site: Site) -> Iterator[Place]:
    """Yield a site whose channels leave their grids, or use little of them."""
    seen, grid = evidence.seen(site), site.grid
    if grid.scale.size != len(seen.channel_low) or grid.axis != 1:
        return
    code = _code(evidence, site)
    if not code:
        return

    def named() -> Cause:
        remedy = _REMEDY if code == ZERO else ranges.remedy(code)
        return Cause(code, site.layer, _text(evidence, site, code), remedy)

    change = Change(site.reads(_fitted(seen, signed=evidence.symmetric_only)))
    yield Place((Remedy(change, named, WRONG_DB if code == ZERO else CHOSEN_DB),), site.noise)


def _code(evidence: Evidence, site: Site) -> str:
    """Return what is wrong with a grid; empty where its channels fit."""
    seen, grid = evidence.seen(site), site.grid
    spans, own = _spans(seen), grid.ceilings - grid.floors
    clipped = _beyond(seen, grid) > 1
    if not clipped.any():
        return ranges.WIDE if (ranges.MUCH_WIDER * spans < own).all() else ""
    known = ranges.calibrated(evidence, site)
    if known is not None and not (_beyond(known, grid) > 1).any():
        return ranges.LEFT
    return ZERO if (spans <= own + grid.scale)[clipped].all() else ranges.NARROW


def _beyond(seen: Seen, grid: Grid) -> np.ndarray:
    """Return by how many steps each channel leaves its grid."""
    return np.asarray(np.maximum(grid.floors - seen.channel_low, seen.channel_high - grid.ceilings) / grid.scale)


def _spans(seen: Seen) -> np.ndarray:
    """Return the range that each channel needs: zero is in it."""
    return np.asarray(np.maximum(seen.channel_high, 0) - np.minimum(seen.channel_low, 0))


def _fitted(seen: Seen, *, signed: bool) -> Grid:
    """Return the grid of each channel's extremes. `signed`: without zero points."""
    if signed:
        scale = np.maximum(seen.channel_reach, 1e-6).astype(np.float32) / np.float32(127)
        return Grid(scale, np.zeros_like(scale), -128, 127, 1)
    scale = np.maximum(_spans(seen), 1e-6).astype(np.float32) / np.float32(255)
    return Grid(scale, np.rint(-np.minimum(seen.channel_low, 0) / scale).astype(np.float32), 0, 255, 1)


def _text(evidence: Evidence, site: Site, code: str) -> str:
    seen, grid = evidence.seen(site), site.grid
    channel = int((_beyond(seen, grid)).argmax())
    one = f"{words.what_is_read(site)} lies between {_ends(seen, channel)} in channel {channel}, and its grid between "
    one += f"{words.number(float(grid.floors[channel]))} and {words.number(float(grid.ceilings[channel]))}."
    known = ranges.calibrated(evidence, site) if code == ranges.LEFT else None
    return one if known is None else f"{one} In the calibration images it lies between {_ends(known, channel)}."


def _ends(seen: Seen, channel: int) -> str:
    ends = float(seen.channel_low[channel]), float(seen.channel_high[channel])
    return " and ".join(map(words.number, ends))
