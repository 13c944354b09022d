"""Causes in weights: one scale for channels that are far apart, clipped weights, dead channels, a wrong scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ...quantization import placement as places_
from ...quantization import scales
from ...quantization.net import Node
from ..diagnosis import Cause
from ..pair import Layer
from . import words
from .evidence import Evidence
from .remedies import EVERYWHERE_DB, WRONG_DB, Place, Remedy
from .whatif import Change

CLIPPED, WIDE, PER_TENSOR, DEAD = "weights-clipped", "weights-wide", "weights-per-tensor", "dead-channels"
_LESS = 2.0  # a remedy is tried if it divides a layer's weight error by this: 3 dB
_MANY = 3
_TWICE = 2.0  # scales of least error leave out at most a third of the range: this much is wrong
_DEAD = 1e-8  # of a median channel's power


class _Tried(NamedTuple):
    code: str
    weights: np.ndarray
    error: float


def places(evidence: Evidence) -> list[Place]:
    """Return where weights could be rounded much better."""
    limit = max((int(np.abs(_integers(layer)).max(initial=0)) for layer in _layers(evidence)), default=127)
    found: list[Place] = []
    alike: dict[str, list[tuple[Layer, _Tried]]] = {}
    for layer in _layers(evidence):
        before, tried = _better(evidence, layer, min(limit, 127))
        if not tried:
            continue
        remedies = tuple(
            Remedy(Change(weights={layer.node.name: each.weights}), _naming(evidence, layer, each), WRONG_DB)
            for each in tried
        )
        least = min(each.error for each in tried)
        found.append(Place(remedies, evidence.noise_of[layer.name] * (1 - least / before)))
        for each in tried:
            alike.setdefault(each.code, []).append((layer, each))
    return found + [_together(code, those, evidence) for code, those in alike.items() if len(those) >= _MANY]


def _layers(evidence: Evidence) -> Iterator[Layer]:
    return (layer for layer in evidence.pair.layers if layer.weights is not None and layer.exact is not None)


def _integers(layer: Layer) -> np.ndarray:
    assert layer.weights is not None
    grid = layer.weights.grid
    return np.asarray(layer.weights.integers - _along(grid.zero, layer.weights.integers.ndim, grid.axis))


def _better(evidence: Evidence, layer: Layer, limit: int) -> tuple[float, list[_Tried]]:
    assert layer.weights is not None
    assert layer.exact is not None
    exact, power = layer.exact.astype(np.float32), _power(evidence, layer)
    shares = power / max(float(power.max()), 1e-30)
    rows = _by_rows(exact, layer.node)
    before = _error(_by_rows(layer.weights.dequantized(), layer.node) - rows, shares)
    grid = scales.Grid(-limit, limit)
    several = layer.weights.grid.per_channel
    code = _scale_code(layer, limit)
    tried = [_Tried(code, *_rounded(rows, grid, shares, several))] if code else []
    if not several:
        tried.append(_Tried(PER_TENSOR, *_rounded(rows, grid, shares, True)))
    dead = shares <= _DEAD * max(float(np.median(shares)), 1e-30)
    if dead.any() and not dead.all():
        without = np.where(dead[..., None], 0, rows).astype(np.float32)
        tried.append(_Tried(DEAD, *_rounded(without, grid, shares, several)))
    worth = [each for each in tried if before > _LESS * each.error]
    return before, [each._replace(weights=_unrowed(each.weights, layer)) for each in worth]


def _rounded(rows: np.ndarray, grid: scales.Grid, shares: np.ndarray, several: bool) -> tuple[np.ndarray, float]:
    """Return rounded weights, and their error, each input weighed by its power."""
    flat = rows.reshape(len(rows), -1) if several else rows.reshape(1, -1)
    scale = scales.weights(flat, 0, grid)[:, None]
    found = scales.fake(flat, scale, grid).reshape(rows.shape).astype(np.float32)
    return found, _error(found - rows, shares)


def _error(difference: np.ndarray, shares: np.ndarray) -> float:
    return float((np.square(difference, dtype=np.float64).sum(2) * shares).sum())


def _power(evidence: Evidence, layer: Layer) -> np.ndarray:
    """Return the power of what each weight is multiplied with: outputs × inputs of a group."""
    rows = _by_rows(layer.exact if layer.exact is not None else np.zeros(1), layer.node)
    tensor = layer.node.inputs[0]
    if tensor not in evidence.ranges:
        return np.ones(rows.shape[:2])
    power, groups = evidence.ranges[tensor].channel_power, layer.node.integer("group", 1)
    if len(power) != rows.shape[1] * groups:
        return np.ones(rows.shape[:2])
    return np.repeat(power.reshape(groups, rows.shape[1]), len(rows) // groups, axis=0)


def _by_rows(weights: np.ndarray, node: Node) -> np.ndarray:
    """Return weights as outputs × inputs × taps."""
    found = np.moveaxis(weights, _axis(weights, node), 0)
    return found.reshape(*found.shape[:2], -1)


def _unrowed(rows: np.ndarray, layer: Layer) -> np.ndarray:
    assert layer.exact is not None
    axis = _axis(layer.exact, layer.node)
    return np.moveaxis(rows.reshape(np.moveaxis(layer.exact, axis, 0).shape), 0, axis)


def _axis(weights: np.ndarray, node: Node) -> int:
    return weights.ndim - 1 if node.kind == "MatMul" else places_.weight_axis(node)


def _along(values: np.ndarray, rank: int, axis: int) -> np.ndarray:
    shape = [1] * rank
    if values.size > 1:
        shape[axis % rank] = -1
    return values.reshape(shape)


def _scale_code(layer: Layer, limit: int) -> str:
    """Return what is wrong with a layer's scales: too narrow, or too wide; empty where they fit."""
    assert layer.weights is not None
    assert layer.exact is not None
    grid, rank = layer.weights.grid, layer.exact.ndim
    ceiling = _along((grid.high - grid.zero) * grid.scale, rank, grid.axis)
    if (np.abs(layer.exact) > _TWICE * ceiling).any():
        return CLIPPED
    used = np.abs(_by_rows(_integers(layer), layer.node)).max((1, 2))
    reach = float(np.median(used)) if grid.per_channel else float(used.max())
    return WIDE if _TWICE * reach < limit else ""


