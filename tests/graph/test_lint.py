"""What is refused before anything runs: one line each, with the numbers of both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edgeresnet import tasks
from edgeresnet.errors import ModelError
from edgeresnet.graph import lint
from edgeresnet.portable import onnx_file
from edgeresnet.portable.preprocessing import Preprocessing

from .classifier import classifier, written

pytestmark = pytest.mark.unit

IMAGES = Preprocessing(8, (0.5,) * 3, (0.25,) * 3)


def _two_outputs() -> onnx.ModelProto:
    model = classifier()
    model.graph.output.append(helper.make_tensor_value_info("e", TensorProto.FLOAT, ("n", 8)))
    return model


def _quantized() -> onnx.ModelProto:
    model = classifier()
    model.graph.node.append(helper.make_node("QuantizeLinear", ["c", "bn.scale", "z"], ["q"]))
    return model


WRONG: list[tuple[Any, str]] = [
    ({"image": ("n", 3, 16, 16)}, "takes 3×16×16 images, but preprocessing makes 3×8×8"),
    ({"image": ("n", 1, 8, 8)}, "takes 1×8×8 images, but preprocessing makes 3×8×8"),
    ({"image": ("n", 3, "h", 4)}, r"takes 3×\?×4 images, but preprocessing makes 3×8×8"),
    ({"image": ("n", 16, 16, 3)}, "takes 16×16×3 images, but preprocessing makes 8×8×3"),
    ({"image": ("n", 8, 8, 1)}, "takes 8×8×1 images, but preprocessing makes 3×8×8"),
    ({"image": ("n", 192)}, r"takes \?×192, which is not a batch of images"),
    ({"logits": ("n", 5)}, "returns 5 classes, but the images have 4 classes"),
    ({"logits": ("n", 4, 1, 1)}, "returns .×4×1×1, but the images have 4 classes"),
    ({"kinds": (TensorProto.FLOAT16, TensorProto.FLOAT)}, "takes float16 and returns float32, not float32"),
    ({"kinds": (TensorProto.UINT8, TensorProto.FLOAT)}, "takes uint8"),
    ({"kinds": (TensorProto.FLOAT, TensorProto.INT64)}, "returns int64"),
    (_two_outputs, "1 inputs and 2 outputs"),
]


def _written(folder: Path, about: Any) -> onnx_file.OnnxFile:
    path = written(folder, about()) if callable(about) else written(folder, **about)
    return onnx_file.read(path)


@pytest.mark.parametrize(("about", "words"), WRONG)
@pytest.mark.parametrize("check", [lint.reference, lint.candidate])
def test_a_network_that_does_not_fit_the_images(tmp_path: Path, about: Any, words: str, check: Any) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        check(_written(tmp_path, about), IMAGES, 4, None)
    assert caught.value.message.startswith(f"{tmp_path}/net.onnx ")
    assert "\n" not in caught.value.message


def test_images_that_lie_channels_last_are_a_references_but_no_candidates(tmp_path: Path) -> None:
    last = _written(tmp_path, {"channels_last": True, "image": ("n", 3, 8, 8)})
    assert lint.reference(last, IMAGES, 4, None) is None
    with pytest.raises(ModelError, match="takes its images as 8×8×3, channels last") as caught:
        lint.candidate(last, IMAGES, 4, None)
    assert "edgeresnet export" in caught.value.hint


@pytest.mark.parametrize("check", [lint.reference, lint.candidate])
@pytest.mark.parametrize("shape", [("n", 8, 8, 4), ("n", "h", "w", 4), ("n", 8, 8, 1)])
def test_maps_that_lie_channels_last_are_refused_by_that_name(tmp_path: Path, shape: Any, check: Any) -> None:
    file = _written(tmp_path, {"logits": shape})
    with pytest.raises(ModelError, match=r"net.onnx returns \?×.×.×., channels last$") as caught:
        check(file, IMAGES, 4, None, tasks.of("segmentation"))
    assert "perm [0, 3, 1, 2]" in caught.value.hint


@pytest.mark.parametrize(
    "shape", [(None, 4, 8, 4), (None, 1, 8, 8), (None, 4, None, None), (None, 8, 4), (None, 4, 1, 1), (None, 5, 4, 4)]
)
def test_other_maps_do_not_lie_channels_last(shape: Any) -> None:
    assert not tasks.of("segmentation").channels_last(shape, 4)


@pytest.mark.parametrize(
    ("sides", "channels", "last"),
    [
        (("n", 3, 8, 8), (3,), False),
        ((None, 8, 8, 3), (3,), True),
        ((None, None, None, 3), (1, 3), True),
        ((None, None, None, None), (1, 3), False),
        ((1, 3, 3, 3), (3,), False),
        ((None, 28, 28, 1), (1,), True),
        ((None, 28, 28, 1), (3,), False),
        ((None, 1, 1, 1), (1,), False),
        ((None, 192), (3,), False),
    ],
)
def test_where_the_channels_are(sides: Any, channels: tuple[int, ...], last: bool) -> None:
    assert lint.channels_last(sides, channels) is last


@pytest.mark.parametrize(
    ("about", "wanted", "batch"),
    [
        ({}, None, None),
        ({}, 5, 5),
        ({"image": (2, 3, 8, 8), "logits": (2, 4)}, None, 2),
        ({"image": (2, 3, 8, 8), "logits": (2, 4)}, 2, 2),
        ({"image": (-1, 3, "h", "w"), "logits": None}, None, None),
    ],
)
def test_a_reference_keeps_its_batch(tmp_path: Path, about: Any, wanted: int | None, batch: int | None) -> None:
    assert lint.reference(_written(tmp_path, about), IMAGES, 4, wanted) == batch


def test_a_fixed_batch_contradicts_another(tmp_path: Path) -> None:
    fixed = _written(tmp_path, {"image": (2, 3, 8, 8), "logits": (2, 4)})
    with pytest.raises(ModelError, match=r"has the fixed batch size 2, but `trace\.batch` is 4"):
        lint.reference(fixed, IMAGES, 4, 4)
    lint.candidate(fixed, IMAGES, 4, 2)
    with pytest.raises(
        ModelError, match="takes batches of 2, but the network that it is compared with takes any batch"
    ):
        lint.candidate(fixed, IMAGES, 4, None)
    with pytest.raises(
        ModelError, match="takes any batch, but the network that it is compared with takes batches of 2"
    ):
        lint.candidate(_written(tmp_path, {}), IMAGES, 4, 2)


def test_a_quantized_file_is_not_a_reference_and_the_hint_says_what_it_is(tmp_path: Path) -> None:
    file = _written(tmp_path, _quantized)
    with pytest.raises(ModelError, match="is quantized already") as caught:
        lint.reference(file, IMAGES, 4, None)
    assert "--reference FP32.onnx" in caught.value.hint
    assert "`model.candidate`" in caught.value.hint
    lint.candidate(file, IMAGES, 4, None)


@pytest.mark.parametrize("about", [{"image": ("n", 3, "h", "w")}, {"logits": ("n", "k")}, {"logits": None}])
def test_a_candidate_leaves_nothing_open_but_its_batch(tmp_path: Path, about: dict) -> None:
    with pytest.raises(ModelError, match="has more variable sizes than its batch"):
        lint.candidate(_written(tmp_path, about), IMAGES, 4, None)
