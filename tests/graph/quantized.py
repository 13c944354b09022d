"""A small residual network in Q/DQ form, as TensorRT wants it, and the means to spoil it in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS, CLASSES = 32, 16


class Net:
    """Nodes and constants in the making. Every value is a name; each method gives the name of what it wrote."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.held: dict[str, onnx.TensorProto] = {}
        self._rng = np.random.default_rng(0)

    def hold(self, name: str, value: np.ndarray) -> str:
        self.held[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def add(self, kind: str, inputs: Sequence[str], out: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=f"{out}_{kind}", **attributes))
        return out

    def weights(self, name: str, *sides: int) -> str:
        return self.hold(name, self._rng.normal(size=sides).astype(np.float32) / 8)

    def qdq(
        self,
        value: str,
        *,
        scale: Any = 0.02,
        zero: Any = 0,
        kind: Any = np.int8,
        real: Any = np.float32,
        as_name: str = "",
        **attributes: Any,
    ) -> str:
        """Q and DQ around a value. `zero=None` writes no zero point."""
        name = as_name or value
        steps = [self.hold(f"{name}.scale", np.asarray(scale, real))]
        if zero is not None:
            zeros = np.broadcast_to(np.asarray(zero, kind), np.shape(scale)).copy()
            steps.append(self.hold(f"{name}.zero", zeros))
        self.add("QuantizeLinear", [value, *steps], f"{name}.q", **attributes)
        return self.add("DequantizeLinear", [f"{name}.q", *steps], f"{name}.dq", **attributes)

    def dq_weights(self, name: str, *sides: int, scale: Any = None, zero: Any = 0, axis: int = 0) -> str:
        """Weights that are integers in the file already, one scale per output channel."""
        scale = np.full(sides[axis], 0.01, np.float32) if scale is None else np.asarray(scale, np.float32)
        values = self._rng.integers(-100, 100, sides).astype(np.int8)
        zeros = np.broadcast_to(np.asarray(zero, np.int8), scale.shape).copy()
        inputs = [self.hold(name, values), self.hold(f"{name}.scale", scale), self.hold(f"{name}.zero", zeros)]
        return self.add("DequantizeLinear", inputs, f"{name}.dq", **({"axis": axis} if scale.ndim else {}))

    def conv(self, value: str, name: str, weights: str, bias: str | None = None, **attributes: Any) -> str:
        bias = bias or self.hold(f"{name}.b", self._rng.normal(size=CHANNELS).astype(np.float32))
        return self.add("Conv", [value, weights, bias], name, pads=[1] * 4, **attributes)

    def maker(self, value: str) -> onnx.NodeProto:
        return next(node for node in self.nodes if value in node.output)

    def behind(self, value: str, *nodes: onnx.NodeProto) -> None:
        """Puts nodes behind the one that makes this value."""
        place = self.nodes.index(self.maker(value)) + 1
        self.nodes[place:place] = nodes

    def first(self, *nodes: onnx.NodeProto) -> None:
        self.nodes[0:0] = nodes

    def model(self, *, opset: int = 18, batch: int | str = "batch", size: int = 8) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "quantized",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, size, size])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])],
            list(self.held.values()),
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def clean(**changes: Any) -> Net:
    """Return a network without any finding for TensorRT. `changes` spoil one place; see the keys below."""
    net = Net()
    image = net.qdq("image", **changes.get("image", {}))
    weights = net.dq_weights("w1", CHANNELS, 3, 3, 3, **changes.get("weights", {}))
    first = net.add("Relu", [net.conv(image, "c1", weights)], "r1")
    first = net.qdq(first, **changes.get("relu", {}))
    second = net.conv(first, "c2", net.dq_weights("w2", CHANNELS, CHANNELS, 3, 3))
    if "conv_edge" in changes:
        second = net.qdq(second, **changes["conv_edge"])
    shortcut = "r1" if changes.get("shortcut") == "float" else first
    added = net.add("Add", [second, shortcut], "sum")
    last = net.qdq(net.add("Relu", [added], "r2"))
    pooled = net.add("Flatten", [net.add("GlobalAveragePool", [last], "pooled")], "flat")
    pooled = net.qdq(pooled)
    bias = net.hold("fc.b", np.zeros(CLASSES, np.float32))
    net.add("Gemm", [pooled, net.dq_weights("fc.w", CLASSES, CHANNELS), bias], "logits", transB=1)
    return net


def _int32_bias(net: Net) -> None:
    """As onnxruntime.quantization holds them."""
    net.hold("b", np.arange(CHANNELS, dtype=np.int32))
    net.hold("b.scale", np.full(CHANNELS, 1e-4, np.float32))
    net.hold("b.zero", np.zeros(CHANNELS, np.int32))
    net.first(helper.make_node("DequantizeLinear", ["b", "b.scale", "b.zero"], ["b.dq"], name="b_dq", axis=0))
    net.maker("c2").input[2] = "b.dq"


