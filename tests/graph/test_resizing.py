"""Sizes of a Resize that follow from the batch become scales, which every compiler accepts; others stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxscript import ir

from edgeresnet.graph import canonical, resizing

from .rtx import needs_rtx, parsed_and_built
from .test_canonical import _CONV, _HEAD, _model, _same

_COMPUTED = ["Shape c -> s start=0 end=2", "Concat s to -> sizes axis=0"]
_SLICED = ["Shape c -> s0", "Slice s0 zeros two zeros -> s", "Concat s to -> sizes axis=0"]
_HELD = {"zeros": np.array([0], np.int64), "two": np.array([2], np.int64)}


def _resized(sides: list[int], how: str, before: list[str] = _COMPUTED) -> onnx.ModelProto:
    lines = ["Conv x w -> c", *before, f"Resize c _ _ sizes -> r {how}", "Relu r -> z", *_HEAD]
    model = _model(lines, {**_CONV, **_HELD, "to": np.array(sides, np.int64)})
    for node in model.graph.node:
        node.input[:] = ["" if name == "_" else name for name in node.input]
    return onnx.shape_inference.infer_shapes(model)


def _kinds(sides: list[int], how: str, before: list[str] = _COMPUTED) -> set[str]:
    return set(_same(_resized(sides, how, before)))


@pytest.mark.parametrize("before", [_COMPUTED, _SLICED], ids=["of the batch and the channels", "by a slice"])
@pytest.mark.parametrize(
    ("sides", "how"),
    [
        ([16, 32], "mode='linear'"),
        ([17, 30], "mode='linear'"),
        ([4, 4], "mode='linear' coordinate_transformation_mode='pytorch_half_pixel'"),
        ([24, 8], "mode='nearest' nearest_mode='floor' coordinate_transformation_mode='asymmetric'"),
        ([17, 17], "mode='linear' coordinate_transformation_mode='align_corners'"),
        ([15, 15], "mode='nearest' nearest_mode='floor' coordinate_transformation_mode='asymmetric'"),
        ([15, 11], "mode='nearest' nearest_mode='ceil' coordinate_transformation_mode='asymmetric'"),
        ([15, 7], "mode='nearest' nearest_mode='floor'"),
    ],
)
def test_computed_sizes_become_scales(sides: list[int], how: str, before: list[str]) -> None:
    assert not {"Shape", "Concat", "Slice"} & _kinds(sides, how, before)
    made = canonical.canonical(_resized(sides, how, before))
    (node,) = [node for node in made.graph.node if node.op_type == "Resize"]
    (scales,) = [t for t in made.graph.initializer if t.name == node.input[2]]
    np.testing.assert_allclose(onnx.numpy_helper.to_array(scales), [1, 1, sides[0] / 8, sides[1] / 8], rtol=1e-6)


@pytest.mark.parametrize(
    ("side", "how"),
    [
        (17, "coordinate_transformation_mode='half_pixel'"),
        (12, "nearest_mode='floor' coordinate_transformation_mode='asymmetric'"),
        (15, "nearest_mode='floor' coordinate_transformation_mode='align_corners'"),
    ],
)
def test_a_nearest_pixel_must_not_hang_on_the_last_digit(side: int, how: str) -> None:
    assert "Shape" in _kinds([side, side], f"mode='nearest' {how}")


def test_every_finer_level_of_a_pyramid_gets_a_scale_that_gives_its_size() -> None:
    node = ir.node("Resize", [], {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"})
    for new in range(3, 1200, 2):
        old = (new + 1) // 2
        assert resizing._same_pixels(node, old, new)
        scale = np.float32(resizing._scale(old, new))
        assert int(np.float32(old) * scale) == int(old * float(scale)) == new
        pixels = np.arange(new, dtype=np.float32)
        for places in (pixels / scale, pixels * (1 / scale), pixels / float(scale)):
            np.testing.assert_array_equal(np.floor(places), np.arange(new) * old // new)


def test_a_ratio_that_must_be_kept_stays() -> None:
    assert "Shape" in _kinds([16, 16], "mode='linear' keep_aspect_ratio_policy='not_larger'")


def test_sizes_of_some_axes_stay() -> None:
    model = _resized([16, 16], "mode='linear'")
    node = next(node for node in model.graph.node if node.op_type == "Resize")
    node.input[3] = "to"
    node.attribute.append(helper.make_attribute("axes", [2, 3]))
    made = canonical.canonical(onnx.shape_inference.infer_shapes(model))
    assert len(next(node for node in made.graph.node if node.op_type == "Resize").input) == 4


@needs_rtx
def test_tensorrts_parser_takes_scales_that_are_no_whole_numbers() -> None:
    odd = _resized([15, 13], "mode='nearest' nearest_mode='floor' coordinate_transformation_mode='asymmetric'")
    assert "RESIZE FLOAT" in parsed_and_built(canonical.canonical(odd))
