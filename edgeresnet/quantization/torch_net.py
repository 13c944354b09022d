"""A canonical network in torch, for gradients. Runs the operators of ResNets only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ModelError
from . import resizing
from .net import Net, Node


class TorchNet:
    """A network that torch runs, node by node."""

    def __init__(self, net: Net, device: torch.device = torch.device("cpu")):  # noqa: B008
        self.net = net
        unknown = sorted({node.kind for node in net.nodes} - set(OPERATORS))
        unknown += [f"{node.name}'s padding" for node in net.nodes if "auto_pad" in node.attributes]
        if unknown:
            raise ModelError(", ".join(unknown), "cannot be refined", hint="use `effort: fast`, which does not refine")
        self.constants = {
            name: torch.from_numpy(np.require(value, requirements="W")).to(device)
            for name, value in net.constants.items()
            if value.dtype == np.float32
        }

    def run(self, image: Tensor, constants: Mapping[str, Tensor], keep: Collection[str] = ()) -> dict[str, Tensor]:
        """Return the network's output, and the tensors of `keep`, by name."""
        values = {self.net.input: image}
        found = {}
        for node in self.net.walk(values):
            inputs: list[Tensor | np.ndarray | None] = []
            for name in node.inputs:
                if name in values:
                    inputs.append(values[name])
                else:
                    inputs.append(constants[name] if name in constants else self.net.constants.get(name))
            value = OPERATORS[node.kind](node, *inputs)
            values[node.name] = value
            if node.name in keep:
                found[node.name] = value
        found[self.net.output] = values[self.net.output]
        return found


def _conv(node: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    rank = w.dim() - 2
    pads = node.integers("pads", [0] * 2 * rank)
    begin, end = pads[:rank], pads[rank:]
    if begin != end:
        x = F.pad(x, [side for pair in zip(reversed(begin), reversed(end), strict=True) for side in pair])
        begin = [0] * rank
    strides, dilations = (node.integers(name, [1] * rank) for name in ("strides", "dilations"))
    return F.conv2d(x, w, b, strides, begin, dilations, node.integer("group", 1))


def _gemm(node: Node, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    left, right = x.T if node.integer("transA", 0) else x, w.T if node.integer("transB", 0) else w
    y = node.number("alpha", 1.0) * (left @ right)
    return y if b is None else y + node.number("beta", 1.0) * b


def _slice(
    node: Node,
    x: Tensor,
    starts: np.ndarray,
    ends: np.ndarray,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> Tensor:
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    where = [slice(None)] * x.dim()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        where[int(axis)] = slice(int(start), min(int(end), 2**31), int(step))
    return x[tuple(where)]


def _pad(node: Node, x: Tensor, pads: np.ndarray, value: Tensor | None = None, axes: None = None) -> Tensor:
    rank = len(pads) // 2
    pairs = [(int(pads[i]), int(pads[i + rank])) for i in reversed(range(rank))]
    return F.pad(x, [side for pair in pairs for side in pair], value=0.0 if value is None else float(value))


def _mean(node: Node, x: Tensor, axes: np.ndarray | None = None) -> Tensor:
    along = node.integers("axes", []) if axes is None else [int(axis) for axis in axes]
    return x.mean(dim=along or None, keepdim=bool(node.integer("keepdims", 1)))


def _max_pool(node: Node, x: Tensor) -> Tensor:
    pads, ceil = node.integers("pads", [0] * 4), bool(node.integer("ceil_mode", 0))
    if pads[:2] != pads[2:] or ceil:
        x = F.pad(x, [pads[1], pads[3], pads[0], pads[2]], value=float("-inf"))
        pads = [0, 0]
    kernel, strides, dilations = (node.integers(name, [1, 1]) for name in ("kernel_shape", "strides", "dilations"))
    return F.max_pool2d(x, kernel, strides, pads[:2], dilations, ceil)


def _average_pool(node: Node, x: Tensor) -> Tensor:
    pads = node.integers("pads", [0] * 4)
    if pads[:2] != pads[2:]:
        raise ModelError(
            "average pooling with uneven pads", "cannot be refined", hint="use `effort: fast`, which does not refine"
        )
    kernel, strides = (node.integers(name, [1, 1]) for name in ("kernel_shape", "strides"))
    ceil, counted = (bool(node.integer(name, 0)) for name in ("ceil_mode", "count_include_pad"))
    return F.avg_pool2d(x, kernel, strides, pads[:2], ceil, counted)


def _resize(
    node: Node, x: Tensor, roi: object = None, scales: Tensor | None = None, sizes: np.ndarray | None = None
) -> Tensor:
    if scales is None or len(scales) != 4 or "axes" in node.attributes or not resizing.known(node):
        raise ModelError(
            f"the resizing {node.name}", "cannot be refined", hint="use `effort: fast`, which does not refine"
        )
    for axis in (2, 3):
        before, scale = x.shape[axis], float(scales[axis])
        if scale != 1:
            weights = torch.from_numpy(resizing.matrix(node, before, int(before * np.float32(scale)), scale)).to(x)
            x = torch.einsum("bchw,oh->bcow" if axis == 2 else "bchw,ow->bcho", x, weights)
    return x


def _batch_norm(node: Node, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return F.batch_norm(x, mean, variance, scale, shift, eps=node.number("epsilon", 1e-5))


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return (node.number("alpha", 0.2) * x + node.number("beta", 0.5)).clamp(0, 1)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Relu": lambda node, x: F.relu(x),
    "LeakyRelu": lambda node, x: F.leaky_relu(x, node.number("alpha", 0.01)),
    "Erf": lambda node, x: torch.erf(x),
    "Add": lambda node, x, y: x + y,
    "Mul": lambda node, x, y: x * y,
    "Slice": _slice,
    "Pad": _pad,
    "ReduceMean": _mean,
    "Resize": _resize,
    "GlobalAveragePool": lambda node, x: x.mean(dim=(2, 3), keepdim=True),
    "MaxPool": _max_pool,
    "Flatten": lambda node, x: x.flatten(node.integer("axis", 1)),
    "Reshape": lambda node, x, shape: x.reshape([x.shape[i] if int(s) == 0 else int(s) for i, s in enumerate(shape)]),
    "Identity": lambda node, x: x,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": lambda node, x, low=None, high=None: x.clamp(low, high) if low is not None or high is not None else x,
    "Concat": lambda node, *parts: torch.cat(parts, node.integer("axis", 1)),
    "Div": lambda node, x, y: x / y,
    "HardSigmoid": _hard_sigmoid,
    "MatMul": lambda node, x, y: x @ y,
    "Sigmoid": lambda node, x: torch.sigmoid(x),
    "Softmax": lambda node, x: F.softmax(x, node.integer("axis", -1)),
    "Squeeze": lambda node, x, axes=None: (
        x.flatten(1) if axes is None else x.squeeze(tuple(int(axis) for axis in axes))
    ),
    "Sub": lambda node, x, y: x - y,
    "Transpose": lambda node, x: x.permute(node.integers("perm", list(reversed(range(x.dim()))))),
}
