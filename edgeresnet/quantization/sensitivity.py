"""How large channels get, and how much noise in a channel or a weight moves the logits: by a few images and gradients.

Knows no factors and no scales. onnxruntime computes the gradients. Where `gradient` lacks an operator, torch does.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx

from ..errors import ModelError
from . import gradient
from .net import Net, Node, unshare
from .placement import Placement, weight_axis
from .session import Runner, ahead, at_once, batch_for

if TYPE_CHECKING:
    from torch import Tensor

_OBSERVED = 1_400_000  # values of all images
_VERY_LARGE = 1 << 19  # values of an image: fewer such images suffice
_TAIL = 8  # one image in eight shows how large a channel gets,
_BEYOND = 4.0  # in four times as many images as were seen
_ROWS = 16  # outputs of a layer whose weights stand for all
NOTHING = 1e-12


def observed(shape: tuple[int, ...]) -> int:
    """Return how many images of this shape to observe."""
    each = int(np.prod(shape))
    return int(np.clip(_OBSERVED // each, 8 if each < _VERY_LARGE else 4, 512))


class Seen(NamedTuple):
    """What was observed. How much noise moves the logits is squared and summed over images."""

    reach: dict[str, np.ndarray]  # the magnitude that each channel of a tensor gets to
    of_channels: dict[str, np.ndarray]  # how much noise in each channel of a tensor moves the logits; not of the image
    of_weights: dict[str, np.ndarray]  # the same for the weights of some of a layer's outputs (`rows`), taps together


class OfTensor(NamedTuple):
    """One tensor over a batch."""

    peaks: np.ndarray  # images × channels: the largest magnitude
    mean: np.ndarray  # per channel
    felt: np.ndarray | None  # per channel: the squared gradients of values that are not zero; None: not computed


class OfLayer(NamedTuple):
    """Gradients of some outputs of a layer over a batch."""

    weights: np.ndarray  # outputs × inputs × taps
    bias: np.ndarray | None  # per output; None where it has no bias of its own


class Batch(NamedTuple):
    """What one batch showed."""

    tensors: dict[str, OfTensor]
    layers: dict[str, OfLayer]


Draw = Callable[["tuple[int, ...]"], np.ndarray]
Differentiate = Callable[[np.ndarray, Draw], Batch]


def observe(model: onnx.ModelProto, placement: Placement, images: np.ndarray, seed: int) -> Seen:
    """Run the images forwards and backwards, a few at a time and large ones one by one, to bound the memory."""
    net = Net(model)
    ours, differentiate = gradient.supported(model, net), None
    if ours:
        with contextlib.suppress(ModelError):  # shapes that its gradients do not fit
            differentiate = by_onnxruntime(model, placement)
    ours = differentiate is not None
    differentiate = differentiate or by_torch(model, placement)
    tensors = {name: _Tensor() for name in sorted(placement.points)}
    layers = {node.name: _Weights(node, _outputs(net, node)) for node in placement.weights.values()}

    size = batch_for(images.shape[1:])

    def from_(start: int) -> Batch:
        rng = np.random.default_rng([seed, start])
        # With random signs, the square of a sum over images and logits equals the sum of their squares on average.
        signs = lambda shape: rng.integers(0, 2, shape).astype(np.float32) * 2 - 1  # noqa: E731
        return differentiate(images[start : start + size], signs)

    starts = range(0, len(images), size)
    several = at_once(images.shape[1:]) if ours else 1
    for _, found in ahead(from_, starts, several):
        for name, tensor in tensors.items():
            tensor.add(found.tensors[name])
        for name, layer in layers.items():
            layer.add(found.layers[name])
    return Seen(
        {name: tensor.reach() for name, tensor in tensors.items()},
        {name: tensor.felt for name, tensor in tensors.items() if name != net.input},
        {name: layer.felt(tensors[layer.node.inputs[0]].mean()) for name, layer in layers.items()},
    )


def by_onnxruntime(model: onnx.ModelProto, placement: Placement) -> Differentiate:
    """Return what observes a batch by a graph of gradients."""
    net = Net(model)
    layers = {node.name: node for node in placement.weights.values()}
    outputs = {name: _outputs(net, node) for name, node in layers.items()}
    chosen = {name: some(node, outputs[name]) for name, node in layers.items()}
    sides = gradient.answer(model)
    graph = gradient.Gradients(net, gradient.Observed(sorted(placement.points), chosen), len(sides))
    run = Runner(model, graph.outputs, graph.nodes())

    def differentiate(batch: np.ndarray, draw: Draw) -> Batch:
        signs = draw((len(batch), *sides))
        found = dict(zip(graph.outputs, run(batch, **{graph.signs: signs}), strict=True))
        tensors = {
            name: OfTensor(found[peaks], found[graph.means[name]], found.get(graph.felt.get(name, "")))
            for name, peaks in graph.peaks.items()
        }
        of_layers = {}
        for name, node in layers.items():
            weights = _of_groups(node, found[graph.weights[name]], outputs[name])
            of_layers[name] = OfLayer(weights, found[graph.biases[name]] if _has_bias(net, node) else None)
        return Batch(tensors, of_layers)

    return differentiate


def by_torch(model: onnx.ModelProto, placement: Placement) -> Differentiate:
    """Return what observes a batch by torch: it knows more operators."""
    import torch

    from ..portable import machine
    from .torch_net import TorchNet

    torch.set_num_threads(machine.cores())  # sums depend on it
    net = Net(_separated(model))
    runner = TorchNet(net)
    layers = [net.maker[name] for name in placement.weights]
    trained = [name for node in layers for name in node.inputs[1:] if name in runner.constants]
    constants = {**runner.constants, **{name: runner.constants[name].detach().requires_grad_() for name in trained}}

    def of_layer(node: Node, slopes: dict[str, Tensor]) -> OfLayer:
        weights, *bias = (slopes[name].numpy() for name in node.inputs[1:] if name in slopes)
        few = some(node, weights.shape[weight_axis(node)])
        return OfLayer(rows(node, weights), bias[0].flatten()[few] if _has_bias(net, node) else None)

    def of_tensor(values: Tensor, slopes: Tensor) -> OfTensor:
        values, slopes = (each.reshape(*each.shape[:2], -1) for each in (values.detach(), slopes))
        felt = (slopes.square() * (values != 0)).sum((0, 2))  # zero has no rounding error
        return OfTensor(values.abs().amax(2).numpy(), values.mean((0, 2)).numpy(), felt.numpy())

    def differentiate(batch: np.ndarray, draw: Draw) -> Batch:
        with torch.enable_grad():
            image = torch.from_numpy(batch).requires_grad_()
            values = {**runner.run(image, constants, keep=placement.points), net.input: image}
            logits = values[net.output]
            read = {name: values[name] for name in placement.points} | {name: constants[name] for name in trained}
            total = (logits * torch.from_numpy(draw(tuple(logits.shape)))).sum()
            slopes = dict(zip(read, torch.autograd.grad(total, list(read.values())), strict=True))
        tensors = {name: of_tensor(values[name], slopes[name]) for name in placement.points}
        return Batch(tensors, {node.name: of_layer(node, slopes) for node in layers})

    return differentiate


def _separated(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network whose layers share no weights: each has gradients of its own."""
    if all(len(layers) == 1 for layers in Net(model).sharing.values()):
        return model
    found = onnx.ModelProto()
    found.CopyFrom(model)
    unshare(found, alike=True)
    return found


