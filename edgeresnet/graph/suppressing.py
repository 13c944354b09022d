"""How the suppression of boxes is taken out of somebody's ONNX file: which tensors are the network's own answers."""

from __future__ import annotations

import re
from pathlib import Path

import onnx

from ..errors import ModelError, foreign
from ..portable import onnx_file
from ..portable.documents import shown
from .one_output import ONLY_PLACES, ends

_LONGEST = 170  # characters of a line that a message shows without a cut
_IN_TORCH = "`network.forward = lambda images: network.head(list(network.backbone(images).values()))`"


def how_to_take_out(path: Path) -> str:
    """Return the line that writes the network before the suppression; else the one for torchvision's networks."""
    hint = "export it again; `onnx.checker` reports more"
    with foreign(lambda reason: ModelError(shown(path), f"is not a valid ONNX model: {reason}", hint=hint)):
        image, names = onnx_file.read(path).inputs[0], answers(onnx.load(path, load_external_data=False))
    line = f"`onnx.utils.extract_model({path.name!r}, 'raw.onnx', [{image.name!r}], {names!r})`"
    if len(names) > 1 and len(image.shape or ()) == 4 and len(line) <= _LONGEST:
        return f"write that: {line}"
    return f"export that: in torchvision, {_IN_TORCH}"


def answers(model: onnx.ModelProto) -> list[str]:
    """Return the tensors that convolutions give for every anchor, scores first as far as names show them."""
    makers = {name: node for node in model.graph.node for name in node.output}
    moved = [node.output[0] for node in model.graph.node if node.op_type in ONLY_PLACES]
    own = {
        name for name in moved if (found := list(ends(makers, name))) and {each.op_type for each in found} == {"Conv"}
    }
    inside = {name for one in own for name in _data(makers[one])}
    found = [name for name in own if name not in inside]
    order = [name for name in moved if name in found]
    return sorted(order, key=lambda name: not re.search(r"cls|class|score|logit|conf", name, re.IGNORECASE))


def _data(node: onnx.NodeProto) -> list[str]:
    return list(node.input) if node.op_type == "Concat" else list(node.input[:1])
