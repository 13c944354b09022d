"""Bias correction: the mean error of rounding is known in advance, and a layer's bias can remove it.

Each layer is corrected by itself, on the FP32 network's own activations put on the grid, so no layer corrects what an
earlier one already does. A layer without a bias gets none: adding it takes time. A mean over positions is linear, so
the means of what each weight reads are enough: no second network runs, and no large tensor is stored.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from . import qdq
from .net import Net, Node
from .placement import Placement, weight_axis
from .reads import Reads


def bias_correction(model: onnx.ModelProto, placement: Placement, values: qdq.Values, reads: Reads) -> qdq.Values:
    """Return the values with corrected biases."""
    net, biases = Net(model), dict[str, np.ndarray]()
    for name, node in placement.weights.items():
        if len(node.inputs) > 2 and name in reads.means:
            stored = qdq.dequantized(net, node, values, placement.weight_grid)
            exact = _mean(node, net.constants[node.inputs[1]], reads.means[name])
            biases[name] = values.bias(net, node) + exact - _mean(node, stored, reads.rounded[name])
    return replace(values, biases=biases) if biases else values


def _mean(node: Node, weights: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Return the mean of a layer's output per channel, without its bias."""
    rows = np.moveaxis(weights, weight_axis(node), 0)
    groups = node.integer("group", 1)
    inputs = taken.reshape(groups, -1)
    return np.einsum("goi,gi->go", rows.reshape(groups, len(rows) // groups, -1), inputs).ravel()
