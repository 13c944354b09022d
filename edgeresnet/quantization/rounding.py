"""Rounds weights together: the error of one weight is made good by those that are rounded after it.

A layer's output changes by the error of its weights times its inputs. Inputs are correlated: neighbouring pixels, and
channels that answer to the same thing. So the second moments of what each weight reads say by how much the remaining
weights must move to take back what one weight's rounding did. Means are left out: bias correction removes these.
Large layers are divided into parts of a few channels, whose correlations are most of the gain at a tenth of the cost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import onnx

from . import qdq, session
from .net import Net, Node
from .placement import Placement, weight_axis
from .scales import Grid

_LARGEST = 576  # weights of a row that are rounded together: 64 channels of a 3×3 convolution
_OBSERVED = 8  # samples for each of them, where the images have as many
_FEWEST = 4  # samples for each of them: with fewer, correlations are chance, and parts are smaller
_DAMPING = 0.01  # of the mean variance: a correlation that is chance must not move weights far
_INEXACT = 1e-5  # of the mean square: what 32 bits leave of a variance that is zero
_NOTHING = 1e-12
_BLOCK = 32  # weights that are rounded before the rest of their part is changed


class Shape(NamedTuple):
    """How a layer's weights are divided: groups of the convolution, inputs of each, taps of each input."""

    groups: int
    inputs: int
    taps: int

    @staticmethod
    def of(net: Net, node: Node) -> Shape:
        """Return a layer's shape."""
        shape = net.constants.shape(node.inputs[1])
        each = int(np.prod(shape)) // shape[weight_axis(node)]
        taps = int(np.prod(shape[2:])) if node.kind == "Conv" else 1
        return Shape(node.integer("group", 1), each // taps, taps)

    def parts(self, samples: int) -> int:
        """Return into how many parts of equal numbers of channels each group is divided."""
        most = max(1, min(_LARGEST, samples // _FEWEST) // self.taps)
        return next(
            count for count in range(1, self.inputs + 1) if self.inputs % count == 0 and self.inputs // count <= most
        )


@dataclass
class _Moments:
    """The sums over samples of what the weights of one layer read, and of its products: parts × weights (× weights).

    Both are of what is left without the first samples' mean: 32 bits do not hold the variance of a large constant.
    """

    shape: Shape
    parts: int
    count: int = 0
    centre: np.ndarray | None = None
    sums: np.ndarray | float = 0.0
    products: np.ndarray | float = 0.0

    def add(self, columns: np.ndarray) -> None:
        """Add samples, as (groups × inputs × taps) × samples."""
        each = columns.reshape(self.shape.groups * self.parts, -1, columns.shape[1])
        if self.centre is None:
            self.centre = each.mean(2, keepdims=True)
        each = each - self.centre
        self.sums = self.sums + each.sum(2, dtype=np.float64)
        self.products = self.products + each @ each.swapaxes(1, 2)
        self.count += columns.shape[1]

    def covariance(self) -> np.ndarray:
        """Return the covariance of each part, damped."""
        mean = np.asarray(self.sums) / self.count
        found = np.asarray(self.products, np.float64) / self.count
        diagonal = np.einsum("pii->pi", found)
        inexact = _INEXACT * diagonal.mean(1, keepdims=True)
        found -= mean[:, :, None] * mean[:, None, :]
        diagonal += _DAMPING * diagonal.mean(1, keepdims=True) + inexact + _NOTHING
        return found


def together(
    model: onnx.ModelProto, placement: Placement, values: qdq.Values, batches: Sequence[np.ndarray]
) -> qdq.Values:
    """Return the values with weights that are rounded together."""
    net = Net(model)
    layers = [node for node in placement.weights.values() if "auto_pad" not in node.attributes]
    moments = _observed(net, layers, session.Runner(model, _read(net, layers)), placement, values, batches)

    def rounded(node: Node) -> np.ndarray:
        return _rounded(net, node, values, placement.weight_grid, moments.pop(node.name))

    weights = dict(zip((node.name for node in layers), session.each(rounded, layers), strict=True))
    return replace(values, weights={**values.weights, **weights})


def _read(net: Net, layers: list[Node]) -> list[str]:
    return sorted({node.inputs[0] for node in layers} - {net.input})


def _observed(
    net: Net,
    layers: list[Node],
    run: session.Runner,
    placement: Placement,
    values: qdq.Values,
    batches: Sequence[np.ndarray],
) -> dict[str, _Moments]:
    """Sample what the weights of all layers read, on the grid of the compiler."""
    rng, tensors, images = np.random.default_rng(0), _read(net, layers), sum(map(len, batches))
    found, readers = dict[str, _Moments](), dict[str, list[Node]]()
    for node in layers:
        readers.setdefault(node.inputs[0], []).append(node)
    for batch, computed in run.over(batches):
        seen = {net.input: batch, **dict(zip(tensors, computed, strict=True))}
        chosen = {node.name: _Positions.of(net, node, seen[node.inputs[0]].shape, images, rng) for node in layers}

        def take(tensor: str, seen: dict[str, np.ndarray] = seen, chosen: dict[str, _Positions] = chosen) -> None:
            on_grid = qdq.on_grid(seen[tensor], tensor, placement, values)
            for node in readers[tensor]:
                positions = chosen[node.name]
                if node.name not in found:
                    shape = Shape.of(net, node)
                    found[node.name] = _Moments(shape, shape.parts(positions.each * images))
                found[node.name].add(positions.columns(on_grid))

        session.each(take, readers)
    return found


class _Positions(NamedTuple):
    """Where a layer's output is sampled, and how each of its taps gets from there to the input."""

    rows: np.ndarray  # of the padded input, at the first tap
    columns_: np.ndarray
    taps: list[tuple[int, int]]
    pads: list[int]
    each: int  # samples of one image

    @staticmethod
    def of(net: Net, node: Node, shape: tuple[int, ...], images: int, rng: np.random.Generator) -> _Positions:
        """Choose positions, as many of each image as give enough of them."""
        if node.kind != "Conv":
            return _Positions(np.empty(0, int), np.empty(0, int), [], [], 1)
        pads, strides = node.integers("pads", [0] * 4), node.integers("strides", [1, 1])
        apart, taps = node.integers("dilations", [1, 1]), net.constants.shape(node.inputs[1])[2:]
        high, wide = (node.positions(axis, shape[2 + axis], taps[axis]) for axis in (0, 1))
        weights = Shape.of(net, node)
        wanted = -(-_OBSERVED * min(_LARGEST, weights.inputs * weights.taps) // images)
        at = np.arange(high * wide)
        if wanted < len(at):
            at = np.sort(rng.choice(len(at), wanted, replace=False))
        offsets = [(i * apart[0], j * apart[1]) for i in range(taps[0]) for j in range(taps[1])]
        return _Positions(at // wide * strides[0], at % wide * strides[1], offsets, pads, len(at))

    def columns(self, values: np.ndarray) -> np.ndarray:
        """Return what the weights read, as (inputs × taps) × samples."""
        if not self.taps:
            return np.ascontiguousarray(values.T)
        top, left, bottom, right = self.pads
        if any(self.pads):
            values = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
        taken = [values[:, :, self.rows + down, self.columns_ + across] for down, across in self.taps]
        found = np.stack(taken, 2).transpose(1, 2, 0, 3)
        return np.ascontiguousarray(found.reshape(found.shape[0] * found.shape[1], -1))


def _rounded(net: Net, node: Node, values: qdq.Values, grid: Grid, moments: _Moments) -> np.ndarray:
    """Return a layer's weights, moved so that the nearest integers are those that were chosen together."""
    weights = np.moveaxis(values.weight(net, node), weight_axis(node), 0)
    steps = values.weight_scales[node.name][:, None].astype(np.float32)
    rows = weights.reshape(len(weights), -1) / steps
    groups, parts = moments.shape.groups, moments.parts
    # groups × outputs × parts × weights → (groups × parts) × outputs × weights
    divided = rows.reshape(groups, len(rows) // groups, parts, -1).swapaxes(1, 2)
    divided = divided.reshape(groups * parts, len(rows) // groups, -1)
    with contextlib.suppress(np.linalg.LinAlgError):  # then each weight is rounded to its nearest integer
        divided = _compensated(divided, moments.covariance(), grid)
    found = divided.reshape(groups, parts, len(rows) // groups, -1).swapaxes(1, 2).reshape(rows.shape) * steps
    return np.moveaxis(found.reshape(weights.shape), 0, weight_axis(node))


def _compensated(rows: np.ndarray, covariance: np.ndarray, grid: Grid) -> np.ndarray:
    """Move weights, as parts × outputs × weights: when one is rounded, those after it make good its error.

    Those of the largest variance come first.
    """
    order = np.argsort(-np.einsum("pii->pi", covariance), axis=1, kind="stable")
    part = np.arange(len(rows))[:, None]
    covariance = covariance[part[:, :, None], order[:, :, None], order[:, None, :]]
    # The upper Cholesky factor of the inverse: row i says how the weights after i make good the error of weight i.
    factor = np.linalg.cholesky(np.linalg.inv(covariance)).swapaxes(1, 2).astype(np.float32)
    left = np.take_along_axis(rows, order[:, None, :], 2)
    for start in range(0, left.shape[2], _BLOCK):
        stop = min(start + _BLOCK, left.shape[2])
        errors = np.empty((*left.shape[:2], stop - start), np.float32)
        for at in range(start, stop):
            nearest = np.clip(np.rint(left[:, :, at]), grid.low, grid.high)
            errors[:, :, at - start] = (left[:, :, at] - nearest) / factor[:, None, at, at]
            left[:, :, at + 1 : stop] -= errors[:, :, at - start, None] * factor[:, None, at, at + 1 : stop]
        left[:, :, stop:] -= errors @ factor[:, start:stop, stop:]
    found = np.empty_like(left)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], left.shape), left, 2)
    return found
