"""An INT8 network and the FP32 network that it was made of, layer by layer, whoever quantized it.

A quantizer may scale channels before it rounds, correct biases and count pixels in levels. So the FP32 network is
brought into the INT8 file's units: factors per channel come from the weights, and biases from what layers give for a
few images. Then the two networks differ by rounding only, and what a layer's rounding costs can be computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
import torch
from torch import Tensor

from ..errors import ModelError
from ..quantization import answers
from ..quantization import placement as places
from ..quantization.answers import Unit
from ..quantization.net import Constants, Net, Node
from ..quantization.torch_net import OPERATORS, TorchNet
from . import absorbed, fit
from .grids import Grid
from .strip import Stored, Stripped, strip

WEIGHTED = ("Conv", "Gemm", "MatMul")
_MATCHED_DB = 30.0  # a layer's output, compared with the FP32 network's after its factors
_FEW = 4  # images show whether a layer is the FP32 network's


@dataclass(frozen=True)
class Layer:
    """A node that reads INT8 values or weights."""

    name: str  # for people: as the FP32 network calls it
    node: Node  # of the float network in the INT8 file's units
    reads: Mapping[int, tuple[Grid, ...]]  # its inputs that are rounded
    weights: Stored | None = None
    exact: np.ndarray | None = None  # its weights before rounding, in the INT8 file's units; None: not known
    bias: np.ndarray | None = None  # its bias before quantization; None: the file's own
    matched: bool = True  # its outputs are the FP32 network's, but for factors per channel

    @property
    def weighted(self) -> bool:
        return self.weights is not None


@dataclass
class Pair:
    """Both networks, in the INT8 file's units."""

    net: Net  # without rounding of activations; constants are dequantized
    runner: TorchNet
    layers: list[Layer]
    answers: np.ndarray  # the FP32 network's logits of the first images, of maps at some places
    unit: Unit  # what these are rows of
    floats: dict[str, str] = field(default_factory=dict)  # weighted layers left in float: name → output

    def exact(self, node: Node) -> dict[str, Tensor]:
        """Return a node's weights and bias before rounding, where they are known, by the constant's name."""
        return self._exact.get(node.name, {})

    def __post_init__(self) -> None:
        self._exact: dict[str, dict[str, Tensor]] = {}
        for layer in self.layers:
            found = {}
            if layer.exact is not None:
                found[layer.node.inputs[1]] = torch.from_numpy(np.ascontiguousarray(layer.exact))
            if layer.bias is not None:
                found[layer.node.inputs[2]] = torch.from_numpy(np.ascontiguousarray(layer.bias, np.float32))
            self._exact[layer.node.name] = found


def read(exact: onnx.ModelProto, rounded: onnx.ModelProto, images: np.ndarray) -> Pair:
    """Read two canonical networks. A few normalised images show how their layers correspond."""
    stripped = strip(rounded)
    net, original = Net(stripped.model), Net(exact)
    if absorbed.restore(stripped, net, original, _partners(net, original)):
        net = Net(stripped.model)
    runner = TorchNet(net)
    net.constants = _InTorch(net.constants, runner)
    found = _Matching(stripped, net, runner, original)
    layers, expected = found.run(torch.from_numpy(np.array(images[:_FEW], np.float32)))
    layers = _unique(layers)
    int8 = {layer.node.name for layer in layers if layer.weighted}
    floats = {found.names[node.name]: node.name for node in _weighted(net) if node.name not in int8}
    return Pair(net, runner, layers, expected, answers.unit_of(exact), floats)


class _InTorch(Constants):
    """A network's constants without a copy of those that torch has: the file that they came from is not needed."""

    def __init__(self, constants: Constants, runner: TorchNet):
        self._torch = runner.constants
        self._others = {name: constants[name] for name in constants if name not in self._torch}

    def __getitem__(self, name: str) -> np.ndarray:
        return np.asarray(self._torch[name].numpy()) if name in self._torch else self._others[name]

    def __contains__(self, name: object) -> bool:
        return name in self._torch or name in self._others

    def __iter__(self) -> Iterator[str]:
        return iter([*self._torch, *self._others])

    def __len__(self) -> int:
        return len(self._torch) + len(self._others)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self[name].shape)


def _unique(layers: Iterable[Layer]) -> list[Layer]:
    """Return layers; those of the same name get a number from the second on."""
    seen, found = Counter[str](), []
    for layer in layers:
        seen[layer.name] += 1
        count = seen[layer.name]
        found.append(replace(layer, name=f"{layer.name} ({count})") if count > 1 else layer)
    return found


def _weighted(net: Net) -> list[Node]:
    return [
        node for node in net.nodes if node.kind in WEIGHTED and len(node.inputs) > 1 and node.inputs[1] in net.constants
    ]


def _partners(net: Net, original: Net) -> dict[str, Node]:
    """Return each weighted layer's partner in the FP32 network: of its name, else the next one of its shape."""
    shape = {
        (id(each), node.name): each.constants.shape(node.inputs[1])
        for each in (net, original)
        for node in _weighted(each)
    }
    left = {node.name: node for node in _weighted(original)}
    found: dict[str, Node] = {}
    for node in _weighted(net):
        if node.name in left and shape[id(net), node.name] == shape[id(original), node.name]:
            found[node.name] = left.pop(node.name)
    for node in _weighted(net):
        if node.name in found:
            continue
        alike = [name for name in left if shape[id(original), name] == shape[id(net), node.name]]
        if alike:
            found[node.name] = left.pop(alike[0])
    return found


