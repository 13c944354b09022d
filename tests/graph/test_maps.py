"""Findings of resizing and concatenation, for each compiler; the compilers themselves run, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgeresnet import targets
from edgeresnet.targets import tensorrt_rtx

from .quantized import Net
from .rtx import needs_rtx, parsed_and_built
from .running import answers, openvino_answers, sqnr
from .test_accepts import rules

NVIDIA = ("tensorrt", "tensorrt_rtx")


def resized(*, sizes: bool = False, batch: int | str = "batch", factor: float = 2, **about: Any) -> onnx.ModelProto:
    """Return a float network that resizes."""
    net = Net()
    value = net.conv("image", "c1", net.weights("w1", 32, 3, 3, 3))
    if sizes:
        given, about = ["", "", net.hold("sides", np.array([16, 16]))], {"axes": [2, 3], **about}
    else:
        given = ["", net.hold("scales", np.array([1, 1, factor, factor], np.float32))]
    net.add("Resize", [value, *given], "larger", **about)
    net.add("Flatten", [net.add("GlobalMaxPool", ["larger"], "pooled")], "flat")
    net.add("Gemm", ["flat", net.weights("fc", 16, 32), net.hold("fc.b", np.zeros(16, np.float32))], "logits", transB=1)
    return net.model(batch=batch)


def joined(before: str = "one scale", *, after: bool = True, resize: str = "") -> onnx.ModelProto:
    """Return an INT8 network of two branches that are joined."""
    net = Net()
    x = net.qdq(net.add("Relu", [net.conv(net.qdq("image"), "c1", net.dq_weights("w1", 32, 3, 3, 3))], "r1"))
    branches = []
    for number, name in enumerate(("a", "b")):
        value = net.add("Relu", [net.conv(x, name, net.dq_weights(f"w{name}", 32, 32, 3, 3))], f"{name}_relu")
        if before != "float":
            value = net.qdq(value, scale=0.02 + 0.01 * number * (before == "own scales"))
        branches.append(value)
    if resize:
        held = net.hold("scales", np.array([1, 1, 2, 2], np.float32))
        branches = [net.add("Resize", [each, "", held], f"{each}.{resize}", mode=resize) for each in branches]
        branches = [net.qdq(each) for each in branches]
    value = net.add("Concat", branches, "cat", axis=1)
    value = net.qdq(value) if after else value
    value = net.qdq(net.add("Relu", [net.conv(value, "c2", net.dq_weights("w2", 32, 64, 3, 3))], "r2"))
    net.add("Flatten", [net.qdq(net.add("GlobalAveragePool", [value], "pooled"))], "flat")
    net.add(
        "Gemm", ["flat", net.dq_weights("fc", 16, 32), net.hold("fc.b", np.zeros(16, np.float32))], "logits", transB=1
    )
    return net.model()


def accepted(model: onnx.ModelProto, folder: Path) -> bool:
    onnx.save(model, folder / "net.onnx")
    return tensorrt_rtx.read(folder / "net.onnx").accepted


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("resize-place", {"coordinate_transformation_mode": "half_pixel_symmetric"}),
    ("resize-place", {"coordinate_transformation_mode": "tf_crop_and_resize"}),
    ("resize-antialias", {"mode": "linear", "antialias": 1}),
    ("resize-axes", {"mode": "linear", "sizes": True}),
]
TAKEN: list[dict[str, Any]] = [
    *({"mode": "linear", "coordinate_transformation_mode": place} for place in ("half_pixel", "align_corners")),
    {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"mode": "cubic"},
    {"mode": "linear", "sizes": True, "batch": 1},
]


@pytest.mark.parametrize(("rule", "about"), REFUSED)
def test_what_tensorrts_parser_refuses(rule: str, about: dict[str, Any]) -> None:
    for target in NVIDIA:
        assert rules(resized(**about), target, "error") == {rule}
    assert rules(resized(**about), "onnxruntime") == set()


@pytest.mark.parametrize("about", TAKEN)
def test_nothing_is_said_against_what_all_take(about: dict[str, Any]) -> None:
    assert all(rules(resized(**about), target) == set() for target in targets.discover())


@needs_rtx
@pytest.mark.parametrize("about", [about for _, about in REFUSED])
def test_the_parser_does_refuse_it(about: dict[str, Any], tmp_path: Path) -> None:
    assert not accepted(resized(**about), tmp_path)


@needs_rtx
@pytest.mark.parametrize("about", TAKEN)
def test_the_parser_takes_the_rest(about: dict[str, Any], tmp_path: Path) -> None:
    assert accepted(resized(**about), tmp_path)


@pytest.mark.parametrize(
    ("rule", "about"),
    [
        ("resize-antialias", {"mode": "linear", "antialias": 1, "factor": 0.5}),
        ("resize-outside", {"mode": "cubic", "exclude_outside": 1}),
    ],
)
def test_what_openvino_computes_otherwise(rule: str, about: dict[str, Any]) -> None:
    model, image = resized(batch=1, **about), np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    assert rules(model, "openvino", "error") == {rule}
    assert sqnr(answers(model, image), openvino_answers(model, image)) < 60


def test_what_openvino_refuses() -> None:
    model = resized(batch=1, coordinate_transformation_mode="half_pixel_symmetric")
    assert rules(model, "openvino", "error") == {"resize-place"}
    with pytest.raises(RuntimeError):
        openvino_answers(model, np.zeros((1, 3, 8, 8), np.float32))


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        (joined("own scales"), "concat-scales"),
        (joined("float"), "concat-float"),
        (joined(after=False), "half-quantized"),
    ],
)
def test_a_concatenation_that_costs_time_is_a_warning(model: onnx.ModelProto, rule: str, tmp_path: Path) -> None:
    assert rules(model, "tensorrt", "warning") == {rule}
    assert rules(model, "tensorrt", "error") == set()


def test_openvino_moves_q_and_dq_before_a_concatenation_by_itself() -> None:
    assert "concat-float" not in rules(joined("float"), "openvino")


@needs_rtx
@pytest.mark.parametrize("before", ["one scale", "own scales", "float"])
def test_the_parser_takes_any_scales(before: str, tmp_path: Path) -> None:
    assert accepted(joined(before), tmp_path)


def test_what_is_resized_in_int8_has_no_finding() -> None:
    assert rules(joined(resize="linear")) == rules(joined(resize="nearest")) == rules(joined()) == set()
    model = joined("float", resize="nearest")
    assert rules(model) == rules(model, "tensorrt", "warning") == {"resize-float"}
    assert "resize-float" not in rules(model, "openvino")


def test_a_concatenation_of_shapes_is_none() -> None:
    model = joined()
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "n"))
    model.graph.node.append(helper.make_node("Concat", ["n", "n"], ["nn"], axis=0, name="shape"))
    assert rules(model) == set()


def ended(first: int, *, batch: int | str = "batch", answer: str = "float") -> onnx.ModelProto:
    """Return a network that ends as a detector does: logits and offsets of each cell in rows, next to each other."""
    net = Net()
    value = net.qdq("image")
    parts = []
    for name, columns in (("logits.rows", 12), ("offsets.rows", 4)):
        weights = net.dq_weights(f"w.{name}", 2 * columns, 3, 3, 3)
        bias = net.hold(f"b.{name}", np.zeros(2 * columns, np.float32))
        found = net.conv(value, f"{name}.conv", weights, bias)
        found = net.add("Reshape", [found, net.hold(f"{name}.a", np.array([first, 2, columns, 64]))], f"{name}.apart")
        found = net.add("Transpose", [found], f"{name}.moved", perm=[0, 3, 1, 2])
        found = net.add("Reshape", [found, net.hold(f"{name}.b", np.array([first, 128, columns]))], name)
        parts.append(net.qdq(found) if answer == "all INT8" else found)
    joined = net.add("Concat", parts, "logits" if answer == "float" else "joined", axis=2)
    if answer != "float":
        net.qdq(joined, as_name="answer")
        net.add("Identity", ["answer.dq"], "logits")
    return net.model(batch=batch)


@pytest.mark.parametrize("target", NVIDIA)
def test_a_reshape_to_one_image_of_an_open_batch_is_refused(target: str) -> None:
    assert rules(ended(1), target) == {"reshape-batch"}
    assert rules(ended(0), target) == rules(ended(1, batch=1), target) == set()


def test_openvino_takes_a_reshape_to_one_image_as_it_is() -> None:
    assert "reshape-batch" not in rules(ended(1), "openvino")


@pytest.mark.parametrize("target", [*NVIDIA, "onnxruntime", "openvino"])
@pytest.mark.parametrize("answer", ["all INT8", "joined INT8"])
def test_an_answer_that_is_rounded_after_it_is_joined_is_a_warning(target: str, answer: str) -> None:
    found = {rule for rule in rules(ended(0, answer=answer), target) if "concat" in rule}
    assert found == {"concat-answer"}


@needs_rtx
@pytest.mark.slow
def test_tensorrt_rtx_refuses_several_images_where_one_is_written() -> None:
    assert parsed_and_built(ended(0))
    with pytest.raises(AssertionError):
        parsed_and_built(ended(1))
