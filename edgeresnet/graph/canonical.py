"""The canonical form: what every later stage may rely on.

One float input and one output by our names, batch normalisation and constants folded, nothing dead, nothing about the
exporter left inside. Whatever follows a Conv or Gemm alone and is constant per channel is inside it; what stands before
one stays, since padding comes between. Says what it did; a graph that is canonical already comes back unchanged.
"""

from __future__ import annotations

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
