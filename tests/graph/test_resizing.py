"""Sizes of a Resize that follow from the batch become scales, which every compiler accepts; others stay."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from edgeresnet.graph import canonical

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
    ],
)
def test_computed_sizes_become_scales(sides: list[int], how: str, before: list[str]) -> None:
    assert not {"Shape", "Concat", "Slice"} & _kinds(sides, how, before)
    made = canonical.canonical(_resized(sides, how, before))
    (node,) = [node for node in made.graph.node if node.op_type == "Resize"]
    (scales,) = [t for t in made.graph.initializer if t.name == node.input[2]]
    np.testing.assert_allclose(onnx.numpy_helper.to_array(scales), [1, 1, sides[0] / 8, sides[1] / 8], rtol=1e-6)


def test_a_nearest_pixel_must_not_hang_on_the_last_digit() -> None:
    assert "Shape" in _kinds([17, 17], "mode='nearest' coordinate_transformation_mode='half_pixel'")


def test_a_ratio_that_must_be_kept_stays() -> None:
    assert "Shape" in _kinds([16, 16], "mode='linear' keep_aspect_ratio_policy='not_larger'")


def test_sizes_of_some_axes_stay() -> None:
    model = _resized([16, 16], "mode='linear'")
    node = next(node for node in model.graph.node if node.op_type == "Resize")
    node.input[3] = "to"
    node.attribute.append(helper.make_attribute("axes", [2, 3]))
    made = canonical.canonical(onnx.shape_inference.infer_shapes(model))
    assert len(next(node for node in made.graph.node if node.op_type == "Resize").input) == 4
