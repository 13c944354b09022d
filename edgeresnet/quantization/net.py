"""A canonical network as its parts: nodes in order, constants as arrays, who makes and who reads each tensor.

What the quantizer's files share. Changes no graph, but for constants that layers share; knows no scales.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

WEIGHTED = ("Conv", "Gemm")


@dataclass(frozen=True)
class Node:
    """`name` is that of its first output: unique in any graph, which the name in the file need not be."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def name(self) -> str:
        return self.outputs[0]


class Net:
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
        """tensor → who reads it, and as which of its inputs."""
        found: dict[str, list[tuple[Node, int]]] = {}
        for node in self.nodes:
            for slot, name in enumerate(node.inputs):
                found.setdefault(name, []).append((node, slot))
        return found

    @cached_property
    def depth(self) -> dict[str, int]:
        """tensor → how many weighted layers the longest way from the images to it has."""
        found = {self.input: 0}
        for node in self.nodes:
            before = max((found.get(name, 0) for name in node.inputs), default=0)
            found.update(dict.fromkeys(node.outputs, before + (node.kind in WEIGHTED)))
        return found

    def weighted(self) -> list[Node]:
        """Convolutions and fully connected layers whose weights are constants of their own."""
        return [
            node
            for node in self.nodes
            if node.kind in WEIGHTED and len(node.inputs) > 1 and node.inputs[1] in self.constants
        ]


def unshare(model: onnx.ModelProto) -> None:
    """Gives every weighted layer weights and a bias of its own, in place: what one is given must not reach another."""
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    taken: set[str] = set()
    for node in model.graph.node:
        for slot, name in enumerate(node.input):
            if node.op_type in WEIGHTED and name in taken and name in held:
                own = model.graph.initializer.add()
                own.CopyFrom(held[name])
                own.name = node.input[slot] = f"{node.output[0]}.{('', 'weight', 'bias')[slot]}"
        taken.update(node.input)


class Constants(Mapping[str, np.ndarray]):
    """Arrays made when they are asked for: a second copy of all weights would be most of the memory."""

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
        return tuple(self._tensors[name].dims)


def _node(node: onnx.NodeProto) -> Node:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if attributes.get("auto_pad") == b"NOTSET":  # what is meant without it, too
        del attributes["auto_pad"]
    return Node(node.op_type, tuple(node.input), tuple(node.output), attributes)
