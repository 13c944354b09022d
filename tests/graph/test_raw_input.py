"""A device that feeds pixels gets the answers of one that normalises them first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgeresnet.errors import ModelError
from edgeresnet.graph import canonical, half
from edgeresnet.graph.raw_input import with_raw_input
from edgeresnet.portable import machine
from edgeresnet.portable.preprocessing import Preprocessing

from . import rtx
from .classifier import classifier
from .running import answers, openvino_answers, quantized, sqnr

PIXELS = np.random.default_rng(3).integers(0, 256, (5, 8, 8, 3), np.uint8)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RGB, BGR = Preprocessing(8, MEAN, STD), Preprocessing(8, MEAN, STD, order="bgr")
GRAY = Preprocessing(8, (0.305,), (0.376,))


def _fed(layout: str, pixels: np.ndarray) -> np.ndarray:
    return pixels if layout == "NHWC" else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _kinds(folder: Path) -> dict[str, onnx.ModelProto]:
    plain = canonical.canonical(classifier())
    int8 = quantized(folder, plain, [RGB.normalize(PIXELS)])
    return {"float32": plain, "int8": int8, "half": half.half(plain), "half of int8": half.half(int8)}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("preprocessing", [RGB, BGR], ids=["rgb", "bgr"])
def test_pixels_are_answered_as_their_normalised_images_are(
    tmp_path: Path, preprocessing: Preprocessing, layout: str
) -> None:
    for kind, model in _kinds(tmp_path).items():
        raw = with_raw_input(model, preprocessing, layout)
        image = raw.graph.input[0]
        assert (image.name, image.type.tensor_type.elem_type) == (model.graph.input[0].name, TensorProto.UINT8)
        sides = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
        assert sides == ["n", *_fed(layout, PIXELS).shape[1:]]
        expected = answers(model, preprocessing.normalize(PIXELS))
        np.testing.assert_array_equal(answers(raw, _fed(layout, PIXELS)), expected, err_msg=kind)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_openvino_answers_alike(tmp_path: Path, layout: str) -> None:
    """It folds the arithmetic into its own, and may round a quantized pixel to the other side."""
    for kind, model in _kinds(tmp_path).items():
        raw = with_raw_input(model, BGR, layout)
        expected = openvino_answers(model, BGR.normalize(PIXELS))
        least = 100 if kind == "float32" else 40 if machine.has_int8() else 15  # where sums saturate, a level is much
        assert sqnr(expected, openvino_answers(raw, _fed(layout, PIXELS))) > least, kind


def test_grayscale_and_a_fixed_batch() -> None:
    model = canonical.canonical(classifier(image=(5, 1, 8, 8), logits=(5, 4), channels=1))
    raw = with_raw_input(model, GRAY, "NHWC")
    assert [dim.dim_value for dim in raw.graph.input[0].type.tensor_type.shape.dim] == [5, 8, 8, 1]
    pixels = PIXELS[..., :1]
    np.testing.assert_array_equal(answers(raw, pixels), answers(model, GRAY.normalize(pixels)))


def test_the_original_is_left_alone() -> None:
    model = canonical.canonical(classifier())
    before = model.SerializeToString()
    with_raw_input(model, RGB)
    assert model.SerializeToString() == before


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    model = canonical.canonical(classifier())
    with pytest.raises(ModelError, match="takes 3×8×8 images, but preprocessing makes 1×8×8"):
        with_raw_input(model, GRAY)
    with pytest.raises(ModelError, match="takes 3×8×8 images, but preprocessing makes 3×9×9"):
        with_raw_input(model, Preprocessing(9, MEAN, STD))
    with pytest.raises(ModelError, match="takes uint8 already, not float32"):
        with_raw_input(with_raw_input(model, RGB), RGB)
    with pytest.raises(ValueError, match="layout must be one of NCHW, NHWC"):
        with_raw_input(model, RGB, "CHW")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_tensorrt_takes_it_without_a_warning(tmp_path: Path, layout: str) -> None:
    plain = canonical.canonical(classifier())
    int8 = quantized(tmp_path, plain, [RGB.normalize(PIXELS)], QuantizeBias=False)
    for model in (plain, int8, half.half(plain), half.half(int8)):
        rtx.parsed_and_built(with_raw_input(model, BGR, layout))
