"""Detectors of others: files with several outputs, in the canonical form with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeresnet import tasks
from edgeresnet.context import Context
from edgeresnet.errors import ModelError
from edgeresnet.graph import adopt, lint
from edgeresnet.portable import onnx_file
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.portable.tasks.detector import Detector
from edgeresnet.stages import trace

from .running import answers

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


def test_a_classifiers_file_still_needs_one_output(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has 1 inputs and 2 outputs instead of one each"):
        lint.reference(onnx_file.read(written(tmp_path, "two")), IMAGES, CLASSES, None)


def test_sentences_name_what_is_different(tmp_path: Path) -> None:
    assert lint.otherwise(False, "Sigmoid", 4) == [
        "the file ends in a Sigmoid; the networks that edgeresnet makes of it return the logits before it",
        "the file has 4 outputs; the networks that edgeresnet makes of it have one, with all of them",
    ]
