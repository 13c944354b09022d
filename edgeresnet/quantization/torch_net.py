"""A canonical network in torch, so that its weights and scales can learn. Runs what ResNets are made of, no more.

Every tensor that a node reads may be changed on its way: that is where a quantizer stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ModelError
from .net import Net, Node

Read = Callable[[Node, int, Tensor], Tensor]


class TorchNet:
    def __init__(self, net: Net):
        self.net = net
        unknown = sorted({node.kind for node in net.nodes} - set(_OPERATORS))
        unknown += [f"{node.name}'s padding" for node in net.nodes if "auto_pad" in node.attributes]
        if unknown:
            raise ModelError(
                f"{', '.join(unknown)} cannot be refined", hint="`effort: fast` quantizes it without training"
            )
        self.constants = {
            name: torch.from_numpy(np.require(value, requirements="W"))
            for name, value in net.constants.items()
            if value.dtype == np.float32
        }
        self._last = {name: index for index, node in enumerate(net.nodes) for name in node.inputs}

    def run(
        self, image: Tensor, constants: Mapping[str, Tensor], read: Read | None = None, keep: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """The network's output, and the tensors of `keep`, by name."""
        values = {self.net.input: image}
        kept = {}
        for index, node in enumerate(self.net.nodes):
            inputs: list[Any] = []
            for slot, name in enumerate(node.inputs):
                if name in values:
                    value = values[name]
                    inputs.append(read(node, slot, value) if read else value)
                else:
                    inputs.append(constants[name] if name in constants else self.net.constants.get(name))
            value = _OPERATORS[node.kind](node, *inputs)
            values[node.name] = value
            if node.name in keep:
                kept[node.name] = value
            for name in node.inputs:
                if self._last.get(name) == index:
                    values.pop(name, None)
        kept[self.net.output] = values[self.net.output]
        return kept


def _conv(node: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    a = node.attributes
    rank = w.dim() - 2
    pads = a.get("pads") or [0] * 2 * rank
    begin, end = pads[:rank], pads[rank:]
    if begin != end:
        x = F.pad(x, [side for pair in zip(reversed(begin), reversed(end), strict=True) for side in pair])
        begin = [0] * rank
    return F.conv2d(x, w, b, a.get("strides") or 1, begin, a.get("dilations") or 1, a.get("group", 1))


def _gemm(node: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    a = node.attributes
    y = a.get("alpha", 1.0) * ((x.T if a.get("transA") else x) @ (w.T if a.get("transB") else w))
    return y if b is None else y + a.get("beta", 1.0) * b


def _slice(node: Node, x: Tensor, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Tensor:
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    where = [slice(None)] * x.dim()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        where[int(axis)] = slice(int(start), min(int(end), 2**31), int(step))
    return x[tuple(where)]


def _pad(node: Node, x: Tensor, pads: Any, value: Any = None, axes: Any = None) -> Tensor:
    rank = len(pads) // 2
    pairs = [(int(pads[i]), int(pads[i + rank])) for i in reversed(range(rank))]
    return F.pad(x, [side for pair in pairs for side in pair], value=0.0 if value is None else float(value))


def _mean(node: Node, x: Tensor, axes: Any = None) -> Tensor:
    axes = node.attributes.get("axes") if axes is None else [int(axis) for axis in axes]
    return x.mean(dim=axes, keepdim=bool(node.attributes.get("keepdims", 1)))


def _max_pool(node: Node, x: Tensor) -> Tensor:
    a = node.attributes
    pads = a.get("pads") or [0, 0, 0, 0]
    if pads[:2] != pads[2:] or a.get("ceil_mode"):
        x = F.pad(x, [pads[1], pads[3], pads[0], pads[2]], value=float("-inf"))
        pads = [0, 0]
    ceil = bool(a.get("ceil_mode"))
    return F.max_pool2d(x, a["kernel_shape"], a.get("strides") or 1, pads[:2], a.get("dilations") or 1, ceil)


def _average_pool(node: Node, x: Tensor) -> Tensor:
    a = node.attributes
    pads = a.get("pads") or [0, 0, 0, 0]
    if pads[:2] != pads[2:]:
        raise ModelError("an average pooling with uneven pads cannot be refined", hint="`effort: fast` does without")
    counted = bool(a.get("count_include_pad"))
    return F.avg_pool2d(x, a["kernel_shape"], a.get("strides") or 1, pads[:2], bool(a.get("ceil_mode")), counted)


def _batch_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return F.batch_norm(x, mean, variance, scale, shift, eps=node.attributes.get("epsilon", 1e-5))


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return (node.attributes.get("alpha", 0.2) * x + node.attributes.get("beta", 0.5)).clamp(0, 1)


_OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Relu": lambda node, x: F.relu(x),
    "Add": lambda node, x, y: x + y,
    "Mul": lambda node, x, y: x * y,
    "Slice": _slice,
    "Pad": _pad,
    "ReduceMean": _mean,
    "GlobalAveragePool": lambda node, x: x.mean(dim=(2, 3), keepdim=True),
    "MaxPool": _max_pool,
    "Flatten": lambda node, x: x.flatten(node.attributes.get("axis", 1)),
    "Reshape": lambda node, x, shape: x.reshape([x.shape[i] if int(s) == 0 else int(s) for i, s in enumerate(shape)]),
    "Identity": lambda node, x: x,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": lambda node, x, low=None, high=None: x.clamp(low, high) if low is not None or high is not None else x,
    "Concat": lambda node, *parts: torch.cat(parts, node.attributes["axis"]),
    "Div": lambda node, x, y: x / y,
    "HardSigmoid": _hard_sigmoid,
    "MatMul": lambda node, x, y: x @ y,
    "Sigmoid": lambda node, x: torch.sigmoid(x),
    "Softmax": lambda node, x: F.softmax(x, node.attributes.get("axis", -1)),
    "Squeeze": lambda node, x, axes=None: (
        x.flatten(1) if axes is None else x.squeeze(tuple(int(axis) for axis in axes))
    ),
    "Sub": lambda node, x, y: x - y,
    "Transpose": lambda node, x: x.permute(tuple(node.attributes["perm"])),
}
