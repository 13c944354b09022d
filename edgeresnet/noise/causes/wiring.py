"""Causes in the places of Q/DQ: float layers, additions of mixed types, fusions that cannot happen.

They add no noise. They cost time, and a compiler may round where the file does not say so. So each is named only where
the file does otherwise in most such places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ...quantization.net import Net, Node
from ...quantization.placement import POOLING, moves, shortcut_of
from ..diagnosis import Cause
from ..pair import WEIGHTED, Layer
from . import words
from .evidence import Evidence

FLOAT_LAYER, FLOAT_INPUT, SPLIT = "float-layer", "float-input", "fusion-split"
_CLIPS = ("Relu", "Clip")
_RARE = 1 / 3  # of a network's layers are left in float by mistake; of more, on purpose


def causes(evidence: Evidence) -> Iterator[Cause]:
    """Yield what stands at an unusual place."""
    net, reads = evidence.pair.net, {layer.node.name: layer for layer in evidence.pair.layers}
    yield from _float_layers(evidence, net)
    yield from _additions(net, reads)
    yield from _splits(net, reads)


def _float_layers(evidence: Evidence, net: Net) -> Iterator[Cause]:
    floats = {output: name for name, output in evidence.pair.floats.items()}
    int8 = {layer.node.name for layer in evidence.pair.layers if layer.weighted}
    inside = [
        node
        for node in net.nodes
        if node.name in floats
        and not _reads_means(net, node)
        and _before(net, node) & int8
        and _after(net, node) & int8
    ]
    if not inside or len(inside) > _RARE * (len(floats) + len(int8)):
        return
    names = [floats[node.name] for node in inside]
    several = len(names) > 1
    yield Cause(
        FLOAT_LAYER,
        names[0],
        f"{words.listed(names)} {'are' if several else 'is'} in float, but the layers before and behind are in INT8.",
        f"Quantize {'them' if several else 'it'} too, unless this was on purpose: each change of type costs time.",
    )


def _additions(net: Net, reads: dict[str, Layer]) -> Iterator[Cause]:
    """Yield additions with one float input, where most additions read an INT8 value there."""
    found: list[tuple[Node, tuple[bool, bool]]] = []
    for node in net.nodes:
        shortcut = shortcut_of(net, node) if node.kind == "Add" else None
        if shortcut is not None:
            found.append((node, (_int8(net, reads, node, shortcut), _int8(net, reads, node, 1 - shortcut))))
    usual, count = Counter(pattern for _, pattern in found).most_common(1)[0] if found else ((False, False), 0)
    if 2 * count <= len(found):
        return
    for node, pattern in found:
        missing = [there and not here for here, there in zip(pattern, usual, strict=True)]
        if any(missing):
            which = "shortcut" if missing[0] else "branch"
            name = reads[node.name].name if node.name in reads else node.name
            yield Cause(
                FLOAT_INPUT,
                name,
                f"The {which} of {name} is in float. In {count} of {len(found)} additions it is in INT8.",
                "Write Q/DQ before this input too: the compiler then fuses the addition as all others.",
            )


def _int8(net: Net, reads: dict[str, Layer], node: Node, slot: int) -> bool:
    """Return whether an input is in INT8: rounded, or moved from where it is."""
    if node.name in reads and slot in reads[node.name].reads:
        return True
    maker = net.maker.get(node.inputs[slot])
    return maker is not None and moves(net, maker) and _int8(net, reads, maker, 0)


def _splits(net: Net, reads: dict[str, Layer]) -> Iterator[Cause]:
    """Yield ReLUs that are cut off from their layer by Q/DQ."""
    pairs = [(node, net.maker.get(node.inputs[0])) for node in net.nodes if node.kind in _CLIPS]
    fusible = [
        (node, before)
        for node, before in pairs
        if before is not None and before.kind in (*WEIGHTED, "Add") and len(net.readers[before.name]) == 1
    ]
    split = [(node, before) for node, before in fusible if node.name in reads]
    if not split or 2 * len(split) >= len(fusible):
        return
    for _, before in split:
        name = reads[before.name].name if before.name in reads else before.name
        yield Cause(
            SPLIT,
            name,
            f"Q/DQ stand between {name} and its ReLU, in {len(split)} of {len(fusible)} such places.",
            "Take these Q/DQ out: the compiler then computes both as one, and rounds once.",
        )


def _reads_means(net: Net, node: Node) -> bool:
    """Return whether a layer reads one value per channel: attention, which is often left in float."""
    maker = net.maker.get(node.inputs[0])
    while maker is not None and maker.kind not in (*POOLING, "GlobalMaxPool", "ReduceMax"):
        if not (maker.kind in _CLIPS or maker.kind in WEIGHTED or moves(net, maker)):
            return False
        maker = net.maker.get(maker.inputs[0])
    return maker is not None


def _before(net: Net, node: Node) -> set[str]:
    """Return the layers with weights that a node's values come from directly."""
    waiting, found = [node.inputs[0]], set[str]()
    while waiting:
        maker = net.maker.get(waiting.pop())
        if maker is None:
            continue
        if maker.kind in WEIGHTED:
            found.add(maker.name)
        else:
            waiting += maker.inputs
    return found


def _after(net: Net, node: Node) -> set[str]:
    """Return the layers with weights that read a node's values directly."""
    waiting, found = [node.name], set[str]()
    while waiting:
        for reader, _ in net.readers.get(waiting.pop(), []):
            if reader.kind in WEIGHTED:
                found.add(reader.name)
            else:
                waiting.append(reader.name)
    return found
