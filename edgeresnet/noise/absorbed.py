"""ReLUs that a quantizer took out of a file, since the grid behind them begins at zero: onnxruntime does.

They are put back, as the FP32 network has them. Without them the file's values before rounding would be others.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import helper

from ..quantization.net import Net, Node
from .strip import Stripped

_CLIPS = ("Relu", "Clip")
_SUFFIX = "/restored"


def restore(stripped: Stripped, net: Net, original: Net, partner: Mapping[str, Node]) -> bool:
    """Put ReLUs back, in place; return whether there were any. `partner`: each layer's counterpart in FP32."""
    missing = {}
    for node in net.nodes:
        other = _counterpart(node, net, original, partner)
        if other is None or not _clipped_only(node.name, net, stripped):
            continue
        behind = [reader for reader, _ in original.readers.get(other.name, [])]
        if len(behind) == 1 and behind[0].kind in _CLIPS:
            missing[node.name] = behind[0]
    if missing:
        _write(stripped.model, missing, original)
    return bool(missing)


def _counterpart(node: Node, net: Net, original: Net, partner: Mapping[str, Node]) -> Node | None:
    """Return what an operator is in the FP32 network, as far as its neighbours or its name show it."""
    if node.name in partner:
        return partner[node.name]
    for name in node.inputs:
        before = partner.get(name)
        for reader, _ in original.readers.get(before.name, []) if before else []:
            if reader.kind == node.kind == "Add":
                return reader
    named = original.maker.get(node.name)  # onnxruntime gives a ReLU's name to what is before it
    before = original.maker.get(named.inputs[0]) if named is not None and named.kind in _CLIPS else None
    return before if before is not None and before.kind == node.kind else None


def _clipped_only(tensor: str, net: Net, stripped: Stripped) -> bool:
    """Return whether all that reads a tensor reads it by a grid that begins at zero."""
    readers = net.readers.get(tensor, [])
    grids = [stripped.reads.get((reader.name, slot), ()) for reader, slot in readers]
    return bool(readers) and all(those and (those[0].floors >= 0).all() for those in grids)


def _write(model: onnx.ModelProto, missing: Mapping[str, Node], original: Net) -> None:
    known = {tensor.name for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        for slot, name in enumerate(node.input):
            if name in missing:
                node.input[slot] = name + _SUFFIX
        nodes.append(node)
        clip = missing.get(node.output[0])
        if clip is not None:
            nodes.append(helper.make_node(clip.kind, [node.output[0], *clip.inputs[1:]], [node.output[0] + _SUFFIX]))
            for name in clip.inputs[1:]:
                if name in original.constants and name not in known:
                    model.graph.initializer.append(onnx.numpy_helper.from_array(original.constants[name], name))
                    known.add(name)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
