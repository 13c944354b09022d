"""How much a grid changes a tensor's values, from their histogram; and the grids that change them least."""

from __future__ import annotations

import numpy as np

from ...quantization import scales
from ..grids import Grid
from ..observe import Seen


def error(seen: Seen, grid: Grid) -> float:
    """Return the mean squared error of a grid with one scale."""
    there = np.flatnonzero(seen.histogram.counts)
    if not len(there):
        return 0.0
    values, counts = seen.histogram.centres[there], seen.histogram.counts[there]
    step, width = float(grid.scale.max()), 2.0**seen.histogram.exponent
    zero = float(grid.zero.max())
    rounded = (np.clip(np.rint(values / step) + zero, grid.low, grid.high) - zero) * step
    squares = np.square(rounded - values)
    inside = (values >= grid.floor - step / 2) & (values <= grid.ceiling + step / 2)
    if step < 4 * width:  # a bin has few steps: rounding errors are uniform
        squares = np.where(inside, np.where(np.abs(values) < width, 0.0, step * step / 12), squares)
    return float((counts * squares).sum() / counts.sum())


def best(seen: Seen, low: int, high: int, *, shifted: bool) -> Grid:
    """Return the grid of these integers whose error is least. `shifted`: its zero point may be other than zero."""
    integers = scales.Grid(low, high)
    if not shifted:
        return _grid(integers, scales.activation(seen.histogram, seen.extremes, integers, "mse"))
    return _grid(*scales.shifted(seen.histogram, seen.extremes, scales.Grid(-128, 127), "mse"))


def moved(seen: Seen, grid: Grid) -> Grid:
    """Return a grid of the same scale, with the zero point of least error."""
    zeros = range(int(grid.low), int(grid.high) + 1, 4)
    tried = [grid._replace(zero=np.full_like(grid.zero, zero)) for zero in [*zeros, int(grid.high)]]
    return min(tried, key=lambda one: error(seen, one))


def per_channel(seen: Seen, grid: Grid) -> Grid:
    """Return a grid with a scale for each channel: what no compiler has, but what shows what one scale costs."""
    low, high = (0, 255) if seen.extremes[0] >= 0 else (-128, 127)
    reach = np.maximum(seen.channel_high / high, -seen.channel_low / max(-low, 1)).astype(np.float32)
    reach = np.where(reach > 0, reach, reach.max(initial=1e-6))
    return Grid(reach, np.zeros_like(reach), low, high, 1)


def per_channel_error(seen: Seen, grid: Grid) -> float:
    """Return the mean squared error of a grid with a scale for each channel: rounding errors are uniform."""
    return float(np.square(grid.scale).mean()) / 12


def _grid(integers: scales.Grid, scale: float) -> Grid:
    return Grid(np.array([scale], np.float32), np.zeros(1, np.float32), integers.low, integers.high, 1)