def _naming(evidence: Evidence, layer: Layer, tried: _Tried) -> Callable[[], Cause]:
    def named() -> Cause:
        return Cause(tried.code, layer.name, _TEXT[tried.code](evidence, layer), _REMEDY[tried.code])

    return named


def _together(code: str, those: list[tuple[Layer, _Tried]], evidence: Evidence) -> Place:
    change = Change(weights={layer.node.name: each.weights for layer, each in those})
    names = [layer.name for layer, _ in sorted(those, key=lambda pair: -evidence.noise_of[pair[0].name])]

    def named() -> Cause:
        text = f"{len(those)} layers have {_IN_MANY[code]}: {words.listed(names)}."
        return Cause(code, "", text, _REMEDY[code])

    return Place((Remedy(change, named, EVERYWHERE_DB),), sum(evidence.noise_of[name] for name in names))


_IN_MANY = {
    CLIPPED: "clipped weights",
    WIDE: "scales that are too large for their weights",
    PER_TENSOR: "one scale for all their weights",
    DEAD: "large weights that read dead channels",
}
_REMEDY = {
    CLIPPED: "Quantize this layer's weights again, with scales from their largest values.",
    WIDE: "Quantize this layer's weights again, with a scale from each channel's largest value.",
    PER_TENSOR: "Quantize weights with one scale per channel: edgeresnet does, onnxruntime with `per_channel=True`.",
    DEAD: "Set the weights that read dead channels to zero, or prune these channels.",
}


def _clipped(evidence: Evidence, layer: Layer) -> str:
    assert layer.weights is not None
    assert layer.exact is not None
    grid = layer.weights.grid
    ceiling = _along((grid.high - grid.zero) * grid.scale, layer.exact.ndim, grid.axis)
    share = float((np.abs(layer.exact) > ceiling + _along(grid.scale, layer.exact.ndim, grid.axis)).mean())
    most = float((np.abs(layer.exact) / np.maximum(ceiling, 1e-30)).max())
    return (
        f"Weights of {layer.name} are up to {words.number(most)} times the largest that its grid holds. "
        f"That clips {words.percent(share)} of them."
    )


def _wide(evidence: Evidence, layer: Layer) -> str:
    return f"The weights of {layer.name} use integers up to {int(np.abs(_integers(layer)).max())} only."


def _per_tensor(evidence: Evidence, layer: Layer) -> str:
    assert layer.exact is not None
    reach = np.abs(_by_rows(layer.exact, layer.node)).max(axis=(1, 2))
    return (
        f"The weights of {layer.name} have one scale. They reach {words.number(float(reach.max()))} in channel "
        f"{int(reach.argmax())}, and {words.number(float(np.median(reach)))} in a median channel."
    )


def _dead(evidence: Evidence, layer: Layer) -> str:
    assert layer.exact is not None
    power = _power(evidence, layer).max(0)
    dead = np.flatnonzero(power <= _DEAD * max(float(np.median(power)), 1e-30))
    reach = np.abs(_by_rows(layer.exact, layer.node)).max(axis=(0, 2))
    living = np.delete(reach, dead)
    return (
        f"{layer.name} reads {words.counted(len(dead), 'channel')} that are zero in all images. Their weights reach "
        f"{words.number(float(reach[dead].max()))}, all others {words.number(float(living.max()))}."
    )


_TEXT: dict[str, Callable[[Evidence, Layer], str]] = {
    CLIPPED: _clipped,
    WIDE: _wide,
    PER_TENSOR: _per_tensor,
    DEAD: _dead,
}
