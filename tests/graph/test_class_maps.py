"""Networks that give a class to each pixel: exported by torch, and files of others, in the canonical form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeresnet import models, tasks
from edgeresnet.context import Context
from edgeresnet.errors import ModelError
from edgeresnet.graph import adopt, canonical, lint
from edgeresnet.portable import onnx_file
from edgeresnet.portable.preprocessing import Preprocessing
from edgeresnet.stages import trace
from edgeresnet.stages.specs import Architecture

from ..models.networks import lively
from .running import answers

IMAGES = Preprocessing(8, (0.5,) * 3, (0.25,) * 3)
GIVEN = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
TASK = tasks.of("segmentation")
Ends = list[tuple[str, dict[str, Any]]]
ENDS: dict[str, Ends] = {
    "logits": [],
    "probabilities": [("Softmax", {"axis": 1})],
    "classes": [("ArgMax", {"axis": 1, "keepdims": 0})],
    "classes, one channel": [("ArgMax", {"axis": 1, "keepdims": 1})],
    "classes of probabilities": [("Softmax", {"axis": 1}), ("ArgMax", {"axis": -3, "keepdims": 0})],
    "classes as bytes": [("ArgMax", {"axis": 1, "keepdims": 0}), ("Cast", {"to": TensorProto.UINT8})],
}


def written(folder: Path, ends: Ends, sides: list[str | int | None] | None = None) -> Path:
    """Write a network with a stride of 2, and what these operators make of its logits."""
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y0"], pads=[1, 1, 1, 1], strides=[2, 2])]
    for number, (operator, attributes) in enumerate(ends):
        nodes.append(helper.make_node(operator, [f"y{number}"], [f"y{number + 1}"], **attributes))
    last = ends[-1] if ends else ("", {})
    kind = {"ArgMax": TensorProto.INT64, "Cast": TensorProto.UINT8}.get(last[0], TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info(f"y{len(ends)}", kind, sides)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path = folder / "net.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
def test_a_file_becomes_one_map_of_logits(ends: Ends, tmp_path: Path) -> None:
    path = written(tmp_path, ends)
    lint.reference(onnx_file.read(path), IMAGES, 4, None, TASK)
    found = adopt.adopt(path, IMAGES, 4, TASK)
    logits = trace._original(found, GIVEN, "theirs", Context(0, tmp_path), TASK)
    assert logits.shape == (3, 4, 4, 4)
    np.testing.assert_allclose(answers(found.model, GIVEN), logits, atol=1e-5)
    assert [node.op_type for node in found.model.graph.node] == ["Conv"]
    assert found.model.graph.output[0].name == canonical.OUTPUT
    assert [each.dim_value for each in found.model.graph.output[0].type.tensor_type.shape.dim][1:] == [4, 4, 4]
    assert found.last == next((operator for operator, _ in reversed(ends) if operator != "Cast"), "")


def test_classes_over_another_axis_are_no_logits(tmp_path: Path) -> None:
    path = written(tmp_path, [("Transpose", {"perm": [0, 2, 3, 1]}), ("ArgMax", {"axis": 3, "keepdims": 0})])
    found = adopt.adopt(path, IMAGES, 4, TASK)
    assert not found.last
    answer = trace._original(found, GIVEN, "theirs", Context(0, tmp_path), TASK)
    assert not TASK.fits(answer.shape, 3, 4)  # so the stage `trace` refuses it


def test_a_classifier_is_no_map_of_classes(tmp_path: Path) -> None:
    ends: Ends = [("GlobalAveragePool", {}), ("Flatten", {})]
    file = onnx_file.read(written(tmp_path, ends, ["n", 4]))
    lint.reference(file, IMAGES, 4, None)
    with pytest.raises(ModelError, match=r"returns \?×4, but the images have 4 classes") as caught:
        lint.reference(file, IMAGES, 4, None, TASK)
    assert caught.value.hint == "the network needs one logit per class and pixel, channels first"
    other = onnx_file.read(written(tmp_path, [], ["n", 5, 4, 4]))
    with pytest.raises(ModelError, match="returns 5 classes, but the images have 4 classes"):
        lint.reference(other, IMAGES, 4, None, TASK)


@pytest.mark.parametrize("arch", ["fcn_cifar_resnet8", "deeplabv3_cifar_resnet8b"])
def test_torchs_export_enlarges_by_constant_scales(arch: str) -> None:
    network = lively(arch, classes=5, channels=3)
    model = trace.to_onnx(network, 3, 32)
    resizes = [node for node in model.graph.node if node.op_type == "Resize"]
    held = {tensor.name for tensor in model.graph.initializer}
    assert resizes
    assert all(node.input[2] in held for node in resizes)
    assert not {node.op_type for node in model.graph.node} & {"Shape", "Gather", "BatchNormalization", "Dropout"}
    for count in (1, 3):
        images = torch.randn(count, 3, 32, 32)
        with torch.no_grad():
            np.testing.assert_allclose(answers(model, images.numpy()), network(images).numpy(), rtol=1e-3, atol=1e-4)


def test_a_users_dictionary_is_exported_as_one_map(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self, classes):\n        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, classes, 3, 2, 1)\n\n"
        "    def forward(self, x):\n        y = self.conv(x)\n        return {'out': y, 'aux': y.mean()}\n"
    )
    network = models.build(f"{tmp_path}/theirs.py:Net", 4, 3).eval()
    models.check_answer(network, Architecture("theirs", 4, 3, task="segmentation"), 8)
    model = trace.to_onnx(network, 3, 8)
    assert len(model.graph.output) == 1
    with torch.no_grad():
        expected = network(torch.from_numpy(GIVEN)).numpy()
    assert expected.shape == (3, 4, 4, 4)
    np.testing.assert_allclose(answers(model, GIVEN), expected, atol=1e-5)


def test_answers_of_another_task_are_refused(tmp_path: Path) -> None:
    whole, pixels = lively("cifar_resnet8", 4), lively("fcn_cifar_resnet8", 4)
    with pytest.raises(ModelError, match=r"returns shape \(2, 4\) .* instead of \(2, 4, height, width\)"):
        models.check_answer(whole, Architecture("x", 4, 3, task="segmentation"), 8)
    with pytest.raises(ModelError, match=r"returns shape \(2, 4, 8, 8\) for two images instead of \(2, 4\)"):
        models.check_answer(pixels, Architecture("x", 4, 3), 8)
