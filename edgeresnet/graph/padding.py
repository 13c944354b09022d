"""Writes padding in numbers, and moves a Pad into the max pooling after it; onnxscript's rules do so for convolutions.

Changes no answer: a pooling takes over only padding that could never have been its largest value.
"""

from __future__ import annotations

import numpy as np
from onnxscript import ir


def settle(graph: ir.Graph) -> None:
    """Rewrite a graph in place."""
    for node in list(graph):
        if "auto_pad" in node.attributes:
            _count(node)
        if node.op_type == "MaxPool":
            _take_in(node)


def _count(node: ir.Node) -> None:
    """Write `SAME_UPPER` and the other values of `auto_pad` as pads, which all later readers understand."""
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    image, weights = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    kernel = node.attributes.get_ints("kernel_shape", None) or _known_sides(weights)
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        sides = _known_sides(image)
        if not kernel or len(sides) != len(kernel):
            return
        begin, end = [], []
        for axis, (side, taps) in enumerate(zip(sides, kernel, strict=True)):
            step, apart = (node.attributes.get_ints(name, [1] * len(sides))[axis] for name in ("strides", "dilations"))
            total = max((-(-side // step) - 1) * step + (taps - 1) * apart + 1 - side, 0)
            less, more = total // 2, total - total // 2
            begin.append(less if mode == "SAME_UPPER" else more)
            end.append(more if mode == "SAME_UPPER" else less)
        node.attributes["pads"] = ir.AttrInt64s("pads", [*begin, *end])
    elif mode == "VALID":
        node.attributes.pop("pads", None)
    del node.attributes["auto_pad"]


def _known_sides(value: ir.Value | None) -> list[int]:
    """Return the sides of an image or a kernel, those that are numbers."""
    shape = value.shape if value is not None else None
    return [side for side in list(shape)[2:] if isinstance(side, int)] if shape is not None else []


def _take_in(pool: ir.Node) -> None:
    """Move a Pad into the pooling: TensorFlow pads a ReLU's output with zeros, a pooling with less than any number.

    No window may lie entirely in the padding: there a Pad gives zero, a pooling nothing.
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
    """Return what a Pad adds to height and width if no largest value comes from it, else None."""
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
