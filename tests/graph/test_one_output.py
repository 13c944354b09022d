"""Detectors of others: files with several outputs, in the canonical form with one."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeresnet import targets, tasks
from edgeresnet.context import Context
from edgeresnet.errors import ModelError
from edgeresnet.graph import adopt, deliver, lint, one_output, suppressing
from edgeresnet.portable import onnx_file
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.portable.tasks.task import Outputs
from edgeresnet.stages import trace
from edgeresnet.stages.compile import compile_network
from edgeresnet.stages.specs import CompileInputs, CompileSpec
from edgeresnet.store import Given

from .running import answers, openvino_answers

CLASSES, EACH, SIZE = 3, 2, 8
DETECTOR = Detector(SIZE, CLASSES, (4, 2), ((4.0, 6.0), (8.0, 12.0)), (1.0,))
TASK = tasks.of("detection", DETECTOR)
IMAGES = Preprocessing(SIZE, (0.5,) * 3, (0.25,) * 3)
GIVEN = np.random.default_rng(1).normal(size=(3, 3, SIZE, SIZE)).astype(np.float32)
FORMS = ("one", "one with scores", "two", "levels", "maps", "maps, channels last", "scores", "maps of scores")


def written(folder: Path, form: str, *, last: bool = False, end: str = "Sigmoid") -> Path:
    """Write two levels, each with a convolution for logits and one for offsets, in one of the forms of outputs."""
    draw = np.random.default_rng(0)
    inits, nodes, maps = [], [], {}
    if last:
        nodes.append(helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]))
    for level, stride in enumerate((2, 4)):
        for part, width in (("cls", CLASSES), ("box", 4)):
            name = f"{part}{level}"
            weights = draw.normal(size=(EACH * width, 3, stride, stride)).astype(np.float32)
            inits.append(numpy_helper.from_array(weights, f"w.{name}"))
            nodes.append(
                helper.make_node("Conv", ["first" if last else "x", f"w.{name}"], [name], strides=[stride] * 2)
            )
            maps[name] = (width, SIZE // stride)
    outputs: list[tuple[str, list[Any]]] = []

    def node(operator: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [f"n{len(nodes)}"], **attributes))
        return f"n{len(nodes) - 1}"

    def rows(name: str) -> str:
        inits.append(numpy_helper.from_array(np.array([0, -1, maps[name][0]]), f"s.{name}"))
        return node("Reshape", [node("Transpose", [name], perm=[0, 2, 3, 1]), f"s.{name}"])

    if form.startswith("maps"):
        for name, (width, side) in reversed(maps.items()):
            sides = ["n", EACH * width, side, side]
            output = node(end, [name]) if "scores" in form and width == CLASSES else name
            if "last" in form:
                output, sides = node("Transpose", [output], perm=[0, 2, 3, 1]), ["n", side, side, EACH * width]
            outputs.append((output, sides))
    elif form == "levels":
        outputs = [(rows(name), ["n", EACH * side**2, width]) for name, (width, side) in maps.items()]
    else:
        cls, box = (node("Concat", [rows(f"{part}0"), rows(f"{part}1")], axis=1) for part in ("cls", "box"))
        if "scores" in form:
            cls = node(end, [cls], **({"axis": 2} if end == "Softmax" else {}))
        outputs = [(box, ["n", 40, 4]), (cls, ["n", 40, CLASSES])]
        if form.startswith("one"):
            outputs = [(node("Concat", [cls, box], axis=2), ["n", 40, CLASSES + 4])]
    taken: list[str | int | None] = ["n", SIZE, SIZE, 3] if last else ["n", 3, SIZE, SIZE]
    graph = helper.make_graph(
        nodes, "theirs", [helper.make_tensor_value_info("x", TensorProto.FLOAT, taken)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs], inits,
    )  # fmt: skip
    path = folder / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.parametrize("last", [False, True], ids=["", "images channels last"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_the_one_tensor(form: str, last: bool, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    expected = answers(onnx.load(written(tmp_path / "plain", "one")), GIVEN)
    path = written(tmp_path, form, last=last)
    assert lint.reference(onnx_file.read(path), IMAGES, CLASSES, None, TASK) is None
    found = adopt.adopt(path, IMAGES, CLASSES, TASK)
    assert found.last == ("Sigmoid" if "scores" in form else "")
    assert [value.name for value in found.model.graph.output] == ["logits"]
    np.testing.assert_allclose(answers(found.model, GIVEN), expected, atol=1e-5)
    theirs = GIVEN.transpose(0, 2, 3, 1) if last else GIVEN
    own = trace._original(found, theirs, "net.onnx", Context(0, tmp_path), TASK)
    np.testing.assert_allclose(own, expected, atol=1e-5)
    again = adopt.adopt(saved(tmp_path, found.model), IMAGES, CLASSES, TASK)
    assert again.model.SerializeToString() == found.model.SerializeToString()


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, folder / "again.onnx")
    return folder / "again.onnx"


def test_scores_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="ends in a Softmax over its classes"):
        adopt.adopt(written(tmp_path, "scores", end="Softmax"), IMAGES, CLASSES, TASK)


def test_a_sigmoid_that_something_else_reads_stays(tmp_path: Path) -> None:
    path = written(tmp_path, "scores")
    model = onnx.load(path)
    sigmoid = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    box = model.graph.output[0].name
    model.graph.node.append(helper.make_node("ReduceMax", [sigmoid.output[0]], ["most"], keepdims=1))
    model.graph.node.append(helper.make_node("Mul", [box, "most"], ["weighted"]))
    model.graph.output[0].name = "weighted"
    onnx.save(model, path)
    found = adopt.adopt(path, IMAGES, CLASSES, TASK)
    assert found.last == ""
    assert "Sigmoid" in {node.op_type for node in found.model.graph.node}


def rounded(path: Path, output: int, *, after: str = "") -> Path:
    """Write Q and DQ behind one output; after an operator, where that is named."""
    model = onnx.load(path)
    name = model.graph.output[output].name
    if after:
        model.graph.node.append(helper.make_node(after, [name], ["scores"]))
        name = "scores"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "scale"))
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(0), "zero"))
    model.graph.node.append(helper.make_node("QuantizeLinear", [name, "scale", "zero"], ["q"]))
    model.graph.node.append(helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]))
    model.graph.output[output].name = "dq"
    onnx.save(model, path)
    return path


def test_scores_that_are_rounded_behind_a_sigmoid_are_refused(tmp_path: Path) -> None:
    expected = answers(onnx.load(written(tmp_path, "one")), GIVEN)
    path = rounded(written(tmp_path, "two"), 1, after="Sigmoid")
    with pytest.raises(ModelError, match="rounds its scores to INT8 behind a Sigmoid") as caught:
        lint.candidate(onnx_file.read(path), IMAGES, CLASSES, None, TASK)
    assert "the two lines below write it" in caught.value.hint
    raw = pasted(caught.value, tmp_path)
    lint.candidate(onnx_file.read(raw), IMAGES, CLASSES, None, TASK)
    model = one_output.joined(raw, DETECTOR)
    assert model is not None
    np.testing.assert_allclose(answers(model, GIVEN), expected, atol=1e-5)
    with pytest.raises(ModelError, match="behind a Sigmoid") as caught:
        lint.candidate(onnx_file.read(rounded(written(tmp_path, "one with scores"), 0)), IMAGES, CLASSES, None, TASK)
    assert "convert it without its Sigmoid" in caught.value.hint
    assert not caught.value.lines


def test_logits_that_are_rounded_are_taken(tmp_path: Path) -> None:
    path = rounded(written(tmp_path, "scores"), 0)  # the boxes: their sisters have a Sigmoid, which is taken off
    lint.candidate(onnx_file.read(path), IMAGES, CLASSES, None, TASK)
    lint.candidate(onnx_file.read(rounded(written(tmp_path, "two"), 1)), IMAGES, CLASSES, None, TASK)


def test_a_sigmoid_in_half_precision_is_taken_off(tmp_path: Path) -> None:
    expected = answers(onnx.load(written(tmp_path, "one")), GIVEN)
    path = written(tmp_path, "two")
    model = onnx.load(path)
    half = helper.make_node("Cast", [model.graph.output[1].name], ["half"], to=TensorProto.FLOAT16)
    back = helper.make_node("Cast", ["shares"], ["scores"], to=TensorProto.FLOAT)
    model.graph.node.extend([half, helper.make_node("Sigmoid", ["half"], ["shares"]), back])
    model.graph.output[1].name = "scores"
    onnx.save(model, path)
    joined = one_output.joined(path, DETECTOR)
    assert joined is not None
    np.testing.assert_allclose(answers(joined, GIVEN), expected, rtol=1e-3, atol=1e-2)


def test_a_classifiers_file_still_needs_one_output(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has 1 inputs and 2 outputs instead of one each"):
        lint.reference(onnx_file.read(written(tmp_path, "two")), IMAGES, CLASSES, None)


def test_sentences_name_what_is_different(tmp_path: Path) -> None:
    assert lint.otherwise(False, "Sigmoid", 4) == [
        "the file ends in a Sigmoid; the networks that edgeresnet makes of it return the logits before it",
        "the file has 4 outputs; the networks that edgeresnet makes of it have one, with all of them",
    ]


def suppressed(folder: Path, *, single: bool = False) -> Path:
    """Write a network that finds a box where four pixels in a row begin with a bright one."""
    inits = {"rows": np.array([-1, 4]), "zero": np.array(0), "one": np.array(1), "half": np.array(0.5, np.float32)}
    nodes = [
        helper.make_node("Reshape", ["x", "rows"], ["all"]),
        helper.make_node("Gather", ["all", "zero"], ["first"], axis=1),
        helper.make_node("Greater", ["first", "half"], ["bright"]),
        helper.make_node("Compress", ["all", "bright"], ["boxes"], axis=0),
        helper.make_node("Gather", ["boxes", "zero"], ["raw"], axis=1),
        helper.make_node("Sigmoid", ["raw"], ["scores"]),
        helper.make_node("Gather", ["boxes", "one"], ["second"], axis=1),
        helper.make_node("Abs", ["second"], ["size"]),
        helper.make_node("Cast", ["size"], ["labels"], to=TensorProto.INT64),
    ]
    taken = [3, SIZE, SIZE] if single else [1, 3, SIZE, SIZE]
    floats = [helper.make_tensor_value_info(*each) for each in (("boxes", 1, ["n", 4]), ("scores", 1, ["n"]))]
    graph = helper.make_graph(
        nodes, "theirs", [helper.make_tensor_value_info("x", 1, taken)],
        [*floats, helper.make_tensor_value_info("labels", TensorProto.INT64, ["n"])],
        [numpy_helper.from_array(value, name) for name, value in inits.items()],
    )  # fmt: skip
    path = folder / "found.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.parametrize("single", [False, True], ids=["a batch of one", "an image alone"])
def test_boxes_that_a_network_suppressed_become_rows(single: bool, tmp_path: Path) -> None:
    path = suppressed(tmp_path, single=single)
    lint.candidate(onnx_file.read(path), IMAGES, CLASSES, None, TASK)
    model = one_output.joined(path, DETECTOR)
    assert model is not None
    onnx.checker.check_model(model, full_check=True)
    image = GIVEN[:1]
    wanted = image.reshape(-1, 4)[image.reshape(-1, 4)[:, 0] > 0.5]
    for found in (answers(model, image), openvino_answers(model, image)):
        assert found.shape == (1, 300, 6)
        np.testing.assert_allclose(found[0, : len(wanted), :4], wanted, rtol=1e-6)
        np.testing.assert_allclose(found[0, : len(wanted), 4], 1 / (1 + np.exp(-wanted[:, 0])), rtol=1e-5)
        np.testing.assert_array_equal(found[0, : len(wanted), 5], np.abs(wanted[:, 1]).astype(int))
        assert not found[0, len(wanted) :].any()


def test_what_is_compiled_of_a_candidate_has_one_output(tmp_path: Path) -> None:
    path = suppressed(tmp_path)
    target = targets.get("onnxruntime")
    spec = CompileSpec("onnxruntime", target.options(), joins=DETECTOR)
    (tmp_path / "out").mkdir()
    compile_network(CompileInputs(Given("c", path)), spec, tmp_path / "out", Context(0, tmp_path))
    answer = target.load(tmp_path / "out").infer(GIVEN[:1])
    kept = Outputs("detection", 10, SIZE, DETECTOR).kept(answer)
    assert kept.found.counts.tolist() == [int((GIVEN[:1].reshape(-1, 4)[:, 0] > 0.5).sum())]


def test_a_candidate_with_several_outputs_gets_one(tmp_path: Path) -> None:
    expected = answers(onnx.load(written(tmp_path, "one")), GIVEN)
    assert one_output.joined(tmp_path / "net.onnx", DETECTOR) is None
    path = written(tmp_path, "maps of scores")
    lint.candidate(onnx_file.read(path), IMAGES, CLASSES, None, TASK)
    model = one_output.joined(path, DETECTOR)
    assert model is not None
    np.testing.assert_allclose(answers(model, GIVEN), expected, atol=1e-5)
    out = deliver.delivered(path, tmp_path / "out.onnx", halved=False, pixels=None, detector=DETECTOR)
    assert onnx.load(out) == model


def test_a_suppression_is_refused_with_the_two_lines_that_take_it_out(tmp_path: Path) -> None:
    path = written(tmp_path, "two")
    model = onnx.load(path)
    box, cls = (value.name for value in model.graph.output)
    model.graph.node.append(helper.make_node("Sigmoid", [cls], ["s"]))
    model.graph.node.append(helper.make_node("Transpose", ["s"], ["scores"], perm=[0, 2, 1]))
    model.graph.node.append(helper.make_node("NonMaxSuppression", [box, "scores"], ["kept"]))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("kept", TensorProto.INT64, ["k", 3]))
    onnx.save(model, path)
    with pytest.raises(ModelError, match="suppresses boxes itself") as caught:
        lint.reference(onnx_file.read(path), IMAGES, CLASSES, None, TASK)
    line = f"onnx.utils.extract_model({str(path)!r}, 'raw.onnx', ['x'], ['{cls}', '{box}'])"
    assert caught.value.lines == ("import onnx", line)
    raw = pasted(caught.value, tmp_path)
    assert lint.reference(onnx_file.read(raw), IMAGES, CLASSES, None, TASK) is None
    expected = answers(onnx.load(written(tmp_path, "one")), GIVEN)
    np.testing.assert_allclose(answers(adopt.adopt(raw, IMAGES, CLASSES, TASK).model, GIVEN), expected, atol=1e-5)


def pasted(problem: ModelError, folder: Path) -> Path:
    """Run the lines of an error in a Python of its own; return the file that they write."""
    subprocess.run([sys.executable, "-c", "\n".join(problem.lines)], cwd=folder, check=True, capture_output=True)
    return folder / "raw.onnx"


def test_long_names_are_on_lines_of_their_own(tmp_path: Path) -> None:
    names = [f"/head/classification_head/{'long ' * 6}{number}/Concat_output_0" for number in range(10)]
    lines = suppressing.extracting(tmp_path / "it's.onnx", "x", names)
    call = ast.parse("\n".join(lines)).body[1]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    assert [ast.literal_eval(each) for each in call.value.args] == [
        str(tmp_path / "it's.onnx"),
        "raw.onnx",
        ["x"],
        names,
    ]
    assert max(map(len, lines)) <= 280
    assert suppressing.extracting(tmp_path / "net.onnx", "x", ["n" * 300]) == ()
    assert suppressing.extracting(tmp_path / "net.onnx", "x", names * 10) == ()


def test_torchvisions_network_of_one_image_is_exported_again(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="judged as it is") as caught:
        lint.reference(onnx_file.read(suppressed(tmp_path, single=True)), IMAGES, CLASSES, None, TASK)
    assert "in torchvision with the two lines below" in caught.value.hint
    forward, export = caught.value.lines
    assert forward.startswith("network.forward = lambda images: network.head(")
    assert "torch.zeros(1, 3, 8, 8), 'raw.onnx'" in export
