"""Where Q/DQ stand in a network for a dialect, which layers stay float, and why. Writes nothing and knows no scale.

A tensor is quantized once, for all readers that run in INT8. Operators that only move values (max pooling, slices, a
pad with zeros, reshapes, resizing) pass their input's grid on, so that nothing between two INT8 layers returns to
float. What a concatenation joins has one grid: compilers then copy integers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ..portable.session import Dialect
from .net import WEIGHTED, Net, Node
from .scales import Grid

MOVING = ("MaxPool", "Slice", "Pad", "Flatten", "Reshape", "Identity", "Squeeze", "Unsqueeze")
POOLING = ("GlobalAveragePool", "AveragePool", "ReduceMean")
_MEANS = ("GlobalAveragePool", "ReduceMean", "GlobalMaxPool", "ReduceMax")  # of channels, in attention
_INT8 = {"Conv", "Gemm", "Relu", "Clip", "Add", "Concat", "Resize", *MOVING, *POOLING}
_CALLED = {"Relu": "ReLU", "MaxPool": "max pooling", "Pad": "padding", **dict.fromkeys(POOLING, "average pooling")}
_CALLED |= {"Concat": "concatenation", "Resize": "resizing"}
SYMMETRIC, _UNSIGNED = Grid(-128, 127), Grid(0, 255)
_WEIGHTS = {"full": Grid(-127, 127), "half": Grid(-63, 63)}


@dataclass
class Placement:
    """What becomes INT8 in a network. A read is (node, input)."""

    weight_grid: Grid  # of every layer's weights
    integer_bias: bool = False  # a Gemm's bias is stored in 32 bits, in units of its products
    image_zeros: bool = False  # padded images, counted in levels, have a zero point per channel
    only_uint8: bool = False  # activations of a symmetric grid are stored as uint8, with the zero point 128
    points: dict[str, Grid] = field(default_factory=dict)  # quantized tensor → its grid
    alike: dict[str, str] = field(default_factory=dict)  # tensor → the one whose scale it shares
    reads: set[tuple[str, int]] = field(default_factory=set)  # those of quantized values
    unrounded: set[tuple[str, int]] = field(default_factory=set)  # those where the compiler uses the float value
    padded: set[str] = field(default_factory=set)  # tensors that need the zero point 0, and decide other scales
    weights: dict[str, Node] = field(default_factory=dict)  # layers whose weights become INT8
    kept: dict[str, str] = field(default_factory=dict)  # layer → why it stays float

    def source(self, tensor: str) -> str:
        """Return the tensor whose values decide the scale."""
        return self.alike.get(tensor, tensor)

    def executed(self) -> Placement:
        """Return the placement with only the roundings that the compiler does."""
        return replace(self, reads=self.reads - self.unrounded)


def label(node: Node) -> str:
    """Return a layer's name for people: that of its weights where they have one, else of its output."""
    named = re.sub(r"[._/]?(weight|kernel)(:0)?$", "", node.inputs[1]) if len(node.inputs) > 1 else ""
    return named if re.search(r"[A-Za-z]", named) else node.name


def labels(layers: Iterable[Node]) -> dict[str, list[str]]:
    """Return the outputs of each layer, by its name for people: several where layers share their weights."""
    found: dict[str, list[str]] = {}
    for node in layers:
        found.setdefault(label(node), []).append(node.name)
    return found


def described(net: Net, tensor: str) -> str:
    """Return a tensor for people: the layer that makes it, or what makes it and the last layer or addition before."""
    node = net.maker.get(tensor)
    if node is None or "/" in tensor:  # an exporter's path of modules says where it is
        return "the images" if tensor == net.input else tensor
    if node.kind in WEIGHTED:
        return label(node)
    if node.kind == "Add":
        layer = described(net, _before(net, node, WEIGHTED))
        block = layer.rpartition(".")[0]
        return f"the addition in {block}" if block else f"the addition after {layer}"
    return f"the {_CALLED.get(node.kind, node.kind)} after {described(net, _before(net, node, (*WEIGHTED, 'Add')))}"


