"""Networks that answer for each anchor: layers that share their weights, a pyramid's additions, a float end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

from edgeresnet import targets
from edgeresnet.graph import accepts, half
from edgeresnet.models import anchors
from edgeresnet.portable.tasks.two_stage import TwoStage
from edgeresnet.quantization import answers as rows_of
from edgeresnet.quantization import engine, gradient, qdq, reads
from edgeresnet.quantization.net import Net, unshare
from edgeresnet.quantization.placement import label, place
from edgeresnet.tune.forecast import Goals
from edgeresnet.tune.int8 import controlled

from ..graph.rtx import needs_rtx, parsed_and_built
from ..graph.running import answers, sqnr
from .nets import (
    CPU,
    DIALECTS,
    SIZE,
    TENSORRT,
    Maker,
    batches,
    cells,
    constants,
    equalize,
    images,
    int8,
    notes_of,
    read,
    retina,
    scaled,
    source,
)
from .test_sensitivity import seen

dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
SHARED = ("logits.conv", "logits.last", "offsets.conv", "offsets.last")


def detector() -> onnx.ModelProto:
    model = retina()
    unshare(model)
    return model


def test_layers_of_one_head_go_on_to_share_weights_and_have_biases_of_their_own() -> None:
    model = detector()
    assert (answers(model, images()) == answers(retina(), images())).all()
    sharing = Net(model).sharing
    assert {name: len(layers) for name, layers in sharing.items() if len(layers) > 1} == {
        f"{name}.weight": 3 for name in SHARED
    }
    for layers in sharing.values():
        assert len({layer.inputs[2] for layer in layers}) == len(layers)


def test_rescaled_channels_change_no_answer_and_weights_stay_shared() -> None:
    found = equalize(detector(), images(), 0)
    assert found is not None
    assert sqnr(answers(detector(), images()), answers(found, images())) > 100
    assert {name: len(layers) for name, layers in Net(found).sharing.items()} == {
        name: len(layers) for name, layers in Net(detector()).sharing.items()
    }
    before, after = constants(detector()), constants(found)
    assert all((before[f"{name}.weight"] != after[f"{name}.weight"]).any() for name in SHARED if "conv" in name)


def test_both_ways_give_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = detector(), images(5)
    assert gradient.supported(model, Net(model))
    found = seen(model, given)
    monkeypatch.setattr(gradient, "supported", lambda model, net: False)
    for one, other in zip(found, seen(model, given), strict=True):
        assert one.keys() == other.keys()
        for name, values in one.items():
            assert np.allclose(values, other[name], rtol=1e-3, atol=1e-4 * other[name].max()), name


def test_moments_of_shared_weights_are_those_of_all_layers_each_without_its_own_mean() -> None:
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(9, 9))
    parts = {"near": mixed @ rng.normal(size=(9, 900)) + 40, "far": mixed.T @ rng.normal(size=(9, 300)) - 7}
    moments = reads.Moments(reads.Shape(1, 1, 9), 1)
    for name, unit in (("near", 1.0), ("far", 3.0)):
        for some in np.array_split(parts[name].astype(np.float32), 3, axis=1):
            moments.add(np.ascontiguousarray(some), name, unit)
    near, far = (np.cov(parts[name], bias=True) for name in ("near", "far"))
    found, expected = moments.covariance()[0], (900 * near + 300 * 9 * far) / 1200
    inner = ~np.eye(9, dtype=bool)
    assert np.allclose(found[inner], expected[inner], rtol=1e-3, atol=1e-3 * expected.max())


def test_weights_that_layers_share_are_rounded_by_what_all_of_them_read() -> None:
    model = detector()
    placement, values = scaled(model, TENSORRT)
    found = read(model, placement, values, images()).moments
    for layers in Net(model).sharing.values():
        (moments,) = {id(found[layer.name]): found[layer.name] for layer in layers}.values()
        assert moments.sums.keys() == {layer.name for layer in layers}
        for layer in layers:
            of = [values.scales[placement.source(each.inputs[0])] for each in (layer, layers[0])]
            assert moments.sums[layer.name].unit == pytest.approx(of[0] / of[1])


@dialects
@pytest.mark.parametrize("effort", ["fast", "balanced", "best"])
def test_a_file_has_shared_weights_once_at_every_effort(dialect: engine.Dialect, effort: str) -> None:
    if effort != "fast" and dialect is not CPU:
        pytest.skip("learning is the same for all dialects")
    found = int8(detector(), dialect, effort=effort)
    written = found.model()
    onnx.checker.check_model(written, full_check=True)
    stored = [name for name in constants(written) if name.endswith("weight_quantized")]
    assert sorted(stored) == sorted(f"{name}_quantized" for name in Net(detector()).sharing)
    assert sqnr(answers(detector(), images(8, seed=3)), answers(written, images(8, seed=3))) > 25
    form = Net(found.source.model)
    for layers in Net(detector()).sharing.values():
        one, *others = (
            qdq.integers(form, form.maker[each.name], found.values, found.placement.weight_grid) for each in layers
        )
        assert all((one == other).all() for other in others)


def test_layers_that_share_weights_are_one_layer_to_people() -> None:
    found = int8(detector(), CPU)
    notes = notes_of(found, CPU)
    assert set(SHARED) <= set(notes.int8)
    assert len(notes.int8) == len(Net(detector()).sharing)
    assert set(found.layers) == set(notes.int8)
    kept = place(Net(detector()), CPU, (r"^logits\.last$",))
    assert set(kept.kept) == {"logits.last"}
    assert not {"logits.last_out", "logits.last_1", "logits.last_2"} & set(kept.weights)


@dialects
def test_all_is_int8_but_what_joins_the_rows(dialect: engine.Dialect) -> None:
    net = Net(detector())
    found = place(net, dialect)
    assert found.kept == {}
    assert set(found.weights) == {node.name for node in net.weighted()}
    behind = {node.name for node in net.nodes if node.kind in ("Reshape", "Transpose", "Concat")}
    assert not behind & set(found.points)
    assert not {name for name, _ in found.reads} & behind


def test_held_out_images_are_compared_anchor_by_anchor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_of, "_ANCHORS", 100)
    found = int8(detector(), CPU)
    about = notes_of(found, CPU).held_out
    assert (about.images, about.anchors, about.pixels, about.unit) == (16, 1600, None, "anchors")
    assert about.agree <= about.answers == 1600


def test_an_anchor_answers_a_class_only_where_it_is_as_probable_as_not() -> None:
    rows = np.array([[-1, -2, 9, 9, 9, 9], [-1, 0.1, 0, 0, 0, 0], [3, 1, 0, 0, 0, 0]], np.float32)
    assert rows_of.top(rows, "anchor").tolist() == [-1, 1, 0]
    assert rows_of.unit_of(detector()) == "anchor"


def test_a_cell_answers_for_each_of_its_anchors_whether_there_is_an_object() -> None:
    about = anchors.of("fasterrcnn_resnet50_fpn", 64, 3)
    assert isinstance(about, TwoStage)
    row = np.full((1, about.columns), 9.0, np.float32)
    row[0, about.features : about.features + about.anchors_of_cell] = [-1, 0.5, 2]
    assert rows_of.top(row, "cell").tolist() == [[-1, 0, 0]]


def test_held_out_images_of_a_first_stage_are_compared_by_their_objects() -> None:
    found = int8(cells(), CPU)
    held_out = notes_of(found, CPU).held_out
    assert rows_of.unit_of(found.executed()) == "cell"
    assert (held_out.anchors, held_out.unit) == (16 * SIZE**2 * 3, "anchors")
    given, exact = (answers(each, images(16, seed=9)) for each in (found.model(), cells()))
    flips = ((given[..., 8:11] > 0) != (exact[..., 8:11] > 0)).mean()
    assert 0 < flips < 0.1
    assert held_out.agree / held_out.answers == pytest.approx(1 - flips, abs=0.02)


@pytest.mark.parametrize("residual", ["shortcut", "both"])
def test_openvino_runs_all_in_int8_but_what_joins_the_rows(residual: str, tmp_path: Path) -> None:
    dialect = replace(targets.get("openvino").dialect, residual=residual)
    onnx.save(engine.stand_in(detector(), engine.Choices(dialect)), tmp_path / "int8.onnx")
    compiled = openvino.Core().compile_model(tmp_path / "int8.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    abouts = [operator.get_rt_info() for operator in compiled.get_runtime_model().get_ordered_ops()]
    layers = [
        [about[key].astype(str) for key in ("layerType", "runtimePrecision", "originalLayersNames")] for about in abouts
    ]
    convolutions = [precision for kind, precision, _ in layers if kind == "Convolution"]
    assert len(convolutions) == len(Net(detector()).weighted())
    assert set(convolutions) <= {"u8", "i8"}
    between = [precision for _, precision, names in layers if {"up", "added"} & set(names.split(","))]
    assert between
    assert set(between) <= {"u8", "i8"}
    ends = [precision for kind, precision, _ in layers if kind in ("Concatenation", "Transpose")]
    assert set(ends) == {"f32"}


def optimized(model: onnx.ModelProto, folder: Path) -> list[str]:
    """Return the operators that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node]


