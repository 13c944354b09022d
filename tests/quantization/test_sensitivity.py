"""What noise does to the logits, as predicted from gradients, against noise that was really added."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgeresnet.quantization import gradient, sensitivity
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.placement import place
from edgeresnet.quantization.sensitivity import OfTensor, Seen, by_rows, observe, rows
from edgeresnet.quantization.torch_net import OPERATORS, TorchNet

from .nets import RESIDUAL, TENSORRT, Make, Maker, basic, changed, constants, images, networks, plain, squeezed

Noisy = Callable[[str, torch.Tensor], torch.Tensor]

SMALL = 1e-3  # noise so small that the network is linear in it


def seen(model: onnx.ModelProto, given: np.ndarray) -> Seen:
    return observe(model, place(Net(model), TENSORRT), given, 0)


def logits(
    model: onnx.ModelProto, given: np.ndarray, noisy: Noisy | None = None, **other: torch.Tensor
) -> torch.Tensor:
    """Return the logits, with noise in the tensors that `noisy` changes."""
    runner = TorchNet(Net(model))
    net, constants = runner.net, {**runner.constants, **other}
    with torch.no_grad():
        values = {net.input: torch.from_numpy(given)}
        if noisy:
            values[net.input] = noisy(net.input, values[net.input])
        for node in net.walk(values):
            inputs = [values[n] if n in values else constants.get(n, net.constants.get(n)) for n in node.inputs]
            found = OPERATORS[node.kind](node, *inputs)
            values[node.name] = noisy(node.name, found) if noisy else found
        return values[net.output]


def showing(peaks: np.ndarray) -> OfTensor:
    return OfTensor(peaks, peaks[0], None)


def energy(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).double().square().sum())


@networks
def test_noise_in_activations_moves_the_logits_as_predicted(make: Make) -> None:
    model, given = make(), images(256)
    predicted, generator = seen(model, given).of_channels, torch.Generator().manual_seed(0)
    expected = logits(model, given)
    for tensor in predicted:
        if len(Net(model).readers[tensor]) != 1:  # several would each meet noise of their own
            continue

        def noisy(name: str, value: torch.Tensor, tensor: str = tensor) -> torch.Tensor:
            added = SMALL * torch.randn(value.shape, generator=generator) * (value != 0)
            return value + added if name == tensor else value

        found = energy(logits(model, given, noisy), expected) / SMALL**2
        assert found == pytest.approx(float(predicted[tensor].sum()), rel=0.5)


@networks
def test_noise_in_weights_moves_the_logits_as_predicted_once_the_bias_is_corrected(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "batch_for", lambda shape: 4)  # more signs, less chance
    model, given, draws = make(), images(128), 20
    predicted, net = seen(model, given).of_weights, Net(model)
    layers, held = net.weighted(), constants(model)
    inner = TorchNet(net)
    with torch.no_grad():
        values = inner.run(torch.from_numpy(given), inner.constants, keep=[node.inputs[0] for node in layers])
    expected, rng = logits(model, given), np.random.default_rng(0)
    for node in layers:
        _, weight, bias = node.inputs
        read = values[node.inputs[0]] if node.inputs[0] in values else torch.from_numpy(given)
        means = by_rows(node, read.transpose(0, 1).flatten(1).mean(1).numpy(), len(held[weight]))
        found = 0.0
        for _ in range(draws):
            noise = SMALL * rng.normal(size=held[weight].shape).astype(np.float32)
            corrected = held[bias] - (noise.reshape(*noise.shape[:2], -1).sum(2) * means).sum(1)
            other = {weight: torch.from_numpy(held[weight] + noise), bias: torch.from_numpy(corrected)}
            found += energy(logits(model, given, None, **other), expected) / draws / SMALL**2
        assert float(predicted[node.name].sum()) == pytest.approx(found, rel=0.35)


def test_a_constant_input_costs_nothing_where_a_bias_can_be_corrected() -> None:
    flat = images(1, seed=3).repeat(40, 0)
    model = plain()
    with_bias = seen(model, flat).of_weights["logits"]
    for node in model.graph.node:
        if node.op_type == "Gemm":
            del node.input[2]
    without = seen(model, flat).of_weights["logits"]
    assert float(with_bias.sum()) < 1e-6 * float(without.sum())


def test_zeros_have_no_noise() -> None:
    """What a ReLU cut off is exact."""
    model = plain()
    bias = constants(model)["c1.bias"].copy()
    bias[2] = -100.0
    found = seen(changed(model, "c1.bias", bias), images())
    assert found.of_channels["c1_out_relu"][2] == 0
    assert (np.delete(found.of_channels["c1_out_relu"], 2) > 0).all()
    assert 0 < found.reach["c1_out_relu"][2] < 0.01 * found.reach["c1_out_relu"].max()


def test_reach_is_what_few_images_exceed_however_chance_had_it() -> None:
    """Of peaks that fall off exponentially, one in four times as many exceeds it."""
    found = []
    for seed in range(20):
        channels = sensitivity._Tensor()
        channels.add(showing(np.random.default_rng(seed).exponential(size=(448, 3))))
        found.append(channels.reach())
    assert np.mean(found) == pytest.approx(np.log(4 * 448), rel=0.05)
    largest = [np.random.default_rng(seed).exponential(size=(448, 3)).max(0) for seed in range(20)]
    assert np.std(found) < 0.7 * np.std(largest)  # less chance than in the extremes themselves


def test_one_image_is_enough() -> None:
    found = seen(plain(), images(1))
    assert all(np.isfinite(each).all() and (each > 0).all() for each in found.reach.values())


def test_some_outputs_speak_for_all_and_of_each_group_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "_ROWS", 3)
    node = next(node for node in Net(RESIDUAL["grouped"]()).weighted() if node.attributes.get("group") == 2)
    read = by_rows(node, np.arange(8), 8)
    assert read.tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7]]
    weights = np.broadcast_to(np.arange(8.0).reshape(8, 1, 1, 1), (8, 4, 3, 3))
    assert rows(node, weights)[:, 0, 0].tolist() == [0, 2, 5]
    monkeypatch.setattr(sensitivity, "_ROWS", 1)
    assert by_rows(node, np.arange(8), 8).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_channel_that_a_few_images_reach_far_in_is_not_taken_for_small() -> None:
    tensor = sensitivity._Tensor()
    peaks = np.zeros((448, 1))
    peaks[:10] = 1.0
    tensor.add(showing(peaks))
    assert tensor.reach()[0] >= 1.0


def test_batches_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare only what needs no signs to the bit: they are drawn again."""
    one = seen(plain(), images())
    monkeypatch.setattr(sensitivity, "batch_for", lambda shape: 5)
    two = seen(plain(), images())
    for name in one.reach:
        assert np.allclose(one.reach[name], two.reach[name])
        if name == "image":
            continue
        assert float(two.of_channels[name].sum()) == pytest.approx(float(one.of_channels[name].sum()), rel=0.5)


