"""Shapes to masks, exactly as pycocotools draws them: polygons, and run lengths as lists or as text.

Both become runs along columns: a pixel is inside where the number of borders above and left of it is odd.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_FINER = 5  # steps per pixel along a border
_FAR = 4  # image sides from which a polygon's corner cannot be meant


def polygon(corners: Sequence[float], height: int, width: int) -> np.ndarray:
    """Return the pixels inside a polygon x, y, x, y, …; raise ValueError for one that cannot be drawn."""
    points = np.asarray(corners, np.float64)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2:
        raise ValueError("a polygon has at least three corners, each x and y")
    if not np.isfinite(points).all() or np.abs(points).max() > _FAR * max(height, width):
        raise ValueError("a polygon has corners far outside its image")
    x, y = (_FINER * points.reshape(-1, 2).T + 0.5).astype(np.int64)
    across, down = _border(np.append(x, x[0]), np.append(y, y[0]))
    steps = np.flatnonzero(across[1:] != across[:-1])
    columns = (np.minimum(across[steps], across[steps + 1]) + 0.5) / _FINER - 0.5
    rows = np.ceil(np.clip((np.minimum(down[steps], down[steps + 1]) + 0.5) / _FINER - 0.5, 0, height))
    inside = (columns == np.floor(columns)) & (columns >= 0) & (columns <= width - 1)
    found = np.zeros((width, height), bool)
    if inside.any():
        first, last = int(columns[inside].min()), int(columns[inside].max()) + 1
        places = ((columns[inside] - first) * height + rows[inside]).astype(np.int64)
        borders = np.bincount(places, minlength=(last - first) * height)[: (last - first) * height]
        found[first:last] = (np.cumsum(borders) % 2 == 1).reshape(-1, height)
    return found.T


def runs(counts: Sequence[int] | str, height: int, width: int) -> np.ndarray:
    """Return the pixels of run lengths, of which the first is outside; raise ValueError where they do not fit."""
    lengths = np.asarray(_unpacked(counts) if isinstance(counts, str) else counts, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or (lengths > height * width).any():
        raise ValueError("run lengths are negative, or longer than the image")
    if int(lengths.sum()) != height * width:
        raise ValueError(f"run lengths add up to {int(lengths.sum())} pixels, not to {height * width}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T


def _border(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return points along the sides between corners, close together, in order."""
    flat = np.abs(np.diff(x)) >= np.abs(np.diff(y))
    first, other_first = np.where(flat, x[:-1], y[:-1]), np.where(flat, y[:-1], x[:-1])
    last, other_last = np.where(flat, x[1:], y[1:]), np.where(flat, y[1:], x[1:])
    back = first > last  # such a side is drawn from its other end, and taken in order
    steps = np.abs(last - first)
    low, other_low = np.where(back, last, first), np.where(back, other_last, other_first)
    slope = np.where(back, other_first - other_last, other_last - other_first) / np.maximum(steps, 1)
    side = np.repeat(np.arange(len(steps)), steps + 1)
    step = np.arange(len(side)) - np.repeat(np.cumsum(steps + 1) - steps - 1, steps + 1)
    step = np.where(back[side], steps[side] - step, step)
    along, moved = low[side] + step, (other_low[side] + slope[side] * step + 0.5).astype(np.int64)
    return np.where(flat[side], along, moved), np.where(flat[side], moved, along)


def _unpacked(text: str) -> list[int]:
    """Return run lengths from pycocotools' text: 5 bits a character, and from the third on the change since the last
    of its kind.
    """
    lengths: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("run lengths are not written as pycocotools writes them")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (1 << shift) if bits & 0x10 else 0
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("run lengths end in the middle of a number")
    return lengths
