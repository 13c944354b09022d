"""Fourteen INT8 files, each with one fault planted in a known place, and what a diagnosis must say about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx
from _file import File
from onnx import numpy_helper

from edgeresnet.noise.observe import look
from edgeresnet.noise.pair import read
from edgeresnet.quantization import calibration, engine, equalize, placement, ranges, sensitivity, session
from edgeresnet.quantization.net import Net


@dataclass(frozen=True)
class Network:
    """A network as it was quantized without a fault."""

    exact: onnx.ModelProto
    rounded: onnx.ModelProto
    calibration: np.ndarray
    images: np.ndarray  # on which noise is measured
    quantize: Callable[[onnx.ModelProto], onnx.ModelProto]  # as it was, without equalization


def network_of(
    model: onnx.ModelProto, images: np.ndarray, choices: engine.Choices, known: onnx.ModelProto | None = None
) -> Network:
    """Quantize a network as `quantize` does. `known`: what that gave before."""
    held_out = calibration.held_out(len(images), images.shape[1:])
    learn, held = np.ascontiguousarray(images[~held_out]), np.ascontiguousarray(images[held_out])

    def batches(count: int | None = None) -> Iterator[np.ndarray]:
        size = session.batch_for(images.shape[1:])
        for start in range(0, len(learn[:count]), size):
            yield learn[:count][start : start + size]

    def plain(exact: onnx.ModelProto) -> onnx.ModelProto:
        source = engine.Source(_copy(exact), ranges.Ranges())
        ranges.collect(source.model, batches(), ranges.Views(source.ranges))
        return engine.quantize(source, None, choices, batches, held).model()

    def equalized() -> onnx.ModelProto:
        equalizer = equalize.Equalizer(model, learn[: sensitivity.observed(images.shape[1:])], 0)
        one, two = (
            engine.Source(_copy(model), ranges.Ranges()),
            engine.Source(equalizer.applied(model), ranges.Ranges()),
        )
        ranges.collect(model, batches(), ranges.Views(one.ranges, two.ranges, equalizer.of))
        return engine.quantize(one, two, choices, batches, held).model()

    return Network(model, known or equalized(), learn, held, plain)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy: the quantizer changes the first layer in place."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    return found


@dataclass(frozen=True)
class Planted:
    """A file with a fault."""

    exact: onnx.ModelProto
    rounded: onnx.ModelProto
    images: np.ndarray
    calibration: np.ndarray | None
    layer: str  # what reads the tensor or holds the weights that are wrong
    codes: tuple[str, ...]  # any of these names the fault

    def layers(self) -> set[str]:
        """Return the layer, and all others that read the tensor that it reads."""
        pair = read(self.exact, self.rounded, self.images)
        tensors = {each.node.inputs[0] for each in pair.layers if each.name == self.layer}
        sharing = {each.name for each in pair.layers if any(each.node.inputs[slot] in tensors for slot in each.reads)}
        return {self.layer} | sharing


Plant = Callable[[Network, str], Planted]


def _planted(network: Network, file: File, layer: str, *codes: str, calibration: np.ndarray | None = None) -> Planted:
    return Planted(network.exact, file.model, network.images, calibration, layer, codes)


def without(network: Network, rounded: onnx.ModelProto) -> Planted:
    """Return a file without a fault."""
    return Planted(network.exact, rounded, network.images, network.calibration, "", ())


def _seen(network: Network, images: np.ndarray, layer: str) -> tuple[float, float]:
    """Return the extremes of what a layer reads, in the file's units."""
    pair = read(network.exact, network.rounded, network.images)
    node = next(each.node for each in pair.layers if each.name == layer)
    return look(pair, images, [node.inputs[0]])[node.inputs[0]].extremes


def outlier(network: Network, layer: str) -> Planted:
    """Add one image of noise to the calibration images, and take the range of one tensor from the extremes."""
    images = network.calibration[:64].copy()
    images[17] = np.random.default_rng(0).normal(size=images[17].shape) * 20
    file = File(network.exact, network.rounded)
    return _ranged(network, file, layer, images, "range-outlier")


def halves(network: Network, layer: str) -> Planted:
    """Give half of the calibration images ten times the contrast."""
    images = network.calibration[:64].copy()
    images[32:] *= 10
    return _ranged(network, File(network.exact, network.rounded), layer, images, "halves-disagree")


def shift(network: Network, layer: str) -> Planted:
    """Calibrate on images of little contrast."""
    images = network.calibration[:64] * 0.12
    return _ranged(network, File(network.exact, network.rounded), layer, images, "range-left")


