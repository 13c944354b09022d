"""The gradients of a network's logits as further nodes of its graph, so that onnxruntime computes them.

Loading torch takes longer than all these gradients, and half a gigabyte. Knows the operators of ordinary ResNets only:
`supported` says of which networks. What is observed is reduced in the graph, so no large tensor leaves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import resizing
from .net import Net, Node
from .placement import nonnegative

_OPSET = 18  # the first whose reductions take their axes as an input
_SPATIAL = [2, 3]
_END = 2**31 - 1


class Observed(NamedTuple):
    """Where to look: tensors, and of layers some outputs' weights."""

    tensors: Sequence[str]
    rows: Mapping[str, np.ndarray]  # by the layer's output


def supported(model: onnx.ModelProto, net: Net) -> bool:
    """Return whether the gradients of this network can be written as a graph."""
    version = max((opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")), default=0)
    known = all(node.kind in _BACKWARD and _ordinary(net, node) for node in net.nodes)
    return version >= _OPSET and known and all(answer(model)) and len(answer(model)) in (1, 2, 3)


def answer(model: onnx.ModelProto) -> tuple[int, ...]:
    """Return the sides of an image's answer: its logits, or those of each pixel or anchor; 0: not known."""
    return tuple(dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim[1:])


class Gradients:
    """The nodes that compute gradients, and the names of what was observed."""

    def __init__(self, net: Net, observed: Observed, sides: int = 1):
        """Write them for answers of this many sides, without the batch."""
        self.signs = "gradient/signs"  # the logits' own gradients: an input of the graph
        self._net, self._graph = net, _Graph()
        self._sides = sides
        self._slopes = self._backward()
        self.peaks, self.means, self.felt = dict[str, str](), dict[str, str](), dict[str, str]()
        for name in observed.tensors:
            self._observe(name)
        self.weights, self.biases = dict[str, str](), dict[str, str]()
        for node in net.nodes:
            if node.name in observed.rows and node.name in self._slopes:
                self._observe_rows(node, observed.rows[node.name])

    @property
    def outputs(self) -> list[str]:
        """List the names of all that was observed."""
        return [
            name for part in (self.peaks, self.means, self.felt, self.weights, self.biases) for name in part.values()
        ]

    def nodes(self) -> onnx.GraphProto:
        """Return the nodes, their constants and their input."""
        found = onnx.GraphProto()
        found.node.extend(self._graph.nodes)
        found.initializer.extend(self._graph.constants)
        found.input.append(
            helper.make_tensor_value_info(self.signs, onnx.TensorProto.FLOAT, ["batch", *[None] * self._sides])
        )
        return found

    def _backward(self) -> dict[str, str]:
        """Follow the gradient from the logits to all that weights or other layers make; not to the image."""
        slopes = {self._net.output: self.signs}
        for node in reversed(self._net.nodes):
            if node.name not in slopes:
                continue
            before = _BACKWARD[node.kind]
            for slot, name in enumerate(node.inputs):
                if name in self._net.maker:
                    slope = before(self._graph, node, slot, slopes[node.name])
                    slopes[name] = self._graph.add("Add", slopes[name], slope) if name in slopes else slope
        return slopes

    def _observe(self, name: str) -> None:
        graph = self._graph
        values, signed = graph.flat(name), not nonnegative(self._net, name)
        large = graph.add("Abs", values) if signed else values
        self.peaks[name] = graph.add("ReduceMax", large, graph.integers([2]), keepdims=0)
        self.means[name] = graph.add("ReduceMean", values, graph.integers([0, 2]), keepdims=0)
        if name in self._slopes:
            there = graph.add("Sign", name)  # zero has no rounding error
            there = graph.add("Abs", there) if signed else there
            slopes = graph.flat(graph.add("Mul", self._slopes[name], there))
            self.felt[name] = graph.add("ReduceSumSquare", slopes, graph.integers([0, 2]), keepdims=0)

    def _observe_rows(self, node: Node, rows: np.ndarray) -> None:
        """Observe the gradients of some outputs' weights: as inputs × outputs × taps; and of their biases."""
        graph, image = self._graph, node.inputs[0]
        slopes = graph.add("Gather", self._slopes[node.name], graph.integers(rows.tolist()), axis=1)
        self.biases[node.name] = graph.add("ReduceSum", graph.flat(slopes), graph.integers([0, 2]), keepdims=0)
        if node.kind == "Gemm":
            self.weights[node.name] = graph.add("MatMul", graph.add("Transpose", image, perm=[1, 0]), slopes)
            return
        pads, step = node.integers("pads", [0] * 4), node.integers("strides", [1, 1])
        taps = self._net.constants.shape(node.inputs[1])[2:]
        if tuple(taps) == (1, 1) and not any(pads):
            self.weights[node.name] = graph.at_one_tap(image, slopes, step)
            return
        # Each tap is a sum over positions: a convolution of the input with the slopes, images taken for channels.
        channels, kernels = (graph.add("Transpose", name, perm=[1, 0, 2, 3]) for name in (image, slopes))
        apart = node.integers("dilations", [1, 1])
        found = graph.add("Conv", channels, kernels, pads=pads, strides=apart, dilations=step)
        ends = graph.integers([0, 0]), graph.integers(list(taps)), graph.integers(_SPATIAL)
        self.weights[node.name] = graph.add("Slice", found, *ends)


class _Graph:
    """Nodes in the making; each method returns the name of what it wrote."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output."""
        return self.several(kind, 1, *inputs, **attributes)[0]

    def several(self, kind: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node of several outputs."""
        names = [f"gradient/{len(self.nodes)}/{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=names[0], **attributes))
        return names

    def hold(self, value: np.ndarray) -> str:
        """Add a constant."""
        self.constants.append(numpy_helper.from_array(value, f"gradient/constant/{len(self.constants)}"))
        return self.constants[-1].name

    def integers(self, values: list[int]) -> str:
        """Add a constant of integers."""
        return self.hold(np.asarray(values, np.int64))

    def flat(self, name: str) -> str:
        """Add a reshape to images × channels × positions."""
        return self.add("Reshape", name, self.integers([0, 0, -1]))

    def like(self, name: str, other: str) -> str:
        """Add a reshape to another tensor's shape."""
        return self.add("Reshape", name, self.add("Shape", other))

    def at_one_tap(self, image: str, slopes: str, step: list[int]) -> str:
        """Sum the products of inputs and slopes over images and positions, as inputs × outputs."""
        if step != [1, 1]:
            ends = self.integers([0, 0]), self.integers([_END, _END]), self.integers(_SPATIAL), self.integers(step)
            image = self.add("Slice", image, *ends)
        by_position = self.add("Transpose", self.flat(slopes), perm=[0, 2, 1])
        found = self.add("MatMul", self.flat(image), by_position)
        return self.add("ReduceSum", found, self.integers([0]), keepdims=0)

    def resized_identity(self, node: Node, axis: int) -> str:
        """Resize the rows of an identity as an axis of the image is: to the matrix that does so, as 1 × 1 × rows × …"""
        side = self.add("Shape", node.inputs[0], start=axis, end=axis + 1)
        square = self.add("EyeLike", self.add("ConstantOfShape", self.add("Concat", side, side, axis=0)))
        image = self.add("Unsqueeze", square, self.integers([0, 1]))
        one, ones = self.hold(np.ones(1, np.float32)), self.hold(np.ones(2, np.float32))
        scale = self.add("Slice", node.inputs[2], self.integers([axis]), self.integers([axis + 1]))
        return self.add("Resize", image, "", self.add("Concat", ones, scale, one, axis=0), **node.attributes)

    def fitted(self, name: str, other: str) -> str:
        """Cut or fill with zeros to another tensor's height and width."""
        sizes = self.add("Sub", self.add("Shape", other), self.add("Shape", name))
        more = self.add("Slice", sizes, self.integers([2]), self.integers([4]))
        return self.add("Pad", name, self.add("Concat", self.integers([0] * 6), more, axis=0))


def _ordinary(net: Net, node: Node) -> bool:
    """Return whether a node has only attributes that its gradient here knows."""
    if "auto_pad" in node.attributes or node.integer("ceil_mode", 0) or node.integer("storage_order", 0):
        return False
    if node.kind in ("Conv", "Gemm"):
        weights = net.constants.shape(node.inputs[1]) if node.inputs[1] in net.constants else ()
        own = all(name in net.constants for name in node.inputs[1:])
        plain = node.number("alpha", 1.0) == node.number("beta", 1.0) == 1.0 and not node.integer("transA", 0)
        return own and plain and len(weights) == (4 if node.kind == "Conv" else 2)
    if node.kind == "Add":
        return not any(name in net.constants for name in node.inputs)
    if node.kind == "Concat":
        return not any(name in net.constants for name in node.inputs)
    if node.kind == "Transpose":
        return bool(node.integers("perm", []))
    if node.kind == "Resize":
        return resizing.of_sides(net, node) and "axes" not in node.attributes and resizing.known(node)
    if node.kind == "AveragePool":
        return not any(node.integers("pads", [0] * 4)) and set(node.integers("dilations", [1])) == {1}
    if node.kind == "ReduceMean":
        axes = net.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        return axes is not None and sorted(axes.tolist()) in (_SPATIAL, [-2, -1])
    return True


def _conv(graph: _Graph, node: Node, slot: int, slope: str) -> str:
    top, left, *_ = node.integers("pads", [0] * 4)
    about = {
        "strides": node.integers("strides", [1, 1]),
        "dilations": node.integers("dilations", [1, 1]),
        "group": node.integer("group", 1),
    }
    found = graph.add("ConvTranspose", slope, node.inputs[1], pads=[top, left, 0, 0], **about)
    return graph.fitted(found, node.inputs[0])


def _gemm(graph: _Graph, node: Node, slot: int, slope: str) -> str:
    return graph.add("Gemm", slope, node.inputs[1], transB=1 - node.integer("transB", 0))


def _relu(graph: _Graph, node: Node, slot: int, slope: str) -> str:
    return graph.add("Mul", slope, graph.add("Sign", node.name))


def _reshape(graph: _Graph, node: Node, slot: int, slope: str) -> str:
    return graph.like(slope, node.inputs[0])


def _mean(graph: _Graph, node: Node, slot: int, slope: str) -> str:
    image = node.inputs[0]
    parts = [graph.add("Cast", graph.add("Size", name), to=onnx.TensorProto.FLOAT) for name in (image, slope)]
    each = graph.add("Div", graph.add("Reshape", slope, graph.integers([0, -1, 1, 1])), graph.add("Div", *parts))
    return graph.add("Expand", each, graph.add("Shape", image))


def _average_pool(graph: _Graph, node: Node, slot: int, slope: str) -> str:
    taps = node.integers("kernel_shape", [1, 1])
    kernel = graph.hold(np.full((1, 1, *taps), 1 / np.prod(taps), np.float32))
    sides = [
        graph.add("Slice", graph.add("Shape", name), *map(graph.integers, ([2], [4])))
        for name in (slope, node.inputs[0])
    ]
    one_by_one = [graph.add("Concat", graph.integers([-1, 1]), each, axis=0) for each in sides]
    spread = graph.add(
        "ConvTranspose", graph.add("Reshape", slope, one_by_one[0]), kernel, strides=node.integers("strides", [1, 1])
    )
    image = graph.add("Reshape", node.inputs[0], one_by_one[1])
    return graph.like(graph.fitted(spread, image), node.inputs[0])


def _max_pool(graph: _Graph, node: Node, slot: int, slope: str) -> str:
    image, every = node.inputs[0], graph.integers([-1])
    _, where = graph.several("MaxPool", 2, image, **node.attributes)
    zeros = graph.add("ConstantOfShape", graph.add("Reshape", graph.add("Size", image), every))
    flat = (graph.add("Reshape", name, every) for name in (where, slope))
    return graph.like(graph.add("ScatterElements", zeros, *flat, axis=0, reduction="add"), image)


def _concat(graph: _Graph, node: Node, slot: int, slope: str) -> str:
    """Cut the part of one input out of the slope."""
    axis = node.integer("axis", 1)
    end: dict[str, int] = {} if axis == -1 else {"end": axis + 1}
    counts = [graph.add("Shape", name, start=axis, **end) for name in node.inputs[: slot + 1]]
    first = graph.integers([0])
    for count in counts[:-1]:
        first = graph.add("Add", first, count)
    return graph.add("Slice", slope, first, graph.add("Add", first, counts[-1]), graph.integers([axis]))


def _transpose(graph: _Graph, node: Node, slot: int, slope: str) -> str:
    back = np.argsort(node.integers("perm", []))
    return graph.add("Transpose", slope, perm=back.tolist())


def _resize(graph: _Graph, node: Node, slot: int, slope: str) -> str:
    """Give each pixel the slopes of those that it helps to make: by the matrix of each side, transposed."""
    high, wide = (graph.resized_identity(node, axis) for axis in _SPATIAL)
    return graph.add("MatMul", graph.add("MatMul", graph.add("Transpose", high, perm=[0, 1, 3, 2]), slope), wide)


_BACKWARD: dict[str, Callable[[_Graph, Node, int, str], str]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Relu": _relu,
    "Add": lambda graph, node, slot, slope: slope,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _mean,
    "ReduceMean": _mean,
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Identity": _reshape,
    "Concat": _concat,
    "Transpose": _transpose,
    "Resize": _resize,
}
