"""Chooses scales: one for a tensor from its observed values, by one of four estimators; one per channel for weights.

Every scale is a float16 number, so that the half-precision variant holds exactly the same integers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .histogram import Histogram

_TRIED = 96  # ranges, from a quarter of the extreme to the extreme, in equal ratios
_NARROWEST = 0.25
_WEIGHT_RANGES = np.geomspace(0.65, 1.0, 16)[::-1]  # parts of a channel's extreme
_CACHED = 1 << 16  # values
_SMALLEST = 2.0**-14  # float16's smallest normal number
_PERCENTILE = 99.999
_WORTH_A_ZERO_POINT = 0.6  # of the symmetric grid's error: above that, seven ReLU networks lost as often as they gained
_CLIPPED = 4.0  # weight of a clipping error relative to a rounding error: it has one sign, and adds up over positions


class Grid(NamedTuple):
    """The integers that a tensor may become; zero is always the integer 0."""

    low: int
    high: int


def activation(histogram: Histogram, extremes: tuple[float, float], grid: Grid, estimator: str) -> float:
    """Return a tensor's scale by the named estimator."""
    reach = _reach_of(extremes, grid)
    if reach == 0 or not len(histogram):
        return 1.0 / grid.high  # all zero: any scale will do
    return float(half_precision(ESTIMATORS[estimator](histogram, reach, grid) / grid.high))


def shifted(histogram: Histogram, extremes: tuple[float, float], grid: Grid, estimator: str) -> tuple[Grid, float]:
    """Return a signed tensor's grid and scale: the symmetric grid, or one with a zero point where the error is less."""
    symmetric = activation(histogram, extremes, grid, estimator)
    if not len(histogram):
        return grid, symmetric
    find = _least_squares if estimator == "mse" else _within_extremes
    other, scale = find(histogram, extremes, grid, symmetric)
    there = np.flatnonzero(histogram.counts)
    values, counts = histogram.centres[there], histogram.counts[there].astype(np.float64)
    before, after = _cost(values, counts, symmetric, grid), _cost(values, counts, scale, other)
    return (other, scale) if after < _WORTH_A_ZERO_POINT * before else (grid, symmetric)


def _within_extremes(
    histogram: Histogram, extremes: tuple[float, float], grid: Grid, symmetric: float
) -> tuple[Grid, float]:
    """Return the grid of the symmetric range, without the part where no value was."""
    low, high = max(grid.low * symmetric, min(extremes[0], 0.0)), min(grid.high * symmetric, max(extremes[1], 0.0))
    scale = half_precision(np.array((high - low) / (grid.high - grid.low)))
    zero = np.rint(-low / scale)
    return Grid(int(-zero), int(grid.high - grid.low - zero)), float(scale)


