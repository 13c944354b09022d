"""A Resize along one side of an image, as a matrix: which pixels each new one is made of.

Knows what image networks use: the nearest pixel, or a mean of two along each side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .net import Net, Node

_SIDES = {2, 3, -2, -1}
_PLACES: dict[str, Callable[[np.ndarray, int, int, float], np.ndarray]] = {
    "half_pixel": lambda at, before, after, scale: (at + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda at, before, after, scale: (at + 0.5) / scale - 0.5 if after > 1 else at * 0.0,
    "asymmetric": lambda at, before, after, scale: at / scale,
    "align_corners": lambda at, before, after, scale: at * (before - 1) / max(after - 1, 1),
}
_NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda place: np.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: np.floor(place + 0.5),
}


def of_sides(net: Net, node: Node) -> bool:
    """Return whether a Resize changes height and width alone, by constant scales."""
    if len(node.inputs) < 3 or node.inputs[2] not in net.constants:
        return False
    scales, axes = net.constants[node.inputs[2]], node.attributes.get("axes")
    if isinstance(axes, list):
        return set(axes) <= _SIDES
    return len(scales) == 4 and bool((scales[:2] == 1).all())


def known(node: Node) -> bool:
    """Return whether `matrix` knows how a Resize finds its pixels."""
    mode, place, nearest = _how(node)
    plain = not node.integer("antialias", 0) and not node.integer("exclude_outside", 0)
    return plain and mode in ("nearest", "linear") and place in _PLACES and nearest in _NEAREST


def matrix(node: Node, before: int, after: int, scale: float) -> np.ndarray:
    """Return the weights of the pixels along one side: after × before."""
    mode, place, nearest = _how(node)
    at = _PLACES[place](np.arange(after, dtype=np.float64), before, after, scale)
    found, every = np.zeros((after, before), np.float32), np.arange(after)
    if mode == "nearest":
        found[every, _NEAREST[nearest](at).clip(0, before - 1).astype(int)] = 1
        return found
    at = at.clip(0, before - 1)
    low = np.minimum(at.astype(int), max(before - 2, 0))
    np.add.at(found, (every, low), 1 - (at - low))
    np.add.at(found, (every, np.minimum(low + 1, before - 1)), at - low)
    return found


def _how(node: Node) -> tuple[str, str, str]:
    defaults = {"mode": b"nearest", "coordinate_transformation_mode": b"half_pixel"}
    defaults |= {"nearest_mode": b"round_prefer_floor"}
    mode, place, nearest = (node.attributes.get(name, default) for name, default in defaults.items())
    assert isinstance(mode, bytes)
    assert isinstance(place, bytes)
    assert isinstance(nearest, bytes)
    return mode.decode(), place.decode(), nearest.decode()
