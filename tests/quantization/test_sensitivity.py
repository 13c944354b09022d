"""What noise does to the logits, as predicted from gradients, against noise that was really added."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from edgeresnet.quantization import sensitivity
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.placement import place
from edgeresnet.quantization.sensitivity import Seen, by_rows, observe, rows
from edgeresnet.quantization.torch_net import TorchNet

from .nets import RESIDUAL, TENSORRT, Make, changed, constants, images, networks, plain

SMALL = 1e-3  # noise so small that the network is linear in it


def seen(model: onnx.ModelProto, given: np.ndarray) -> Seen:
    net = Net(model)
    return observe(net, place(net, TENSORRT), given, 0)


def logits(model: onnx.ModelProto, given: np.ndarray, read: object = None, **other: torch.Tensor) -> torch.Tensor:
    net = TorchNet(Net(model))
    with torch.no_grad():
        return net.run(torch.from_numpy(given), {**net.constants, **other}, read)[net.net.output]  # type: ignore[arg-type]


def energy(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).double().square().sum())


@networks
def test_noise_in_activations_moves_the_logits_as_predicted(make: Make) -> None:
    model, given = make(), images(256)
    predicted, generator = seen(model, given).of_channels, torch.Generator().manual_seed(0)
    expected = logits(model, given)
    for tensor in predicted:
        if tensor == "image" or len(Net(model).readers[tensor]) != 1:  # several would each meet noise of their own
            continue

        def noisy(node: object, slot: int, value: torch.Tensor, tensor: str = tensor) -> torch.Tensor:
            added = SMALL * torch.randn(value.shape, generator=generator) * (value != 0)
            return value + added if node.inputs[slot] == tensor else value  # type: ignore[attr-defined]

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
        means = by_rows(node, read.transpose(0, 1).flatten(1).mean(1), len(held[weight])).numpy()
        found = 0.0
        for _ in range(draws):
            noise = SMALL * rng.normal(size=held[weight].shape).astype(np.float32)
            corrected = held[bias] - (noise.reshape(*noise.shape[:2], -1).sum(2) * means).sum(1)
            other = {weight: torch.from_numpy(held[weight] + noise), bias: torch.from_numpy(corrected)}
            found += energy(logits(model, given, **other), expected) / draws / SMALL**2
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
    assert (np.delete(found.of_channels["c1_out_relu"].numpy(), 2) > 0).all()
    assert 0 < found.reach["c1_out_relu"][2] < 0.01 * found.reach["c1_out_relu"].max()


def test_reach_is_what_few_images_exceed_however_chance_had_it() -> None:
    """Of peaks that fall off exponentially, one in four times as many exceeds it."""
    found = []
    for seed in range(20):
        channels = sensitivity._Tensor()
        peaks = torch.from_numpy(np.random.default_rng(seed).exponential(size=(448, 3, 1, 1)).astype(np.float32))
        channels.add(peaks, torch.ones_like(peaks))
        found.append(channels.reach().numpy())
    assert np.mean(found) == pytest.approx(np.log(4 * 448), rel=0.05)
    largest = [np.random.default_rng(seed).exponential(size=(448, 3)).max(0) for seed in range(20)]
    assert np.std(found) < 0.7 * np.std(largest)  # less chance than in the extremes themselves


def test_one_image_is_enough() -> None:
    found = seen(plain(), images(1))
    assert all(bool(torch.isfinite(each).all()) and bool((each > 0).all()) for each in found.reach.values())


def test_some_outputs_speak_for_all_and_of_each_group_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensitivity, "_ROWS", 3)
    node = next(node for node in Net(RESIDUAL["grouped"]()).weighted() if node.attributes.get("group") == 2)
    read = by_rows(node, torch.arange(8), 8)
    assert read.tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7]]
    assert rows(node, torch.arange(8.0).reshape(8, 1, 1, 1).expand(8, 4, 3, 3))[:, 0, 0].tolist() == [0, 2, 5]
    monkeypatch.setattr(sensitivity, "_ROWS", 1)
    assert by_rows(node, torch.arange(8), 8).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_channel_that_a_few_images_reach_far_in_is_not_taken_for_small() -> None:
    tensor = sensitivity._Tensor()
    peaks = torch.zeros(448, 1, 1, 1)
    peaks[:10] = 1.0
    tensor.add(peaks, peaks)
    assert tensor.reach()[0] >= 1.0


def test_batches_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare only what needs no signs to the bit: they are drawn again."""
    one = seen(plain(), images())
    monkeypatch.setattr(sensitivity, "batch_for", lambda shape: 5)
    two = seen(plain(), images())
    for name in one.reach:
        assert torch.allclose(one.reach[name], two.reach[name])
        assert float(two.of_channels[name].sum()) == pytest.approx(float(one.of_channels[name].sum()), rel=0.5)
