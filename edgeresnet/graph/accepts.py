"""Whether a compiler accepts a quantized file from any tool, and reads it as it was meant.

An error is what the compiler refuses or misreads; a warning costs time. The rules for TensorRT follow what
TensorRT-RTX 1.7.1's parser and builder reported on files of every kind (tests/graph/test_peers.py compares them), those
for OpenVINO what 2026.4.1 compiled. Knows no quantizer and runs no compiler.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from ..portable.session import Dialect
from . import maps
from .findings import ERROR, WARNING, Compiler, Finding, Rule
from .quantized import (
    DEQUANTIZE,
    INTEGER_OPERATORS,
    MOVES,
    QUANTIZE,
    WEIGHTED,
    Node,
    Plan,
    attribute,
    title,
    zero_point,
)

__all__ = ["ERROR", "WARNING", "Compiler", "Finding", "findings"]

_SCALING = {"never": (), "normalised": ("BatchNormalization",), "scaled": ("Mul", "BatchNormalization")}
_EVERY_FILE: tuple[Rule, ...] = (maps.resizing, maps.reshaping)


def findings(model: onnx.ModelProto, target: str, dialect: Dialect) -> list[Finding]:
    """List the problems, errors first. A file that is not quantized can have those of its operators only."""
    plan, compiler = Plan(model), Compiler(target, dialect)
    rules = (*_EVERY_FILE, *_RULES) if plan.summary().quantized else _EVERY_FILE
    found = [finding for rule in rules for finding in rule(plan, compiler)]
    return sorted(found, key=lambda finding: finding.severity != ERROR)


def _types(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    """Check integers other than int8, for TensorRT."""
    for node in plan.pairs() if compiler.symmetric else ():
        kind = plan.integer(node)
        if kind == TensorProto.UINT8:
            silent = not zero_point(node)
            held = node.op_type == DEQUANTIZE and plan.sides(node.input[0]) is not None
            why = "it reads them as int8 and clips values above 127: half of the range after a ReLU"
            why += ", without a warning if no zero point gives the type" if silent else ", and only warns"
            why = "its parser refuses constants of uint8" if held and node.input[0] not in plan.maker else why
            yield Finding(
                ERROR, "uint8", title(node), "8-bit values are unsigned", why, "quantize to int8, zero point 0"
            )
        elif kind == TensorProto.INT32 and node.op_type == DEQUANTIZE:
            yield Finding(
                ERROR, "int32-bias", title(node), "a bias is stored as int32",
                "its parser refuses DequantizeLinear of int32",
                "keep biases float (onnxruntime.quantization: `QuantizeBias=False`)",
            )  # fmt: skip
        elif kind in (TensorProto.INT16, TensorProto.UINT16):
            yield Finding(
                ERROR,
                "16-bit",
                title(node),
                "values have 16 bits",
                "its parser does not know this type",
                "quantize to int8",
            )


def _zero_points(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    for node in plan.pairs() if compiler.symmetric else ():
        name = zero_point(node)
        value = plan.value(name) if name else None
        if value is not None and value.any():
            what = f"the zero point is {int(value.reshape(-1)[np.flatnonzero(value)[0]])}, not 0"
            yield Finding(
                ERROR, "zero-point", title(node), what, "its parser accepts symmetric ranges only",
                "quantize symmetrically: int8, every zero point 0",
            )  # fmt: skip
        elif name and not plan.is_constant(name) and not _dynamic(plan, name):
            yield _computed(node, "zero point")


def _scales(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    for node in plan.pairs():
        value = plan.value(node.input[1])
        if value is None:
            if compiler.symmetric and not plan.is_constant(node.input[1]) and not _dynamic(plan, node.input[1]):
                yield _computed(node, "scale")
            continue
        bad = value[~((value > 0) & np.isfinite(value))]
        if bad.size:
            yield Finding(
                ERROR, "scale", title(node), f"a scale is {bad.reshape(-1)[0]:g}",
                "such a scale produces zeros, NaNs or incorrect signs",
                "calibrate again: a range was empty or invalid",
            )  # fmt: skip
        sides, axis = plan.sides(node.input[0]), attribute(node, "axis", 1)
        if (
            value.ndim == 1
            and value.size > 1
            and sides
            and -len(sides) <= axis < len(sides)
            and sides[axis] != value.size
        ):
            yield Finding(
                ERROR, "scale-count", title(node), f"{value.size} scales for {sides[axis]} channels",
                "QuantizeLinear needs one for each channel along `axis`", "export the file again: this one is damaged",
            )  # fmt: skip


def _computed(node: Node, what: str) -> Finding:
    return Finding(
        ERROR, "computed", title(node), f"its {what} is computed from the data",
        "it accepts constants only; the builder of TensorRT-RTX 1.7.1 crashes", "quantize statically, with calibration",
    )  # fmt: skip


def _dynamic(plan: Plan, name: str) -> bool:
    """Return whether an operator that is refused itself makes this value."""
    node = plan.maker.get(name)
    return node is not None and node.op_type in INTEGER_OPERATORS


def _operators(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    for node in plan.nodes:
        if node.op_type not in INTEGER_OPERATORS or compiler.name == "onnxruntime":
            continue
        if not compiler.symmetric and not _refused_by_openvino(node, plan):
            continue
        yield Finding(
            ERROR, "operator", title(node), f"{node.op_type} computes on integers itself",
            "it accepts INT8 only as QuantizeLinear and DequantizeLinear around float operators",
            "quantize in that form (onnxruntime.quantization: `quant_format=QuantFormat.QDQ`)",
        )  # fmt: skip


def _refused_by_openvino(node: Node, plan: Plan) -> bool:
    """Return whether OpenVINO refuses it: onnxruntime's own operators, and ONNX's with a scale per channel."""
    if node.op_type == "QLinearConv":
        return (plan.sides(node.input[4]) or ()) not in ((), (1,))
    return node.domain == "com.microsoft"


def _loose_ends(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    for node in plan.pairs():
        if node.op_type != QUANTIZE:
            continue
        takers = plan.takers[node.output[0]]
        for taker in takers:
            if taker.op_type not in {DEQUANTIZE, "Cast", *MOVES, *INTEGER_OPERATORS}:
                yield Finding(
                    ERROR, "no-dequantize", title(taker), f"{taker.op_type} receives integers",
                    f"{title(node)} has no DequantizeLinear after it", "insert one between them",
                )  # fmt: skip
        if not takers and node.output[0] not in plan.outputs:
            yield Finding(
                WARNING, "unused", title(node), "no operator reads its output", "its quantization has no effect",
                "check the tool that wrote the file",
            )  # fmt: skip


def _mixed_floats(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    for node in plan.nodes:
        if node.op_type in {*WEIGHTED, "Add", QUANTIZE} and len(plan.float_types(node)) > 1:
            names = " and ".join(sorted(TensorProto.DataType.Name(each).lower() for each in plan.float_types(node)))
            yield Finding(
                ERROR, "mixed-floats", title(node), f"{node.op_type} receives {names} together",
                "the output of a DequantizeLinear has the type of its scale, and ONNX casts nothing implicitly",
                "write scales in the type of the float parts",
            )  # fmt: skip
        elif compiler.symmetric and node.op_type == DEQUANTIZE and plan.types.get(node.input[1]) == TensorProto.FLOAT16:
            yield Finding(
                WARNING, "half-scale", title(node), "its scale is float16",
                "the builder converts such scales to float32",
                "keep scales float32, unless the float parts are meant to be float16",
            )  # fmt: skip


def _padding(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    for node in plan.nodes:
        if node.op_type != "Pad":
            continue
        value = plan.maker.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if (
            compiler.symmetric
            and value is not None
            and value.op_type == DEQUANTIZE
            and plan.is_constant(value.output[0])
        ):
            yield Finding(
                ERROR, "padding", title(node), "its padding value is quantized",
                "its parser accepts the file, but its builder rejects the constant",
                "keep that constant float, or remove it if it is 0",
            )  # fmt: skip
        data = plan.origin(node.input[0])
        if compiler.name == "openvino" and data is not None and _shares_zero_point(plan, node, data):
            yield Finding(
                ERROR, "shared-zero-point", title(node),
                "it pads values whose zero point is not 0 and is shared with other values",
                "OpenVINO 2026.4.1 changes that shared constant for the padding, so other shapes no longer match",
                "quantize the output of a ReLU as uint8 (zero point 0), or give each DequantizeLinear its own",
            )  # fmt: skip


def _shares_zero_point(plan: Plan, pad: Node, data: Node) -> bool:
    if data.op_type != DEQUANTIZE or not _pads_channels(plan, pad):
        return False
    value = plan.value(zero_point(data)) if zero_point(data) else None
    if value is None or not value.any():
        return False
    behind = {id(node) for node in _behind(plan, pad)}
    sharing = [node for node in plan.takers[zero_point(data)] if node.op_type == DEQUANTIZE and node is not data]
    return any(id(node) not in behind for node in sharing)


def _pads_channels(plan: Plan, pad: Node) -> bool:
    widths = plan.value(pad.input[1]) if len(pad.input) > 1 else None
    is_constant = not any(each.name == "mode" and each.s not in (b"", b"constant") for each in pad.attribute)
    return is_constant and widths is not None and widths.size == 8 and bool(widths[1] or widths[5])


def _behind(plan: Plan, node: Node) -> Iterator[Node]:
    """Yield the Q and DQ that follow directly."""
    for out in node.output:
        for taker in plan.takers[out]:
            if taker.op_type in {QUANTIZE, DEQUANTIZE, *MOVES}:
                yield taker
                yield from _behind(plan, taker)


def _weighted(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    """Check convolutions and Gemms: float although data or weights are INT8; scales along another axis."""
    for node in plan.nodes:
        if node.op_type not in WEIGHTED:
            continue
        data, weights = plan.is_int8(node.input[0]), plan.maker.get(node.input[1])
        is_held = weights is not None and weights.op_type == DEQUANTIZE
        if data != is_held:
            which = ("data", "weights") if data else ("weights", "data")
            yield Finding(
                WARNING, "half-quantized", title(node), f"its {which[0]} are INT8, its {which[1]} are not",
                "it runs in float and converts the values first", f"quantize its {which[1]} too, or neither",
            )  # fmt: skip
        if compiler.symmetric and weights is not None and is_held:
            yield from _weight_scales(plan, node, weights)
        if weights is not None and is_held:
            yield from _data_scales(plan, compiler, node)


def _weight_scales(plan: Plan, node: Node, weights: Node) -> Iterator[Finding]:
    sides, scales = plan.sides(node.input[1]), plan.sides(weights.input[1])
    if not sides or scales is None:
        return
    transposed = node.op_type == "Gemm" and attribute(node, "transB", 0)
    wanted = 0 if node.op_type == "Conv" or transposed else len(sides) - 1
    if math.prod(scales) == 1:
        yield Finding(
            WARNING, "per-tensor", title(weights), "one scale for all its weights",
            "it accepts one for each output channel, which costs no time and preserves more accuracy",
            "quantize weights per channel",
        )  # fmt: skip
    elif len(scales) != 1 or attribute(weights, "axis", 1) % len(sides) != wanted:
        yield Finding(
            WARNING, "weight-axis", title(weights), "its scales are not along the output channels",
            "TensorRT-RTX accepts the file but computes this in float", f"use one scale for each output: axis {wanted}",
        )  # fmt: skip


def _data_scales(plan: Plan, compiler: Compiler, node: Node) -> Iterator[Finding]:
    data = plan.origin(node.input[0])
    if data is None or data.op_type != DEQUANTIZE or plan.sides(data.input[1]) in (None, ()):
        return
    scales = plan.value(data.input[1])
    if compiler.symmetric:
        yield Finding(
            WARNING, "per-channel-data", title(data), "the scale of its data is a list",
            "NVIDIA allows lists for weights only; TensorRT-RTX accepts it but computes in float, even with one entry",
            "use one scale for the tensor, as a scalar without dimensions",
        )  # fmt: skip
    elif scales is not None and scales.size > 1 and (compiler.name != "openvino" or np.ptp(scales)):
        yield Finding(
            WARNING, "per-channel-data", title(data), "channels of its data have scales or zero points of their own",
            "it computes in float then" + (", unless all scales are alike" if compiler.name == "openvino" else ""),
            "use one scale for the tensor",
        )  # fmt: skip


def _residual(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    for node in plan.nodes:
        if node.op_type != "Add" or any(plan.is_constant(name) for name in node.input):
            continue
        int8 = [plan.is_int8(name) for name in node.input]
        made = [_made(plan, name) for name in node.input]
        scaled = next((each for each in made if each is not None and each.op_type == "Mul"), None)
        around = [*made, *plan.takers[node.output[0]]]
        scaling = _SCALING[compiler.dialect.float_additions]
        if not any(int8) and any(each is not None and each.op_type in scaling for each in around):
            continue  # INT8 would be converted back and forth between float operators
        if not any(int8):
            yield Finding(
                WARNING, "residual-float", title(node), "both of its inputs are float",
                "it runs in float, and so do the operators up to the next QuantizeLinear",
                "quantize its shortcut: after the ReLU before the block, or after the downsampling convolution"
                if scaled is None else
                f"quantize the output of {title(scaled)}, and its other input unless a convolution produces it",
            )  # fmt: skip
        elif all(int8) and compiler.symmetric and any(each is not None and each.op_type == "Conv" for each in made):
            yield Finding(
                WARNING, "residual-both", title(node), "the output of the convolution before it is quantized",
                "Conv, Add and ReLU cannot be fused (NVIDIA/TensorRT#1992)",
                "quantize only its shortcut" if scaled is None else
                f"quantize only the output of {title(scaled)}, not that of the convolution",
            )  # fmt: skip
        elif not all(int8) and compiler.dialect.residual == "both":
            yield Finding(
                WARNING, "residual-one", title(node), "one of its inputs is float", "it runs in float here",
                "quantize both of its inputs for this target",
            )  # fmt: skip


def _made(plan: Plan, name: str) -> Node | None:
    """Return the node that makes this value, before a Q and DQ."""
    made = plan.origin(name)
    if made is None or made.op_type != DEQUANTIZE:
        return made
    quantize = plan.maker.get(made.input[0])
    return plan.maker.get(quantize.input[0]) if quantize is not None and quantize.op_type == QUANTIZE else None


def _signed(plan: Plan, compiler: Compiler) -> Iterator[Finding]:
    """Check signed values where ReLU outputs should be unsigned: they cost time, or fail on a CPU with AMX."""
    for node in plan.pairs() if compiler.dialect.activations == "u8-after-relu" else ():
        if node.op_type != QUANTIZE or plan.integer(node) != TensorProto.INT8 or plan.is_constant(node.input[0]):
            continue
        made = plan.origin(node.input[0])
        if made is not None and made.op_type == "Relu":
            yield Finding(
                WARNING, "signed-relu", title(node), "the output of a ReLU is signed",
                "half of the range is unused, or shifted by a zero point; unsigned values are faster here",
                "quantize it as uint8 with zero point 0 for this target",
            )  # fmt: skip
        value = plan.value(zero_point(node)) if zero_point(node) else None
        if compiler.name == "openvino" and value is not None and value.any():
            yield Finding(
                WARNING, "signed-shifted", title(node), "signed values have a zero point that is not 0",
                "on CPUs with AMX, OpenVINO 2026.4.1 cannot compile a convolution of them with `float_parts: bf16`",
                "quantize symmetrically, or as uint8",
            )  # fmt: skip


_RULES: tuple[Rule, ...] = (
    _types,
    _zero_points,
    _scales,
    _operators,
    _loose_ends,
    _mixed_floats,
    _padding,
    _weighted,
    _residual,
    _signed,
    maps.joining,
    maps.answering,
    maps.resized,
)
