"""Bias correction takes back the mean that rounding moved, and nothing else."""

from __future__ import annotations

import numpy as np
import onnx

from edgeresnet.quantization import qdq
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.reads import _often
from edgeresnet.quantization.refine import _mean

from ..graph.running import answers, sqnr
from . import nets
from .nets import CPU, TENSORRT, Make, basic, changed, constants, images, networks, plain, scaled, shown


def test_a_planted_shift_of_the_mean_is_taken_back() -> None:
    model, given = plain(), images()
    placement, values = scaled(model, TENSORRT)
    values.weights["c1_out"] = constants(model)["c1.weight"] + 0.5  # as if every weight had been rounded up
    values.weight_scales["c1_out"] = values.weight_scales["c1_out"] * 1.5
    given = given + 1.0
    expected = answers(shown(model, "c1_out"), given).mean((0, 2, 3))
    spoiled = answers(shown(qdq.write(model, placement, values), "c1_out"), given).mean((0, 2, 3))
    assert np.abs(spoiled - expected).min() > 1
    corrected = nets.corrected(model, placement, values, given[:20], given[20:])
    mended = answers(shown(qdq.write(model, placement, corrected), "c1_out"), given).mean((0, 2, 3))
    assert np.allclose(mended, expected, atol=1e-4)


@networks
def test_nothing_but_biases_changes(make: Make) -> None:
    model = make()
    placement, values = scaled(model, CPU)
    before = qdq.write(model, placement, values)
    after = qdq.write(model, placement, nets.corrected(model, placement, values, images()))
    assert values.biases == {}
    held, corrected = constants(before), constants(after)
    weighted = set(placement.weights)
    for one, two in zip(before.graph.node, after.graph.node, strict=True):
        assert (one.op_type, list(one.output)) == (two.op_type, list(two.output))
        same = 2 if one.output[0] in weighted else len(one.input)
        assert list(one.input)[:same] == list(two.input)[:same]
        assert all((held[name] == corrected[name]).all() for name in list(one.input)[:same] if name in held)
        if one.output[0] in weighted:
            assert np.abs(held[one.input[2]] - corrected[two.input[2]]).max() < 0.2


def test_each_layer_is_looked_at_on_the_networks_own_activations() -> None:
    """Check that a fault in one layer does not affect the next."""
    model = plain()
    placement, values = scaled(model, TENSORRT)
    plainly = nets.corrected(model, placement, values, images())
    values.weights["c1_out"] = constants(model)["c1.weight"] * 0.2
    spoiled = nets.corrected(model, placement, values, images())
    assert (plainly.biases["c1_out"] != spoiled.biases["c1_out"]).any()
    assert (plainly.biases["c2_out"] == spoiled.biases["c2_out"]).all()


def test_the_batches_are_no_matter_and_no_images_change_nothing() -> None:
    model = basic()
    placement, values = scaled(model, TENSORRT)
    whole = nets.corrected(model, placement, values, images()).biases
    parts = nets.corrected(model, placement, values, *np.split(images(), [3, 20])).biases
    assert all(np.allclose(whole[name], parts[name], atol=1e-6) for name in whole)
    assert nets.corrected(model, placement, values) is values


def test_a_layer_without_a_bias_gets_none() -> None:
    model = plain()
    del model.graph.node[0].input[2]
    placement, values = scaled(model, TENSORRT)
    corrected = nets.corrected(model, placement, values, images())
    assert "c1_out" not in corrected.biases
    assert corrected.biases
    file = qdq.write(model, placement, corrected)
    onnx.checker.check_model(file, full_check=True)
    assert sqnr(answers(model, images()), answers(file, images())) > 20


def test_it_brings_a_network_of_coarse_weights_closer() -> None:
    model = changed(plain(), "c2.weight", constants(plain())["c2.weight"] + 0.3)
    placement, values = scaled(model, TENSORRT)
    values.weight_scales["c2_out"] = values.weight_scales["c2_out"] * 12
    expected = answers(model, images())
    one = sqnr(expected, answers(qdq.write(model, placement, values), images()))
    corrected = nets.corrected(model, placement, values, images())
    assert sqnr(expected, answers(qdq.write(model, placement, corrected), images())) > one + 0.5


@networks
def test_means_of_what_weights_read_give_the_mean_of_every_layer(make: Make) -> None:
    """Strides, paddings and groups as they are in residual networks."""
    model, given = make(), images(6)
    net = Net(model)
    for node in net.weighted():
        read = given if node.inputs[0] == net.input else answers(shown(model, node.inputs[0]), given)
        taken = read.reshape(*read.shape[:2], -1).mean(0) @ _often(node, net, read.shape[2:])
        means = _mean(node, net.constants[node.inputs[1]], taken)
        made = answers(shown(model, node.name), given)
        bias = net.constants[node.inputs[2]] if len(node.inputs) > 2 else 0.0
        assert np.allclose(means + bias, made.reshape(*made.shape[:2], -1).mean((0, 2)), atol=1e-4), node.name
