"""Rules of `accepts` for networks that answer for each pixel or anchor: resizing, concatenation, and their end.

What TensorRT refuses is what TensorRT-RTX 1.7.1's parser reported; what OpenVINO refuses or computes otherwise is what
2026.4.1 did. Concatenations were timed with OpenVINO and onnxruntime 1.32.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .findings import ERROR, WARNING, Compiler, Finding
from .quantized import DEQUANTIZE, MOVES, QUANTIZE, Node, Plan, attribute, title, zero_point

_PLACES = {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"}


def resizing(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    """Check how a Resize finds its pixels: float networks have the same rules."""
    for node in plan.nodes if compiler.name != "onnxruntime" else ():
        if node.op_type != "Resize":
            continue
        place = _text(node, "coordinate_transformation_mode", "half_pixel")
        if place not in _PLACES:
            yield Finding(
                ERROR, "resize-place", title(node), f"its coordinate_transformation_mode is {place}",
                f"it supports {', '.join(sorted(_PLACES))} only", "export it with half_pixel, as torch does",
            )  # fmt: skip
        if attribute(node, "antialias", 0):
            yield Finding(
                ERROR, "resize-antialias", title(node), "it smooths what it makes smaller (antialias)",
                "its parser refuses that" if compiler.symmetric else "OpenVINO 2026.4.1 leaves the smoothing out",
                "export it without antialias, or resize by a pooling",
            )  # fmt: skip
        if compiler.symmetric:
            yield from _open_sizes(plan, node)
        elif attribute(node, "exclude_outside", 0) and _text(node, "mode", "nearest") == "cubic":
            yield Finding(
                ERROR, "resize-outside", title(node), "its cubic weights leave out what is outside",
                "OpenVINO 2026.4.1 computes other values at the edges", "export it without exclude_outside",
            )  # fmt: skip


def _open_sizes(plan: Plan, node: Node) -> Iterator[Finding]:
    if len(node.input) > 3 and node.input[3] and plan.open_batch and any(a.name == "axes" for a in node.attribute):
        yield Finding(
            ERROR, "resize-axes", title(node), "it has sizes for some axes, and the batch may vary",
            "its parser then takes the batch for negative", "export it with scales, or with a fixed batch",
        )  # fmt: skip


def reshaping(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    """Check a Reshape to one image in a file whose batch may vary: float networks have the same rule."""
    for node in plan.nodes if compiler.symmetric and plan.open_batch else ():
        if node.op_type != "Reshape" or plan.is_constant(node.input[0]):
            continue
        sides = plan.value(node.input[1])
        if sides is not None and len(sides) > 1 and sides[0] == 1:
            yield Finding(
                ERROR, "reshape-batch", title(node), f"it makes {' × '.join(map(str, sides))} numbers of any batch",
                "its builder refuses that for more than one image",
                "export it with a fixed batch, or with 0 for the first side: as many as there are",
            )  # fmt: skip


def answering(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    """Check a concatenation that is the answer, or is moved to be the answer."""
    for node in plan.nodes:
        if node.op_type == "Concat" and _is_answer(plan, node) and _rounded(plan, node):
            yield Finding(
                WARNING, "concat-answer", title(node), "it joins the answer, and its result is quantized",
                "numbers of different ranges have one scale then, and no layer computes faster",
                "leave what follows the last layers in float",
            )  # fmt: skip


def _is_answer(plan: Plan, node: Node) -> bool:
    """Return whether a node's result reaches the end, and only through nodes that move or round it."""
    takers = [taker for name in node.output for taker in plan.takers[name]]
    moved = all(taker.op_type in {QUANTIZE, DEQUANTIZE, "Concat", *MOVES} for taker in takers)
    ends = any(name in plan.outputs for name in node.output)
    return moved and (ends or bool(takers)) and all(_is_answer(plan, taker) for taker in takers)


def joining(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    """Check a concatenation whose result is INT8, or whose parts are."""
    for node in plan.nodes:
        if node.op_type != "Concat" or all(plan.is_constant(name) for name in node.input) or _is_answer(plan, node):
            continue
        made = [plan.maker.get(name) for name in node.input]
        int8 = [each is not None and each.op_type == DEQUANTIZE for each in made]
        rounded = _rounded(plan, node)
        if rounded and not all(int8) and compiler.name != "openvino":  # which moves Q and DQ before it by itself
            yield Finding(
                WARNING, "concat-float", title(node), f"{int8.count(False)} of its {len(int8)} inputs are float",
                "it copies float values, and layers before it return float; onnxruntime computes these in float",
                "quantize each input, with the scale of the result",
            )  # fmt: skip
        elif all(int8) and len(grids := {_grid(plan, each) for each in made if each is not None}) > 1:
            yield Finding(
                WARNING, "concat-scales", title(node), f"its inputs have {len(grids)} different scales",
                "it cannot copy integers: they are converted to one scale first, and rounded twice",
                "quantize all inputs with the scale of the result",
            )  # fmt: skip


def resized(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    """Check a Resize of float values whose result is INT8."""
    for node in plan.nodes if compiler.name != "openvino" else ():
        maker = plan.maker.get(node.input[0]) if node.op_type == "Resize" else None
        if maker is not None and maker.op_type != DEQUANTIZE and _rounded(plan, node):
            yield Finding(
                WARNING, "resize-float", title(node), "its input is float, and its result is quantized",
                "the layer before it returns float; onnxruntime computes that layer in float",
                "quantize its input too, with the same scale",
            )  # fmt: skip


def _rounded(plan: Plan, node: Node) -> bool:
    """Return whether a node's result is quantized for all that read it."""
    takers = plan.takers[node.output[0]]
    return bool(takers) and all(taker.op_type == QUANTIZE for taker in takers)


def _grid(plan: Plan, dequantize: Node) -> tuple[bytes, ...]:
    names = dequantize.input[1], zero_point(dequantize)
    values = [plan.value(name) if name else None for name in names]
    return tuple(name.encode() if v is None else np.ravel(v).tobytes() for name, v in zip(names, values, strict=True))


def _text(node: Node, name: str, default: str) -> str:
    return next((each.s.decode() for each in node.attribute if each.name == name), default)
