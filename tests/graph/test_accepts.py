"""The findings of quantized files with one fault each, for each compiler. The compilers themselves run, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeresnet import targets
from edgeresnet.errors import TargetError
from edgeresnet.graph import accepts, quantized
from edgeresnet.targets import tensorrt_rtx

from .classifier import classifier
from .quantized import CHANNELS, CLASSES, ERRORS, GOOD, SILENT, WARNINGS, Net, clean
from .rtx import needs_rtx

Make = Callable[[], onnx.ModelProto]


def rules(model: onnx.ModelProto, target: str = "tensorrt", severity: str = "") -> set[str]:
    found = accepts.findings(model, target, targets.get(target).dialect)
    assert all(each.place and each.what and each.why and each.remedy for each in found)
    return {each.rule for each in found if severity in ("", each.severity)}


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt_rtx"])
@pytest.mark.parametrize(("rule", "make"), (ERRORS | SILENT).values(), ids=(ERRORS | SILENT).keys())
def test_what_tensorrt_refuses_or_misreads_is_an_error(target: str, rule: str, make: Make) -> None:
    assert rules(make(), target, "error") == {rule}


@pytest.mark.parametrize(("rule", "make"), WARNINGS.values(), ids=WARNINGS.keys())
def test_what_costs_tensorrt_time_is_a_warning(rule: str, make: Make) -> None:
    found = accepts.findings(make(), "tensorrt", targets.get("tensorrt").dialect)
    assert {(each.severity, each.rule) for each in found} == {("warning", rule)}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD.keys())
def test_nothing_is_said_against_a_file_as_it_should_be(make: Make) -> None:
    assert rules(make()) == set()


def test_a_finding_names_its_node_and_errors_come_first() -> None:
    _, make = ERRORS["int8 with a zero point"]
    found = accepts.findings(make(), "tensorrt", targets.get("tensorrt").dialect)
    assert {each.place for each in found} == {"r1.q_QuantizeLinear", "r1.dq_DequantizeLinear"}
    assert {each.what for each in found} == {"the zero point is -3, not 0"}

    model = clean(conv_edge={}, relu={"zero": 1}).model()
    severities = [each.severity for each in accepts.findings(model, "tensorrt", targets.get("tensorrt").dialect)]
    assert severities == sorted(severities)
    assert set(severities) == {"error", "warning"}


@pytest.mark.parametrize("target", targets.discover())
def test_a_float_file_has_no_findings(target: str) -> None:
    assert rules(classifier(), target) == set()
    assert not quantized.Plan(classifier()).summary().quantized


def test_how_much_of_it_is_int8() -> None:
    about = quantized.Plan(clean().model()).summary()
    assert (about.quantized, about.int8, about.weighted) == (True, 3, 3)
    assert about.operators["QuantizeLinear"] == 4
    about = quantized.Plan(WARNINGS["float weights"][1]()).summary()
    assert (about.int8, about.weighted) == (2, 3)


def _padded(
    *, kind: type = np.int8, zero: int = -128, shared: bool = True, width: int = 8, behind: bool = False
) -> onnx.ModelProto:
    """An option-A shortcut, each of its steps between Q and DQ, as onnxruntime.quantization writes it."""
    net, half = Net(), CHANNELS - 2 * width
    bias = net.hold("b", np.ones(half, np.float32))
    value = net.qdq(net.add("Relu", [net.conv("image", "c1", net.weights("w1", half, 3, 3, 3), bias)], "r1"),
                    zero=zero, kind=kind)  # fmt: skip
    weights = net.dq_weights("w2", CHANNELS, half, 3, 3)
    made = net.conv(value, "c2", weights, strides=[2, 1])
    for name, number in (("from", 0), ("to", 8), ("axis", 2), ("step", 2)):
        net.hold(name, np.array([number]))
    value = net.qdq(net.add("Slice", [value, "from", "to", "axis", "step"], "cut"), zero=zero, kind=kind)
    if shared:
        for name in ("cut.q", "cut.dq"):
            net.maker(name).input[2] = "r1.zero"
    padded = net.add("Pad", [value, net.hold("pads", np.array([0, width, 0, 0, 0, width, 0, 0]))], "padded")
    if behind:
        padded = net.qdq(padded, zero=zero, kind=kind)
        for name in ("padded.q", "padded.dq"):
            net.maker(name).input[2] = "cut.zero"
    added = net.add("Add", [made, padded], "sum")
    pooled = net.add("Flatten", [net.add("GlobalAveragePool", [added], "pooled")], "flat")
    bias = net.hold("fc.b", np.zeros(CLASSES, np.float32))
    net.add("Gemm", [pooled, net.weights("fc", CLASSES, CHANNELS), bias], "logits", transB=1)
    return net.model(batch=1)


_PADDED = [
    pytest.param({}, True, id="shared, signed"),
    pytest.param({"kind": np.uint8, "zero": 3}, True, id="shared, unsigned"),
    pytest.param({"shared": False}, False, id="each its own"),
    pytest.param({"shared": False, "behind": True}, False, id="shared with what follows the padding"),
    pytest.param({"zero": 0}, False, id="a zero point of 0"),
    pytest.param({"width": 0}, False, id="no channel is padded"),
]


@pytest.mark.parametrize(("about", "refused"), _PADDED)
def test_a_padded_shortcut_with_a_shared_zero_point_is_refused_by_openvino(about: dict, refused: bool) -> None:
    """The lint, and OpenVINO itself: unsigned on every CPU, signed on some (with AMX, not with VNNI alone)."""
    openvino = pytest.importorskip("openvino")
    model = _padded(**about)
    assert rules(model, "openvino", "error") == ({"shared-zero-point"} if refused else set())
    core = openvino.Core()
    network = core.read_model(model.SerializeToString())
    if refused and not openvino.__version__.startswith("2026.4"):
        return
    message = ""
    try:
        core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as problem:
        message = str(problem)
    assert ("shapes are inconsistent" in message) if message or (refused and "kind" in about) else not message
    assert refused or not message


@pytest.mark.parametrize(("target", "alike", "floats"), [
    ("openvino", True, False), ("openvino", False, True), ("onnxruntime", True, True), ("onnxruntime", False, True),
])  # fmt: skip
def test_data_with_zero_points_or_scales_per_channel(target: str, alike: bool, floats: bool, tmp_path: Path) -> None:
    """The lint, and what the compiler runs: zero points per channel are INT8 in OpenVINO alone."""
    about = {"scale": np.full(CHANNELS, 0.02), "axis": 1, "kind": np.uint8}
    net = clean(relu=about)
    net.hold("r1.zero", np.arange(CHANNELS).astype(np.uint8))
    if not alike:
        net.hold("r1.scale", np.geomspace(0.01, 0.04, CHANNELS).astype(np.float32))
    onnx.save(net.model(batch=1), tmp_path / "net.onnx")
    assert ("per-channel-data" in rules(net.model(batch=1), target)) == floats
    runtime = targets.get(target)
    (tmp_path / "compiled").mkdir()
    runtime.compile(tmp_path / "net.onnx", runtime.options(), tmp_path / "compiled")
    with runtime.load(tmp_path / "compiled") as session:
        ran = [layer for layer in session.layers() if "Conv" in layer.operator]
    assert any(layer.precision == "f32" for layer in ran) == floats


@pytest.mark.parametrize(
    ("target", "case", "expected"),
    [
        ("openvino", "uint8 after a ReLU", {"residual-one"}),
        ("onnxruntime", "uint8 after a ReLU", {"residual-one"}),
        ("openvino", "int8 with a zero point", {"residual-one", "signed-relu", "signed-shifted"}),
        ("openvino", "QLinearConv", {"residual-one", "operator", "signed-relu"}),
        ("onnxruntime", "QLinearConv", {"residual-one", "signed-relu"}),
        ("openvino", "ConvInteger", {"residual-one", "signed-relu"}),
        ("openvino", "DynamicQuantizeLinear", {"residual-one", "signed-relu"}),
        ("openvino", "int32 bias", {"residual-one", "signed-relu"}),
        ("openvino", "a scale of 0", {"residual-one", "scale", "signed-relu"}),
        ("openvino", "no DequantizeLinear", {"residual-one", "no-dequantize", "half-quantized", "signed-relu"}),
    ],
)
def test_what_the_cpu_targets_make_of_it(target: str, case: str, expected: set[str]) -> None:
    """Expect uint8 for CPUs: the last ReLU of these networks is signed, and reported, unless all are unsigned."""
    _, make = ERRORS[case]
    assert rules(make(), target) - ({"signed-relu"} if "uint8" in case else set()) == expected


def test_only_what_a_relu_makes_is_told_to_be_signed() -> None:
    model = clean().model()
    found = accepts.findings(model, "openvino", targets.get("openvino").dialect)
    maker = {name: node for node in model.graph.node for name in node.output}
    pairs = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    behind = {node.name for node in pairs if node.input[0] in maker and maker[node.input[0]].op_type == "Relu"}
    assert {each.place for each in found if each.rule == "signed-relu"} == behind
    assert 0 < len(behind) < len(pairs)


def _objections(model: onnx.ModelProto, folder: Path) -> list[str]:
    """Return the complaints of TensorRT-RTX's parser, or else of its builder."""
    onnx.save(model, folder / "net.onnx")
    reading = tensorrt_rtx.read(folder / "net.onnx")
    if not reading.accepted or reading.complaints:
        return [each.said for each in reading.complaints]
    try:
        reading = tensorrt_rtx.build(folder / "net.onnx", folder / "net.engine", capabilities=["8.6"])
    except TargetError as problem:
        return [problem.message]
    return [each.said for each in reading.complaints]


