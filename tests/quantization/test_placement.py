"""Where Q/DQ stand, for each dialect and each kind of residual network; what stays float, and why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgeresnet import targets
from edgeresnet.graph import accepts
from edgeresnet.graph.quantized import Plan
from edgeresnet.portable import codec
from edgeresnet.portable.session import Dialect
from edgeresnet.quantization import placement as places
from edgeresnet.quantization import qdq
from edgeresnet.quantization.net import Net
from edgeresnet.quantization.placement import Placement, place, shortcut_of
from edgeresnet.quantization.scales import Grid

from .nets import (
    BOTH,
    CPU,
    DIALECTS,
    RESIDUAL,
    SIZE,
    TENSORRT,
    Make,
    Maker,
    basic,
    networks,
    plain,
    preact,
    scaled,
    smooth,
    squeezed,
)

dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())


def placed(model: onnx.ModelProto, dialect: Dialect = TENSORRT, *exclude: str) -> tuple[Net, Placement]:
    net = Net(model)
    return net, place(net, dialect, exclude)


def adds(net: Net) -> list[places.Node]:
    return [node for node in net.nodes if node.kind == "Add"]


@networks
@pytest.mark.parametrize("dialect", [TENSORRT, CPU], ids=["tensorrt", "cpu"])
def test_the_shortcut_is_quantized_and_the_way_from_convolution_to_addition_is_not(
    make: Make, dialect: Dialect
) -> None:
    net, found = placed(make(), dialect)
    assert adds(net)
    for add in adds(net):
        shortcut = shortcut_of(net, add)
        assert shortcut is not None
        branch = add.inputs[1 - shortcut]
        assert net.maker[branch].kind == "Conv"
        assert (add.name, shortcut) in found.reads
        assert (add.name, 1 - shortcut) not in found.reads
        assert branch not in found.points


@networks
def test_the_dialect_may_ask_for_both(make: Make) -> None:
    net, found = placed(make(), BOTH)
    assert all({(add.name, 0), (add.name, 1)} <= found.reads for add in adds(net))


@networks
def test_a_compiler_that_sums_in_float_gets_the_same_file_and_another_placement(make: Make) -> None:
    net, usual = placed(make(), BOTH)
    _, found = placed(make(), replace(BOTH, sums_in_float=True))
    assert (found.reads, found.points) == (usual.reads, usual.points)
    rectified = [add for add in adds(net) if [reader.kind for reader, _ in net.readers[add.name]] == ["Relu"]]
    assert found.unrounded == {(add.name, 1 - shortcut_of(net, add)) for add in rectified}  # type: ignore[operator]
    assert found.executed().reads == found.reads - found.unrounded
    assert usual.unrounded == set()


@networks
@dialects
def test_every_layer_is_int8_and_what_it_reads_is_quantized(make: Make, dialect: Dialect) -> None:
    net, found = placed(make(), dialect)
    assert found.kept == {}
    assert set(found.weights) == {node.name for node in net.weighted()}
    assert {(name, 0) for name in found.weights} <= found.reads
    assert {net.nodes[0].inputs[0]} <= set(found.points)


@networks
@dialects
def test_no_float_operator_stands_between_two_int8_layers(make: Make, dialect: Dialect) -> None:
    """What a layer, an addition or a move reads in float comes straight from what makes it."""
    net, found = placed(make(), dialect)
    for node in net.nodes:
        if node.kind in ("Conv", "Gemm", "GlobalAveragePool", *places.MOVING):
            assert (node.name, 0) in found.reads, node
        elif node.kind == "Relu":  # runs with the layer or the addition before it, or on what is quantized next
            makes = net.maker[node.inputs[0]].kind
            assert makes in ("Conv", "Add")


@networks
@dialects
def test_a_reader_of_a_quantized_tensor_reads_what_is_quantized(make: Make, dialect: Dialect) -> None:
    net, found = placed(make(), dialect)
    read = [node.inputs[slot] for node in net.nodes for slot in (0, 1) if (node.name, slot) in found.reads]
    assert set(read) == set(found.points)


@pytest.mark.parametrize("rounds_for_all", [False, True])
def test_a_layer_that_is_also_an_answer_is_rounded_for_it_where_the_compiler_needs_that(rounds_for_all: bool) -> None:
    net = Maker()
    features = net.conv(net.relu(net.conv("image", "c1", 8)), "c2", 8)
    net.cat("logits", features, net.conv(features, "c3", 4))
    _, found = placed(net.model(12, SIZE, SIZE), replace(BOTH, rounds_for_all=rounds_for_all))
    assert ("c3_out", 0) in found.reads
    assert (("logits", 0) in found.reads) == rounds_for_all
    assert ("logits", 1) not in found.reads


def test_onnxruntime_rounds_for_all_and_a_dialect_that_does_not_has_its_old_key() -> None:
    assert targets.get("onnxruntime").dialect.rounds_for_all
    assert "rounds_for_all" not in codec.encode(BOTH)


@dialects
def test_what_only_moves_values_shares_the_scale_of_what_it_reads(dialect: Dialect) -> None:
    net, found = placed(basic("A"), dialect)
    assert found.source("b2_pad") == found.source("b2_pad_cut") == found.source("b1_relu") == "b1_relu"
    assert {found.points[name] for name in ("b2_pad", "b2_pad_cut", "b1_relu")} == {found.points["b1_relu"]}
    net, found = placed(RESIDUAL["bottleneck"](), dialect)
    assert found.source("stem_out_relu") == found.source("stem_out_relu_max") == "stem_out_relu_max"
    assert found.source("flat") == found.source("pooled")
    assert (next(node.name for node in net.nodes if node.kind == "MaxPool"), 0) in found.reads


def test_only_what_a_relu_leaves_is_unsigned_and_only_for_cpus() -> None:
    for make in RESIDUAL.values():
        net, found = placed(make(), CPU)
        for tensor, grid in found.points.items():
            assert (grid == Grid(0, 255)) == places.nonnegative(net, tensor), tensor
        assert found.points["image"] == Grid(-128, 127)
        assert set(placed(make(), TENSORRT)[1].points.values()) == {Grid(-128, 127)}
    _, found = placed(RESIDUAL["preact"](), CPU)
    assert found.points["b1"] == Grid(-128, 127)
    assert found.points["b1_relu"] == Grid(0, 255)


def test_mirroring_what_a_relu_leaves_brings_nothing_negative() -> None:
    """As networks do that blur before they stride."""
    net = Maker()
    x = net.relu(net.conv("image", "c1", 8))
    sides = net.hold("sides", [0, 0, 1, 1, 0, 0, 1, 1])
    below = net.hold("below", -1, np.float32)
    mirrored = net.conv(net.add("Pad", [x, sides], "mirrored", mode="reflect"), "blur", 8, group=8)
    filled = net.conv(net.add("Pad", [net.relu(mirrored), sides, below], "filled"), "c2", 8)
    _, found = placed(net.head(filled), CPU)
    assert found.points["mirrored"] == Grid(0, 255)
    assert found.points["filled"] == Grid(-128, 127)


def test_a_clip_above_zero_leaves_nothing_negative_either() -> None:
    net = Maker()
    x = net.conv("image", "c1", 8)
    low, high = net.hold("low", 0, np.float32), net.hold("high", 6, np.float32)
    x = net.conv(net.add("Clip", [x, low, high], "relu6"), "c2", 8)
    low, high = net.hold("below", -1, np.float32), net.hold("above", 1, np.float32)
    _, found = placed(net.head(net.conv(net.add("Clip", [x, low, high], "hard"), "c3", 8)), CPU)
    assert found.points["relu6"] == Grid(0, 255)
    assert found.points["hard"] == Grid(-128, 127)


def test_half_the_weight_range_where_the_dialect_says_so() -> None:
    assert placed(plain(), DIALECTS["half"])[1].weight_grid == Grid(-63, 63)
    assert placed(plain(), CPU)[1].weight_grid == Grid(-127, 127)


def test_a_gemm_with_few_outputs_stays_float_and_says_why() -> None:
    _, found = placed(plain(10), TENSORRT)
    assert found.kept == {"fc": "it has 10 outputs: this target keeps layers with fewer than 16 in float"}
    assert set(found.weights) == {"c1_out", "c2_out"}
    assert "flat" not in found.points
    assert placed(plain(10), CPU)[1].kept == {}
    assert placed(plain(16), TENSORRT)[1].kept == {}


def test_a_gemm_whose_input_is_changed_first_stays_float() -> None:
    model = plain()
    model.graph.node[-1].attribute.append(onnx.helper.make_attribute("alpha", 0.5))
    assert placed(model)[1].kept == {"fc": "its input is transposed or scaled first"}


def test_an_excluded_layer_is_named_with_its_expression() -> None:
    net, found = placed(basic(), TENSORRT, r"^b1\.conv1$", "fc")
    assert found.kept == {"b1.conv1": "excluded by '^b1\\\\.conv1$'", "fc": "excluded by 'fc'"}
    assert "b1.conv1_out" not in found.weights
    assert ("b1.conv1_out", 0) not in found.reads
    assert len(found.weights) == len(net.weighted()) - 2


@dialects
def test_no_addition_has_exactly_one_float_input_that_a_convolution_does_not_make(dialect: Dialect) -> None:
    """Whatever is excluded."""
    for make in RESIDUAL.values():
        layers = [places.label(node) for node in Net(make()).weighted()]
        for layer in layers:
            net, found = placed(make(), dialect, f"^{layer}$")
            for add in adds(net):
                read = [(add.name, slot) in found.reads for slot in (0, 1)]
                if any(read) and not all(read):
                    branch = net.maker[add.inputs[read.index(False)]]
                    assert branch.kind == "Conv", (layer, add.name)
                    assert branch.name in found.weights, (layer, add.name)


def test_an_addition_behind_an_excluded_layer_stays_float() -> None:
    _, found = placed(basic("A"), TENSORRT, r"^b1\.conv2$")
    assert not {("b1", 0), ("b1", 1)} & found.reads
    assert {("b2", 0), ("b2", 1)} & found.reads
    model = basic("A")
    placement, values = scaled(model, TENSORRT)
    assert accepts.findings(qdq.write(model, placement, values), "tensorrt", TENSORRT) == []


def test_an_operator_without_int8_between_layers_is_reported() -> None:
    _, found = placed(squeezed(), CPU)
    why = "it is between INT8 layers, but has no INT8 form here"
    attention = "it reads one value per channel: INT8 would save no time"
    gate = {"se.down": attention, "se.up": attention}
    assert found.kept == gate | {"gate (Sigmoid)": why, "weighed (Mul)": why}
    assert set(found.weights) == {"stem_out", "b1.conv1_out", "last_out", "logits"}


def test_the_layers_of_attention_stay_float_and_their_pooling_with_them() -> None:
    """They take no time, and what they lose, every channel of the map loses."""
    for dialect in (TENSORRT, BOTH):
        _, found = placed(squeezed(projected=True), dialect)
        attention = {"squeeze", "se.down_out", "se.up_out", "gate"}
        assert not attention & {name for name, _ in found.reads}
        assert "b1.conv1_out" not in found.points


def test_a_classifier_that_multiplies_its_own_outputs_is_not_attention() -> None:
    model = plain()
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Sigmoid", ["before"], ["share"]))
    model.graph.node.append(onnx.helper.make_node("Mul", ["before", "share"], ["logits"]))
    assert "before" in placed(model)[1].weights


def scaled_sum() -> onnx.ModelProto:
    """A pre-activation block whose normalisation cannot be folded: two nodes read the sum."""
    net = Maker()
    x = net.plus(net.conv(net.relu(net.conv("image", "stem", 8)), "c1", 8), net.conv("stem_out_relu", "c2", 8), "sum")
    held = [net.hold(f"bn.{part}", np.ones(8), np.float32) for part in ("scale", "bias", "mean", "variance")]
    y = net.conv(net.relu(net.add("BatchNormalization", [x, *held], "normal")), "c3", 8)
    return net.head(net.relu(net.plus(y, x, "last")))


@pytest.mark.parametrize(
    ("make", "float_sums", "normalised"),
    [
        (scaled_sum, {"sum"}, {"sum"}),
        (lambda: squeezed(projected=True), {"b1"}, set()),
        (basic, set(), set()),
        (preact, set(), set()),
        (smooth, set(), set()),
    ],
)
def test_an_addition_next_to_a_float_operator_stays_float_where_the_dialect_wants_it(
    make: Make, float_sums: set[str], normalised: set[str]
) -> None:
    net, every = placed(make(), BOTH)
    _, found = placed(make(), replace(BOTH, float_additions="scaled"))
    _, some = placed(make(), replace(BOTH, float_additions="normalised"))
    sums = {add.name for add in adds(net)}
    assert {name for name, _ in every.reads} & sums == sums
    assert sums - {name for name, _ in found.reads} == float_sums
    assert sums - {name for name, _ in some.reads} == normalised
    assert found.weights == every.weights
    written = qdq.write(make(), *scaled(make(), targets.get("openvino").dialect))
    assert accepts.findings(written, "openvino", targets.get("openvino").dialect) == []
    known = [finding.rule for finding in accepts.findings(written, "onnxruntime", targets.get("onnxruntime").dialect)]
    assert known == ["residual-float"] * len(float_sums)  # a warning where it costs time


@pytest.mark.parametrize(
    ("target", "wanted"), [("openvino", "scaled"), ("onnxruntime", "never"), ("tensorrt", "normalised")]
)
def test_onnxruntime_needs_int8_additions_and_others_do_not(target: str, wanted: str) -> None:
    """Onnxruntime computes a convolution in float if its output is not quantized; others convert for nothing."""
    assert targets.get(target).dialect.float_additions is wanted


def test_an_operator_behind_the_last_layer_is_not_reported() -> None:
    model = plain()
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(onnx.helper.make_node("Softmax", ["before"], ["logits"]))
    assert placed(model)[1].kept == {}


def test_adding_a_constant_is_no_residual() -> None:
    net = Maker()
    x = net.relu(net.conv("image", "c1", 8))
    x = net.add("Add", [x, net.hold("shift", np.ones((1, 8, 1, 1)), np.float32)], "shifted")
    net_, found = placed(net.head(net.conv(x, "c2", 8)), BOTH)
    assert shortcut_of(net_, adds(net_)[0]) is None
    assert not {("shifted", 0), ("shifted", 1)} & found.reads


def test_a_pad_with_anything_but_zeros_moves_nothing() -> None:
    net = Maker()
    x = net.relu(net.conv("image", "c1", 8))
    pads, value = net.hold("pads", [0, 0, 1, 1, 0, 0, 1, 1]), net.hold("one", 1, np.float32)
    model = net.head(net.conv(net.add("Pad", [x, pads, value], "padded", mode="constant"), "c2", 8))
    assert ("padded", 0) not in placed(model)[1].reads
    net.held["one"] = np.float32(0)
    assert ("padded", 0) in placed(net.model())[1].reads


def test_the_shortcut_is_the_input_with_fewer_layers_behind_it() -> None:
    for make in RESIDUAL.values():
        net = Net(make())
        for add in adds(net):
            _, shortcut = add.inputs  # as the maker writes them
            place = shortcut_of(net, add)
            assert place is not None
            assert add.inputs[place] == shortcut


def test_a_layer_is_called_by_its_weights_where_these_have_a_name() -> None:
    net = Net(plain())
    assert [places.label(node) for node in net.weighted()] == ["c1", "c2", "fc"]
    renamed = replace(net.weighted()[0], inputs=("image", "onnx::Conv_17", "b"))
    assert places.label(renamed) == "onnx::Conv_17"
    assert places.label(replace(renamed, inputs=("image", "17", "b"))) == "c1_out"
    assert places.label(replace(renamed, inputs=("image", "stage/conv/kernel:0"))) == "stage/conv"


def test_a_tensor_is_described_by_the_layer_that_makes_it_or_comes_before_it() -> None:
    def described(model: onnx.ModelProto, *tensors: str) -> list[str]:
        return [places.described(Net(model), tensor) for tensor in tensors]

    assert described(basic("A"), "image", "b1.conv2_out", "b1", "b1_relu") == [
        "the images",
        "b1.conv2",
        "the addition in b1",
        "the ReLU after the addition in b1",
    ]
    assert described(basic("A"), "b2_pad", "b2", "pooled", "logits") == [
        "the padding after the addition in b1",
        "the addition in b2",
        "the average pooling after the addition in b2",
        "fc",
    ]
    assert described(squeezed(), "gate", "weighed", "b1") == [
        "the Sigmoid after se.up",
        "the Mul after b1.conv1",
        "the addition in b1",
    ]
    flat = Maker()
    x = flat.relu(flat.conv("image", "c1", 8))
    x = flat.add("Relu", [flat.plus(flat.conv(x, "c2", 8), x, "sum")], "/layer1/Relu_output_0")
    assert described(flat.head(x), "sum", x) == ["the addition after c2", "/layer1/Relu_output_0"]


@networks
@pytest.mark.parametrize("target", targets.discover())
def test_no_compiler_has_anything_against_what_is_written(make: Make, target: str) -> None:
    model, known = make(), targets.get(target)
    placement, values = scaled(model, known.dialect)
    written = qdq.write(model, placement, values)
    assert accepts.findings(written, target, known.dialect) == []
    about = Plan(written).summary()
    assert about.int8 == about.weighted


def test_behind_attention_the_shortcuts_own_convolution_is_what_the_addition_joins() -> None:
    """The Mul of an SE block is quantized, and from the shortcut's convolution to the addition nothing is."""
    model = squeezed(projected=True)
    net, found = placed(model, TENSORRT)
    (add,) = adds(net)
    kinds = {net.maker[name].kind: (add.name, slot) in found.reads for slot, name in enumerate(add.inputs)}
    assert kinds == {"Mul": True, "Conv": False}
    written = qdq.write(model, *scaled(model, TENSORRT))
    assert accepts.findings(written, "tensorrt", TENSORRT) == []
    both = qdq.write(model, *scaled(model, replace(TENSORRT, residual="both")))
    (finding,) = accepts.findings(both, "tensorrt", TENSORRT)
    remedy = "quantize only the output of weighed, not that of the convolution"
    assert (finding.rule, finding.remedy) == ("residual-both", remedy)