def _before(net: Net, node: Node | None, kinds: tuple[str, ...]) -> str:
    """Return the last tensor before a node that an operator of these kinds makes; the images where none does.

    An addition follows its branch, and a product what is weighed: attention is deeper.
    """
    tensor = net.input
    while node is not None:
        inputs = [name for name in node.inputs if name in net.depth]
        deepest = max if node.kind == "Add" else min
        tensor = deepest(inputs, key=lambda name: net.depth[name], default=net.input)
        node = net.maker.get(tensor)
        if node is not None and node.kind in kinds:
            break
    return tensor


def place(net: Net, dialect: Dialect, exclude: tuple[str, ...] = (), *, deep: bool = False) -> Placement:
    """Place Q/DQ. `deep`: the images have more levels than INT8, so layers that read them stay float."""
    found = Placement(
        weight_grid=_WEIGHTS[dialect.weights],
        integer_bias=dialect.integer_bias,
        image_zeros=dialect.image_zeros == "per-channel",
        only_uint8=dialect.zero_points == "always",
    )
    gates = set[str]().union(*(_gate(net, node) or () for node in net.nodes))
    for node in net.weighted():
        why = _why_float(net, node, dialect, exclude)
        why = why or ("it reads one value per channel: INT8 would save no time" if node.name in gates else "")
        if deep and not net.depth.get(node.inputs[0], 0):
            why = why or "it reads 16-bit images, but INT8 has only 256 levels"
        if why:
            found.kept[label(node)] = why
        else:
            found.weights[node.name] = node
            _quantize(found, net, dialect, node, 0)
    for node in net.nodes:
        if node.kind == "Add":
            _place_add(found, net, dialect, node)
    for node in reversed(net.nodes):  # readers first: what feeds a quantized reader may be INT8 itself
        if node.kind in POOLING and _all_read_quantized(found, net, node.name):
            _quantize(found, net, dialect, node, 0)
    if dialect.rounds_for_all:
        made = found.points.keys() & found.weights.keys()
        found.reads |= {(reader.name, slot) for name in made for reader, slot in net.readers.get(name, [])}
    _pass_on(found, net, dialect)
    found.padded = {found.source(node.inputs[0]) for node in net.nodes if node.kind == "Pad"} & found.points.keys()
    for node in net.nodes:
        if node.kind not in _INT8 and net.depth[node.name] > 0 and _leads_to(net, node, set(found.weights)):
            found.kept[f"{node.name} ({node.kind})"] = "it is between INT8 layers, but has no INT8 form here"
    return found


def nonnegative(net: Net, tensor: str) -> bool:
    """Return whether no value of a tensor can be below zero."""
    node = net.maker.get(tensor)
    if node is None:
        return False
    if node.kind == "Relu" or (node.kind == "Clip" and _floor(net, node) >= 0):
        return True
    if joins(net, node):
        return all(nonnegative(net, name) for name in node.inputs)
    mirrors = node.kind == "Pad" and node.attributes.get("mode", b"constant") != b"constant"  # or repeats an edge
    return (node.kind in POOLING or mirrors or moves(net, node)) and nonnegative(net, node.inputs[0])


def moves(net: Net, node: Node) -> bool:
    """Return whether a node passes values on unchanged: a scale that suits its input suits its output."""
    if node.kind == "Pad":
        mode = node.attributes.get("mode", b"constant")
        value = net.constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
        named = len(node.inputs) > 2 and bool(node.inputs[2])
        return mode == b"constant" and (not named or (value is not None and float(value) == 0.0))
    if node.kind == "Resize":  # a mean of neighbours is between them; cubic curves overshoot
        return node.attributes.get("mode", b"nearest") in (b"nearest", b"linear") and not _extrapolates(node)
    return node.kind in MOVING


def _extrapolates(resize: Node) -> bool:
    return resize.attributes.get("coordinate_transformation_mode") == b"tf_crop_and_resize"


def joins(net: Net, node: Node) -> bool:
    """Return whether a node concatenates channels that other nodes make."""
    return node.kind == "Concat" and node.integer("axis", 1) in (1, -3) and all(n in net.maker for n in node.inputs)