def _ranged(network: Network, file: File, layer: str, images: np.ndarray, code: str) -> Planted:
    low, high = _seen(network, images, layer)
    _, zero, unsigned = file.grid(file.rounds(layer))
    file.set_grid(file.rounds(layer), high / 255 if unsigned and not zero else max(-low, high) / 127, zero, unsigned)
    return _planted(network, file, layer, code, calibration=images)


def wide(network: Network, layer: str) -> Planted:
    """Make a scale eight times too large."""
    return _scaled(network, layer, 8.0, "range-wide")


def narrow(network: Network, layer: str) -> Planted:
    """Make a scale four times too small."""
    return _scaled(network, layer, 0.25, "range-narrow")


def _scaled(network: Network, layer: str, factor: float, code: str) -> Planted:
    file = File(network.exact, network.rounded)
    scale, zero, unsigned = file.grid(file.rounds(layer))
    file.set_grid(file.rounds(layer), scale * factor, zero, unsigned)
    return _planted(network, file, layer, code)


def signed(network: Network, layer: str) -> Planted:
    """Round values that are never negative to symmetric INT8."""
    file = File(network.exact, network.rounded)
    scale, _, _ = file.grid(file.rounds(layer))
    file.set_grid(file.rounds(layer), scale * 255 / 127, 0, unsigned=False)
    return _planted(network, file, layer, "half-unused")


def unsigned(network: Network, layer: str) -> Planted:
    """Round signed values, the output of a layer, to uint8 that begins at zero."""
    file = File(network.exact, network.rounded)
    pair = file.rounds_output(layer)
    scale, _, _ = file.grid(pair)
    file.set_grid(pair, scale, 0, unsigned=True)
    return _planted(network, file, f"addition after {layer}", "negatives-clipped")


def zero_point(network: Network, layer: str) -> Planted:
    """Move a zero point to the middle of the grid."""
    file = File(network.exact, network.rounded)
    scale, zero, unsigned = file.grid(file.rounds(layer))
    file.set_grid(file.rounds(layer), scale, zero + 110, unsigned)
    return _planted(network, file, layer, "zero-point", "half-unused")


def per_tensor(network: Network, layer: str) -> Planted:
    """Round the weights of a layer with one scale, after one output channel was made 50 times as large."""
    exact = grown(network.exact, layer, 50.0)
    file = File(exact, network.quantize(exact))
    weights = _weights(exact, layer)
    file.set_weights(layer, weights, np.array(np.abs(weights).max() / 127, np.float32))
    planted = _planted(network, file, layer, "weights-per-tensor")
    return replace(planted, exact=exact)


def clipped(network: Network, layer: str) -> Planted:
    """Make the scales of a layer's weights four times too small."""
    file = File(network.exact, network.rounded)
    weights = file.dequantized(layer)
    file.set_weights(layer, weights, np.abs(weights).reshape(len(weights), -1).max(1) / 127 / 4)
    return _planted(network, file, layer, "weights-clipped")


def dead(network: Network, layer: str) -> Planted:
    """Make a channel that a layer reads always zero, and the weights that read it 60 times as large as all others."""
    exact, before = onnx.ModelProto(), _before(network.exact, layer)
    exact.CopyFrom(network.exact)
    own, others = _tensor(exact, before, 1), _tensor(exact, layer, 1)
    made, bias = numpy_helper.to_array(own).copy(), numpy_helper.to_array(_tensor(exact, before, 2)).copy()
    made[0], bias[0] = 0, -1
    read_by = numpy_helper.to_array(others).copy()
    read_by[:, 0] = 60 * np.abs(read_by).max()
    for tensor, value in ((own, made), (others, read_by), (_tensor(exact, before, 2), bias)):
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    file = File(exact, network.quantize(exact))
    return replace(_planted(network, file, layer, "dead-channels"), exact=exact)


def apart(network: Network, layer: str) -> Planted:
    """Make one channel that a layer reads 50 times as large, and its weights as much smaller."""
    exact = grown(network.exact, _before(network.exact, layer), 50.0)
    file = File(exact, network.quantize(exact))
    return replace(_planted(network, file, layer, "channels-apart"), exact=exact)


def saturating(network: Network, layer: str) -> Planted:
    """Give a layer weights that are all large and above zero."""
    exact = _copy(network.exact)
    tensor = _tensor(exact, layer, 1)
    weights = np.abs(numpy_helper.to_array(tensor))
    most = weights.reshape(len(weights), -1).max(1).reshape(-1, 1, 1, 1)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(0.8 * most + 0.2 * weights, np.float32), tensor.name))
    file = File(exact, network.quantize(exact))
    return replace(_planted(network, file, layer, "sums-saturate"), exact=exact)


