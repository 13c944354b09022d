"""Rescaled channels: the same function, and closer to it in INT8 where the channels were uneven."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeresnet.errors import ModelError
from edgeresnet.graph import canonical
from edgeresnet.quantization import engine, qdq
from edgeresnet.quantization import equalize as equalizing
from edgeresnet.quantization.channels import Channels
from edgeresnet.quantization.equalize import Equalizer, _best, _Noise, _Part
from edgeresnet.quantization.net import Net

from ..graph.running import answers, sqnr
from .nets import (
    CPU,
    TENSORRT,
    Make,
    Maker,
    basic,
    bottleneck,
    changed,
    constants,
    equalize,
    images,
    networks,
    plain,
    source,
    squeezed,
    uneven,
)


def closeness(model: onnx.ModelProto) -> float:
    found = engine.Evaluation(model, images(32, seed=9))(engine.scaled(source(model), engine.Choices(TENSORRT)))
    assert found.sqnr_db is not None
    return found.sqnr_db


def rescaled(model: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    found = equalize(model, images(), seed)
    assert found is not None
    onnx.checker.check_model(found)
    return found


@networks
def test_the_function_is_unchanged_beyond_100_db(make: Make) -> None:
    given = images(16, seed=5)
    before = make().SerializeToString()
    model = make()
    found = rescaled(model)
    assert model.SerializeToString() == before
    assert any((constants(found)[name] != value).any() for name, value in constants(model).items())
    assert sqnr(answers(model, given), answers(found, given)) > 100


@networks
def test_neither_the_image_nor_the_answer_is_rescaled(make: Make) -> None:
    channels = Channels(Net(make()))
    assert not channels.free[channels.of["image"]].any()
    assert not channels.free[channels.of["logits"]].any()
    assert channels.free[channels.of["stem_out"]].all()


def test_channels_that_an_addition_ties_together_have_one_factor() -> None:
    channels = Channels(Net(basic("B")))
    assert (channels.of["stem_out"] == channels.of["b1.conv2_out"]).all()
    assert (channels.of["b2.short_out"] == channels.of["b2.conv2_out"]).all()
    assert not set(channels.of["stem_out"].tolist()) & set(channels.of["b1.conv1_out"].tolist())
    channels = Channels(Net(basic("A")))  # which ties the stream of one stage to the middle of the next
    assert (channels.of["b2.conv2_out"][4:12] == channels.of["stem_out"]).all()
    assert channels.free[channels.of["b2"]].all()


@pytest.mark.parametrize("make", [plain, basic, bottleneck])
def test_one_channel_too_large_costs_decibels_and_equalizing_wins_them_back(make: Make) -> None:
    layer, reader = ("c1", "c2") if make is plain else ("b1.conv1", "b1.conv2")
    fair = make()
    spoiled = uneven(fair, layer, reader)
    assert sqnr(answers(fair, images()), answers(spoiled, images())) > 100
    before, after = closeness(spoiled), closeness(rescaled(spoiled))
    assert after > before + 3


def test_grouped_convolutions_are_rescaled_within_their_groups() -> None:
    model = bottleneck(2)
    found = rescaled(model)
    assert (constants(found)["b1.conv2.weight"] != constants(model)["b1.conv2.weight"]).any()


def test_an_operator_of_which_nothing_is_known_leaves_its_channels_as_they_are() -> None:
    channels = Channels(Net(squeezed()))
    assert not channels.free[channels.of["b1.conv1_out"]].any()
    assert not channels.free[channels.of["se.up_out"]].any()
    assert channels.free[channels.of["se.down_out"]].all()
    assert equalize(squeezed(), images(), 0) is None  # those of attention stay float, and are left alone


def test_an_operator_that_torch_is_not_taught_is_reported() -> None:
    net = Maker()
    x = net.conv(net.relu(net.conv("image", "c1", 8)), "c2", 8)
    with pytest.raises(ModelError, match="Softsign cannot be refined"):
        equalize(net.head(net.add("Softsign", [x], "soft")), images(), 0)


def test_a_tensor_that_is_reshaped_before_a_layer_is_left_alone() -> None:
    net = Maker()
    x = net.relu(net.conv("image", "c1", 8))
    x = net.add("Reshape", [x, net.hold("shape", [0, 4, 16, 8])], "reshaped", 4)
    model = net.head(net.relu(net.conv(x, "c2", 8)))
    assert not Channels(Net(model)).free[Channels(Net(model)).of["c1_out"]].any()
    assert equalize(model, images(), 0) is None


def test_a_slice_of_what_has_no_sides_counts_its_channels_from_the_end() -> None:
    """Axis -1 is the width of an image, and the channels behind a pooling."""
    net = Maker()
    x = net.relu(net.conv("image", "c1", 8))
    flat = net.add("Flatten", [net.add("GlobalAveragePool", [net.relu(net.conv(x, "c2", 8))], "pooled")], "flat")
    parts = [net.hold(f"cut.{part}", value) for part, value in (("from", [2]), ("to", [6]), ("axes", [-1]))]
    model = net.gemm(net.add("Slice", [flat, *parts], "cut", 4), 5)
    channels = Channels(Net(model))
    assert channels.of["cut"].tolist() == channels.of["flat"].tolist()[2:6]
    assert sqnr(answers(model, images()), answers(rescaled(model), images())) > 100


def test_nothing_is_rescaled_where_nothing_is_free() -> None:
    net = Maker()
    pooled = net.add("GlobalAveragePool", ["image"], "pooled")
    assert equalize(net.gemm(net.add("Flatten", [pooled], "flat"), 16), images(), 0) is None


def test_a_dead_channel_does_no_harm() -> None:
    weights, bias = constants(plain())["c1.weight"].copy(), constants(plain())["c1.bias"].copy()
    weights[2], bias[2] = 0.0, -1.0
    model = changed(changed(plain(), "c1.weight", weights), "c1.bias", bias)
    found = rescaled(model)
    assert all(np.isfinite(value).all() for value in constants(found).values())
    assert sqnr(answers(model, images()), answers(found, images())) > 100


def test_the_same_seed_gives_the_same_file_and_a_fixed_batch_does_not_matter() -> None:
    assert rescaled(basic()).SerializeToString() == rescaled(basic()).SerializeToString()
    fixed = basic()
    canonical.set_batch(fixed, 7)
    found = rescaled(fixed)
    assert constants(found).keys() == constants(fixed).keys()
    assert all((constants(found)[name] == value).all() for name, value in constants(rescaled(basic())).items())


def test_what_is_rescaled_can_be_quantized_for_a_cpu_too() -> None:
    model = rescaled(uneven(plain(), "c1", "c2"))
    found = engine.scaled(source(model), engine.Choices(CPU))
    file = qdq.write(model, found.placement, found.values)
    assert sqnr(answers(plain(), images()), answers(file, images())) > 20


def test_a_small_channel_grows_until_the_weights_behind_it_would_suffer() -> None:
    """Rounding of the activations asks for factors; weights that the logits feel more refuse them."""
    classes, free = np.array([0, 1]), np.ones(2)
    channels = _Part(classes, 1.0, np.array([1.0, 0.1]), np.ones(2))
    weights = _Part(classes, -1.0, np.ones(2), np.full(2, 1e3))
    alone, both = _best([channels], free), _best([channels, weights], free)
    assert alone[1] - alone[0] > 1.0
    assert abs(both[1] - both[0]) < 0.1
    assert not _best([channels], np.zeros(2)).any()


def test_the_weights_have_their_say_in_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """With weights as coarse as one bit nothing is gained by factors that spread them; with fine ones there is."""
    moved = []
    for levels in (1.0, 1e6):
        monkeypatch.setattr(equalizing, "_WEIGHT_LEVELS", levels)
        found = Equalizer(uneven(plain(), "c1", "c2", factor=3.0), images(), 0)
        factors = found.of("c1_out")
        assert factors is not None
        moved.append(float(np.log(factors).std()))
    assert moved[0] < 0.7 * moved[1]


def test_a_network_that_looks_at_nothing_is_left_as_it_is() -> None:
    """Its last ReLU is dead: no noise reaches the logits."""
    assert not Equalizer(changed(plain(), "c2.bias", np.full(8, -1e6)), images(), 0).changes


def test_the_slope_of_the_noise_is_that_of_its_differences() -> None:
    rng = np.random.default_rng(0)
    parts = [
        _Part(rng.permutation(6)[:4], sign, rng.uniform(0.1, 2, 4), rng.uniform(0.1, 2, 4))
        for sign in (1.0, -1.0, -1.0)
    ]
    noise, at = _Noise(parts, 6), rng.normal(size=6)
    value, slope = noise(at)
    assert value > 0
    for index in range(6):
        move = 1e-6 * (np.arange(6) == index)
        assert slope[index] == pytest.approx((noise(at + move)[0] - noise(at - move)[0]) / 2e-6, rel=1e-5, abs=1e-8)


def test_the_noise_is_a_step_squared_by_twelve_times_what_the_logits_feel() -> None:
    """With one channel far above the others, the step is its magnitude."""
    part = _Part(np.array([0, 1]), 1.0, np.array([4.0, 1.0]), np.array([3.0, 5.0]))
    assert _Noise([part], 2)(np.zeros(2))[0] == pytest.approx(16 / 12 * 8)
    doubled = _Noise([part], 2)(np.log([1.0, 2.0]))[0]
    assert doubled == pytest.approx(16 / 12 * (3 + 5 / 4))