@needs_rtx
@pytest.mark.slow
@pytest.mark.parametrize(("rule", "make"), ERRORS.values(), ids=ERRORS.keys())
def test_tensorrt_rtx_objects_to_every_error(tmp_path: Path, rule: str, make: Make) -> None:
    assert _objections(make(), tmp_path)


@needs_rtx
@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [*GOOD.values(), *(make for _, make in (WARNINGS | SILENT).values())], ids=[*GOOD, *WARNINGS, *SILENT]
)
def test_tensorrt_rtx_takes_all_else_without_a_word(tmp_path: Path, make: Make) -> None:
    assert _objections(make(), tmp_path) == []


@needs_rtx
@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        "a list of one scale",
        "a scale per channel of the data",
        "scales along the inputs",
        "scales along the inputs of a Gemm",
        "float data",
    ],
)
def test_what_runs_in_float_makes_tensorrt_rtxs_engine_larger(tmp_path: Path, case: str) -> None:
    """The engine holds float weights then: without a GPU the only sign of what will run."""
    sizes = []
    for model in (clean().model(), WARNINGS[case][1]()):
        onnx.save(model, tmp_path / "net.onnx")
        tensorrt_rtx.build(tmp_path / "net.onnx", tmp_path / "net.engine", capabilities=["8.6"])
        sizes.append((tmp_path / "net.engine").stat().st_size)
    assert sizes[1] > 1.1 * sizes[0]
