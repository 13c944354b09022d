"""Puts preprocessing's arithmetic inside the model, so that a device feeds pixels as its camera or decoder has them.

Mean, std and channel order go in; size and crop stay outside. The numbers are those of `Preprocessing.normalize`, in
its order and precision: float32, Q/DQ and half-precision networks all answer as on normalised images.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, numpy_helper

from ..errors import ModelError
from ..portable.preprocessing import Preprocessing
from . import about

LAYOUTS = ("NCHW", "NHWC")
_PREFIX = "pixels."


def with_raw_input(model: onnx.ModelProto, preprocessing: Preprocessing, layout: str = "NHWC") -> onnx.ModelProto:
    """Return the network with a uint8 input, in RGB or grayscale, of the same name and batch.

    The file's entries say so, and name the preprocessing that is inside.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, not {layout!r}")
    _fits(model, preprocessing)
    raw = onnx.ModelProto()
    raw.CopyFrom(model)
    image = raw.graph.input[0]
    _rename_uses(raw.graph, image.name, f"{_PREFIX}normal")
    for at, node in enumerate(_nodes(image.name, preprocessing, layout)):
        raw.graph.node.insert(at, node)
    raw.graph.initializer.extend(_constants(preprocessing))
    _become_pixels(image, preprocessing, layout)
    about.write(raw, replace(about.of(raw), preprocessing=preprocessing, input=f"uint8 {layout}"))
    checker.check_model(raw, full_check=True)
    return raw


def _nodes(image: str, preprocessing: Preprocessing, layout: str) -> list[onnx.NodeProto]:
    """Make the nodes. The Cast is first: TensorRT takes uint8 as an input's type and can only cast it."""
    steps: list[tuple[str, list[str], dict[str, int | list[int]]]] = [("Cast", [], {"to": TensorProto.FLOAT})]
    if layout == "NHWC":
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if preprocessing.order == "bgr":
        steps.append(("Gather", [f"{_PREFIX}order"], {"axis": 1}))
    steps += [("Mul", [f"{_PREFIX}scale"], {}), ("Add", [f"{_PREFIX}shift"], {})]
    nodes, before = [], image
    for number, (operator, constants, attributes) in enumerate(steps, 1):
        after = f"{_PREFIX}normal" if number == len(steps) else f"{_PREFIX}{operator.lower()}"
        name = f"{_PREFIX}{operator}"
        node = helper.make_node(operator, [before, *constants], [after], name=name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        nodes.append(node)
        before = after
    return nodes


def _constants(preprocessing: Preprocessing) -> list[TensorProto]:
    scale, shift = (values.reshape(1, -1, 1, 1) for values in preprocessing.scale_and_shift())
    held = [numpy_helper.from_array(scale, f"{_PREFIX}scale"), numpy_helper.from_array(shift, f"{_PREFIX}shift")]
    if preprocessing.order == "bgr":
        backwards = np.arange(preprocessing.channels, dtype=np.int64)[::-1].copy()
        held.append(numpy_helper.from_array(backwards, f"{_PREFIX}order"))
    return held


def _become_pixels(image: onnx.ValueInfoProto, preprocessing: Preprocessing, layout: str) -> None:
    tensor = image.type.tensor_type
    tensor.elem_type = TensorProto.UINT8
    size, channels = preprocessing.size, preprocessing.channels
    sides = (channels, size, size) if layout == "NCHW" else (size, size, channels)
    for dim, side in zip(tensor.shape.dim[1:], sides, strict=True):
        dim.dim_value = side


def _fits(model: onnx.ModelProto, preprocessing: Preprocessing) -> None:
    if preprocessing.bits != 8:
        raise ModelError(
            "uint8 pixels",
            f"have 8 bits, but the network's images have {preprocessing.bits}",
            hint="keep its input float32, and normalise images before it",
        )
    tensor = model.graph.input[0].type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise ModelError(
            "the network", f"takes {kind} already, not float32", hint="give the network that takes float32 images"
        )
    sides = [dim.dim_value for dim in tensor.shape.dim[1:]]
    wanted = [preprocessing.channels, preprocessing.size, preprocessing.size]
    if sides != wanted:
        raise ModelError(
            "the network",
            f"takes {'×'.join(map(str, sides))} images, but preprocessing makes {'×'.join(map(str, wanted))}",
            hint="give the preprocessing that the network was traced with",
        )


def _rename_uses(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name == old:
                node.input[at] = new
