"""The written file: valid, with the very integers that were meant, in every runtime that is here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeresnet import targets
from edgeresnet.graph import accepts
from edgeresnet.portable import machine
from edgeresnet.quantization import qdq
from edgeresnet.quantization.net import Net, Node
from edgeresnet.quantization.placement import weight_axis
from edgeresnet.quantization.scales import Grid, fake

from ..graph.running import answers, fused_answers, openvino_answers, sqnr
from .nets import (
    CPU,
    DIALECTS,
    TENSORRT,
    Make,
    basic,
    constants,
    images,
    makers,
    networks,
    plain,
    scaled,
    smooth,
    squeezed,
)

dialects = pytest.mark.parametrize("dialect", DIALECTS)


def written(model: onnx.ModelProto, dialect: str) -> onnx.ModelProto:
    return qdq.write(model, *scaled(model, DIALECTS[dialect]))


@networks
@dialects
def test_it_is_valid_and_every_zero_point_is_0(make: Make, dialect: str) -> None:
    model = written(make(), dialect)
    onnx.checker.check_model(model, full_check=True)
    held = constants(model)
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not held[node.input[2]].any()
            kinds = {np.dtype(np.int8)} if dialect == "tensorrt" else {np.dtype(np.int8), np.dtype(np.uint8)}
            assert held[node.input[2]].dtype in kinds
            assert held[node.input[1]].dtype == np.float32


@dialects
def test_scales_of_data_have_no_dimension_and_those_of_weights_one(dialect: str) -> None:
    model = written(basic(), dialect)
    held, net = constants(model), Net(basic())
    layers = {node.name: node for node in net.weighted()}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            assert held[node.input[1]].shape == held[node.input[2]].shape == ()
        elif node.op_type in ("Conv", "Gemm"):
            weights = makers(model)[node.input[1]]
            axis = weight_axis(layers[node.output[0]])
            outputs = net.constants[layers[node.output[0]].inputs[1]].shape[axis]
            assert held[weights.input[1]].shape == held[weights.input[2]].shape == (outputs,)
            assert onnx.helper.get_attribute_value(weights.attribute[0]) == axis


@networks
@pytest.mark.parametrize("dialect", ["tensorrt", "half"])
def test_weights_are_exactly_the_nearest_integers_within_the_grid(make: Make, dialect: str) -> None:
    model, net = written(make(), dialect), Net(make())
    held, most = constants(model), 63 if dialect == "half" else 127
    for layer in net.weighted():
        name, weights = layer.inputs[1], net.constants[layer.inputs[1]]
        scale = held[f"{name}_scale"].reshape(-1, *(1,) * (weights.ndim - 1))
        assert held[f"{name}_quantized"].dtype == np.int8
        assert (held[f"{name}_quantized"] == np.clip(np.rint(weights / scale), -most, most)).all()
        assert np.abs(held[f"{name}_quantized"].astype(int)).max() <= most


def test_integers_run_along_the_axis_they_are_asked_to() -> None:
    weights = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    scales, grid = np.array([0.01, 0.02, 0.03], np.float32), Grid(-127, 127)

    def integers(given: np.ndarray, transposed: int) -> np.ndarray:
        layer = Node("Gemm", ("x", "w"), ("y",), {"transB": transposed})
        return qdq.integers(Net(plain()), layer, qdq.Values(weights={"y": given}, weight_scales={"y": scales}), grid)

    assert (integers(weights, 0) == np.clip(np.rint(weights / scales), -127, 127)).all()
    assert (integers(weights.T, 1) == integers(weights, 0).T).all()


def test_biases_stay_float_and_untouched_unless_corrected() -> None:
    model = basic()
    placement, values = scaled(model, TENSORRT)
    file = qdq.write(model, placement, values)
    for node in file.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert (constants(file)[node.input[2]] == constants(model)[node.input[2]]).all()
            assert constants(file)[node.input[2]].dtype == np.float32
    values.biases["stem_out"] = np.arange(8.0)
    file = qdq.write(model, placement, values)
    assert (constants(file)[makers(file)["stem_out"].input[2]] == np.arange(8)).all()
    assert "stem.bias" not in constants(file)


def test_nothing_is_left_that_nothing_reads_and_the_network_itself_is_not_changed() -> None:
    model = basic()
    before = model.SerializeToString()
    file = qdq.write(model, *scaled(model, CPU))
    assert model.SerializeToString() == before
    read = {name for node in file.graph.node for name in node.input}
    assert {tensor.name for tensor in file.graph.initializer} <= read
    assert not any(
        tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1 for tensor in file.graph.initializer
    )
    assert len({tensor.name for tensor in file.graph.initializer}) == len(file.graph.initializer)


def test_a_tensor_is_quantized_once_whoever_reads_it() -> None:
    file = written(basic(), "both")
    quantized = [node.input[0] for node in file.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantized) == len(set(quantized))


@networks
@dialects
def test_it_runs_and_answers_much_as_the_network_does(make: Make, dialect: str) -> None:
    given = images(16, seed=5)
    expected, model = answers(make(), given), written(make(), dialect)
    assert sqnr(expected, answers(model, given)) > 15
    if machine.has_int8():  # or full-range products would saturate
        assert sqnr(expected, openvino_answers(model, given)) > 15


def test_squeeze_and_excitation_runs_too() -> None:
    given = images(16, seed=5)
    model = written(squeezed(), "shortcut")
    assert sqnr(answers(squeezed(), given), answers(model, given)) > 15
    assert sqnr(answers(squeezed(), given), openvino_answers(model, given)) > 15


def test_the_runtime_computes_what_the_grid_says() -> None:
    """The first quantized tensor, by hand."""
    model = plain()
    placement, values = scaled(model, TENSORRT)
    file = qdq.write(model, placement, values)
    file.graph.output.append(onnx.helper.make_tensor_value_info("image_dequantized", onnx.TensorProto.FLOAT, None))
    del file.graph.output[0]
    given = images(4) * 2
    expected = fake(given, np.float32(values.scales["image"]), placement.points["image"])
    assert (answers(file, given) == expected.astype(np.float32)).all()


def zero_points(model: onnx.ModelProto) -> dict[str, int]:
    """Return the zero point of each quantized activation, by its name in the file."""
    held = constants(model)
    return {node.input[2]: int(held[node.input[2]]) for node in model.graph.node if node.op_type == "QuantizeLinear"}


@pytest.mark.parametrize(("target", "run"), [("openvino", openvino_answers), ("onnxruntime", fused_answers)])
def test_zero_points_are_closer_and_the_runtime_computes_with_them(target: str, run: Callable[..., np.ndarray]) -> None:
    """Padding, max pooling and added channels too: the runtime's fused operators answer as the file is written."""
    cpu = targets.get(target)
    dialect = cpu.speaks(cpu.options())
    given, expected = images(32, seed=5), answers(smooth(), images(32, seed=5))
    placement, values = scaled(smooth(), dialect)
    file = qdq.write(smooth(), placement, values)
    onnx.checker.check_model(file, full_check=True)
    found = zero_points(file)
    assert 1 <= found["b1.conv1_out_silu_zero"] <= 90
    assert 1 <= found["stem_out_silu_zero"] == found["stem_out_silu_max_zero"] <= 90
    symmetric = 128 if target == "onnxruntime" else 0
    assert found["b0_silu_zero"] == found["b1_pad_zero"] == symmetric  # OpenVINO pads with the integer 0
    assert accepts.findings(file, target, dialect) == []
    without = qdq.write(smooth(), *scaled(smooth(), replace(dialect, zero_points="never")))
    assert set(zero_points(without).values()) == {0}
    assert sqnr(expected, answers(file, given)) > sqnr(expected, answers(without, given)) + 1
    assert sqnr(answers(file, given), run(file, given)) > 30
    assert sqnr(expected, run(file, given)) > sqnr(expected, run(without, given)) + 1
    ignored = onnx.ModelProto.FromString(file.SerializeToString())
    for tensor in ignored.graph.initializer:
        if tensor.name in found:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((), np.uint8), tensor.name))
    assert sqnr(expected, run(ignored, given)) < sqnr(expected, run(file, given)) - 6  # so a lost one would be seen


