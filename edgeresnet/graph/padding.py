"""Padding in numbers, and inside the layer that reads it. What stands before a convolution onnxscript's rules take in.

Changes no answer: a pooling takes over only what could never have been its largest value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnxscript import ir


def settle(graph: ir.Graph) -> None:
    for node in list(graph):
        if "auto_pad" in node.attributes:
            _count(node)
        if node.op_type == "MaxPool":
            _take_in(node)


def _count(node: ir.Node) -> None:
    """`SAME_UPPER` and its like as pads, which is what everybody who reads the network on understands."""
    a: dict[str, Any] = {name: attribute.value for name, attribute in node.attributes.items()}
    image, weights = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    shape = image.shape if image is not None else None
    kernel = a.get("kernel_shape") or (list(weights.shape)[2:] if weights is not None and weights.shape else None)
    if a["auto_pad"] in ("SAME_UPPER", "SAME_LOWER"):
        sides = [side for side in list(shape)[2:] if isinstance(side, int)] if shape is not None else []
        if kernel is None or len(sides) != len(kernel):
            return
        begin, end = [], []
        for axis, (side, taps) in enumerate(zip(sides, kernel, strict=True)):
            step, apart = (a.get(name, [1] * len(sides))[axis] for name in ("strides", "dilations"))
            total = max((-(-side // step) - 1) * step + (taps - 1) * apart + 1 - side, 0)
            less, more = total // 2, total - total // 2
            begin.append(less if a["auto_pad"] == "SAME_UPPER" else more)
            end.append(more if a["auto_pad"] == "SAME_UPPER" else less)
        node.attributes["pads"] = ir.AttrInt64s("pads", [*begin, *end])
    elif a["auto_pad"] == "VALID":
        node.attributes.pop("pads", None)
    del node.attributes["auto_pad"]


def _take_in(pool: ir.Node) -> None:
    """TensorFlow pads with zeros what a ReLU made, in front of the pooling that pads with less than any number.

    No window may lie in the padding alone: there the one answers zero, the other nothing.
    """
    pad = pool.inputs[0].producer() if pool.inputs[0] is not None else None
    if pad is None or pad.op_type != "Pad" or len(pool.outputs) != 1 or pool.attributes.get_int("ceil_mode", 0) == 1:
        return
    kernel, own = pool.attributes["kernel_shape"].value, pool.attributes.get_ints("pads", [0] * 4)
    added = _spatial(pad)
    if added is None or "auto_pad" in pool.attributes or set(pool.attributes.get_ints("dilations", [1])) != {1}:
        return
    pads = [one + other for one, other in zip(own, added, strict=True)]
    if any(side >= taps for side, taps in zip(pads, [*kernel, *kernel], strict=True)):
        return
    pool.replace_input_with(0, pad.inputs[0])
    pool.attributes["pads"] = ir.AttrInt64s("pads", pads)


def _spatial(pad: ir.Node) -> list[int] | None:
    """What it adds to height and width: rows and columns that no largest value comes from. None for any other."""
    if pad.attributes.get_string("mode", "constant") != "constant" or len(pad.inputs) > 3:
        return None
    pads, value = _constant(pad.inputs[1]), 0.0
    if len(pad.inputs) > 2 and pad.inputs[2] is not None:
        filled = _constant(pad.inputs[2])
        if filled is None:
            return None
        value = float(filled.item())
    if pads is None or pads.size != 8 or pads.min() < 0 or pads[[0, 1, 4, 5]].any():
        return None
    least = value == -np.inf or (value == 0 and _nonnegative(pad.inputs[0]))
    return [int(side) for side in pads[[2, 3, 6, 7]]] if least else None


def _nonnegative(value: ir.Value | None) -> bool:
    maker = value.producer() if value is not None else None
    if maker is None or maker.op_type not in ("Relu", "Clip"):
        return False
    if maker.op_type == "Relu":
        return True
    floor = _constant(maker.inputs[1]) if len(maker.inputs) > 1 else None
    return floor is not None and float(floor.item()) >= 0


def _constant(value: ir.Value | None) -> np.ndarray | None:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()
