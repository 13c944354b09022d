"""Weights that are rounded together: their errors make good each other where inputs are correlated."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeresnet.quantization import qdq, rounding
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.placement import Placement
from edgeresnet.quantization.rounding import _compensated, together
from edgeresnet.quantization.scales import Grid

from ..graph.running import answers
from .nets import CPU, TENSORRT, Dialect, Make, basic, constants, images, networks, plain, read, scaled, shown

GRID = Grid(-127, 127)


def _rounded(rows: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(rows), GRID.low, GRID.high)


def _loss(rows: np.ndarray, given: np.ndarray, covariance: np.ndarray) -> float:
    error = _rounded(given) - rows
    return float(np.einsum("poi,pij,poj->", error, covariance, error))


def _correlated(parts: int, weights: int) -> np.ndarray:
    mixed = np.random.default_rng(0).normal(size=(parts, weights, weights)) @ np.diag(np.linspace(1, 0.05, weights))
    return mixed @ mixed.swapaxes(1, 2) / weights + 0.01 * np.eye(weights)


def test_correlated_inputs_leave_less_than_half_of_the_error() -> None:
    rows = np.random.default_rng(1).normal(size=(2, 20, 48)).astype(np.float32) * 30
    covariance = _correlated(2, 48)
    assert _loss(rows, _compensated(rows, covariance, GRID), covariance) < 0.45 * _loss(rows, rows, covariance)


def test_independent_inputs_are_rounded_to_the_nearest() -> None:
    rows = np.random.default_rng(1).normal(size=(2, 5, 40)).astype(np.float32) * 30
    covariance = np.tile(np.diag(np.random.default_rng(2).uniform(0.1, 9, 40)), (2, 1, 1))
    assert np.array_equal(_rounded(_compensated(rows, covariance, GRID)), _rounded(rows))


def test_no_weight_leaves_the_grid() -> None:
    rows = np.full((1, 3, 16), 127.0, np.float32)
    moved = _compensated(rows, _correlated(1, 16), GRID)
    assert np.array_equal(_rounded(moved), rows)


def _noise(model: onnx.ModelProto, placement: Placement, values: qdq.Values, tensor: str) -> float:
    """Return the error that the weights of one layer cause, without that of its mean."""
    written = qdq.write(model, placement, values)
    exact = onnx.ModelProto()
    exact.CopyFrom(written)
    for node in exact.graph.node:  # the same roundings of the input, and float weights
        if node.output[0] == tensor:
            node.input[1] = "exact"
    net = Net(model)
    layer = placement.weights[tensor]
    exact.graph.initializer.append(onnx.numpy_helper.from_array(net.constants[layer.inputs[1]], "exact"))
    apart = answers(shown(written, tensor), images()) - answers(shown(exact, tensor), images())
    return float(np.square(apart - apart.mean((0, 2, 3), keepdims=True)).sum())


@pytest.mark.parametrize("dialect", [TENSORRT, CPU], ids=["tensorrt", "cpu"])
def test_a_layers_output_comes_closer(dialect: Dialect) -> None:
    """Check it where inputs are correlated: behind a layer that has more outputs than inputs."""
    model = plain()
    placement, values = scaled(model, dialect)
    found = together(model, placement, values, read(model, placement, values, images()))
    assert _noise(model, placement, found, "c2_out") < 0.8 * _noise(model, placement, values, "c2_out")


@networks
def test_every_layer_of_every_network_is_rounded_and_nothing_else_changes(make: Make) -> None:
    model = make()
    placement, values = scaled(model, CPU)
    found = together(model, placement, values, read(model, placement, values, images()))
    assert set(found.weights) == set(placement.weights)
    assert (found.scales, found.biases, found.weight_scales) == (values.scales, values.biases, values.weight_scales)
    net = Net(model)
    for node in placement.weights.values():
        one, two = (qdq.integers(net, node, each, placement.weight_grid) for each in (values, found))
        assert one.shape == two.shape
        assert one.dtype == two.dtype == np.int8
        assert np.abs(one.astype(int) - two).max() < 20  # moved, not another layer's
    onnx.checker.check_model(qdq.write(model, placement, found), full_check=True)


def test_dead_inputs_and_one_image_are_no_obstacle() -> None:
    model = plain()
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    bias = constants(model)["c1.bias"]
    held["c1.bias"].CopyFrom(onnx.numpy_helper.from_array(np.full_like(bias, -100), "c1.bias"))  # nothing passes ReLU
    placement, values = scaled(model, CPU)
    found = together(model, placement, values, read(model, placement, values, images()[:1]))
    assert all(np.isfinite(weights).all() for weights in found.weights.values())


def test_the_same_images_give_the_same_weights() -> None:
    placement, values = scaled(basic(), CPU)
    one, two = (together(basic(), placement, values, read(basic(), placement, values, images())) for _ in range(2))
    assert all(np.array_equal(one.weights[name], two.weights[name]) for name in one.weights)


def test_where_nothing_can_be_inverted_weights_go_to_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> np.ndarray:
        raise np.linalg.LinAlgError("Matrix is not positive definite")

    monkeypatch.setattr(rounding, "_compensated", fail)
    placement, values = scaled(basic(), CPU)
    found = together(basic(), placement, values, read(basic(), placement, values, images()))
    one, two = (qdq.write(basic(), placement, each) for each in (values, found))
    assert (answers(one, images()) == answers(two, images())).all()