def _uint8_weights(net: Net) -> None:
    values = numpy_helper.to_array(net.held["w2"]).astype(int)
    net.hold("w2", (values + 128).astype(np.uint8))
    net.hold("w2.zero", np.zeros(CHANNELS, np.uint8))


def _untold_uint8(net: Net) -> None:
    """No zero point: by ONNX's rules that is uint8."""
    for value in ("r1.q", "r1.dq"):
        del net.maker(value).input[2]


def _told_uint8(net: Net) -> None:
    _untold_uint8(net)
    net.maker("r1.q").attribute.append(helper.make_attribute("output_dtype", TensorProto.UINT8))


def _scale_from_data(net: Net) -> None:
    del net.held["r1.scale"]
    net.hold("axes", np.arange(4))
    net.first(helper.make_node("ReduceMax", ["image", "axes"], ["r1.scale"], keepdims=0))


def _padded(net: Net, *value: str) -> None:
    """Zeros around the shortcut, and its edges cut off again: a Pad that does something."""
    net.hold("pads", np.array([0, 2, 0, 0, 0, 2, 0, 0]))
    for name, number in (("from", 2), ("to", CHANNELS + 2), ("axis", 1)):
        net.hold(name, np.array([number]))
    pad = helper.make_node("Pad", ["r1.dq", "pads", *value], ["padded"], name="pad", mode="constant")
    net.behind("r1.dq", pad, helper.make_node("Slice", ["padded", "from", "to", "axis"], ["cut"], name="slice"))
    net.maker("sum").input[1] = "cut"


def _quantized_padding(net: Net) -> None:
    """As onnxruntime.quantization leaves the constant of a Pad."""
    net.hold("p", np.int8(0))
    net.hold("p.scale", np.float32(1))
    net.hold("p.zero", np.int8(0))
    net.first(helper.make_node("DequantizeLinear", ["p", "p.scale", "p.zero"], ["p.dq"], name="p_dq"))
    _padded(net, "p.dq")


def _float_padding(net: Net) -> None:
    _padded(net, net.hold("p", np.float32(0)))


def _dynamic(net: Net) -> None:
    net.first(
        helper.make_node("DynamicQuantizeLinear", ["image"], ["d", "d.scale", "d.zero"], name="dynamic"),
        helper.make_node("DequantizeLinear", ["d", "d.scale", "d.zero"], ["d.dq"], name="d_dq"),
    )
    net.maker("image.q").input[0] = "d.dq"


def _integer_convolution(net: Net) -> None:
    convolution = net.maker("c1")
    net.behind("c1", helper.make_node("Cast", ["c1.i"], ["c1"], to=TensorProto.FLOAT, name="cast"))
    convolution.op_type, convolution.output[0] = "ConvInteger", "c1.i"
    convolution.input[:] = ["image.q", "w1", "image.zero"]


def _qlinear_convolution(net: Net) -> None:
    convolution = net.maker("c1")
    net.behind("c1", helper.make_node("DequantizeLinear", ["c1.i", "r1.scale", "r1.zero"], ["c1"], name="c1_dq"))
    convolution.op_type, convolution.output[0] = "QLinearConv", "c1.i"
    operands = ["image.q", "image.scale", "image.zero", "w1", "w1.scale", "w1.zero", "r1.scale", "r1.zero"]
    convolution.input[:] = operands


def _no_dequantize(net: Net) -> None:
    net.maker("c2").input[0] = "r1.q"


def _unused(net: Net) -> None:
    net.nodes.remove(net.maker("flat.dq"))
    net.maker("logits").input[0] = "flat"
    net.maker("logits").input[1] = net.weights("fc.float", CLASSES, CHANNELS)


def _float_data(net: Net) -> None:
    net.maker("c2").input[0] = "r1"


def _float_weights(net: Net) -> None:
    net.maker("c2").input[1] = net.weights("w2.float", CHANNELS, CHANNELS, 3, 3)


def _float_gemm(net: Net) -> None:
    """Leave the Gemm float, as ModelOpt does for few outputs."""
    _unused(net)
    net.nodes.remove(net.maker("flat.q"))


def _wrong_count(net: Net) -> None:
    net.hold("w2.scale", np.full(7, 0.01, np.float32))
    net.hold("w2.zero", np.zeros(7, np.int8))


def _gemm_along_inputs(net: Net) -> None:
    net.hold("fc.w.scale", np.full(CHANNELS, 0.01, np.float32))
    net.hold("fc.w.zero", np.zeros(CHANNELS, np.int8))
    net.maker("fc.w.dq").attribute[0].i = 1


