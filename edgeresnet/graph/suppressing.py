"""How the suppression of boxes is taken out of somebody's ONNX file: which tensors are the network's own answers."""

from __future__ import annotations

import re
from pathlib import Path

import onnx

from ..errors import ModelError, foreign
from ..portable import onnx_file
from ..portable.documents import shown
from .one_output import ONLY_PLACES, ends

_MOST = 10  # names in a hint: two for each level
_IN_TORCH = "`network.forward = lambda images: network.head(list(network.backbone(images).values()))`"


def how_to_take_out(path: Path) -> str:
    """Return the line that writes the network before the suppression, and the one for torchvision's networks."""
    line = ""
    hint = "export it again; `onnx.checker` reports more"
    with foreign(lambda reason: ModelError(shown(path), f"is not a valid ONNX model: {reason}", hint=hint)):
        model = onnx.load(path, load_external_data=False)
        image, names = onnx_file.read(path).inputs[0].name, answers(model)
        if 2 <= len(names) <= _MOST:
            line = f"`onnx.utils.extract_model({path.name!r}, 'raw.onnx', [{image!r}], {names!r})`"
    torch = f"{'or ' if line else ''}export it from torchvision with {_IN_TORCH}"
    return f"take it out with {line}, {torch}" if line else torch


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
