"""Odd graphs, as exporters of all ages and hands write them, and the one form that becomes of each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeresnet.errors import ModelError
from edgeresnet.graph import canonical

from .running import answers

_RNG = np.random.default_rng(0)
_CONV = {"w": (8, 3, 3, 3), "fw": (4, 8), "fb": (4,)}
_HEAD = ["GlobalAveragePool z -> p", "Flatten p -> q", "Gemm q fw fb -> y transB=1"]
_FOLDED = ["Conv", "Relu", "GlobalAveragePool", "Reshape", "Gemm"]


def _bn(channels: int, name: str = "n") -> dict[str, object]:
    positive = {f"{name}.{key}": _RNG.uniform(0.5, 1.5, channels).astype(np.float32) for key in ("scale", "var")}
    return {f"{name}.bias": (channels,), f"{name}.mean": (channels,), **positive}


def _model(lines: list[str], held: Mapping[str, object]) -> onnx.ModelProto:
    """Nodes as `Operator inputs -> outputs attribute=value`; a tuple among the held stands for random numbers so."""
    nodes = []
    for line in lines:
        before, after = line.split(" -> ")
        operator, *inputs = before.split()
        words = after.split()
        attributes = {key: eval(value) for key, value in (word.split("=") for word in words if "=" in word)}
        if operator == "BatchNormalization":
            inputs[1:] = [f"{inputs[1]}.{key}" for key in ("scale", "bias", "mean", "var")]
        if operator == "Conv" and "auto_pad" not in attributes:
            attributes["pads"] = [1, 1, 1, 1]
        nodes.append(helper.make_node(operator, inputs, [word for word in words if "=" not in word], **attributes))
    tensors = []
    for name, value in held.items():
        values = _RNG.normal(size=value).astype(np.float32) if isinstance(value, tuple) else np.asarray(value)
        tensors.append(numpy_helper.from_array(values, name))
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(nodes, "odd", [image], [logits], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


_TO_C = {
    "bn": (["Conv x w -> a", "BatchNormalization a n -> c"], _bn(8)),
    "bn after a bias": (["Conv x w b -> a", "BatchNormalization a n -> c"], {"b": (8,), **_bn(8)}),
    "bn after a scale": (["Conv x w -> a", "Mul a s -> b", "BatchNormalization b n -> c"], {"s": (8, 1, 1), **_bn(8)}),
    "scale layer": (["Conv x w -> a", "Mul a s -> b", "Add b t -> c"], {"s": (8, 1, 1), "t": (1, 8, 1, 1)}),
    "constants first": (["Conv x w -> a", "Mul s a -> b", "Sub t b -> c"], {"s": (1,), "t": (8, 1, 1)}),
    "one number for all": (["Conv x w -> a", "Sub a t -> b", "Div b s -> c"], {"s": (), "t": ()}),
    "identity": (["Identity w -> v", "Conv x v -> a", "Identity a -> c"], {}),
    "times one": (["Conv x w -> a", "Mul a s -> c"], {"s": np.float32(1)}),
    "dead": (["Conv x w -> c", "Sigmoid c -> dead"], {"never": (3,)}),
    "pad": (["Pad x pads -> p0", "Conv p0 w -> c"], {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)}),
    "pads that are computed": (
        ["ConstantOfShape four -> f", "Cast f -> n to=7", "Concat n ones n ones -> pads axis=0", "Pad x pads -> p0",
         "Conv p0 w -> c"],
        {"four": np.array([2], np.int64), "ones": np.array([1, 1], np.int64)},
    ),
    "weights out of nodes": (["Constant -> s value_floats=[2.0]", "Mul w s -> v", "Conv x v -> c"], {}),
}  # fmt: skip
_FROM_Z = {
    "dropout": ["GlobalAveragePool z -> p", "Dropout p -> o mask", "Flatten o -> q", "Gemm q fw fb -> y transB=1"],
    "identity at the end": [*_HEAD[:2], "Gemm q fw fb -> y0 transB=1", "Identity y0 -> y"],
    "matmul": [*_HEAD[:2], "Transpose fw -> t perm=[1,0]", "MatMul q t -> y"],
    "matmul add": [*_HEAD[:2], "Transpose fw -> t perm=[1,0]", "MatMul q t -> m", "Add m fb -> y"],
    "add matmul": [*_HEAD[:2], "Transpose fw -> t perm=[1,0]", "MatMul q t -> m", "Add fb m -> y"],
    "factors": [*_HEAD[:2], "Gemm q fw fb -> y transB=1 alpha=0.5 beta=2.0"],
    "the batch in front": [
        _HEAD[0], "Shape p -> sh", "Gather sh zero -> a", "Unsqueeze a zeros -> b", "Concat b rest -> to axis=0",
        "Reshape p to -> q", _HEAD[2],
    ],
    "the batch in front, by a slice": [
        _HEAD[0], "Shape p -> sh", "Cast sh -> s32 to=6", "Slice s32 zeros ones zeros -> b", "Cast b -> b64 to=7",
        "Concat b64 rest -> to axis=0", "Reshape p to -> q", _HEAD[2],
    ],
    "scaled logits": [*_HEAD[:2], "Gemm q fw fb -> m transB=1", "Mul m fb -> o", "Div o fb -> y"],
}  # fmt: skip


def _same(model: onnx.ModelProto) -> list[str]:
    """Its operators once canonical; the answers are the original's, and nothing changes a second time."""
    images = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    made = canonical.canonical(model)
    expected = answers(model, images)
    np.testing.assert_allclose(answers(made, images), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    again = canonical.canonical(made)
    assert again.SerializeToString() == made.SerializeToString()
    used = {name for node in made.graph.node for name in node.input}
    assert {tensor.name for tensor in made.graph.initializer} <= used
    return [node.op_type for node in made.graph.node]


@pytest.mark.parametrize(("lines", "held"), _TO_C.values(), ids=_TO_C)
def test_all_that_belongs_to_a_convolution_is_inside_it(lines: list[str], held: Mapping[str, object]) -> None:
    assert _same(_model([*lines, "Relu c -> z", *_HEAD], {**_CONV, **held})) == _FOLDED


def test_weights_are_weights_however_large_and_wherever_they_come_from() -> None:
    turned = ["Transpose hwio -> v perm=[3,2,0,1]", "Conv x v -> a", "Relu a -> b"]
    flat = ["Reshape flat to -> u", "Conv b u -> d"]
    twice = ["Relu d -> e", "Conv e big -> f", "Relu f -> g", "Transpose big -> t perm=[1,0,2,3]", "Conv g t -> c"]
    to = np.array([200, 40, 3, 3], np.int64)
    held = {"hwio": (3, 3, 3, 40), "flat": (200 * 40 * 9,), "to": to, "big": (200, 200, 3, 3)}
    model = _model([*turned, *flat, *twice, "Relu c -> z", *_HEAD], {**_CONV, **held, "fw": (4, 200)})
    assert _same(model) == ["Conv", "Relu"] * 3 + _FOLDED


@pytest.mark.parametrize("lines", _FROM_Z.values(), ids=_FROM_Z)
def test_the_classifier_is_one_gemm(lines: list[str]) -> None:
    held: Mapping[str, object] = {"zero": 0, "zeros": [0], "ones": [1], "rest": [-1]}
    held = {name: np.array(value, np.int64) for name, value in held.items()}
    assert _same(_model(["Conv x w -> c", "Relu c -> z", *lines], _CONV | held)) == _FOLDED


@pytest.mark.parametrize("bias", [(), (1,), (1, 1), (1, 4)])
def test_a_bias_has_a_number_for_each_output(bias: tuple[int, ...]) -> None:
    model = _model(["Conv x w -> c", "Relu c -> z", *_HEAD], {**_CONV, "fb": np.ones(bias, np.float32)})
    assert _same(model) == _FOLDED
    (held,) = [each for each in canonical.canonical(model).graph.initializer if list(each.dims) == [4]]
    np.testing.assert_array_equal(numpy_helper.to_array(held), np.ones(4))


@pytest.mark.parametrize("attribute", ["", " allowzero=1"], ids=["", "as torch writes it"])
def test_a_fixed_batch_in_a_reshape_is_as_many_as_there_are(attribute: str) -> None:
    # torch writes the batch of its example into every shape, and calibration runs several images at once.
    lines = [
        "Conv x w -> c", f"Reshape c heads -> v{attribute}", "Transpose v -> t perm=[0,3,4,1,2]",
        f"Reshape t rows -> y{attribute}",
    ]  # fmt: skip
    heads, rows = (np.array(each, np.int64) for each in ([1, -1, 4, 8, 8], [1, 128, 4]))
    model = _model(lines, {"w": _CONV["w"], "heads": heads, "rows": rows})
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 128, 4]))
    made = canonical.canonical(model)
    images = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    expected = np.concatenate([answers(model, image[None]) for image in images])
    assert canonical.canonical(made).SerializeToString() == made.SerializeToString()
    np.testing.assert_allclose(answers(made, images[:1]), expected[:1], rtol=1e-4, atol=1e-4)
    for value in (made.graph.input[0], made.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del made.graph.value_info[:]
    np.testing.assert_allclose(answers(made, images), expected, rtol=1e-4, atol=1e-4)


KEPT: dict[str, tuple[list[str], Mapping[str, object], list[str]]] = {
    "bn before a convolution": (
        ["BatchNormalization x n -> a", "Conv a w -> c", "Relu c -> z", *_HEAD],
        _bn(3), ["BatchNormalization", *_FOLDED],
    ),
    "images normalised inside": (
        ["Sub x s -> a", "Div a t -> b", "Conv b w -> c", "Relu c -> z", *_HEAD],
        {"s": (3, 1, 1), "t": (1, 3, 1, 1)}, ["Sub", "Div", *_FOLDED],
    ),
    "an answer that two take": (
        ["Conv x w -> a", "BatchNormalization a n -> c", "Relu c -> r", "Add r a -> z", *_HEAD],
        _bn(8), ["Conv", "BatchNormalization", "Relu", "Add", *_FOLDED[2:]],
    ),
    "a number for each column": (
        ["Conv x w -> a", "Mul a s -> c", "Relu c -> z", *_HEAD], {"s": (8,)}, ["Conv", "Mul", *_FOLDED[1:]],
    ),
    "one over": (
        ["Conv x w -> a", "Div s a -> c", "Relu c -> z", *_HEAD], {"s": (8, 1, 1)}, ["Conv", "Div", *_FOLDED[1:]],
    ),
    "the mean by another word": (
        ["Conv x w -> c", "Relu c -> z", "ReduceMean z axes -> q keepdims=0", _HEAD[2]],
        {"axes": np.array([2, 3], np.int64)}, ["Conv", "Relu", "ReduceMean", "Gemm"],
    ),
    "as many as somebody else's first side": (
        [
            "Conv x w -> c", "Relu c -> z", _HEAD[0], "Flatten p -> r", "Shape r -> sh", "Gather sh zero -> a",
            "Unsqueeze a zeros -> b", "Concat b rest -> to axis=0", "Transpose r -> t perm=[1,0]", "Reshape t to -> q",
            _HEAD[2],
        ],
        {"zero": np.int64(0), "zeros": np.array([0], np.int64), "rest": np.array([-1], np.int64)},
        [*_FOLDED[:4], "Shape", "Gather", "Unsqueeze", "Concat", "Transpose", "Reshape", "Gemm"],
    ),
    "a shape that hangs on more than the batch": (
        [
            "Conv x w -> c", "Relu c -> z", _HEAD[0], "Shape p -> sh", "Gather sh zero -> a", "Max a one -> a1",
            "Unsqueeze a1 zeros -> b", "Concat b rest -> to axis=0", "Reshape p to -> q", _HEAD[2],
        ],
        {"zero": np.int64(0), "zeros": np.array([0], np.int64), "rest": np.array([-1], np.int64), "one": np.int64(1)},
        ["Conv", "Relu", "GlobalAveragePool", "Shape", "Gather", "Max", "Unsqueeze", "Concat", "Reshape", "Gemm"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "held", "operators"), KEPT.values(), ids=KEPT)
def test_what_cannot_be_folded_stays_as_it_is(
    lines: list[str], held: Mapping[str, object], operators: list[str]
) -> None:
    assert _same(_model(lines, {**_CONV, **held})) == operators


PADDED = {
    "same, up": ["Conv x w -> c auto_pad='SAME_UPPER' strides=[2,2]", "Relu c -> z"],
    "same, low": ["Conv x w -> c auto_pad='SAME_LOWER' strides=[2,2]", "Relu c -> z"],
    "same, one by one": ["Conv x w -> c auto_pad='SAME_UPPER' kernel_shape=[3,3]", "Relu c -> z"],
    "valid": ["Conv x w -> c auto_pad='VALID'", "Relu c -> z"],
    "explicit pads": ["Conv x w -> c auto_pad='NOTSET' pads=[1,0,2,1]", "Relu c -> z"],
    "a pooling": [
        "Conv x w -> c", "Relu c -> r", "MaxPool r -> z auto_pad='SAME_UPPER' kernel_shape=[3,3] strides=[3,3]",
    ],
    "an average": [
        "Conv x w -> c auto_pad='VALID'", "Relu c -> r",
        "AveragePool r -> z auto_pad='SAME_LOWER' kernel_shape=[4,4] strides=[4,4]",
    ],
}  # fmt: skip


@pytest.mark.parametrize("lines", PADDED.values(), ids=PADDED)
def test_padding_is_in_numbers(lines: list[str]) -> None:
    model = _model([*lines, *_HEAD], _CONV)
    _same(model)
    assert not [a for node in canonical.canonical(model).graph.node for a in node.attribute if a.name == "auto_pad"]


def test_weights_that_two_convolutions_share_are_scaled_for_one_alone() -> None:
    lines = ["Conv x v -> a", "BatchNormalization a n -> b", "Conv b v -> c", "Relu c -> z", *_HEAD]
    model = _model(lines, {**_CONV, "v": (3, 3, 3, 3), "fw": (4, 3), **_bn(3)})
    assert _same(model) == ["Conv", *_FOLDED]


def test_an_answer_that_is_also_scaled_for_a_second_output_is_refused_in_one_line() -> None:
    model = _model(["Conv x w -> c", "Relu c -> z", *_HEAD, "Mul y s -> twice"], {**_CONV, "s": (1,)})
    model.graph.output.append(helper.make_tensor_value_info("twice", TensorProto.FLOAT, ["n", 4]))
    with pytest.raises(ModelError, match="has 1 inputs and 2 outputs"):
        canonical.canonical(model)


def test_what_somebody_else_calls_by_our_names_is_called_otherwise() -> None:
    ours = ["Gemm q fw fb -> logits transB=1", "Softmax logits -> y"]
    assert _same(_model(["Conv x w -> image", "Relu image -> z", *_HEAD[:2], *ours], _CONV)) == [*_FOLDED, "Softmax"]