def rows(node: Node, weights: np.ndarray) -> np.ndarray:
    """Return a layer's weights for some of its outputs, as outputs × inputs × taps."""
    found = np.moveaxis(weights, weight_axis(node), 0)
    found = found[some(node, len(found))]
    return found.reshape(*found.shape[:2], math.prod(found.shape[2:]))


def by_rows(node: Node, channels: np.ndarray, outputs: int) -> np.ndarray:
    """Return values per input channel as each row of a layer reads them, as outputs × inputs."""
    groups = channels.reshape(node.integer("group", 1), -1)
    return groups[some(node, outputs) * len(groups) // outputs]


def some(node: Node, outputs: int) -> np.ndarray:
    """Choose outputs, evenly apart, at least one of each group: groups read different inputs."""
    count = min(outputs, max(_ROWS, node.integer("group", 1)))
    return np.arange(count) * outputs // count


def _of_groups(node: Node, weights: np.ndarray, outputs: int) -> np.ndarray:
    """Return inputs × outputs × taps as outputs × inputs × taps, each output with its own group's inputs."""
    groups, few = node.integer("group", 1), some(node, outputs)
    weights = weights.reshape(groups, len(weights) // groups, len(few), math.prod(weights.shape[2:]))
    return weights[few * groups // outputs, :, np.arange(len(few))]


def _has_bias(net: Net, node: Node) -> bool:
    """Return whether a layer has one bias per output, which can be corrected."""
    if len(node.inputs) < 3 or node.inputs[2] not in net.constants:
        return False
    return math.prod(net.constants.shape(node.inputs[2])) == _outputs(net, node)


def _outputs(net: Net, node: Node) -> int:
    return net.constants.shape(node.inputs[1])[weight_axis(node)]


class _Tensor:
    """The observation of one tensor, batch by batch."""

    def __init__(self) -> None:
        self.felt = np.zeros(())
        self._sum, self._count = np.zeros(()), 0
        self._peaks: list[np.ndarray] = []

    def add(self, seen: OfTensor) -> None:
        if seen.felt is not None:
            self.felt = self.felt + seen.felt
        images = len(seen.peaks)
        self._sum, self._count = self._sum + seen.mean.astype(np.float64) * images, self._count + images
        self._peaks.append(seen.peaks)

    def mean(self) -> np.ndarray:
        return np.asarray(self._sum / self._count)

    def reach(self) -> np.ndarray:
        """Return the magnitude that each channel exceeds once in many images.

        The largest peaks are taken as the tail of an exponential: the maximum over a few hundred images is chance, and
        values beyond it will be clipped. The peak that an eighth of the images in the tail show is the least, however
        rarely a channel is active. A dead channel gets as little as is safe.
        """
        peaks = np.concatenate(self._peaks).astype(np.float64)
        few = min(len(peaks), max(4, len(peaks) // _TAIL))
        tail = np.sort(peaks, axis=0)[::-1][:few]
        slope = (tail - tail[-1]).sum(0) / max(few - 1, 1)
        found = np.maximum(tail[-1] + slope * math.log(few * _BEYOND), tail[few // 8])
        return np.maximum(np.maximum(found, 1e-3 * found.max()), NOTHING)


class _Weights:
    """The observation of some outputs of a layer, batch by batch."""

    def __init__(self, node: Node, outputs: int):
        self.node = node
        self._outputs = outputs
        self._squares = self._with_bias = self._of_bias = np.zeros(())

    def add(self, seen: OfLayer) -> None:
        weights = seen.weights.astype(np.float64)
        self._squares = self._squares + np.square(weights).sum(2)
        if seen.bias is not None:
            bias = seen.bias.astype(np.float64)[:, None]
            self._with_bias = self._with_bias + weights.sum(2) * bias
            self._of_bias = self._of_bias + np.square(bias) * weights.shape[2]

    def felt(self, mean: np.ndarray) -> np.ndarray:
        """Return how much noise in the weights moves the logits, without the part that bias correction removes."""
        means = by_rows(self.node, mean, self._outputs)
        found = self._squares - 2 * means * self._with_bias + np.square(means) * self._of_bias
        return np.asarray(np.maximum(found, 0))
