"""An ONNX file of any age becomes canonical and goes on answering as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgeresnet.device.preprocessing import Preprocessing
from edgeresnet.errors import ModelError
from edgeresnet.graph import adopt, canonical

from .classifier import classifier, with_weights_beside, written

IMAGES = Preprocessing(8, (0.5,) * 3, (0.25,) * 3)


def _answers(model: str | bytes, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


ODD: dict[str, dict[str, Any]] = {
    "plain": {},
    "sides open": {"image": ("n", "c", "h", "w"), "logits": ("n", "k")},
    "no word on the answer": {"logits": None},
    "fixed": {"image": (3, 3, 8, 8), "logits": (3, 4)},
    "old, weights among its inputs": {"opset": 9, "weights_as_inputs": True},
    "opset 11": {"opset": 11},
    "opset 21": {"opset": 21},
}


@pytest.mark.parametrize("about", ODD.values(), ids=ODD)
def test_it_becomes_canonical_and_answers_as_before(tmp_path: Path, about: dict[str, Any]) -> None:
    path = written(tmp_path, **about)
    model = adopt.adopt(path, IMAGES, 4)
    assert [value.name for value in model.graph.input] == [canonical.INPUT]
    assert [value.name for value in model.graph.output] == [canonical.OUTPUT]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert model.opset_import[0].version >= adopt.OLDEST
    batch, *sides = model.graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_value for side in sides] == [3, 8, 8]
    fixed = about.get("image", ("n",))[0]
    assert (batch.dim_value == fixed) if isinstance(fixed, int) else batch.dim_param
    images = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    expected = _answers(str(path), images)
    np.testing.assert_allclose(_answers(model.SerializeToString(), images), expected, rtol=1e-4, atol=1e-5)
    assert adopt.parameters(model) == 8 * 3 * 9 + 8 + 4 * 8 + 4


def test_weights_beside_the_file_come_along(tmp_path: Path) -> None:
    path = with_weights_beside(tmp_path, classifier())
    model = adopt.adopt(path, IMAGES, 4)
    images = np.ones((2, 3, 8, 8), np.float32)
    np.testing.assert_allclose(
        _answers(model.SerializeToString(), images), _answers(str(path), images), rtol=1e-4, atol=1e-5
    )


def test_what_is_canonical_already_comes_back_and_an_earlier_adoptions_words_do_not(net: Path) -> None:
    model = adopt.adopt(net, Preprocessing(8, (0.305,), (0.376,)), 10)
    assert not any(entry.key.startswith("edgeresnet.") for entry in model.metadata_props)
    before = onnx.load(net)
    assert [t.raw_data for t in model.graph.initializer] == [t.raw_data for t in before.graph.initializer]


def test_a_graph_that_is_no_valid_one(tmp_path: Path) -> None:
    model = classifier()
    model.graph.node[1].input[0] = "nowhere"
    with pytest.raises(ModelError, match=r"net\.onnx is no valid ONNX model"):
        adopt.adopt(written(tmp_path, model), IMAGES, 4)


def test_weights_cut_short(tmp_path: Path) -> None:
    path = with_weights_beside(tmp_path, classifier())
    (tmp_path / "net.weights").write_bytes(b"short")
    with pytest.raises(ModelError, match=r"net\.onnx is no valid ONNX model"):
        adopt.adopt(path, IMAGES, 4)


def test_an_opset_that_cannot_be_raised_is_one_line(tmp_path: Path) -> None:
    model = classifier(opset=8)
    model.graph.node[1].attribute.append(helper.make_attribute("spatial", 0))
    with pytest.raises(ModelError, match="is of opset 8, and onnx cannot raise it to 18") as caught:
        adopt.adopt(written(tmp_path, model), IMAGES, 4)
    assert "\n" not in caught.value.message
