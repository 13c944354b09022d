"""Which channels of which tensors belong together: those that other operators pass on.

ReLU, addition, pooling, slices, zero padding, concatenation and resizing do.
Along an entire residual stream, the same channel is one class; so it is in layers that share their weights. A class
that another operator reads is not free.
"""

from __future__ import annotations

import numpy as np

from . import resizing
from .net import Net, Node
from .placement import POOLING, joins, moves, weight_axis


class Channels:
    """Which channels of which tensors must have the same factor, as classes."""

    def __init__(self, net: Net):
        self._net = net
        self._of: dict[str, np.ndarray] = {}
        self._parent: list[int] = []
        self._fixed: set[int] = set()
        self._fix(net.input, net.image_channels)
        for node in net.nodes:
            self._through(node)
        for layers in net.sharing.values():
            self._together(layers)
        self._fix(net.output, None)
        roots = {name: np.array([self._root(i) for i in ids], np.int64) for name, ids in self._of.items()}
        known, fixed = np.unique(np.concatenate(list(roots.values()))), {self._root(i) for i in self._fixed}
        self.free = np.array([float(root not in fixed) for root in known.tolist()])
        self.of = {name: np.searchsorted(known, ids) for name, ids in roots.items()}

    def _through(self, node: Node) -> None:
        first = node.inputs[0]
        if node.kind in ("Conv", "Gemm") and node in self._net.weighted() and first in self._of:
            self._new(node.name, self._net.constants.shape(node.inputs[1])[weight_axis(node)])
        elif node.kind == "Add" and all(name in self._of for name in node.inputs):
            one, two = (self._of[name] for name in node.inputs)
            self._of[node.name] = one
            if len(one) == len(two):
                self._unite(one, two)
            else:
                self._fix_all(node)
        elif (node.kind in ("Relu", "MaxPool", *POOLING) or _flattens(self._net, node)) and first in self._of:
            self._of[node.name] = self._of[first]
        elif node.kind in ("Slice", "Pad") and first in self._of:
            self._moved(node)
        elif joins(self._net, node) and all(name in self._of for name in node.inputs):
            self._of[node.name] = np.concatenate([self._of[name] for name in node.inputs])
        elif node.kind == "Resize" and first in self._of and resizing.of_sides(self._net, node):
            self._of[node.name] = self._of[first]
        else:
            self._fix_all(node)

    def _together(self, layers: list[Node]) -> None:
        """Give what layers of the same weights read the same factors, and what they make."""
        ends = [name for layer in layers for name in (layer.inputs[0], layer.name)]
        if len(layers) > 1 and not all(name in self._of for name in ends):
            for name in ends:
                self._fix(name, None)
            return
        for other in layers[1:]:
            self._unite(self._of[layers[0].inputs[0]], self._of[other.inputs[0]])
            self._unite(self._of[layers[0].name], self._of[other.name])

    def _moved(self, node: Node) -> None:
        """Follow channels through a Slice or Pad: each is one of the input's, or a new one that is all zero."""
        before, after = _channels_moved(self._net, node, len(self._of[node.inputs[0]]))
        if before is None:
            self._fix_all(node)
            return
        taken = self._of[node.inputs[0]][before]
        self._new(node.name, after[0] + len(taken) + after[1])
        self._of[node.name][after[0] : after[0] + len(taken)] = taken

    def _new(self, name: str, count: int) -> None:
        self._of[name] = np.arange(len(self._parent), len(self._parent) + count)
        self._parent.extend(range(len(self._parent), len(self._parent) + count))

    def _fix(self, name: str, count: int | None) -> None:
        if name not in self._of and count is not None:
            self._new(name, count)
        self._fixed.update(self._of.get(name, np.empty(0, np.int64)).tolist())

    def _fix_all(self, node: Node) -> None:
        """Fix what an unknown operator reads and makes."""
        for name in (*node.inputs, *node.outputs):
            self._fix(name, None)

    def _unite(self, one: np.ndarray, two: np.ndarray) -> None:
        for i, j in zip(one.tolist(), two.tolist(), strict=True):
            i, j = self._root(i), self._root(j)
            self._parent[max(i, j)] = min(i, j)

    def _root(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index


def _channels_moved(net: Net, node: Node, count: int) -> tuple[np.ndarray | None, tuple[int, int]]:
    """Return which input channels the result has (None: unknown), and how many new ones before and after them."""
    unmoved = np.arange(count), (0, 0)
    operands = [net.constants.get(name) for name in node.inputs[1:]]
    if node.kind == "Slice":
        axes = operands[2] if len(operands) > 2 else np.arange(len(operands[0])) if operands[0] is not None else None
        if axes is None or operands[0] is None or operands[1] is None:
            return None, (0, 0)
        steps = operands[3] if len(operands) > 3 and operands[3] is not None else np.ones(len(axes), np.int64)
        channel = (1, -1) if _is_flat(net, node.inputs[0]) else (1, -3)
        for start, stop, axis, step in zip(operands[0], operands[1], axes, steps, strict=True):
            if int(axis) in channel:
                return np.arange(count)[int(start) : int(stop) : int(step)], (0, 0)
        return unmoved
    pads = operands[0]
    if pads is None or len(pads) != 8 or not moves(net, node):
        return None, (0, 0)
    return np.arange(count), (int(pads[1]), int(pads[5]))


def _is_flat(net: Net, name: str) -> bool:
    """Return whether a tensor has channels but no height and width."""
    while (maker := net.maker.get(name)) is not None and maker.kind not in ("Conv", *POOLING):
        if maker.kind in ("Gemm", "Flatten", "Reshape", "Squeeze"):
            return True
        name = maker.inputs[0]
    return False


def _flattens(net: Net, node: Node) -> bool:
    """Return whether a node flattens what a pooling made: channels stay what they were."""
    maker = net.maker.get(node.inputs[0])
    return node.kind in ("Flatten", "Reshape", "Squeeze", "Identity") and maker is not None and maker.kind in POOLING
