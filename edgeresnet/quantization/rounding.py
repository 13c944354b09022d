"""Rounds weights together: the error of one weight is made good by those that are rounded after it.

A layer's output changes by the error of its weights times its inputs. Inputs are correlated: neighbouring pixels, and
channels that answer to the same thing. So the second moments of what each weight reads say by how much the remaining
weights must move to take back what one weight's rounding did. Means are left out: bias correction removes these.
Large layers are divided into parts of a few channels, whose correlations are most of the gain at a tenth of the cost.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import onnx

from . import qdq, session
from .net import Net, Node
from .placement import Placement, weight_axis
from .reads import Moments, Reads
from .scales import Grid

_BLOCK = 32  # weights that are rounded before the rest of their part is changed


def together(model: onnx.ModelProto, placement: Placement, values: qdq.Values, reads: Reads) -> qdq.Values:
    """Return the values with weights that are rounded together; use up the moments."""
    net = Net(model)
    layers = [node for name, node in placement.weights.items() if name in reads.moments]
    one = {node.inputs[1]: node for node in layers}  # of those that share weights, which have the same moments
    for node in layers:
        if one[node.inputs[1]] is not node:
            del reads.moments[node.name]

    def rounded(node: Node) -> np.ndarray:
        return _rounded(net, node, values, placement.weight_grid, reads.moments.pop(node.name))

    found = dict(zip(one, session.each(rounded, one.values()), strict=True))
    return replace(values, weights={**values.weights, **{node.name: found[node.inputs[1]] for node in layers}})


def _rounded(net: Net, node: Node, values: qdq.Values, grid: Grid, moments: Moments) -> np.ndarray:
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
    follow = np.stack([_follow(one[np.ix_(at, at)]) for one, at in zip(covariance, order, strict=True)])
    given = np.ascontiguousarray(np.take_along_axis(rows, order[:, None, :], 2).swapaxes(1, 2))
    moved, errors = given.copy(), np.zeros_like(given)  # parts × weights × outputs
    for start in range(0, given.shape[1], _BLOCK):
        block = range(start, min(start + _BLOCK, given.shape[1]))
        moved[:, block] += follow[:, block, :start] @ errors[:, :start]
        for at in block:
            moved[:, at] += (follow[:, at, None, start:at] @ errors[:, start:at])[:, 0]
            errors[:, at] = given[:, at] - np.clip(np.rint(moved[:, at]), grid.low, grid.high)
    found = np.empty_like(rows)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], rows.shape), moved.swapaxes(1, 2), 2)
    return found


def _follow(covariance: np.ndarray) -> np.ndarray:
    """Return by how much each weight follows the errors of those before it: it is the last that can make them good.

    If the covariance is U·D·Uᵀ with ones on the diagonal of the upper triangular U, these are the columns of U − 1.
    """
    upper = np.linalg.cholesky(covariance[::-1, ::-1])[::-1, ::-1]
    return np.asarray(np.tril((upper / np.diag(upper)).T, -1), np.float32)