def shortcut_of(net: Net, add: Node) -> int | None:
    """Return which input of a residual addition is the shortcut, the one with fewer layers; None: not a residual."""
    if any(name in net.constants for name in add.inputs):
        return None
    depths = [net.depth[name] for name in add.inputs]
    return int(np.argmin(depths)) if depths[0] != depths[1] else 1


def _place_add(found: Placement, net: Net, dialect: Dialect, add: Node) -> None:
    shortcut = shortcut_of(net, add)
    if shortcut is None:
        return
    branch = net.maker.get(add.inputs[1 - shortcut])
    if branch is not None and branch.kind == "Conv" and branch.name not in found.weights:
        return  # its layer stays float, and so does the addition: one float input makes it float in any case
    if not _worthwhile(found, net, add) or _stays_float(net, add, dialect):
        return
    fused = _taken_in(found, net, branch)
    if not fused and dialect.residual == "shortcut" and _taken_in(found, net, net.maker.get(add.inputs[shortcut])):
        _quantize(found, net, dialect, add, 1 - shortcut)  # the branch ends in attention: the addition joins the other
        return
    _quantize(found, net, dialect, add, shortcut)
    if dialect.residual == "both" or not fused:
        _quantize(found, net, dialect, add, 1 - shortcut)
    behind = [reader.kind for reader, _ in net.readers.get(add.name, [])]
    if dialect.sums_in_float and dialect.residual == "both" and fused and behind == ["Relu"]:
        found.unrounded.add((add.name, 1 - shortcut))


def _taken_in(found: Placement, net: Net, layer: Node | None) -> bool:
    """Return whether a compiler may compute an INT8 layer and the addition after it as one."""
    return layer is not None and layer.name in found.weights and len(net.readers[layer.name]) == 1


def _worthwhile(found: Placement, net: Net, add: Node) -> bool:
    """Return whether an INT8 layer makes an input, directly or moved; else all around the addition is float."""
    return any(_made_by_int8(found, net, name) for name in add.inputs)


def _stays_float(net: Net, add: Node, dialect: Dialect) -> bool:
    """Return whether a float operator is next to an addition: INT8 inputs would be converted back and forth.

    A normalisation needs the float sum in any case. Attention scales it; but x·sigmoid(x) is an activation: compilers
    compute it with the layer or the addition before it.
    """
    around = [net.maker[name] for name in add.inputs if name in net.maker]
    around += [reader for reader, _ in net.readers.get(add.name, [])]
    if dialect.float_additions != "never" and any(node.kind == "BatchNormalization" for node in around):
        return True
    return dialect.float_additions == "scaled" and any(_gate(net, node) is not None for node in around)


def _made_by_int8(found: Placement, net: Net, tensor: str) -> bool:
    node = net.maker.get(tensor)
    if node is None:
        return False
    if joins(net, node):
        return all(_made_by_int8(found, net, name) for name in node.inputs)
    return node.name in found.weights or (moves(net, node) and _made_by_int8(found, net, node.inputs[0]))


def _passes(net: Net, node: Node) -> bool:
    return moves(net, node) or joins(net, node)


def _pass_on(found: Placement, net: Net, dialect: Dialect) -> None:
    """Quantize what moves or is joined before it is quantized."""
    for node in reversed(net.nodes):
        if node.name in found.points and moves(net, node) and node.inputs[0] in net.maker:
            _carry(found, net, dialect, node)
        elif node.name in found.points and joins(net, node):
            _join(found, net, dialect, node)


def _carry(found: Placement, net: Net, dialect: Dialect, node: Node) -> None:
    """Quantize the input of a node that only moves values, with the same scale: so it moves integers.

    The scale is that of the earliest values which a layer, an addition or a pooling reads.
    """
    source, result = node.inputs[0], found.source(node.name)
    others = [(reader.name, slot) for reader, slot in net.readers[source] if not moves(net, reader)]
    decides = found.source(source) if any(other in found.reads for other in others) else result
    if decides != result and _joined(net, result):
        if _joined(net, decides):
            return  # neither scale suits the other's values
        decides = result
    _quantize(found, net, dialect, node, 0)
    _share(found, decides, node.name, source)


