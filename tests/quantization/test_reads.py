"""What the weights of each layer read: means of all positions, moments of some, for several forms in one pass."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from edgeresnet.quantization import engine, qdq, ranges, reads
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.reads import Shape
from edgeresnet.quantization.scales import Grid

from ..graph.running import answers
from .nets import TENSORRT, Make, equalize, images, networks, plain, read, scaled, shown, source


@pytest.mark.parametrize(
    ("shape", "samples", "parts"),
    [
        (Shape(1, 64, 9), 10**6, 1),
        (Shape(1, 512, 9), 10**6, 8),
        (Shape(1, 48, 9), 10**6, 1),
        (Shape(1, 2048, 1), 10**6, 4),
        (Shape(1, 67, 9), 10**6, 67),  # a prime number of channels: each for itself
        (Shape(1, 512, 1), 128, 16),  # few samples: small parts
        (Shape(1, 512, 9), 1, 512),
        (Shape(32, 4, 9), 10**6, 1),
    ],
)
def test_layers_are_divided_into_parts_of_whole_channels(shape: Shape, samples: int, parts: int) -> None:
    assert shape.parts(samples) == parts


def test_positions_are_sampled_and_padded_as_the_convolution_reads_them() -> None:
    """Check samples of all positions against the convolution that they belong to."""
    model = plain()
    net = Net(model)
    node = next(node for node in net.weighted() if node.name == "c2_out")
    given = np.random.default_rng(0).integers(0, 256, (3, *_read_shape(model, node.inputs[0]))).astype(np.float32)
    positions = reads.Positions.of(net, node, given.shape, 1, np.random.default_rng(0))
    sampled = reads._Sampled.of(given / 4 - 32, [positions], np.full(given.shape[1], 4.0, np.float32), Grid(-128, 127))
    columns = sampled.columns(positions).astype(np.float32) - 128
    given -= 128
    weights = net.constants[node.inputs[1]].reshape(-1, columns.shape[0])
    stride, padding = node.integers("strides", [1, 1]), node.integers("pads", [0] * 4)[:2]
    kernel = torch.from_numpy(np.array(net.constants[node.inputs[1]]))
    expected = torch.conv2d(torch.from_numpy(given), kernel, None, stride, padding)
    mine = (weights @ columns).reshape(len(weights), 3, -1).swapaxes(0, 1)
    assert np.allclose(mine, expected.numpy().reshape(mine.shape), atol=1e-3)


def _read_shape(model: onnx.ModelProto, tensor: str) -> tuple[int, ...]:
    return answers(shown(model, tensor), images()[:1]).shape[1:]


def test_a_large_constant_channel_is_no_obstacle() -> None:
    """Check the covariance of small values next to a constant of a thousand times their size."""
    columns = np.random.default_rng(0).normal(size=(256, 2000)).astype(np.float32) * 0.01
    columns[7] = 7.3
    moments = reads.Moments(Shape(1, 256, 1), 1)
    for part in np.array_split(columns, 10, axis=1):
        moments.add(np.ascontiguousarray(part))
    expected = np.cov(columns.astype(np.float64), bias=True)
    found = moments.covariance()[0]
    assert np.linalg.eigvalsh(found).min() > 0
    assert np.allclose(found - np.diag(np.diag(found)), expected - np.diag(np.diag(expected)), atol=1e-6)


def test_one_pass_reads_a_rescaled_network_as_its_own_pass_does() -> None:
    """Check means, roundings and moments, where channels differ by factors and a layer pads."""
    model = plain()
    rescaled = equalize(model, images(), 0)
    assert rescaled is not None
    one, two = (engine.scaled(source(each), engine.Choices(TENSORRT)) for each in (model, rescaled))
    factors = ranges.factors(one.source.ranges, two.source.ranges)
    assert any((each != 1).any() for each in factors.values())
    forms = [reads.Form(one.placement, one.values, {}, False), reads.Form(two.placement, two.values, factors, True)]
    both = reads.observe(model, forms, [images()], few=1000)
    alone = read(rescaled, two.placement, two.values, images())
    assert not both[0].moments
    assert both[1].means.keys() == alone.means.keys() == both[1].moments.keys() == two.placement.weights.keys()
    for name in alone.means:
        largest = np.abs(alone.means[name]).max()
        assert np.allclose(both[1].means[name], alone.means[name], atol=1e-5 * largest)
        assert np.allclose(both[1].rounded[name], alone.rounded[name], atol=1e-3 * largest)
        given, expected = both[1].moments[name].covariance(), alone.moments[name].covariance()
        assert np.allclose(given, expected, atol=1e-2 * np.abs(expected).max())


@networks
def test_means_are_those_of_the_first_images_exactly_on_the_grid(make: Make) -> None:
    model, given = make(), images(24)
    placement, values = scaled(model, TENSORRT)
    found = reads.observe(model, [reads.Form(placement, values, {}, False)], [given[:10], given[10:]], few=16)[0]
    one_tap = [node for node in placement.weights.values() if found.means[node.name].shape[1] == 1]
    assert one_tap
    for node in one_tap:
        exact = answers(shown(model, node.inputs[0]), given[:16])
        on_grid = qdq.on_grid(exact, node.inputs[0], placement, values)
        down, across = node.integers("strides", [1, 1])
        for each, taken in ((exact, found.means), (on_grid, found.rounded)):
            read = each[:, :, ::down, ::across] if each.ndim == 4 else each
            expected = read.reshape(*read.shape[:2], -1).mean((0, 2))
            assert np.allclose(taken[node.name][:, 0], expected, atol=1e-5), node.name


def test_factors_between_two_views_are_those_of_their_extremes_and_1_where_nothing_was_seen() -> None:
    one, two = source(plain()).ranges, source(plain()).ranges
    name = next(name for name in one.tensors if one.tensors[name].highest[1] > 0)
    one.tensors[name].lowest[0] = one.tensors[name].highest[0] = 0.0  # a dead channel
    two.tensors[name].lowest, two.tensors[name].highest = 3 * one.tensors[name].lowest, 3 * one.tensors[name].highest
    assert np.allclose(ranges.factors(one, two)[name][:2], [1.0, 3.0])
    assert ranges.factors(one, one) == {}
