"""The half-precision variant: it answers as the original does, with its INT8 values, and TensorRT takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeresnet.errors import ModelError
from edgeresnet.graph import canonical, half

from . import rtx
from .classifier import classifier
from .running import answers, quantized, sqnr

IMAGES = np.random.default_rng(5).normal(size=(64, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def plain() -> onnx.ModelProto:
    return canonical.canonical(classifier())


def _held(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _nodes(model: onnx.ModelProto, operator: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == operator]


def _scales(model: onnx.ModelProto) -> set[str]:
    return {node.input[1] for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}


def _set(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(values, name))


def _on_the_grid(model: onnx.ModelProto) -> onnx.ModelProto:
    """With scales as our quantizer writes them: float16 holds them exactly."""
    for name in _scales(model):
        _set(model, name, _held(model)[name].astype(np.float16).astype(np.float32))
    return model


def _digits(net: Path) -> tuple[onnx.ModelProto, np.ndarray]:
    return onnx.load(net), np.random.default_rng(0).normal(size=(256, 1, 8, 8)).astype(np.float32)


def test_a_trained_network_answers_as_before_and_only_its_ends_are_float32(net: Path) -> None:
    model, images = _digits(net)
    halved = half.half(model)
    assert sqnr(answers(model, images), answers(halved, images)) > 50
    ends = [*halved.graph.input, *halved.graph.output]
    assert [value.name for value in ends] == [canonical.INPUT, canonical.OUTPUT]
    assert {value.type.tensor_type.elem_type for value in ends} == {TensorProto.FLOAT}
    inner = {value.type.tensor_type.elem_type for value in halved.graph.value_info}
    assert inner <= {TensorProto.FLOAT16, TensorProto.INT64}
    assert np.float32 not in {values.dtype.type for values in _held(halved).values()}
    assert len(halved.SerializeToString()) < 0.6 * len(model.SerializeToString())
    assert {entry.key for entry in halved.metadata_props} == {entry.key for entry in model.metadata_props}


def test_an_int8_network_keeps_its_integers_and_answers_alike(net: Path, tmp_path: Path) -> None:
    model, images = _digits(net)
    int8 = _on_the_grid(quantized(tmp_path, model, [images]))
    halved = half.half(int8)
    before, after = _held(int8), _held(halved)
    integers = {name for name, values in before.items() if values.dtype == np.int8}
    assert {name for name in integers if not np.array_equal(before[name], after[name])} == set()
    scales = _scales(halved)
    assert scales
    assert {name for name in scales if after[name].dtype != np.float16 or (after[name] != before[name]).any()} == set()
    assert len(_nodes(halved, "Cast")) == 2  # at the ends: none stands between a convolution and its Q/DQ
    assert halved.opset_import[0].version == 19
    assert {entry.key for entry in halved.metadata_props} == {entry.key for entry in int8.metadata_props}
    expected, found = answers(int8, images), answers(halved, images)
    assert (expected.argmax(1) == found.argmax(1)).mean() > 0.97
    assert sqnr(expected, found) > sqnr(answers(model, images), expected)


def test_weights_quantized_at_run_time_become_the_same_integers(tmp_path: Path, plain: onnx.ModelProto) -> None:
    int8 = quantized(tmp_path, plain, [IMAGES], AddQDQPairToWeight=True)
    stored = quantized(tmp_path, plain, [IMAGES])
    found, expected = (
        sorted(each.tobytes() for each in _held(model).values() if each.dtype == np.int8 and each.ndim > 1)
        for model in (half.half(int8), stored)
    )
    assert len(expected) == 2
    assert found == expected


def test_a_scale_per_column_is_taken_per_column(plain: onnx.ModelProto) -> None:
    weights, scale = np.array([[1, 10], [2, 20], [3, 31]], np.float32), np.array([0.5, 4], np.float32)
    held: dict[str, np.ndarray] = {"w": weights, "scale": scale, "zero": np.array([0, 0], np.int8)}
    for name, values in held.items():
        plain.graph.initializer.append(numpy_helper.from_array(values, name))
    plain.graph.node.append(helper.make_node("QuantizeLinear", ["w", "scale", "zero"], ["integers"], axis=1))
    np.testing.assert_array_equal(_held(half.half(plain))["integers"], [[2, 2], [4, 5], [6, 8]])


def test_biases_kept_as_int32_become_float16_ones(tmp_path: Path, plain: onnx.ModelProto) -> None:
    int8 = quantized(tmp_path, plain, [IMAGES])
    assert np.int32 in {values.dtype.type for values in _held(int8).values()}
    halved = half.half(int8)
    bias = _held(halved)[_nodes(halved, "Conv")[0].input[2]]
    assert bias.dtype == np.float16
    folded = _held(plain)[_nodes(plain, "Conv")[0].input[2]]
    np.testing.assert_allclose(bias, folded, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**-13])  # nothing is left of it in float16; not all of it is
def test_a_scale_too_fine_for_float16_stays_float32(tmp_path: Path, plain: onnx.ModelProto, factor: float) -> None:
    int8 = quantized(tmp_path, plain, [IMAGES], QuantizeBias=False, OpTypesToQuantize=["Conv"])
    weights = next(node for node in _nodes(int8, "DequantizeLinear") if node.input[0].startswith("conv.w"))
    scale = _held(int8)[weights.input[1]]
    _set(int8, weights.input[1], (scale * np.float32(factor)).astype(np.float32))
    halved = half.half(int8)
    kept = next(node for node in _nodes(halved, "DequantizeLinear") if node.input[0] == weights.input[0])
    np.testing.assert_array_equal(_held(halved)[kept.input[1]], scale * np.float32(factor))
    assert len(_nodes(halved, "Cast")) == 3


def test_an_activations_scale_too_fine_stays_float32(tmp_path: Path, plain: onnx.ModelProto) -> None:
    """Tiny images, all of one scale: in float16 it would be rounded coarsely, and every pixel with it."""
    tiny = IMAGES * np.float32(2.0**-14)
    int8 = quantized(tmp_path, plain, [tiny])
    first = _nodes(int8, "QuantizeLinear")[0]
    assert _held(int8)[first.input[1]] < np.finfo(np.float16).smallest_normal
    halved = half.half(int8)
    quantize = next(node for node in _nodes(halved, "QuantizeLinear") if node.input[1] == first.input[1])
    assert _held(halved)[quantize.input[1]] == _held(int8)[first.input[1]]
    assert quantize.input[0] in {node.output[0] for node in _nodes(halved, "Cast")}
    assert sqnr(answers(int8, tiny), answers(halved, tiny)) > 25


@pytest.mark.parametrize("value", [70000.0, np.inf, np.nan])
def test_weights_beyond_float16_are_refused_in_one_line(plain: onnx.ModelProto, value: float) -> None:
    weights = _held(plain)["fc.b"].copy()
    weights[2] = value
    _set(plain, "fc.b", weights)
    with pytest.raises(ModelError, match=rf"fc\.b holds {value:g}, but half precision ends at 65504"):
        half.half(plain)


def test_a_scale_found_at_run_time_is_refused(tmp_path: Path, plain: onnx.ModelProto) -> None:
    int8 = quantized(tmp_path, plain, [IMAGES])
    node = _nodes(int8, "QuantizeLinear")[1]
    int8.graph.node.insert(0, helper.make_node("Identity", [node.input[1]], ["found"]))
    node.input[1] = "found"
    with pytest.raises(ModelError, match=r"the scale of .* is computed at run time"):
        half.half(int8)


def test_an_operator_that_takes_float32_alone_is_refused(plain: onnx.ModelProto) -> None:
    plain = _resized(plain, "computed")
    plain.graph.node.insert(0, helper.make_node("Identity", ["twice"], ["computed"]))
    onnx.checker.check_model(plain, full_check=True)
    with pytest.raises(ModelError, match="cannot be converted to half precision") as caught:
        half.half(plain)
    assert "\n" not in caught.value.message


def test_a_resize_keeps_its_scales_in_float32(plain: onnx.ModelProto) -> None:
    resized = _resized(plain, "twice")
    halved = half.half(resized)
    assert _held(halved)["twice"].dtype == np.float32
    assert sqnr(answers(resized, IMAGES), answers(halved, IMAGES)) > 50


def _resized(plain: onnx.ModelProto, scales: str) -> onnx.ModelProto:
    """Return a network that enlarges its images first."""
    resize = helper.make_node("Resize", [canonical.INPUT, "", scales], ["wide"], mode="nearest")
    plain.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "twice"))
    plain.graph.node.insert(0, resize)
    plain.graph.node[1].input[0] = "wide"
    del plain.graph.value_info[:]
    return plain


def test_constants_and_casts_inside_the_graph_become_half_too(plain: onnx.ModelProto) -> None:
    plain.graph.output[0].name = "last"
    plain.graph.node.extend(
        [
            helper.make_node("Constant", [], ["two"], value_float=2.0),
            helper.make_node("Cast", ["two"], ["again"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [canonical.OUTPUT, "again"], ["last"]),
        ]
    )
    halved = half.half(plain)
    assert halved.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert sqnr(answers(plain, IMAGES), answers(halved, IMAGES)) > 50


def test_the_original_is_left_alone(tmp_path: Path, plain: onnx.ModelProto) -> None:
    for model in (plain, quantized(tmp_path, plain, [IMAGES])):
        before = model.SerializeToString()
        half.half(model)
        assert model.SerializeToString() == before


@pytest.mark.slow
def test_tensorrt_takes_it_without_a_warning_and_builds_it(net: Path, tmp_path: Path) -> None:
    model, images = _digits(net)
    kinds = rtx.parsed_and_built(half.half(model))
    assert "CONVOLUTION HALF" in kinds
    assert "CONVOLUTION FLOAT" not in kinds
    kinds = rtx.parsed_and_built(half.half(quantized(tmp_path, model, [images])))
    assert {kind for kind in kinds if kind.startswith(("QUANTIZE", "DEQUANTIZE", "CONVOLUTION"))} == {
        "QUANTIZE INT8",
        "DEQUANTIZE HALF",
        "CONVOLUTION HALF",
    }