def _join(found: Placement, net: Net, dialect: Dialect, node: Node) -> None:
    """Quantize what a concatenation joins, with the scale of the result: so it copies integers."""
    decides = found.source(node.name)
    before = {found.source(name) for name in node.inputs if name in found.points}
    if any(_joined(net, name) for name in before - {decides}):
        return  # an input has the scale of another concatenation
    for slot in range(len(node.inputs)):
        _quantize(found, net, dialect, node, slot)
    _share(found, decides, *node.inputs)


def _joined(net: Net, tensor: str) -> bool:
    return tensor in net.maker and net.maker[tensor].kind == "Concat"


def _share(found: Placement, decides: str, *tensors: str) -> None:
    """Give these tensors, and all that share a scale with them, the scale and the grid of one."""
    groups = {found.source(tensor) for tensor in tensors}
    for tensor in [*tensors, *(tensor for tensor, of in found.alike.items() if of in groups), *groups]:
        found.alike[tensor] = decides
        found.points[tensor] = found.points[decides]
    found.alike.pop(decides, None)


def _quantize(found: Placement, net: Net, dialect: Dialect, node: Node, slot: int) -> None:
    tensor = node.inputs[slot]
    unsigned = dialect.activations == "u8-after-relu" and nonnegative(net, tensor)
    found.points[tensor] = _UNSIGNED if unsigned else SYMMETRIC
    found.reads.add((node.name, slot))


def _why_float(net: Net, node: Node, dialect: Dialect, exclude: tuple[str, ...]) -> str:
    for pattern in exclude:
        if re.search(pattern, label(node)) or re.search(pattern, node.name):
            return f"excluded by {pattern!r}"
    outputs = net.constants.shape(node.inputs[1])[weight_axis(node)]
    if node.kind == "Gemm" and outputs < dialect.smallest_gemm:
        return f"it has {outputs} outputs: this target keeps layers with fewer than {dialect.smallest_gemm} in float"
    if node.kind == "Gemm" and (node.integer("transA", 0) or node.number("alpha", 1.0) != 1.0):
        return "its input is transposed or scaled first"
    return ""


def _gate(net: Net, node: Node) -> set[str] | None:
    """Return the layers that compute one factor of a Mul from the means of channels; None: no factor is so."""
    behind = [_behind_means(net, name) for name in node.inputs] if node.kind == "Mul" else []
    made = [layers for layers in behind if layers is not None]
    return made[0] if len(made) == 1 else None  # the other factor is the map


def _behind_means(net: Net, tensor: str) -> set[str] | None:
    """Return the layers between the means of channels and a tensor; None where it depends on more than means."""
    waiting, seen, layers = [tensor], set[str](), set[str]()
    while waiting:
        name = waiting.pop()
        node = net.maker.get(name)
        if name in net.constants or name in seen or (node is not None and node.kind in _MEANS):
            continue
        if node is None:
            return None
        seen.add(name)
        layers |= {node.name} if node.kind in WEIGHTED else set()
        waiting += node.inputs
    return layers


def weight_axis(node: Node) -> int:
    """Return the axis of a layer's weights that counts its outputs."""
    return 1 if node.kind == "Gemm" and not node.integer("transB", 0) else 0


def _all_read_quantized(found: Placement, net: Net, tensor: str) -> bool:
    """Return whether every reader of a tensor reads it quantized, or passes it on to one that does."""
    readers = net.readers.get(tensor, [])
    return bool(readers) and all(
        (reader.name, slot) in found.reads or (_passes(net, reader) and _all_read_quantized(found, net, reader.name))
        for reader, slot in readers
    )


def _leads_to(net: Net, node: Node, layers: set[str]) -> bool:
    """Return whether an INT8 layer comes after this node, at any distance."""
    waiting, seen = list(node.outputs), set[str]()
    while waiting:
        for reader, _ in net.readers.get(waiting.pop(), []):
            if reader.name in layers:
                return True
            if reader.name not in seen:
                seen.add(reader.name)
                waiting.append(reader.name)
    return False


def _floor(net: Net, node: Node) -> float:
    low = net.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    return float(low) if low is not None else float("-inf")
