"""How what follows a detector's answers is taken out of somebody's ONNX file: a suppression of boxes, and a Sigmoid
whose results are rounded to INT8.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import onnx

from ..errors import ModelError, foreign
from ..portable import onnx_file
from ..portable.documents import shown
from ..portable.preprocessing import Preprocessing
from .one_output import ONLY_PLACES, SIGMOID, ends
from .quantized import DEQUANTIZE, QUANTIZE

_LONGEST = 280  # characters of a line
_MOST = 2_000  # characters of all lines: no file of somebody fills a screen
_IN_TORCH = "network.forward = lambda images: network.head(list(network.backbone(images).values()))"
_INVALID = "export it again; `onnx.checker` reports more"
_ROUNDS = {QUANTIZE, DEQUANTIZE}
_SIGMOIDS = {SIGMOID, "QLinearSigmoid"}
_Lines = tuple[str, ...]


def how_to_take_out(path: Path, preprocessing: Preprocessing) -> tuple[str, _Lines]:
    """Return a hint, and the two lines of Python that write the network before the suppression as an ONNX file.

    torchvision's networks of a single image scale it themselves, so these are exported again.
    """
    with foreign(lambda reason: ModelError(shown(path), f"is not a valid ONNX model: {reason}", hint=_INVALID)):
        image, names = onnx_file.read(path).inputs[0], answers(onnx.load(path, load_external_data=False))
    if len(image.shape or ()) != 4:
        given = ", ".join(map(str, (1, preprocessing.channels, preprocessing.size, preprocessing.size)))
        again = f"torch.onnx.export(network, torch.zeros({given}), 'raw.onnx', output_names=['scores', 'boxes'])"
        return "export that network again; in torchvision with the two lines below", (_IN_TORCH, again)
    lines = extracting(path, image.name, names)
    if len(names) < 2 or not lines:
        return "export it without that, with scores and offsets of all anchors as outputs", ()
    return "the two lines below write that, as raw.onnx", lines


def how_to_unround(path: Path, scores: Collection[int]) -> tuple[str, _Lines] | None:
    """Return a hint, and two lines that write the network before Sigmoids whose results are rounded to INT8.

    `scores` are the places of outputs. None: there is no such Sigmoid. One that stays makes probabilities of scores.
    """
    with foreign(lambda reason: ModelError(shown(path), f"is not a valid ONNX model: {reason}", hint=_INVALID)):
        graph = onnx.load(path, load_external_data=False).graph
    makers = {name: node for node in graph.node for name in node.output}
    names, found, plain = [value.name for value in graph.output], False, True
    for place in scores:
        taken_off = {id(node) for node in ends(makers, names[place])}
        all_of_it = ends(makers, names[place], ONLY_PLACES | _ROUNDS)
        found |= any(node.op_type in _SIGMOIDS and id(node) not in taken_off for node in all_of_it)
        before = [
            node.input[0] for node in ends(makers, names[place], {"Identity", *_ROUNDS}) if node.op_type == SIGMOID
        ]
        plain &= len(before) == 1
        names[place] = before[0] if before else names[place]
    if not found:
        return None
    lines = extracting(path, graph.input[0].name, names) if plain else ()
    hint = "the two lines below write it, as raw.onnx" if lines else "convert it without its Sigmoid"
    return f"edgeresnet applies one itself, so give it the network before that: {hint}", lines


def extracting(path: Path, image: str, names: Sequence[str]) -> _Lines:
    """Return two lines that write the part of a file that ends in these tensors; none for names that fill a screen.

    The second is on several lines of a terminal where its names are long.
    """
    before, each = f"onnx.utils.extract_model({str(path)!r}, 'raw.onnx', [{image!r}], [", [repr(name) for name in names]
    line = f"{before}{', '.join(each)}])"
    lines = ("import onnx", *([line] if len(line) <= _LONGEST else [before, *(f"    {name}," for name in each), "])"]))
    return lines if all(len(each) <= _LONGEST for each in lines) and sum(map(len, lines)) <= _MOST else ()


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