def float_input(network: Network, layer: str) -> Planted:
    """Take Q/DQ from the branch of an addition. `layer` ends the branch."""
    file = File(network.exact, network.rounded)
    add, slot = _addition(file, layer)
    file.take_out(add, slot)
    return _planted(network, file, f"addition after {layer}", "float-input")


def float_layer(network: Network, layer: str) -> Planted:
    """Leave one layer in float."""
    file = File(network.exact, network.rounded)
    file.leave_float(layer)
    return _planted(network, file, layer, "float-layer")


def split(network: Network, layer: str) -> Planted:
    """Write Q/DQ between a layer and its ReLU."""
    file = File(network.exact, network.rounded)
    tensor = file.node(layer).output[0]
    pair = read(network.exact, network.rounded, network.images)
    low, high = look(pair, network.images, [tensor])[tensor].extremes
    file.round_before(tensor, max(-low, high) / 127, unsigned=False)
    return _planted(network, file, layer, "fusion-split")


def _addition(file: File, layer: str) -> tuple[onnx.NodeProto, int]:
    quantize = file.readers(file.node(layer).output[0])[0]
    dequantize = file.readers(quantize.output[0])[0]
    add = file.readers(dequantize.output[0])[0]
    return add, list(add.input).index(dequantize.output[0])


def _weights(exact: onnx.ModelProto, layer: str) -> np.ndarray:
    return numpy_helper.to_array(_tensor(exact, layer, 1))


def _tensor(exact: onnx.ModelProto, layer: str, slot: int) -> onnx.TensorProto:
    node = next(node for node in Net(exact).weighted() if placement.label(node) == layer)
    found: onnx.TensorProto = next(each for each in exact.graph.initializer if each.name == node.inputs[slot])
    return found


def _before(exact: onnx.ModelProto, layer: str) -> str:
    """Return the layer whose output, through a ReLU, is all that a layer reads."""
    net = Net(exact)
    node = next(node for node in net.weighted() if placement.label(node) == layer)
    maker = net.maker[node.inputs[0]]
    return placement.label(net.maker[maker.inputs[0]] if maker.kind == "Relu" else maker)


def grown(exact: onnx.ModelProto, layer: str, factor: float) -> onnx.ModelProto:
    """Return a network that answers the same, with one channel of a layer scaled."""
    found = onnx.ModelProto()
    found.CopyFrom(exact)
    net = Net(exact)
    node = next(node for node in net.weighted() if placement.label(node) == layer)
    (relu, _), *_ = net.readers[node.name]
    (behind, _), *_ = net.readers[relu.name]
    for name, index, scale in (
        (node.inputs[1], np.s_[0], factor),
        (node.inputs[2], np.s_[0], factor),
        (behind.inputs[1], np.s_[:, 0], 1 / factor),
    ):
        tensor = next(tensor for tensor in found.graph.initializer if tensor.name == name)
        value = numpy_helper.to_array(tensor).copy()
        value[index] *= scale
        tensor.CopyFrom(numpy_helper.from_array(value, name))
    return found


def torn(exact: onnx.ModelProto, layer: str, factor: float) -> onnx.ModelProto:
    """Return a network that answers the same, with a layer whose weights cancel one another out.

    Each channel that it reads is there twice. Weights of `factor` times the largest one of each output are added for
    the first, and subtracted for the second. No factor per channel makes INT8 weights finer again.
    """
    found = _copy(exact)
    net = Net(exact)
    node = next(node for node in net.weighted() if placement.label(node) == layer)
    maker = net.maker[node.inputs[0]]
    before = net.maker[maker.inputs[0]] if maker.kind == "Relu" else maker
    assert len(net.readers[maker.name]) == len(net.readers[before.name]) == 1
    tensors = {tensor.name: tensor for tensor in found.graph.initializer}
    for name in before.inputs[1:]:
        value = numpy_helper.to_array(tensors[name])
        tensors[name].CopyFrom(numpy_helper.from_array(np.concatenate([value, value]), name))
    weights = numpy_helper.to_array(tensors[node.inputs[1]])
    where = (slice(None), slice(None), *(side // 2 for side in weights.shape[2:]))
    first, second = weights.copy(), np.zeros_like(weights)
    most = factor * np.abs(weights).reshape(len(weights), -1).max(1, keepdims=True)
    first[where] += most
    second[where] -= most
    both = np.concatenate([first, second], 1)
    tensors[node.inputs[1]].CopyFrom(numpy_helper.from_array(both, node.inputs[1]))
    del found.graph.value_info[:]
    return found
