"""Networks that answer for each pixel: dilated convolutions, concatenations, resizing, from ranges to INT8."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeresnet import targets
from edgeresnet.graph import accepts
from edgeresnet.portable.tasks import segmentation
from edgeresnet.quantization import answers as rows_of
from edgeresnet.quantization import engine, gradient, resizing
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.placement import nonnegative, place
from edgeresnet.quantization.scales import Grid

from ..graph.rtx import needs_rtx, parsed_and_built
from ..graph.running import answers, sqnr
from .nets import (
    CPU,
    DENSE,
    DIALECTS,
    SIZE,
    TENSORRT,
    Make,
    Maker,
    equalize,
    hourglass,
    images,
    int8,
    pyramid,
)
from .test_sensitivity import seen

networks = pytest.mark.parametrize("make", DENSE.values(), ids=DENSE)
dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)


@networks
@dialects
def test_all_is_int8_between_the_images_and_the_last_layer(make: Make, dialect: engine.Dialect) -> None:
    net = Net(make())
    found = place(net, dialect)
    assert found.kept == {}
    assert set(found.weights) == {node.name for node in net.weighted()}
    for node in net.nodes:
        if node.kind in ("Concat", "MaxPool", "GlobalAveragePool") or (
            node.kind == "Resize" and node.name != net.output
        ):
            assert {(node.name, slot) for slot, name in enumerate(node.inputs) if name in net.maker} <= found.reads
    assert net.output not in found.points
    assert (net.output, 0) not in found.reads


@networks
@dialects
def test_what_is_joined_has_one_scale(make: Make, dialect: engine.Dialect) -> None:
    net = Net(make())
    found = place(net, dialect)
    for node in net.nodes:
        if node.kind == "Concat":
            assert {found.source(name) for name in node.inputs} == {node.name}
            assert {found.points[name] for name in node.inputs} == {found.points[node.name]}


def test_the_grid_of_what_is_joined_has_the_sign_of_all_parts() -> None:
    def joined(*, rectified: bool) -> Net:
        net = Maker()
        x = net.relu(net.conv("image", "stem", 8))
        y = net.conv(x, "side", 8)
        z = net.cat("joined", x, net.relu(y) if rectified else y)
        return Net(net.head(net.relu(net.conv(z, "after", 8))))

    net = joined(rectified=True)
    assert nonnegative(net, "joined")
    assert place(net, CPU).points["stem_out_relu"] == Grid(0, 255)
    net = joined(rectified=False)
    assert not nonnegative(net, "joined")
    assert place(net, CPU).points["stem_out_relu"] == place(net, CPU).points["side_out"] == Grid(-128, 127)


def test_a_part_of_two_concatenations_has_the_scale_of_one() -> None:
    net = Maker()
    x = net.relu(net.conv("image", "stem", 8))
    one = net.relu(net.conv(net.cat("join1", x, net.relu(net.conv(x, "c1", 8))), "after1", 8))
    two = net.relu(net.conv(net.cat("join2", x, net.relu(net.conv(x, "c2", 8))), "after2", 8))
    model = net.head(net.plus(one, two, "sum"))
    found = place(Net(model), TENSORRT)
    assert found.source("stem_out_relu") == "join2"
    assert found.source("c2_out_relu") == "join2"
    assert ("join1", 0) not in found.reads
    assert found.source("join1") == "join1"
    int8(model, TENSORRT).model()


@networks
@dialects
def test_int8_answers_nearly_as_fp32(make: Make, dialect: engine.Dialect) -> None:
    model, given = make(), images(8, seed=3)
    found = int8(model, dialect)
    assert found.sqnr_db is not None
    assert found.sqnr_db > 25
    written = found.model()
    onnx.checker.check_model(written, full_check=True)
    assert sqnr(answers(model, given), answers(written, given)) > 25


@networks
def test_rescaled_channels_change_no_answer(make: Make) -> None:
    model, given = make(), images(8, seed=3)
    found = equalize(model, images(), 0)
    assert found is not None
    assert sqnr(answers(model, given), answers(found, given)) > 100


@networks
def test_both_ways_give_the_same_gradients(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = make(), images(5)
    assert gradient.supported(model, Net(model))
    found = seen(model, given)
    monkeypatch.setattr(gradient, "supported", lambda model, net: False)
    for one, other in zip(found, seen(model, given), strict=True):
        assert one.keys() == other.keys()
        for name, values in one.items():
            assert np.allclose(values, other[name], rtol=1e-3, atol=1e-4 * other[name].max())


@pytest.mark.parametrize("make", [pyramid, hourglass])
def test_learning_knows_such_networks(make: Make) -> None:
    found = int8(make(), CPU, effort="balanced")
    assert any(step.name.startswith("learned channels") for step in found.steps)


@networks
@pytest.mark.parametrize("residual", ["shortcut", "both"])
def test_openvino_runs_all_in_int8_but_what_makes_the_answer(make: Make, residual: str, tmp_path: Path) -> None:
    dialect = replace(targets.get("openvino").dialect, residual=residual)
    onnx.save(engine.stand_in(make(), engine.Choices(dialect)), tmp_path / "int8.onnx")
    compiled = openvino.Core().compile_model(tmp_path / "int8.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    abouts = [operator.get_rt_info() for operator in compiled.get_runtime_model().get_ordered_ops()]
    layers = [(about["layerType"].astype(str), about["runtimePrecision"].astype(str)) for about in abouts]
    int8 = [precision for kind, precision in layers if kind in ("Convolution", "Concatenation", "Pooling")]
    assert int8
    assert set(int8) <= {"u8", "i8"}


@networks
def test_onnxruntime_computes_all_in_int8_but_the_last_layer(make: Make, tmp_path: Path) -> None:
    model = engine.stand_in(make(), engine.Choices(targets.get("onnxruntime").dialect))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("Concat") == 0
    assert sum(kind in ("Conv", "FusedConv") for kind in kinds) <= 1
    assert kinds.count("QLinearConv") == len(Net(make()).weighted()) - 1


@needs_rtx
@pytest.mark.slow
@networks
def test_tensorrt_rtx_builds_what_is_written_for_tensorrt(make: Make) -> None:
    model = engine.stand_in(make(), engine.Choices(TENSORRT))
    assert accepts.findings(model, "tensorrt", TENSORRT) == []
    assert "CONCATENATION" in " ".join(parsed_and_built(model))


@pytest.mark.parametrize("factor", [0.5, 1, 1.25, 2, 3])
@pytest.mark.parametrize("place", resizing._PLACES)
@pytest.mark.parametrize("mode", ["linear", *resizing._NEAREST])
def test_a_matrix_resizes_as_onnxruntime_does(mode: str, place: str, factor: float) -> None:
    about = {"mode": "linear"} if mode == "linear" else {"mode": "nearest", "nearest_mode": mode}
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode=place, **about)
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, SIZE, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array([1, 1, factor, 1], np.float32), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = np.random.default_rng(0).normal(size=(1, 1, SIZE, 1)).astype(np.float32)
    expected = session.run(None, {"x": given})[0].ravel()
    own = Net(model).nodes[0]
    assert resizing.known(own)
    found = resizing.matrix(own, SIZE, int(np.float32(factor) * SIZE), np.float32(factor)) @ given.ravel()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_held_out_images_are_compared_pixel_by_pixel() -> None:
    model = pyramid()
    found = int8(model, CPU)
    about = found.notes(CPU, 9, 4).held_out
    assert (about.images, about.pixels) == (16, 16 * SIZE**2)
    assert about.images < about.agree <= about.answers == about.pixels
    given, expected = (answers(each, images(16, seed=9)) for each in (found.executed(), model))
    assert about.agree == int((given.argmax(1) == expected.argmax(1)).sum())
    assert about.sqnr_db == pytest.approx(sqnr(expected, given), abs=0.05)


def test_a_lattice_stands_for_all_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "_EDGE", 4)
    model, given = pyramid(), images(3)
    rows, logits = rows_of.answers(model, given), answers(model, given)
    assert rows.shape == (3 * 16, 5)
    np.testing.assert_allclose(rows[16 + 3], logits[1, :, 0, SIZE - 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", ["layers", "session"])
def test_large_maps_change_little(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less of them is looked at, or in memory at once."""
    before = int8(pyramid(), CPU)
    monkeypatch.setattr(f"edgeresnet.quantization.{place}._LARGE", 1)
    after = int8(pyramid(), CPU)
    assert after.model().SerializeToString() == before.model().SerializeToString()
    assert after.layers.keys() == before.layers.keys()
    for name, value in after.layers.items():
        assert value == pytest.approx(before.layers[name], abs=3 if place == "layers" else 1e-6)
