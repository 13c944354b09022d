"""How large channels get, and how much noise in a channel or a weight moves the logits: by a few images and gradients.

Knows no factors and no scales.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .net import Net, Node
from .placement import Placement, weight_axis
from .session import batch_for
from .torch_net import TorchNet

_OBSERVED = 1_400_000  # values of all images
_TAIL = 8  # one image in eight shows how large a channel gets,
_BEYOND = 4.0  # in four times as many images as were seen
_ROWS = 16  # outputs of a layer whose weights stand for all
NOTHING = 1e-12


def observed(shape: tuple[int, ...]) -> int:
    """Return how many images of this shape to observe."""
    return int(np.clip(_OBSERVED // int(np.prod(shape)), 8, 512))


class Seen(NamedTuple):
    """What was observed. How much noise moves the logits is squared and summed over images."""

    reach: dict[str, Tensor]  # the magnitude that each channel of a tensor gets to
    of_channels: dict[str, Tensor]  # how much noise in each channel of a tensor moves the logits
    of_weights: dict[str, Tensor]  # the same for the weights of some of a layer's outputs (`rows`), taps together


def observe(net: Net, placement: Placement, images: np.ndarray, seed: int) -> Seen:
    """Run the images forwards and backwards, a few at a time and large ones one by one, to bound the memory."""
    runner, generator = TorchNet(net), torch.Generator().manual_seed(seed)
    tensors = {name: _Tensor() for name in sorted(placement.points)}
    layers = {node.name: _Weights(node) for node in placement.weights.values()}
    trained = [name for layer in layers.values() for name in layer.node.inputs[1:] if name in runner.constants]
    constants = {**runner.constants, **{name: runner.constants[name].detach().requires_grad_() for name in trained}}
    size = batch_for(images.shape[1:])
    for start in range(0, len(images), size):
        batch = torch.from_numpy(images[start : start + size]).requires_grad_()
        values = {**runner.run(batch, constants, keep=tensors), net.input: batch}
        logits = values[net.output]
        # With random signs, the square of a sum over images and logits equals the sum of their squares on average.
        signs = torch.randint(0, 2, logits.shape, generator=generator) * 2.0 - 1.0
        read = {name: values[name] for name in tensors} | {name: constants[name] for name in trained}
        slopes = dict(zip(read, torch.autograd.grad((logits * signs).sum(), list(read.values())), strict=True))
        for name, tensor in tensors.items():
            tensor.add(values[name].detach(), slopes[name])
        for layer in layers.values():
            layer.add(*(slopes[name] for name in layer.node.inputs[1:] if name in slopes))
    return Seen(
        {name: tensor.reach() for name, tensor in tensors.items()},
        {name: tensor.felt for name, tensor in tensors.items()},
        {name: layer.felt(tensors[layer.node.inputs[0]].mean()) for name, layer in layers.items()},
    )


def rows(node: Node, weights: Tensor) -> Tensor:
    """Return a layer's weights for some of its outputs, as outputs × inputs × taps."""
    found = weights.movedim(weight_axis(node), 0)
    found = found[_some(node, len(found))]
    return found.reshape(*found.shape[:2], math.prod(found.shape[2:]))


def by_rows(node: Node, channels: Tensor, outputs: int) -> Tensor:
    """Return values per input channel as each row of a layer reads them, as outputs × inputs."""
    groups = channels.reshape(node.integer("group", 1), -1)
    return groups[_some(node, outputs) * len(groups) // outputs]


def _some(node: Node, outputs: int) -> Tensor:
    """Choose outputs, evenly apart, at least one of each group: groups read different inputs."""
    count = min(outputs, max(_ROWS, node.integer("group", 1)))
    return torch.arange(count) * outputs // count


class _Tensor:
    """The observation of one tensor, batch by batch."""

    def __init__(self) -> None:
        self.felt = torch.zeros(())
        self._sum, self._count = torch.zeros(()), 0
        self._peaks: list[Tensor] = []

    def add(self, values: Tensor, slopes: Tensor) -> None:
        values, slopes = (each.reshape(*each.shape[:2], -1) for each in (values, slopes))
        self.felt = self.felt + (slopes.square() * (values != 0)).sum((0, 2))  # zero has no rounding error
        self._sum, self._count = self._sum + values.sum((0, 2)), self._count + len(values) * values.shape[2]
        self._peaks.append(values.abs().amax(2))

    def mean(self) -> Tensor:
        return self._sum / self._count

    def reach(self) -> Tensor:
        """Return the magnitude that each channel exceeds once in many images.

        The largest peaks are taken as the tail of an exponential: the maximum over a few hundred images is chance, and
        values beyond it will be clipped. The peak that an eighth of the images in the tail show is the least, however
        rarely a channel is active. A dead channel gets as little as is safe.
        """
        peaks = torch.cat(self._peaks)
        few = min(len(peaks), max(4, len(peaks) // _TAIL))
        tail = peaks.topk(few, 0).values
        slope = (tail - tail[-1]).sum(0) / max(few - 1, 1)
        found = torch.maximum(tail[-1] + slope * math.log(few * _BEYOND), tail[few // 8])
        return torch.maximum(found, 1e-3 * found.max()).clamp_min(NOTHING)


class _Weights:
    """The observation of some outputs of a layer, batch by batch."""

    def __init__(self, node: Node):
        self.node = node
        self._outputs = 0
        self._squares = self._with_bias = self._of_bias = torch.zeros(())

    def add(self, slopes: Tensor, of_bias: Tensor | None = None) -> None:
        self._outputs = slopes.shape[weight_axis(self.node)]
        mine = rows(self.node, slopes)
        self._squares = self._squares + mine.square().sum(2)
        if of_bias is not None and of_bias.numel() == self._outputs:
            bias = of_bias.flatten()[_some(self.node, self._outputs), None]
            self._with_bias = self._with_bias + mine.sum(2) * bias
            self._of_bias = self._of_bias + bias.square() * mine.shape[2]

    def felt(self, mean: Tensor) -> Tensor:
        """Return how much noise in the weights moves the logits, without the part that bias correction removes."""
        means = by_rows(self.node, mean, self._outputs)
        return (self._squares - 2 * means * self._with_bias + means.square() * self._of_bias).clamp_min(0)
