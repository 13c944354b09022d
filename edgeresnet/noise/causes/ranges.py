"""Why a tensor's range does not suit its values: outliers, calibration images that disagree, other images."""

from __future__ import annotations

import numpy as np

from ..diagnosis import Cause
from ..grids import Grid
from ..observe import Seen
from . import words
from .evidence import Evidence, Site

OUTLIER, HALVES, LEFT, NARROW, WIDE = (
    "range-outlier",
    "halves-disagree",
    "range-left",
    "range-narrow",
    "range-wide",
)
SHOWN = (HALVES, LEFT)  # by the calibration images
IN_MANY = {
    OUTLIER: "have a range that outliers decide",
    HALVES: "differ between the halves of the images",
    LEFT: "leave their calibrated range",
    NARROW: "have a range that is too narrow",
    WIDE: "have a range that is too wide",
}
_FEW = 0.05  # of the images hold outliers
_ENOUGH = 16  # images show that one is unlike all others
_RARE = 0.9999
_TWICE = 2.0  # ranges that differ by this factor differ
MUCH_WIDER = 3.0
_FITS = 1.3  # a calibrated range reaches no further than the values of its images by this factor


def code(evidence: Evidence, site: Site, grid: Grid) -> str:
    """Return why a site's range is not that of a better grid."""
    if reach(grid) > reach(site.grid):
        source = calibrated(evidence, site)
        if source is not None and source.reach.max() <= _FITS * reach(site.grid):
            return LEFT
        return NARROW
    source = calibrated(evidence, site) or evidence.seen(site)
    if _FITS * source.reach.max() < reach(site.grid):
        return WIDE
    if len(source.reach) >= _ENOUGH and len(_holders(source)) <= max(1, _FEW * len(source.reach)):
        return OUTLIER
    if _apart(source.halves()) >= _TWICE:
        return HALVES
    return LEFT if source is not evidence.seen(site) else WIDE


def cause(evidence: Evidence, site: Site, grid: Grid) -> Cause:
    """Return the cause, with its numbers."""
    named = code(evidence, site, grid)
    text = {OUTLIER: _outlier, HALVES: _halves, LEFT: _left, NARROW: _narrow, WIDE: _wide}[named]
    return Cause(named, site.layer, *text(evidence, site))


def plainly_wrong(site: Site, grid: Grid) -> bool:
    """Return whether a range is so wide that no quantizer chooses it."""
    return reach(site.grid) >= MUCH_WIDER * reach(grid)


def remedy(named: str) -> str:
    """Return what to do where many ranges have this cause."""
    return {
        OUTLIER: "Take the outliers out of the calibration images, or quantize with `--estimator mse`.",
        HALVES: "Calibrate on more images, in the mixture that the device sees.",
        LEFT: "Calibrate on images like those that the device sees.",
        NARROW: "Calibrate again on images like these, with their preprocessing.",
        WIDE: "Calibrate again on images like these, with `--estimator mse`.",
    }[named]


def reach(grid: Grid) -> float:
    """Return the largest magnitude of a grid."""
    return max(grid.ceiling, -grid.floor)


def calibrated(evidence: Evidence, site: Site) -> Seen | None:
    """Return what the calibration images give for a site; None where they are not known."""
    ranges = evidence.calibrated
    return ranges[site.tensor] if ranges is not None and site.tensor in ranges else None


def _holders(seen: Seen) -> list[int]:
    """Return the images that reach further than half of the largest magnitude, the furthest first."""
    order = np.argsort(-seen.reach, kind="stable")
    return [int(image) for image in order if seen.reach[image] > _top(seen) / _TWICE]


def _top(seen: Seen) -> float:
    return float(seen.reach.max())


def _apart(pair: tuple[float, float]) -> float:
    return max(pair) / max(min(pair), 1e-30)


def _outlier(evidence: Evidence, site: Site) -> tuple[str, str]:
    known = calibrated(evidence, site)
    source = known or evidence.seen(site)
    holders = _holders(source)
    rest = np.delete(source.reach, holders)
    several = len(holders) > 1
    where = f"{'calibration ' if known else ''}image{'s' if several else ''}"
    below = min(source.percentile(_RARE), _top(source))
    return (
        f"{words.what_is_read(site)} reaches {words.number(_top(source))} in {where} "
        f"{words.listed([str(image + 1) for image in holders])}. In the {len(rest)} others it reaches "
        f"{words.number(float(rest.max()))}, and 99.99 % of all values lie below {words.number(below)}.",
        f"Leave {'these images' if several else 'this image'} out of the calibration, or use `--estimator mse`.",
    )


def _halves(evidence: Evidence, site: Site) -> tuple[str, str]:
    known = calibrated(evidence, site)
    source = known or evidence.seen(site)
    kind = "calibration images" if known else "images"
    one, two = (words.number(value) for value in source.halves())
    return (
        f"{words.what_is_read(site)} reaches {one} in the first half of the {kind}, and {two} in the second.",
        remedy(HALVES),
    )


def _left(evidence: Evidence, site: Site) -> tuple[str, str]:
    seen, source = evidence.seen(site), calibrated(evidence, site)
    assert source is not None
    edge = reach(site.grid)
    beyond = int((seen.reach > edge).sum())
    one, two = words.number(_top(source)), words.number(_top(seen))
    ranges = f"It reaches {one} in the calibration images, and {two} in these."
    if beyond:
        first = f"{words.what_is_read(site)} leaves its range in {beyond} of {words.counted(len(seen.reach), 'image')}."
    else:
        first = f"{words.what_is_read(site)} uses {words.percent(_top(seen) / edge)} of its range."
    return f"{first} {ranges}", remedy(LEFT)


def _narrow(evidence: Evidence, site: Site) -> tuple[str, str]:
    seen, grid = evidence.seen(site), site.grid
    clipped = sum(seen.outside(grid.floor - float(grid.scale.max()), grid.ceiling + float(grid.scale.max())))
    return (
        f"{words.what_is_read(site)} reaches {words.number(_top(seen))}, but its range ends at "
        f"{words.number(reach(grid))}. That clips {words.percent(clipped)} of the values.",
        remedy(NARROW),
    )


def _wide(evidence: Evidence, site: Site) -> tuple[str, str]:
    seen = evidence.seen(site)
    return (
        f"{words.what_is_read(site)} has a range up to {words.number(reach(site.grid))}. In these images it reaches "
        f"{words.number(_top(seen))}, and 99.99 % of its values lie below {words.number(seen.percentile(_RARE))}.",
        remedy(WIDE),
    )