def test_onnxruntime_computes_all_in_int8_but_the_last_layers(tmp_path: Path) -> None:
    model = engine.stand_in(detector(), engine.Choices(targets.get("onnxruntime").dialect))
    kinds = optimized(model, tmp_path)
    assert kinds.count("QLinearAdd") == 1
    assert kinds.count("Conv") == 6  # two heads on three levels
    assert kinds.count("QLinearConv") == len(Net(detector()).weighted()) - 6


def test_onnxruntime_computes_a_layer_in_int8_that_is_an_answer_and_is_read(tmp_path: Path) -> None:
    net = Maker()
    features = net.conv(net.relu(net.conv("image", "c1", 8)), "c2", 8)
    net.cat("logits", features, net.conv(features, "c3", 4))  # as the first stage of Faster R-CNN answers
    model = engine.stand_in(net.model(12, SIZE, SIZE), engine.Choices(targets.get("onnxruntime").dialect))
    kinds = optimized(model, tmp_path)
    assert (kinds.count("QLinearConv"), kinds.count("Conv")) == (2, 1)


@needs_rtx
@pytest.mark.slow
def test_tensorrt_rtx_builds_what_is_written_for_tensorrt_and_its_half_precision() -> None:
    model = engine.stand_in(detector(), engine.Choices(TENSORRT))
    assert accepts.findings(model, "tensorrt", TENSORRT) == []
    assert "CONVOLUTION FLOAT" in parsed_and_built(model)
    assert "CONVOLUTION HALF" in parsed_and_built(half.half(model))
    assert "CONVOLUTION HALF" in parsed_and_built(half.half(detector()))


def test_the_search_for_float_layers_takes_those_that_share_weights_as_one(tmp_path: Path) -> None:
    model, given = detector(), images(40)
    choices = engine.Choices(CPU, minutes=1.0)

    def quantized(chosen: engine.Choices) -> engine.Quantized:
        return engine.quantize(source(detector()), None, chosen, batches(given), images(16, seed=9))

    goals = Goals(max_drop_pp=None, max_flips_pct=1e-4, max_confidence_change=None, images=10**7)
    found = controlled(model, quantized, choices, given, goals, None, tmp_path, "q", 0.0)
    assert found.notes.tried
    tried = {name for each in found.notes.tried for name in each.layers}
    assert tried <= set(notes_of(quantized(choices), CPU).int8)
    for name in found.notes.chosen.layers:
        assert not {label(node) for node in found.network.placement.weights.values()} & {name}
