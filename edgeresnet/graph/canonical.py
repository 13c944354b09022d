"""The canonical form: what every later stage may rely on.

One float input and one output by our names, batch normalisation and constants folded, nothing dead, nothing about the
exporter left inside. Whatever follows a Conv or Gemm alone and is constant per channel is inside it; what stands before
one stays, since padding comes between. Padding is in numbers wherever the sides of images are known. Says what it did;
a graph that is canonical already comes back unchanged.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnxscript import ir, optimizer, rewriter
from onnxscript.ir.passes import common as passes
from onnxscript.rewriter.rules.common import fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_gemm_rule

from ..errors import ModelError
from . import absorb

INPUT, OUTPUT = "image", "logits"


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = ir.from_proto(model)
    optimizer.optimize(graph)
    rewriter.rewrite(graph, [fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_gemm_rule])
    absorb.absorb(graph.graph)
    for node in graph.graph:
        if "auto_pad" in node.attributes:
            _count_padding(node)
    passes.RemoveUnusedNodesPass()(graph)
    passes.RemoveUnusedFunctionsPass()(graph)
    passes.ClearMetadataAndDocStringPass()(graph)
    _check(graph)
    _rename(graph)
    passes.TopologicalSortPass()(graph)
    proto = ir.to_proto(graph)
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.node):
        del value.metadata_props[:]
    onnx.checker.check_model(proto)
    return proto


def _count_padding(node: ir.Node) -> None:
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


def set_batch(model: onnx.ModelProto, batch: int) -> None:
    """Fixes the batch of a canonical model, in place."""
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]


def _check(graph: ir.Model) -> None:
    inputs, outputs = graph.graph.inputs, graph.graph.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"the traced network has {len(inputs)} inputs and {len(outputs)} outputs",
            hint="a classifier takes one image batch and returns one tensor of logits",
        )
    if inputs[0].dtype != ir.DataType.FLOAT or len(outputs[0].shape or ()) != 2:
        raise ModelError(
            f"the traced network takes {inputs[0].dtype} and returns shape {outputs[0].shape}",
            hint="a classifier takes float32 images and returns batch × classes",
        )


def _rename(graph: ir.Model) -> None:
    graph.graph.inputs[0].name = INPUT
    graph.graph.outputs[0].name = OUTPUT
    graph.graph.name = "edgeresnet"
    graph.producer_name = "edgeresnet"
    graph.producer_version = None
