"""The arithmetic of boxes that all detectors share: anchors, offsets and scores, as torchvision computes them.

A box here is left, top, right and bottom, in pixels of the network's input.
"""

from __future__ import annotations

import math

import numpy as np

_LARGEST = math.log(1000 / 16)  # of an offset of a width or height: torchvision clips it there


def anchors(size: int, grid: int, sizes: tuple[float, ...], ratios: tuple[float, ...]) -> np.ndarray:
    """Return the anchors of a level of grid × grid cells. torchvision rounds those of a cell to pixels."""
    heights = np.sqrt(np.asarray(ratios, np.float32))[:, None]
    scales = np.asarray(sizes, np.float32)
    width, height = (1 / heights * scales).ravel(), (heights * scales).ravel()
    cell = np.round(np.stack([-width, -height, width, height], axis=1) / 2)
    steps = np.arange(grid, dtype=np.float32) * (size // grid)
    x, y = (each.ravel() for each in np.meshgrid(steps, steps))
    return (np.stack([x, y, x, y], axis=1)[:, None] + cell).reshape(-1, 4)


def decoded(offsets: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return boxes moved and scaled by offsets, as torchvision's BoxCoder does it."""
    sides = boxes[:, 2:] - boxes[:, :2]
    middle = boxes[:, :2] + 0.5 * sides + offsets[:, :2] * sides
    half = 0.5 * np.exp(np.minimum(offsets[:, 2:], np.float32(_LARGEST))) * sides
    return np.concatenate([middle - half, middle + half], axis=1)


def as_sides(boxes: np.ndarray) -> np.ndarray:
    """Return left, top, width and height."""
    return np.concatenate([boxes[:, :2], np.maximum(boxes[:, 2:] - boxes[:, :2], 0)], axis=1)


def at_least(boxes: np.ndarray, side: float) -> np.ndarray:
    """Return the places of the boxes that are at least so wide and so high."""
    return np.flatnonzero(((boxes[:, 2:] - boxes[:, :2]) >= np.float32(side)).all(axis=1))


def highest(scores: np.ndarray, most: int) -> np.ndarray:
    """Return the places of the highest scores, the highest first; of equal ones the first."""
    places = np.arange(len(scores))
    if len(scores) > most:
        places = np.argpartition(-scores, most)[:most]
        places.sort()
    return places[np.argsort(-scores[places], kind="stable")]


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return logits as scores from 0 to 1."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)


def check_finite(answer: np.ndarray) -> None:
    """Raise ValueError where a value is not finite. The sum shows it fast, unless it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        finite = bool(np.isfinite(answer.sum())) or bool(np.isfinite(answer).all())
    if not finite:
        raise ValueError("an answer of a detector has values that are not finite")
