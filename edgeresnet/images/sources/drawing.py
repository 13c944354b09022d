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
    across, down = [], []
    for x0, x1, y0, y1 in zip(x[:-1].tolist(), x[1:].tolist(), y[:-1].tolist(), y[1:].tolist(), strict=True):
        wide, high = abs(x1 - x0), abs(y1 - y0)
        back = x0 > x1 if wide >= high else y0 > y1  # drawn from the smaller end, and taken in order
        if back:
            x0, x1, y0, y1 = x1, x0, y1, y0
        steps = np.arange(max(wide, high) + 1)
        slope = ((y1 - y0) / wide if wide else 0.0) if wide >= high else (x1 - x0) / high
        moved = ((y0 if wide >= high else x0) + slope * steps + 0.5).astype(np.int64)
        one, other = (steps + x0, moved) if wide >= high else (moved, steps + y0)
        across.append(one[::-1] if back else one)
        down.append(other[::-1] if back else other)
    return np.concatenate(across), np.concatenate(down)


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