class _Expected:
    """The outputs of layers of the FP32 network, each computed when it is asked for, and given once; its logits."""

    def __init__(self, net: Net, images: Tensor, wanted: set[str]):
        self._runner, self._wanted = TorchNet(net), {*wanted, net.output}
        self._output = net.output
        self._values: dict[str, Tensor] = {net.input: images}
        self._nodes = net.walk(self._values)
        self._found: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        while name not in self._found:
            node = next(self._nodes)
            inputs = [self._values.get(each, operand(self._runner, each)) for each in node.inputs]
            self._values[node.name] = OPERATORS[node.kind](node, *inputs)
            if node.name in self._wanted:
                self._found[node.name] = self._values[node.name]
        return self._found[name] if name == self._output else self._found.pop(name)


class _Matching:
    """Runs both networks at once, and brings each layer of one into the units of the other."""

    def __init__(self, stripped: Stripped, net: Net, runner: TorchNet, original: Net):
        self._stripped, self._net, self._runner, self._original = stripped, net, runner, original
        self._partner = _partners(net, original)
        own, others = len(_weighted(net)), len(_weighted(original))
        if 2 * len(self._partner) < max(own, others):
            raise ModelError(
                "the INT8 file",
                f"has {own} layers with weights: {len(self._partner)} fit those of the FP32 network ({others})",
                hint="name the FP32 network that it was quantized from",
            )
        self.names = {node.name: places.label(node) for node in _weighted(net)}
        self.names |= {name: places.label(other) for name, other in self._partner.items()}

    def run(self, images: Tensor) -> tuple[list[Layer], np.ndarray]:
        """Return the layers, and the FP32 network's logits."""
        with torch.no_grad():
            expected = _Expected(self._original, images, {node.name for node in self._partner.values()})
            return list(self._layers(images, expected)), answers.sampled(expected[self._original.output].numpy())

    def _layers(self, images: Tensor, expected: _Expected) -> Iterable[Layer]:
        values: dict[str, Tensor] = {self._net.input: images}
        for node in self._net.walk(values):
            reads = {
                slot: self._stripped.reads[node.name, slot]
                for slot in range(len(node.inputs))
                if (node.name, slot) in self._stripped.reads
            }
            stored = self._stripped.stored.get((node.name, 1)) if node.kind in WEIGHTED else None
            layer = Layer(self.names.get(node.name) or self._described(node), node, reads, stored)
            if node.name in self._partner:
                layer = self._fitted(layer, values, expected[self._partner[node.name].name])
            values[node.name] = self._computed(layer, values)
            if reads or stored is not None:
                yield layer

    def _described(self, node: Node) -> str:
        """Return a name for a node without weights: what it does, after which layer."""
        before = next((self.names[name] for name in self._before(node) if name in self.names), "the images")
        word = {"Add": "addition", "MaxPool": "max-pool", "Identity": "output"}.get(node.kind, node.kind)
        return f"{word} after {before}"

    def _before(self, node: Node) -> Iterable[str]:
        """Yield the nodes before one, the nearest first, those of its first input first."""
        waiting, seen = list(node.inputs), set[str]()
        while waiting:
            name = waiting.pop(0)
            maker = self._net.maker.get(name)
            if maker is None or maker.name in seen:
                continue
            seen.add(maker.name)
            yield maker.name
            waiting += maker.inputs

    def _computed(self, layer: Layer, values: Mapping[str, Tensor]) -> Tensor:
        own = dict(zip(layer.node.inputs[1:], (layer.exact, layer.bias), strict=False))
        given: list[Tensor | np.ndarray | None] = []
        for name in layer.node.inputs:
            changed = own.get(name)
            if changed is not None:
                given.append(torch.from_numpy(np.ascontiguousarray(changed, np.float32)))
            else:
                given.append(values[name] if name in values else operand(self._runner, name))
        return OPERATORS[layer.node.kind](layer.node, *given)

    def _fitted(self, layer: Layer, values: Mapping[str, Tensor], expected: Tensor) -> Layer:
        """Return a layer with the weights and the bias that it had before rounding."""
        node, other = layer.node, self._partner[layer.node.name]
        stored, exact = layer.weights, None
        if stored is not None and stored.exact is not None:
            exact = stored.exact
        elif stored is not None:
            one, two = self._net.constants[node.inputs[1]], self._original.constants[other.inputs[1]]
            exact = fit.in_units_of(one, two, node, other, stored)
        plain = self._computed(Layer("", node, {}, exact=exact, bias=self._zero(node)), values)
        gain, offset, matched = fit.affine(plain.numpy(), expected.numpy(), one_axis(node))
        has_bias = len(node.inputs) > 2 and node.inputs[2] in self._net.constants
        if matched < _MATCHED_DB or gain is None:
            known = exact if stored is not None and stored.exact is not None else None
            return Layer(layer.name, node, layer.reads, stored, known, None, matched=False)
        return Layer(layer.name, node, layer.reads, stored, exact, offset / gain if has_bias else None)

    def _zero(self, node: Node) -> np.ndarray | None:
        if len(node.inputs) < 3 or node.inputs[2] not in self._net.constants:
            return None
        return np.zeros_like(self._net.constants[node.inputs[2]], np.float32)


def one_axis(node: Node) -> int:
    """Return the axis of a layer's output that counts its channels."""
    return 1 if node.kind == "Conv" else -1


def operand(runner: TorchNet, name: str) -> Tensor | np.ndarray | None:
    """Return a constant of a network, as an operator takes it."""
    return runner.constants[name] if name in runner.constants else runner.net.constants.get(name)
