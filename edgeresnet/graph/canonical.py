"""The canonical form: what every later stage may rely on.

One float input and one output by our names, batch normalisation and constants folded, no dead nodes, no traces of the
exporter. Constant arithmetic per channel after a Conv or Gemm is inside it; arithmetic before one stays, since padding
comes between. Padding is in numbers where the images' sides are known. A canonical graph comes back unchanged.
"""

from __future__ import annotations

import onnx
from onnx_ir.passes.common import IdentityEliminationPass
from onnxscript import ir, optimizer, rewriter
from onnxscript.ir.passes import common as passes
from onnxscript.rewriter.rules.common import fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_gemm_rule

from ..errors import ModelError
from . import absorb, layout, padding, reshapes, resizing

INPUT, OUTPUT = "image", "logits"
_ALL = 1 << 62
_SIDES = (2, 3, 4)  # of an answer: logits of complete images, numbers of anchors, or logits of pixels


def canonical(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the canonical form of a model."""
    graph = ir.from_proto(model)
    _fold(graph)
    resized = resizing.settle(graph.graph)
    if any([resized, reshapes.settle(graph.graph), layout.sink(graph.graph), reshapes.settle(graph.graph)]):
        _fold(graph)  # operators that a Transpose separated are neighbours now, and shapes are known
    IdentityEliminationPass()(graph)
    _check(graph)
    _rename(graph)
    rewriter.rewrite(graph, [fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_gemm_rule])
    absorb.absorb(graph.graph)
    padding.settle(graph.graph)
    passes.RemoveUnusedNodesPass()(graph)
    passes.RemoveUnusedFunctionsPass()(graph)
    passes.ClearMetadataAndDocStringPass()(graph)
    passes.TopologicalSortPass()(graph)
    proto = ir.to_proto(graph)
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.node):
        del value.metadata_props[:]
    onnx.checker.check_model(proto)
    return proto


def _fold(graph: ir.Model) -> None:
    """Fold every constant, however large: weights that are transposed or reshaped first are weights."""
    optimizer.optimize_ir(graph, output_size_limit=_ALL, should_fold=_is_plain)


def _is_plain(node: ir.Node) -> bool:
    """Return whether a node may be folded: folding the Q/DQ of weights would unquantize them."""
    return node.op_type not in ("QuantizeLinear", "DequantizeLinear")


def set_batch(model: onnx.ModelProto, batch: int) -> None:
    """Fix the batch of a canonical model, in place."""
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del model.graph.value_info[:]


def _check(graph: ir.Model) -> None:
    inputs, outputs = graph.graph.inputs, graph.graph.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            "the traced network",
            f"has {len(inputs)} inputs and {len(outputs)} outputs",
            hint="it must take one batch of images and return one tensor of logits",
        )
    if inputs[0].dtype != ir.DataType.FLOAT or len(outputs[0].shape or ()) not in _SIDES:
        raise ModelError(
            "the traced network",
            f"takes {inputs[0].dtype} and returns shape {outputs[0].shape}",
            hint="it must take float32 images and return batch × classes, batch × classes × height × width, or batch × "
            "anchors × numbers",
        )


def _rename(graph: ir.Model) -> None:
    image, logits = graph.graph.inputs[0], graph.graph.outputs[0]
    for value in [value for node in graph.graph for value in node.outputs]:
        if value.name in (INPUT, OUTPUT):  # the exporter's name for another value
            value.name = f"{value.name}.inner"
    image.name, logits.name = INPUT, OUTPUT
    graph.graph.name = "edgeresnet"
    graph.producer_name = "edgeresnet"
    graph.producer_version = None
