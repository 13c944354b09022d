"""An ONNX file of any age becomes canonical and goes on answering as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, version_converter

from edgeresnet.errors import ModelError
from edgeresnet.graph import adopt, canonical
from edgeresnet.portable.preprocessing import Preprocessing

from .classifier import classifier, with_external_weights, written
from .running import answers

IMAGES = Preprocessing(8, (0.5,) * 3, (0.25,) * 3)
GIVEN = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)


def _alike(found: onnx.ModelProto, original: onnx.ModelProto, *, turned: bool = False) -> None:
    """Both answer alike; `turned` where the original takes its channels last."""
    expected = answers(original, np.ascontiguousarray(GIVEN.transpose(0, 2, 3, 1)) if turned else GIVEN)
    np.testing.assert_allclose(answers(found, GIVEN), expected, rtol=1e-4, atol=1e-5)


ODD: dict[str, dict[str, Any]] = {
    "plain": {},
    "sides open": {"image": ("n", "c", "h", "w"), "logits": ("n", "k")},
    "no word on the answer": {"logits": None},
    "fixed": {"image": (3, 3, 8, 8), "logits": (3, 4)},
    "old, weights among its inputs": {"opset": 9, "weights_as_inputs": True},
    "opset 11": {"opset": 11},
    "opset 21": {"opset": 21},
    "channels last": {"channels_last": True},
    "channels last, sides open": {"channels_last": True, "image": ("n", 3, "h", "w")},
    "channels last, fixed": {"channels_last": True, "image": (3, 3, 8, 8), "logits": (3, 4)},
    "channels last, old": {"channels_last": True, "opset": 11},
}


@pytest.mark.parametrize("about", ODD.values(), ids=ODD)
def test_it_becomes_canonical_and_answers_as_before(tmp_path: Path, about: dict[str, Any]) -> None:
    path = written(tmp_path, **about)
    model = adopt.adopt(path, IMAGES, 4).model
    assert [value.name for value in model.graph.input] == [canonical.INPUT]
    assert [value.name for value in model.graph.output] == [canonical.OUTPUT]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert adopt.OLDEST <= model.opset_import[0].version <= adopt.OPSET
    batch, *sides = model.graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_value for side in sides] == [3, 8, 8]
    fixed = about.get("image", ("n",))[0]
    assert (batch.dim_value == fixed) if isinstance(fixed, int) else batch.dim_param
    turned = about.get("channels_last", False)
    _alike(model, onnx.load(path), turned=turned)
    pooling = ["ReduceMean"] if turned else ["GlobalAveragePool", "Reshape"]
    assert [node.op_type for node in model.graph.node] == ["Conv", "Relu", *pooling, "Gemm"]
    assert adopt.parameters(model) == 8 * 3 * 9 + 8 + 4 * 8 + 4


def test_external_weights_come_along_and_are_refused_when_cut_short(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path, classifier())
    _alike(adopt.adopt(path, IMAGES, 4).model, onnx.load(path))
    (tmp_path / "net.weights").write_bytes(b"short")
    with pytest.raises(ModelError, match=r"net\.onnx is not a valid ONNX model"):
        adopt.adopt(path, IMAGES, 4)


def test_what_is_canonical_already_comes_back_and_an_earlier_adoptions_words_do_not(net: Path) -> None:
    model = adopt.adopt(net, Preprocessing(8, (0.305,), (0.376,)), 10).model
    assert not any(entry.key.startswith("edgeresnet.") for entry in model.metadata_props)
    before = onnx.load(net)
    assert [t.raw_data for t in model.graph.initializer] == [t.raw_data for t in before.graph.initializer]


def test_an_opset_that_cannot_be_raised_is_one_line(tmp_path: Path) -> None:
    model = classifier(opset=8)
    model.graph.node[1].attribute.append(helper.make_attribute("spatial", 0))
    with pytest.raises(ModelError, match="has opset 8, and onnx cannot convert it to 18") as caught:
        adopt.adopt(written(tmp_path, model), IMAGES, 4)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("opset", range(11, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_that_onnx_knows(tmp_path: Path, opset: int) -> None:
    like = classifier(opset=min(opset, 17))
    found = adopt.adopt(written(tmp_path, version_converter.convert_version(like, opset)), IMAGES, 4)
    operators = [node.op_type for node in found.model.graph.node]
    assert operators == ["Conv", "Relu", "GlobalAveragePool", "Reshape", "Gemm"]
    assert adopt.OLDEST <= adopt.version(found.model) <= adopt.OPSET
    assert adopt.version(found.original) == opset
    _alike(found.model, like)


@pytest.mark.parametrize("last", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [12, 13])
def test_probabilities_are_taken_off_and_can_be_kept(tmp_path: Path, last: str, opset: int) -> None:
    path = written(tmp_path, last=last, opset=opset, channels_last=True)
    found = adopt.adopt(path, IMAGES, 4)
    assert (found.channels_last, found.last) == (True, last)
    _alike(found.model, classifier(opset=opset))
    kept = adopt.adopt(path, IMAGES, 4, as_probabilities=True)
    assert kept.last == ""
    assert [node.op_type for node in kept.model.graph.node][-1] == last
    assert len(kept.original.graph.output) == 1


def test_a_softmax_is_at_the_end_where_behind_it_only_the_shape_changes(tmp_path: Path) -> None:
    model = classifier(last="Softmax")
    model.graph.node[-1].output[0] = "s"
    model.graph.node.append(helper.make_node("Flatten", ["s"], ["f"]))
    model.graph.node.append(helper.make_node("Identity", ["f"], ["y"]))
    found = adopt.adopt(written(tmp_path, model), IMAGES, 4)
    assert found.last == "Softmax"
    assert found.model.graph.node[-1].op_type in ("Gemm", "Reshape")
    # One in the middle stays.
    model = classifier(last="Softmax")
    model.graph.node[-1].output[0] = "s"
    model.graph.node.append(helper.make_node("Add", ["s", "l"], ["y"]))
    found = adopt.adopt(written(tmp_path, model), IMAGES, 4)
    assert found.last == ""
    assert "Softmax" in {node.op_type for node in found.model.graph.node}


def test_functions_of_the_files_own_are_what_they_are_made_of(tmp_path: Path) -> None:
    """So did the first of torch's new exporters write them."""
    model = classifier(last="Softmax", opset=18)
    own = helper.make_function(
        "pkg.torch", "relu", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type, relu.domain = "relu", "pkg.torch"
    model.functions.append(own)
    model.opset_import.append(helper.make_opsetid("pkg.torch", 1))
    found = adopt.adopt(written(tmp_path, model), IMAGES, 4)
    assert [node.op_type for node in found.model.graph.node][:2] == ["Conv", "Relu"]
    assert found.last == "Softmax"


def test_operators_of_one_runtime_are_refused_by_name(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node[0].op_type, model.graph.node[0].domain = "FusedConv", "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(ModelError, match=r"operators outside the ONNX standard: com\.microsoft\.FusedConv"):
        adopt.adopt(written(tmp_path, model), IMAGES, 4)


def test_words_that_onnx_does_not_know(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node[1].input[0] = "nowhere"
    with pytest.raises(ModelError, match=r"net\.onnx is not a valid ONNX model"):
        adopt.adopt(written(tmp_path, model), IMAGES, 4)
    model = classifier()
    model.graph.node[2].op_type = "Relo"
    with pytest.raises(ModelError, match=r"net\.onnx is not a valid ONNX model.*Relo"):
        adopt.adopt(written(tmp_path, model), IMAGES, 4)
    with pytest.raises(ModelError, match=r"net\.onnx has opset 99, but onnx .* supports at most"):
        adopt.adopt(written(tmp_path, opset=99), IMAGES, 4)


def test_weights_in_several_files_and_folders(tmp_path: Path) -> None:
    path = with_external_weights(tmp_path, classifier())
    model = onnx.load(path)
    (tmp_path / "weights").mkdir()
    for number, tensor in enumerate(model.graph.initializer):
        onnx.external_data_helper.set_external_data(tensor, f"weights/{number}.bin")
        (tmp_path / "weights" / f"{number}.bin").write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    _alike(adopt.adopt(path, IMAGES, 4).model, classifier())


def test_weights_behind_a_link_that_leads_away_are_refused(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    path = with_external_weights(tmp_path / "here", classifier())
    (tmp_path / "here" / "net.weights").rename(tmp_path / "net.weights")
    (tmp_path / "here" / "net.weights").symlink_to(tmp_path / "net.weights")
    with pytest.raises(ModelError, match=r"net\.onnx") as caught:
        adopt.adopt(path, IMAGES, 4)
    assert "\n" not in caught.value.message
