"""A canonical network as its parts: nodes in order, constants as arrays, the maker and the readers of each tensor.

All files of the quantizer use it. Changes nothing in a graph but constants that layers share; knows no scales.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

WEIGHTED = ("Conv", "Gemm")
_USUAL = {"group": 1, "transA": 0, "transB": 0, "alpha": 1.0, "beta": 1.0}  # what weights mean depends on these


@dataclass(frozen=True)
class Node:
    """One operator, with its attributes as ONNX holds them."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, object]

    @property
    def name(self) -> str:
        """Its first output: unique in any graph, unlike the name in the file."""
        return self.outputs[0]

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        value = self.attributes.get(name, default)
        assert isinstance(value, int)
        return value

    def number(self, name: str, default: float) -> float:
        """Return a float attribute."""
        value = self.attributes.get(name, default)
        assert isinstance(value, (int, float))
        return value

    def integers(self, name: str, default: list[int]) -> list[int]:
        """Return an attribute of several integers; the default replaces an empty one."""
        value = self.attributes.get(name) or default
        assert isinstance(value, list)
        return value

    def positions(self, axis: int, length: int, taps: int) -> int:
        """Return how many positions a convolution has along a side of the image, 0 or 1, of this length."""
        pads, step = self.integers("pads", [0] * 4), self.integers("strides", [1, 1])[axis]
        apart = self.integers("dilations", [1, 1])[axis]
        return (length + pads[axis] + pads[2 + axis] - apart * (taps - 1) - 1) // step + 1


class Net:
    """A network, read once."""

    def __init__(self, model: onnx.ModelProto):
        self.input, self.output = model.graph.input[0].name, model.graph.output[0].name
        shape = model.graph.input[0].type.tensor_type.shape.dim
        self.image_channels = shape[1].dim_value
        self.constants = Constants(model)
        self.nodes = [_node(node) for node in model.graph.node]

    @cached_property
    def maker(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs}

    @cached_property
    def readers(self) -> dict[str, list[tuple[Node, int]]]:
        """tensor → the nodes that read it, and as which of their inputs."""
        found: dict[str, list[tuple[Node, int]]] = {}
        for node in self.nodes:
            for slot, name in enumerate(node.inputs):
                found.setdefault(name, []).append((node, slot))
        return found

    @cached_property
    def depth(self) -> dict[str, int]:
        """tensor → the number of weighted layers on the longest path from the images to it."""
        found = {self.input: 0}
        for node in self.nodes:
            before = max((found.get(name, 0) for name in node.inputs), default=0)
            found.update(dict.fromkeys(node.outputs, before + (node.kind in WEIGHTED)))
        return found

    @cached_property
    def last_read(self) -> dict[str, int]:
        """tensor → the place of the last node that reads it."""
        return {name: index for index, node in enumerate(self.nodes) for name in node.inputs}

    def walk(self, *values: dict[str, Any]) -> Iterator[Node]:
        """Yield the nodes in order. After each one, remove the values that no later node reads: memory is scarce."""
        for index, node in enumerate(self.nodes):
            yield node
            for name in node.inputs:
                if self.last_read[name] == index:
                    for each in values:
                        each.pop(name, None)

    @cached_property
    def sharing(self) -> dict[str, list[Node]]:
        """weights → the layers that read them: of a detector's head one for each level."""
        found: dict[str, list[Node]] = {}
        for node in self.weighted():
            found.setdefault(node.inputs[1], []).append(node)
        return found

    def weighted(self) -> list[Node]:
        """List the convolutions and fully connected layers whose weights are constants."""
        return [
            node
            for node in self.nodes
            if node.kind in WEIGHTED and len(node.inputs) > 1 and node.inputs[1] in self.constants
        ]


def unshare(model: onnx.ModelProto, *, alike: bool = False) -> None:
    """Give every weighted layer a bias of its own, and weights that no other kind of layer reads, in place.

    Layers that use weights alike, as the head of a detector does on each level, go on to share them: they are changed
    together, and a file has them once. `alike`: they get weights of their own, too.
    """
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    taken: set[str] = set()
    shared: dict[tuple[str, str], str] = {}  # weights, and how they are used → their name in the layers that do so
    for node in model.graph.node:
        for slot, name in enumerate(node.input):
            if node.op_type not in WEIGHTED or name not in held:
                continue
            use = (name, _use(node)) if slot == 1 and not alike else (name, f"{node.output[0]} {slot}")
            if use not in shared:
                shared[use] = _own(model.graph, node, slot, held[name]) if name in taken else name
            node.input[slot] = shared[use]
            taken.add(name)
        taken.update(node.input)


def _own(graph: onnx.GraphProto, node: onnx.NodeProto, slot: int, tensor: onnx.TensorProto) -> str:
    """Add a copy of a constant for a layer; return its name."""
    own = graph.initializer.add()
    own.CopyFrom(tensor)
    own.name = f"{node.output[0]}.{('', 'weight', 'bias')[slot]}"
    return own.name


def _use(node: onnx.NodeProto) -> str:
    """Return what layers have in common that use the same weights alike: where they read, and how often, may differ."""
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    return f"{node.op_type} {[given.get(name, default) for name, default in _USUAL.items()]}"


class Constants(Mapping[str, np.ndarray]):
    """Constants by name, made into arrays at each access: a second copy of all weights would be most of the memory."""

    def __init__(self, model: onnx.ModelProto):
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def __getitem__(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self._tensors[name])

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a constant's shape without making the array."""
        return tuple(self._tensors[name].dims)


def _node(node: onnx.NodeProto) -> Node:
    attributes: dict[str, object] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if attributes.get("auto_pad") == b"NOTSET":  # the default
        del attributes["auto_pad"]
    return Node(node.op_type, tuple(node.input), tuple(node.output), attributes)