def _pooled(net: Net) -> None:
    net.behind("r1.dq", helper.make_node("MaxPool", ["r1.dq"], ["max"], name="max", kernel_shape=[3, 3], pads=[1] * 4))
    net.maker("c2").input[0] = net.maker("sum").input[1] = "max"


def _constants_as_nodes(net: Net) -> None:
    for name in ("r1.scale", "r1.zero"):
        net.first(helper.make_node("Constant", [], [name], value=net.held.pop(name)))


def _weights_quantized_on_the_way(net: Net) -> None:
    """Float weights with Q and DQ, as ModelOpt writes them."""
    net.weights("w2", CHANNELS, CHANNELS, 3, 3)
    net.first(helper.make_node("QuantizeLinear", ["w2", "w2.scale", "w2.zero"], ["w2.q"], name="w2_q", axis=0))
    net.maker("w2.dq").input[0] = "w2.q"


def _changed(spoil: Callable[[Net], None], **about: Any) -> Callable[[], onnx.ModelProto]:
    def make() -> onnx.ModelProto:
        net = clean()
        spoil(net)
        return net.model(**about)

    return make


def _written(*, opset: int = 18, **changes: Any) -> Callable[[], onnx.ModelProto]:
    return lambda: clean(**changes).model(opset=opset)


_FULL = np.full(CHANNELS, 0.02)
_LATER = np.full(CHANNELS - 1, 0.01)

# One fault each: the rule that finds it for TensorRT. None of the graphs that are as they should be is found.
ERRORS = {
    "uint8 after a ReLU": ("uint8", _written(relu={"kind": np.uint8})),
    "uint8 by output_dtype": ("uint8", _changed(_told_uint8, opset=21)),
    "uint8 weights": ("uint8", _changed(_uint8_weights)),
    "int8 with a zero point": ("zero-point", _written(relu={"zero": -3})),
    "weights with a zero point": ("zero-point", _written(weights={"zero": 3})),
    "int32 bias": ("int32-bias", _changed(_int32_bias)),
    "16 bits": ("16-bit", _written(relu={"kind": np.int16}, opset=21)),
    "a scale of 0": ("scale", _written(relu={"scale": 0.0})),
    "a negative scale": ("scale", _written(weights={"scale": np.r_[-0.01, _LATER]})),
    "a scale of NaN": ("scale", _written(weights={"scale": np.r_[np.nan, _LATER]})),
    "too few scales": ("scale-count", _changed(_wrong_count)),
    "a scale from the data": ("computed", _changed(_scale_from_data)),
    "a quantized padding value": ("padding", _changed(_quantized_padding)),
    "DynamicQuantizeLinear": ("operator", _changed(_dynamic)),
    "ConvInteger": ("operator", _changed(_integer_convolution)),
    "QLinearConv": ("operator", _changed(_qlinear_convolution)),
    "no DequantizeLinear": ("no-dequantize", _changed(_no_dequantize)),
    "two types of floats": ("mixed-floats", _written(relu={"real": np.float16}, opset=19)),
}
# Taken without a word, and for something else than was meant.
SILENT = {
    "uint8 for want of a zero point": ("uint8", _changed(_untold_uint8)),
    "an infinite scale": ("scale", _written(relu={"scale": np.inf})),
}
WARNINGS = {
    "a scale per channel of the data": ("per-channel-data", _written(relu={"scale": _FULL, "axis": 1})),
    "a list of one scale": ("per-channel-data", _written(relu={"scale": _FULL[:1]})),
    "one scale for all weights": ("per-tensor", _written(weights={"scale": 0.01})),
    "scales along the inputs": ("weight-axis", _written(weights={"axis": 1})),
    "scales along the inputs of a Gemm": ("weight-axis", _changed(_gemm_along_inputs)),
    "float data": ("half-quantized", _changed(_float_data)),
    "float weights": ("half-quantized", _changed(_float_weights)),
    "a float shortcut": ("residual-float", _written(shortcut="float")),
    "Q/DQ between Conv and Add": ("residual-both", _written(conv_edge={})),
    "a Q that nothing takes": ("unused", _changed(_unused)),
}
GOOD = {
    **{f"opset {opset}": _written(opset=opset) for opset in (13, 17, 18, 19, 21)},
    "a padded shortcut": _changed(_padded),
    "padded with a float constant": _changed(_float_padding),
    "a MaxPool behind the DQ": _changed(_pooled),
    "constants as nodes": _changed(_constants_as_nodes),
    "weights with Q and DQ": _changed(_weights_quantized_on_the_way),
    "a float Gemm": _changed(_float_gemm),
    "scales of two values": _written(image={"scale": 0.01}),
}
