"""Factors per channel between two versions of a layer: of its weights, and of its outputs."""

from __future__ import annotations

import numpy as np

from ..quantization.net import Node
from ..quantization.placement import weight_axis
from .strip import Stored

_ROUNDS = 12
_ENOUGH = 0.25  # of a row's weights show its factor
_SAME = 1.1  # factors that lower the error by less are ones: rounding makes them differ
_MOST = 0.5  # of the error that factors take away by chance


def in_units_of(rounded: np.ndarray, exact: np.ndarray, node: Node, other: Node, stored: Stored) -> np.ndarray:
    """Return the exact weights, scaled per output and per input channel as the rounded ones are."""
    one, two = _rows(rounded, node), _rows(exact, other)
    if one.shape != two.shape:
        return rounded
    grid = stored.grid
    trusted = 1.0 - _rows((stored.integers <= grid.low) | (np.abs(stored.integers) >= grid.high), node)
    trusted[trusted.mean((1, 2)) < _ENOUGH] = 1.0
    groups = node.integer("group", 1)
    split = (np.split(each, groups) for each in (one, two, trusted))
    parts = [_scaled(*part) for part in zip(*split, strict=True)]
    return _shaped(np.concatenate(parts), rounded, node)


def affine(values: np.ndarray, target: np.ndarray, axis: int) -> tuple[np.ndarray | None, np.ndarray, float]:
    """Fit target = gain × values + offset per channel; return both, and how close they come, in decibels.

    None instead of a gain: the shapes differ, or nothing varies.
    """
    if values.shape != target.shape:
        return None, np.zeros(1), 0.0
    one, two = (
        np.moveaxis(each, axis, 0).reshape(each.shape[axis], -1).astype(np.float64) for each in (values, target)
    )
    means = one.mean(1), two.mean(1)
    apart = one - means[0][:, None], two - means[1][:, None]
    power = np.square(apart[0]).sum(1)
    gain = (apart[0] * apart[1]).sum(1) / np.maximum(power, 1e-30)
    dead = (power <= 1e-12 * max(power.max(), 1e-30)) | (gain <= 0)
    gain = np.where(dead, 1.0, gain)
    offset = means[1] - gain * means[0]
    left = np.square(apart[1] - gain[:, None] * apart[0])[~dead].sum()
    total = np.square(apart[1])[~dead].sum()
    if total == 0:
        return None, offset, 0.0
    return gain, offset, float(10 * np.log10(total / max(left, 1e-30 * total)))


def _rows(weights: np.ndarray, node: Node) -> np.ndarray:
    """Return weights as outputs × inputs × taps."""
    axis = weight_axis(node) if node.kind != "MatMul" else weights.ndim - 1
    found = np.moveaxis(weights, axis, 0).astype(np.float64)
    return found.reshape(*found.shape[:2], -1)


def _shaped(found: np.ndarray, like: np.ndarray, node: Node) -> np.ndarray:
    axis = weight_axis(node) if node.kind != "MatMul" else like.ndim - 1
    rows = np.moveaxis(like, axis, 0).shape
    return np.moveaxis(found.reshape(rows), 0, axis).astype(np.float32)


def _scaled(rounded: np.ndarray, exact: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    outputs, inputs = _factors(rounded * trusted, exact * trusted)
    return np.asarray(exact * outputs[:, None, None] * inputs[None, :, None])


def _factors(rounded: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find factors of outputs and inputs by least squares, in turn; ones, where rounding explains as much."""
    both, squares = (rounded * exact).sum(2), np.square(exact).sum(2)
    outputs, inputs = np.ones(both.shape[0]), np.ones(both.shape[1])
    for _ in range(_ROUNDS):
        outputs = _ratio((both * inputs).sum(1), (squares * np.square(inputs)).sum(1))
        inputs = _ratio((both * outputs[:, None]).sum(0), (squares * np.square(outputs)[:, None]).sum(0))
    scaled = exact * outputs[:, None, None] * inputs[None, :, None]
    without, left = np.square(rounded - exact).sum(), np.square(rounded - scaled).sum()
    chance = 1 - min((len(outputs) + len(inputs)) / rounded.size, _MOST)
    if left * _SAME > without * chance:
        return np.ones_like(outputs), np.ones_like(inputs)
    return outputs, inputs


def _ratio(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return np.where(two > 0, one / np.maximum(two, 1e-30), 1.0)