def test_tensorrts_file_has_no_zero_point_and_its_check_refuses_one() -> None:
    file = qdq.write(smooth(), *scaled(smooth(), TENSORRT))
    assert set(zero_points(file).values()) == {0}
    assert accepts.findings(file, "tensorrt", TENSORRT) == []
    other = qdq.write(smooth(), *scaled(smooth(), targets.get("openvino").dialect))
    refused = [found for found in accepts.findings(other, "tensorrt", TENSORRT) if found.rule == "zero-point"]
    assert len(refused) >= len([zero for zero in zero_points(other).values() if zero])
    assert {found.severity for found in refused} == {accepts.ERROR}


def test_onnxruntime_reads_uint8_only() -> None:
    """Its convolutions of uint8 are faster: 128 is the zero point of a symmetric range."""
    held = constants(file := qdq.write(basic(), *scaled(basic(), targets.get("onnxruntime").dialect)))
    assert {held[name].dtype for name in zero_points(file)} == {np.dtype(np.uint8)}
    assert set(zero_points(file).values()) == {0, 128}
    signed = qdq.write(basic(), *scaled(basic(), replace(targets.get("onnxruntime").dialect, zero_points="never")))
    assert (answers(file, images(8)) == answers(signed, images(8))).all()


@pytest.mark.parametrize("target", targets.discover())
def test_files_of_targets_with_one_dialect_are_the_same(target: str) -> None:
    dialect = targets.get(target).dialect
    one, two = (qdq.write(plain(), *scaled(plain(), dialect)).SerializeToString() for _ in range(2))
    assert one == two


