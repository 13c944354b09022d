"""Turns the sizes of a Resize that are computed at run time from the batch and numbers into scales.

`interpolate(x, size=…)` leaves such arithmetic behind where the batch may vary. Scales are what OpenVINO, onnxruntime
and TensorRT all accept: TensorRT's parser refuses sizes of some axes.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir

from .reshapes import numbers_of, sides_of

_SCALES, _SIZES = 2, 3  # inputs of a Resize
_ROUNDED = "round_prefer_floor"
_PLACES = {"asymmetric", "half_pixel", "pytorch_half_pixel"}
_DIGITS = 1e-6  # of float32, with what runtimes compute of a scale


def settle(graph: ir.Graph) -> bool:
    """Rewrite a graph in place; return whether anything changed. A Resize that would answer otherwise stays."""
    return any([_scaled(graph, node) for node in list(graph) if node.op_type == "Resize"])


def _scaled(graph: ir.Graph, node: ir.Node) -> bool:
    if len(node.inputs) <= _SIZES or "axes" in node.attributes:
        return False
    scales = _scales(node)
    if scales is None:
        return False
    name = f"{node.outputs[0].name}.scales"
    held = ir.Value(name=name, const_value=ir.tensor(scales, name=name))
    held.dtype, held.shape = ir.DataType.FLOAT, ir.Shape(scales.shape)
    graph.register_initializer(held)
    node.replace_input_with(_SCALES, held)
    node.replace_input_with(_SIZES, None)
    node.attributes.pop("keep_aspect_ratio_policy", None)
    return True


def _scales(node: ir.Node) -> np.ndarray | None:
    """Return one scale for each axis; None where sizes or scales would give other pixels."""
    before, after = sides_of(node.inputs[0]), numbers_of(node.inputs[_SIZES])
    if not before or not after or len(before) != len(after):
        return None
    if node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    found = []
    for old, new in zip(before, after, strict=True):
        if old == new:
            found.append(1.0)
        elif isinstance(old, int) and isinstance(new, int) and old > 0 and _same_pixels(node, old, new):
            found.append(_scale(old, new))
        else:
            return None
    return np.array(found, np.float32)


def _scale(old: int, new: int) -> float:
    """Return the smallest float32 that gives this size: one below is cut to a pixel less."""
    scale = np.float32(new / old)
    return float(scale if float(scale) * old >= new else np.nextafter(scale, np.float32(np.inf)))


def _same_pixels(node: ir.Node, old: int, new: int) -> bool:
    """Return whether a scale gives the same pixels as the size: the nearest one may hang on the last digit."""
    mode, way = (node.attributes.get_string(*each) for each in (("mode", "nearest"), ("nearest_mode", _ROUNDED)))
    if mode == "linear" or new % old == 0:
        return True
    place = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    if mode != "nearest" or place not in _PLACES:
        return False
    pixels = np.arange(new)
    places = pixels * old / new if place == "asymmetric" else (pixels + 0.5) * old / new - 0.5
    edges = places + 0.5 if (way or "").startswith("round") else places  # where a whole number is, the pixel changes
    unsure = np.abs(edges - np.round(edges)) < _DIGITS * old
    if place == "asymmetric":
        unsure[0] = False  # 0 is exact
    return not unsure.any()