def branched() -> onnx.ModelProto:
    """A network of all that has a gradient here: strides that leave a rest, uneven pads, dilations, both poolings."""
    net = Maker()
    x = net.pool(net.relu(net.conv("image", "c1", 8)))
    net.hold("c2.weight", np.random.default_rng(1).normal(size=(6, 8, 2, 3)) / 4, np.float32)
    net.hold("c2.bias", np.zeros(6), np.float32)
    about = {"kernel_shape": [2, 3], "pads": [1, 0, 0, 2], "strides": [1, 2], "dilations": [2, 1]}
    y = net.relu(net.add("Conv", [x, "c2.weight", "c2.bias"], "c2_out", 6, **about))
    y = net.conv(y, "c3", 8, side=1, stride=2)
    y = net.add("AveragePool", [net.relu(y)], "averaged", kernel_shape=[2, 1], strides=[1, 1])
    pooled = net.add("ReduceMean", [net.relu(net.conv(y, "c4", 8)), net.hold("axes", [2, 3])], "mean", keepdims=0)
    net.hold("f1.weight", np.random.default_rng(2).normal(size=(8, 16)) / 4, np.float32)
    hidden = net.relu(net.add("Gemm", [pooled, "f1.weight"], "f1_out", 16))
    return net.gemm(hidden, 16)


EVERY = {**{name: make for name, make in RESIDUAL.items() if name != "option A"}, "branched": branched}


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_both_ways_give_the_same_gradients(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = make(), images(70)  # the last batch is a smaller one
    assert gradient.supported(model, Net(model))
    found = seen(model, given)
    monkeypatch.setattr(gradient, "supported", lambda model, net: False)
    expected = seen(model, given)
    assert set(found.of_weights) == {node.name for node in Net(model).weighted()}
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, values in one.items():
            assert values.shape == other[name].shape
            assert np.allclose(values, other[name], rtol=1e-3, atol=1e-4 * other[name].max())


def test_an_operator_without_a_gradient_here_is_left_to_torch() -> None:
    for make in (squeezed, basic):
        assert not gradient.supported(make(), Net(make()))
    older = plain()
    older.opset_import[0].version = 17
    assert not gradient.supported(older, Net(older))


def test_torch_is_not_loaded_for_an_ordinary_network() -> None:
    """It takes longer to load than all gradients of a few images."""
    program = (
        "import sys\n"
        "from edgeresnet.quantization.equalize import Equalizer\n"
        "from tests.quantization.nets import basic, images\n"
        "assert Equalizer(basic('B'), images(), 0).changes\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