def test_a_gemm_that_is_not_transposed_has_its_scales_along_its_columns() -> None:
    model = plain()
    gemm = model.graph.node[-1]
    del gemm.attribute[:]
    for tensor in model.graph.initializer:
        if tensor.name == "fc.weight":
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(tensor).T), tensor.name))
    file = qdq.write(model, *scaled(model, TENSORRT))
    assert constants(file)["fc.weight_scale"].shape == (16,)
    assert sqnr(answers(plain(), images(8)), answers(file, images(8))) > 20


def test_a_gemm_s_bias_in_32_bits_makes_onnxruntime_compute_it_as_int8(tmp_path: Path) -> None:
    """With a float bias onnxruntime dequantizes the weights in each inference."""
    model, dialect = basic(), targets.get("onnxruntime").dialect
    kinds = {}
    for name, spoken in (("integer", dialect), ("float", replace(dialect, integer_bias=False))):
        file = tmp_path / f"{name}.onnx"
        onnx.save(qdq.write(model, *scaled(model, spoken)), file)
        onnx.checker.check_model(onnx.load(file), full_check=True)
        out = tmp_path / name
        out.mkdir()
        targets.get("onnxruntime").compile(file, targets.get("onnxruntime").options(), out)
        with targets.get("onnxruntime").load(out) as session:
            kinds[name] = {layer.operator for layer in session.layers()}
    assert "QGemm" in kinds["integer"]
    assert "Gemm" in kinds["float"]
    one, two = (answers(onnx.load(tmp_path / f"{name}.onnx"), images()) for name in kinds)
    assert sqnr(one, two) > 60


def test_a_bias_that_32_bits_do_not_contain_stays_float() -> None:
    model, dialect = basic(), targets.get("onnxruntime").dialect
    placement, values = scaled(model, dialect)
    layer = next(node for node in placement.weights.values() if node.kind == "Gemm")
    values.biases[layer.name] = np.full_like(values.bias(Net(model), layer), 1e12)
    written_model = qdq.write(model, placement, values)
    (gemm,) = (node for node in written_model.graph.node if node.op_type == "Gemm")
    assert constants(written_model)[gemm.input[2]].dtype == np.float32