def _least_squares(
    histogram: Histogram, extremes: tuple[float, float], grid: Grid, symmetric: float
) -> tuple[Grid, float]:
    """Return the grid of least error, of ranges whose two ends are tried independently.

    Inside a range the error is taken as a uniform one; outside it is summed up exactly.
    """
    parts = np.geomspace(_NARROWEST, 1.0, _TRIED // 2)
    lows, highs = np.meshgrid(parts * min(extremes[0], 0.0), parts * max(extremes[1], 0.0))
    steps = grid.high - grid.low
    scale = half_precision((highs - lows) / steps).astype(np.float64)
    zero = np.clip(np.rint(-lows / scale), 0, steps)
    low, high = -zero * scale, (steps - zero) * scale
    sums = [np.concatenate([[0.0], np.cumsum(histogram.counts * histogram.centres**power)]) for power in range(3)]
    below, above = (np.searchsorted(histogram.centres, edge) for edge in (low - scale / 2, high + scale / 2))
    inside = sums[0][above] - sums[0][below]

    def squares(end: np.ndarray, start: np.ndarray | int, stop: np.ndarray | int) -> np.ndarray:
        count, first, second = (part[stop] - part[start] for part in sums)
        return second - 2 * end * first + end * end * count

    errors = inside * scale * scale / 12 + _CLIPPED * (squares(low, 0, below) + squares(high, above, -1))
    best = np.unravel_index(int(np.argmin(errors)), errors.shape)
    return Grid(int(-zero[best]), int(steps - zero[best])), float(scale[best])


def weights(values: np.ndarray, axis: int, grid: Grid) -> np.ndarray:
    """Return the scale of least squared error for each channel along `axis`; symmetric."""
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).astype(np.float32)
    extreme = np.abs(rows).max(1)
    extreme[extreme == 0] = grid.high  # a channel of zeros: any scale will do
    tried = [half_precision(part * extreme / grid.high) for part in _WEIGHT_RANGES]
    best = np.empty(len(rows), np.float32)
    few = max(1, _CACHED // rows.shape[1])
    for start in range(0, len(rows), few):  # some rows at a time: what is in the cache is read many times
        part = slice(start, start + few)
        errors = [_squared_error(rows[part], scale[part, None], grid) for scale in tried]
        best[part] = np.choose(np.argmin(errors, axis=0), [scale[part] for scale in tried])
    return best


def _squared_error(rows: np.ndarray, scale: np.ndarray, grid: Grid) -> np.ndarray:
    difference = fake(rows, scale, grid) - rows
    return np.einsum("ij,ij->i", difference, difference)


def fake(values: np.ndarray, scale: np.ndarray | float, grid: Grid) -> np.ndarray:
    """Quantize and dequantize."""
    return np.clip(np.rint(values / scale), grid.low, grid.high) * scale


def half_precision(scale: np.ndarray | float) -> np.ndarray:
    """Round a scale to a normal float16 number, as float32."""
    return np.maximum(np.float16(np.maximum(scale, _SMALLEST)), np.float16(_SMALLEST)).astype(np.float32)


def _min_max(histogram: Histogram, reach: float, grid: Grid) -> float:
    return reach


def _percentile(histogram: Histogram, reach: float, grid: Grid) -> float:
    magnitudes, counts = _folded(histogram, grid)
    order = np.argsort(magnitudes)
    share = np.cumsum(counts[order]) / counts.sum()
    found = int(np.searchsorted(share, _PERCENTILE / 100))
    return float(min(magnitudes[order][min(found, len(order) - 1)], reach))


def _mse(histogram: Histogram, reach: float, grid: Grid) -> float:
    there = np.flatnonzero(histogram.counts)
    values, counts = histogram.centres[there], histogram.counts[there].astype(np.float64)
    ranges = reach * np.geomspace(_NARROWEST, 1.0, _TRIED)
    errors = [_cost(values, counts, part / grid.high, grid) for part in ranges]
    return float(ranges[int(np.argmin(errors))])


def _cost(values: np.ndarray, counts: np.ndarray, scale: float, grid: Grid) -> float:
    error = np.square(fake(values, scale, grid) - values)
    clipped = (values < (grid.low - 0.5) * scale) | (values > (grid.high + 0.5) * scale)
    return float((counts * np.where(clipped, _CLIPPED, 1.0) * error).sum())


def _entropy(histogram: Histogram, reach: float, grid: Grid) -> float:
    """Return the range whose quantized distribution differs least from the original's (Kullback-Leibler).

    The bin at zero is left out: the zeros of a ReLU would outweigh all the rest.
    """
    magnitudes, counts = (part[1:] for part in _folded(histogram, grid))
    counts = counts.astype(np.float64)
    if len(counts) <= grid.high or not counts.any():
        return reach
    best, least = reach, np.inf
    for stop in np.unique(np.linspace(grid.high, len(counts), _TRIED).astype(int)):
        clipped = counts[:stop].copy()
        clipped[-1] += counts[stop:].sum()
        level = np.arange(stop) * grid.high // stop
        there = counts[:stop] > 0
        total = np.bincount(level, counts[:stop], grid.high)
        number = np.maximum(np.bincount(level, there, grid.high), 1)
        spread = np.where(there, (total / number)[level], 0.0)
        p, q = clipped / clipped.sum(), spread / max(spread.sum(), 1e-300)
        both = (p > 0) & (q > 0)
        divergence = float((p[both] * np.log(p[both] / q[both])).sum()) + float(p[(p > 0) & (q <= 0)].sum()) * 20
        if divergence < least:
            best, least = float(magnitudes[stop - 1]), divergence
    return min(best, reach)


ESTIMATORS: dict[str, Callable[[Histogram, float, Grid], float]] = {
    "min-max": _min_max,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mse,
}


def _reach_of(extremes: tuple[float, float], grid: Grid) -> float:
    """Return the magnitude that the grid's largest integer must stand for, so that nothing is clipped."""
    lowest, highest = extremes
    return max(highest, -lowest * grid.high / -grid.low) if grid.low < 0 else max(highest, 0.0)


def _folded(histogram: Histogram, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitudes and how often each occurred, without values below zero where the grid has no negative side."""
    middle = len(histogram.counts) // 2
    counts = histogram.counts[middle:].copy()
    if grid.low < 0:
        counts = counts + histogram.counts[:middle][::-1]
    return histogram.centres[middle:], counts
