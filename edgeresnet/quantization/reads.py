"""What the weights of each layer read, from one pass over some images: its mean, exact and rounded, and its moments.

A mean over positions is linear, so that of a tensor is enough. Moments are those of sampled positions. One pass serves
several INT8 forms of a network, whose channels may differ by factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import onnx

from . import qdq, session
from .net import Net, Node
from .placement import Placement, weight_axis
from .scales import Grid

LARGEST = 576  # weights of a row that are rounded together: 64 channels of a 3×3 convolution
_OBSERVED = 8  # samples for each of them, where the images have as many
_FEWEST = 4  # samples for each of them: with fewer, correlations are chance, and parts are smaller
_DAMPING = 0.01  # of the mean variance: a correlation that is chance must not move weights far
_INEXACT = 1e-5  # of the mean square: what 32 bits leave of a variance that is zero
_NOTHING = 1e-12
_WAITING = 512  # samples of a layer that are multiplied at once
_CACHED = 1 << 16  # values


class Shape(NamedTuple):
    """How a layer's weights are divided: groups of the convolution, inputs of each, taps of each input."""

    groups: int
    inputs: int
    taps: int

    @staticmethod
    def of(net: Net, node: Node) -> Shape:
        """Return a layer's shape."""
        shape = net.constants.shape(node.inputs[1])
        each = int(np.prod(shape)) // shape[weight_axis(node)]
        taps = int(np.prod(shape[2:])) if node.kind == "Conv" else 1
        return Shape(node.integer("group", 1), each // taps, taps)

    def parts(self, samples: int) -> int:
        """Return into how many parts of equal numbers of channels each group is divided."""
        most = max(1, min(LARGEST, samples // _FEWEST) // self.taps)
        return next(
            count for count in range(1, self.inputs + 1) if self.inputs % count == 0 and self.inputs // count <= most
        )


class Form(NamedTuple):
    """One INT8 form of a network."""

    placement: Placement
    values: qdq.Values
    factors: Mapping[str, np.ndarray]  # of the channels of tensors; 1 where none is given
    moments: bool  # whether to take them, too

    def scale(self, tensor: str) -> float:
        """Return the scale of a tensor."""
        return self.values.scales[self.placement.source(tensor)]

    def steps(self, tensor: str, channels: int) -> np.ndarray:
        """Return how many of its steps a value of 1 is, for each channel of a tensor."""
        return np.asarray(self.factors.get(tensor, np.ones(channels)) / self.scale(tensor), np.float32)


@dataclass
class Reads:
    """What the weights of one form's layers read, by layer."""

    means: dict[str, np.ndarray] = field(default_factory=dict)  # (groups × inputs) × taps
    rounded: dict[str, np.ndarray] = field(default_factory=dict)  # the same on the grid
    moments: dict[str, Moments] = field(default_factory=dict)


@dataclass
class Moments:
    """The sums over samples of what weights read, and of its products: parts × weights (× weights).

    Layers that share the weights add to the same products. Sums are those of each: its bias takes its own mean away.
    """

    shape: Shape
    parts: int
    sums: dict[str, Sums] = field(default_factory=dict)  # by layer
    products: np.ndarray = field(default_factory=lambda: np.zeros(()))

    def add(self, columns: np.ndarray, layer: str = "", unit: float = 1.0) -> None:
        """Add samples of a layer, as (groups × inputs × taps) × samples, where 1 is one `unit`.

        A product of few takes longer: they wait for others.
        """
        sums = self.sums.setdefault(layer, Sums(unit))
        sums.waiting.append(columns)
        if sum(each.shape[1] for each in sums.waiting) >= _WAITING:
            self._multiply(sums)

    def covariance(self) -> np.ndarray:
        """Return the covariance of each part, damped."""
        for sums in self.sums.values():
            self._multiply(sums)
        count = sum(sums.count for sums in self.sums.values())
        found = self.products.astype(np.float64) / count
        diagonal = np.einsum("pii->pi", found)
        inexact = _INEXACT * diagonal.mean(1, keepdims=True)
        for sums in self.sums.values():
            mean = sums.total / sums.count
            found -= sums.count / count * mean[:, :, None] * mean[:, None, :]
        diagonal += _DAMPING * diagonal.mean(1, keepdims=True) + inexact + _NOTHING
        return found

    def _multiply(self, sums: Sums) -> None:
        if not sums.waiting:
            return
        columns = np.concatenate(sums.waiting, axis=1, dtype=np.float32)
        sums.waiting.clear()
        each = columns.reshape(self.shape.groups * self.parts, -1, columns.shape[1])
        if sums.unit != 1:
            each *= np.float32(sums.unit)
        if not sums.count:
            sums.centre = each.mean(2, keepdims=True)
            sums.total = np.zeros(each.shape[:2])
        if not self.products.ndim:
            self.products = np.zeros((*each.shape[:2], each.shape[1]), np.float32)
        each -= sums.centre
        sums.total += each.sum(2, dtype=np.float64)
        for part, products in zip(each, self.products, strict=True):
            products += part @ part.T
        sums.count += columns.shape[1]


@dataclass
class Sums:
    """The sum over one layer's samples of what is left without the mean of the first ones.

    32 bits do not hold the variance of a large constant.
    """

    unit: float
    count: int = 0
    centre: np.ndarray = field(default_factory=lambda: np.zeros(()))
    total: np.ndarray = field(default_factory=lambda: np.zeros(()))
    waiting: list[np.ndarray] = field(default_factory=list)


def observe(model: onnx.ModelProto, forms: Sequence[Form], batches: Sequence[np.ndarray], few: int) -> list[Reads]:
    """Run the network on all batches; return what the layers of each form read. Means are those of `few` images."""
    net, images = Net(model), sum(map(len, batches))
    layers = [n for n in forms[0].placement.weights.values() if "auto_pad" not in n.attributes] if images else []
    readers = dict[str, list[Node]]()
    for node in layers:
        readers.setdefault(node.inputs[0], []).append(node)
    tensors, rng, left = sorted(readers.keys() - {net.input}), np.random.default_rng(0), min(few, images)
    moments: dict[tuple[int, str], Moments] = {}  # by form and weights
    seen = {tensor: _Tensor(net, tensor, nodes, forms, moments) for tensor, nodes in readers.items()}
    groups = _together(layers)
    for batch, computed in session.Runner(model, tensors).over(batches):
        values = {net.input: batch, **dict(zip(tensors, computed, strict=True))}
        chosen = {n.name: Positions.of(net, n, values[n.inputs[0]].shape, images, rng) for n in layers}

        def take(
            group: list[str],
            values: dict[str, np.ndarray] = values,
            chosen: dict[str, Positions] = chosen,
            left: int = left,
        ) -> None:
            for tensor in group:
                seen[tensor].add_means(values[tensor][:left])
                seen[tensor].add_moments(values[tensor], chosen, images)

        session.each(take, groups)
        values.clear()
        computed.clear()  # before the next batch is computed: large maps fill memory
        left = max(0, left - len(batch))
    found = [Reads() for _ in forms]
    for one in seen.values():
        one.give(found)
    return found


def _together(layers: Sequence[Node]) -> list[list[str]]:
    """Return the tensors that layers read, in groups: those of the same weights add to the same sums, in order."""
    group: dict[str, list[str]] = {}
    first: dict[str, str] = {}  # weights → the first tensor that is multiplied by them
    for node in layers:
        mine = group.setdefault(node.inputs[0], [node.inputs[0]])
        other = group[first.setdefault(node.inputs[1], node.inputs[0])]
        if other is not mine:
            other.extend(mine)
            group.update(dict.fromkeys(mine, other))
    return list({id(each): each for each in group.values()}.values())


class _Tensor:
    """One tensor, and what the layers that read it read."""

    def __init__(
        self,
        net: Net,
        name: str,
        readers: Sequence[Node],
        forms: Sequence[Form],
        moments: dict[tuple[int, str], Moments],
    ):
        self._net, self._name, self._readers, self._forms, self._moments = net, name, readers, forms, moments
        self._images = 0
        self._often: list[np.ndarray] = []  # by reader
        self._exact = [np.zeros(()) for _ in readers]
        self._steps = [[np.zeros(()) for _ in readers] for _ in forms]

    def add_means(self, values: np.ndarray) -> None:
        """Add images to the means."""
        if not len(values):
            return
        self._images += len(values)
        self._often = self._often or [_often(node, self._net, values.shape[2:]) for node in self._readers]
        flat = values.reshape(*values.shape[:2], -1)
        total = flat[0] if len(flat) == 1 else flat.sum(0, dtype=np.float64)
        self._exact = [before + total @ often for before, often in zip(self._exact, self._often, strict=True)]
        for number, form in enumerate(self._forms):
            total = _rounded(flat, form.steps(self._name, values.shape[1]), form.placement.points[self._name])
            self._steps[number] = [
                before + total @ often for before, often in zip(self._steps[number], self._often, strict=True)
            ]

    def add_moments(self, values: np.ndarray, chosen: Mapping[str, Positions], images: int) -> None:
        """Add images to the moments; `images` is how many there are in all."""
        for number, form in enumerate(self._forms):
            if not form.moments:
                continue
            positions = [chosen[node.name] for node in self._readers]
            steps, grid = form.steps(self._name, values.shape[1]), form.placement.points[self._name]
            sampled = _Sampled.of(values, positions, steps, grid)
            for node, where in zip(self._readers, positions, strict=True):
                of_weights, sharing = (number, node.inputs[1]), self._net.sharing[node.inputs[1]]
                if of_weights not in self._moments:
                    shape = Shape.of(self._net, node)
                    samples = sum(chosen[each.name].each for each in sharing if each.name in chosen) * images
                    self._moments[of_weights] = Moments(shape, shape.parts(samples))
                unit = form.scale(self._name) / form.scale(sharing[0].inputs[0]) if len(sharing) > 1 else 1.0
                self._moments[of_weights].add(sampled.columns(where), node.name, unit)

    def give(self, found: Sequence[Reads]) -> None:
        """Write what each layer reads into the reads of all forms."""
        for number, form in enumerate(self._forms):
            scale = form.scale(self._name)
            for node, exact, steps in zip(self._readers, self._exact, self._steps[number], strict=True):
                one = form.steps(self._name, len(exact)).astype(np.float64)[:, None] * scale  # the channels' factors
                found[number].means[node.name] = exact * one / self._images
                found[number].rounded[node.name] = steps * scale / self._images
                if form.moments:
                    found[number].moments[node.name] = self._moments[number, node.inputs[1]]


def _rounded(images: np.ndarray, steps: np.ndarray, grid: Grid) -> np.ndarray:
    """Put images × channels × positions on a grid, of which 1 is `steps` by channel; return the sum over images."""
    found = np.zeros(images.shape[1:], np.float32)  # exact: they are integers
    size = max(1, _CACHED // images.shape[2])
    for start in range(0, len(found), size):  # some channels at a time: they stay in the cache
        part = slice(start, start + size)
        for image in images:
            there = image[part] * steps[part, None]
            np.rint(there, out=there)
            found[part] += np.clip(there, grid.low, grid.high, out=there)
    return found


class Positions(NamedTuple):
    """Where a layer's output is sampled: what its taps read there, as positions of the input, one after the other."""

    read: np.ndarray  # taps × samples; the number of positions stands for padding

    @property
    def each(self) -> int:
        """Return the number of samples of one image."""
        return self.read.shape[1]

    @staticmethod
    def of(net: Net, node: Node, shape: tuple[int, ...], images: int, rng: np.random.Generator) -> Positions:
        """Choose positions, as many of each image as give enough of them."""
        if node.kind != "Conv":
            return Positions(np.zeros((1, 1), int))
        pads, strides = node.integers("pads", [0] * 4), node.integers("strides", [1, 1])
        apart, taps = node.integers("dilations", [1, 1]), net.constants.shape(node.inputs[1])[2:]
        high, wide = (node.positions(axis, shape[2 + axis], taps[axis]) for axis in (0, 1))
        weights = Shape.of(net, node)
        several = len(net.sharing[node.inputs[1]])
        wanted = -(-_OBSERVED * min(LARGEST, weights.inputs * weights.taps) // (images * several))
        at = np.arange(high * wide)
        if wanted < len(at):
            at = np.sort(rng.choice(len(at), wanted, replace=False, shuffle=False))
        tap = np.arange(weights.taps)[:, None]
        rows = at // wide * strides[0] + tap // taps[1] * apart[0] - pads[0]
        columns = at % wide * strides[1] + tap % taps[1] * apart[1] - pads[1]
        inside = (rows >= 0) & (rows < shape[2]) & (columns >= 0) & (columns < shape[3])
        return Positions(np.where(inside, rows * shape[3] + columns, shape[2] * shape[3]))


class _Sampled(NamedTuple):
    """What some layers read of one tensor at their positions, and no others, as steps of a grid above the lowest."""

    values: np.ndarray  # images × channels × places
    places: np.ndarray  # the position of each

    @staticmethod
    def of(tensor: np.ndarray, positions: Sequence[Positions], steps: np.ndarray, grid: Grid) -> _Sampled:
        """Sample a tensor, of which 1 is `steps` of the grid, by channel."""
        flat = tensor.reshape(*tensor.shape[:2], -1)
        places = np.unique(np.concatenate([each.read.ravel() for each in positions]))
        taken = np.take(flat, places[places < flat.shape[2]], axis=2)  # padding comes last
        taken *= steps[:, None]
        np.rint(taken, out=taken)
        np.clip(taken, grid.low, grid.high, out=taken)
        taken -= grid.low
        found = np.full((*flat.shape[:2], len(places)), -grid.low, np.uint8)
        found[:, :, : taken.shape[2]] = taken
        return _Sampled(found, places)

    def columns(self, positions: Positions) -> np.ndarray:
        """Return what the weights of one layer read, as (inputs × taps) × samples."""
        read = np.searchsorted(self.places, positions.read)
        found = np.take(self.values, read, axis=2)  # images × channels × taps × samples
        images, channels, taps, samples = found.shape
        return found.transpose(1, 2, 0, 3).reshape(channels * taps, images * samples)


def _often(node: Node, net: Net, sides: Sequence[int]) -> np.ndarray:
    """Return how often each tap of a layer reads each position, as a part of all it reads: positions × taps."""
    if node.kind != "Conv":
        return np.ones((1, 1), np.float32)
    return np.kron(*(_along(node, net, axis, side) for axis, side in enumerate(sides))).T.astype(np.float32)


def _along(node: Node, net: Net, axis: int, length: int) -> np.ndarray:
    """Return the same along one side: taps × positions."""
    taps = net.constants.shape(node.inputs[1])[2 + axis]
    before, step = node.integers("pads", [0] * 4)[axis], node.integers("strides", [1, 1])[axis]
    apart, outputs = node.integers("dilations", [1, 1])[axis], node.positions(axis, length, taps)
    found = np.zeros((taps, length))
    for tap in range(taps):
        at = np.arange(outputs) * step + tap * apart - before
        found[tap, at[(at >= 0) & (at < length)]] = 1 / outputs
    return found
