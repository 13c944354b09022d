"""What may be removed from a network, and what goes with it: the channels that stay or go together.

torch-pruning's dependency graph finds them, through residual additions, normalisation and flattening. Added here: pads
of option-A shortcuts, through which a channel of one stage is a channel of the next, and grouped convolutions, of which
complete groups are removed, so that no compiler gets odd ones. Decides nothing.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import torch_pruning
from torch import nn

from ..models import cifar, detectors

_NORMS = nn.modules.batchnorm._BatchNorm
_NAMED = 5  # layers, in a sentence
Member = tuple["Place", int]


class Place(NamedTuple):
    """One side of one layer: `out` of a convolution or a normalisation, `in` of a convolution or a linear layer."""

    layer: str
    side: str


@dataclass(frozen=True)
class Pool:
    """Units that are alike: they are ranked against each other, and their number is a width that a compiler sees.

    `places` has a row for each unit: its own channels there.
    """

    places: Mapping[Place, np.ndarray]
    may_be_cut: bool

    @property
    def units(self) -> int:
        return len(next(iter(self.places.values())))

    @property
    def channels(self) -> int:
        """The channels of one unit, where it has most; what flattening makes of one channel is still one."""
        sides = {place.side for place in self.places}
        side = "out" if "out" in sides else "in"
        return max(rows.shape[1] for place, rows in self.places.items() if place.side == side)

    @cached_property
    def title(self) -> str:
        """A name for people: the first layer that has it as output."""
        outputs = [place.layer for place in self.places if place.side == "out"]
        return outputs[0] if outputs else next(iter(self.places)).layer


@dataclass(frozen=True)
class Layer:
    """A convolution or a linear layer: what it costs."""

    name: str
    outputs: int
    inputs: int
    groups: int
    kernel: int  # weights between one input channel and one output channel
    positions: int  # where each of them is multiplied


@dataclass(frozen=True)
class Cuttable:
    """What may be removed from a network, and what its layers cost."""

    pools: tuple[Pool, ...]
    layers: tuple[Layer, ...]
    vectors: tuple[tuple[str, int], ...]  # layer and length of what has one number for each output channel

    @property
    def macs(self) -> int:
        """The multiplications of the network as it is."""
        return sum(
            layer.outputs * (layer.inputs // layer.groups) * layer.kernel * layer.positions for layer in self.layers
        )

    def tied(self) -> list[str]:
        """Return what no goal may touch, as a clause for a hint; nothing where everything may be pruned."""
        names = [pool.title for pool in self.pools if not pool.may_be_cut]
        return [f"{len(names)} layers cannot be pruned ({', '.join(names[:_NAMED])})"] if names else []


def of(network: nn.Module, channels: int, size: int) -> Cuttable:
    """Find what may be removed from a network."""
    network = network.eval()
    units = _merged(_units(network, channels, size), network)
    by_shape: dict[object, list[_Unit]] = defaultdict(list)
    for unit in units:
        by_shape[unit.fixed, tuple(sorted((place, len(held)) for place, held in unit.channels.items()))].append(unit)
    pools = [_pool(alike) for alike in by_shape.values()]
    named = [(name.rpartition(".")[0], each) for name, each in network.named_parameters() if each.ndim == 1]
    vectors = tuple((layer, len(each)) for layer, each in named)
    return Cuttable(tuple(pools), tuple(_layers(network, channels, size)), vectors)


def shows_channels(network: nn.Module) -> bool:
    """Return whether a detector's last layers can be seen before their numbers are put next to each other."""
    if not isinstance(network, detectors.OneTensor):
        return False
    heads = (getattr(network.head, f"{name}_head", None) for name in ("classification", "regression"))
    wanted = zip(heads, ("cls_logits", "bbox_reg"), strict=True)
    return all(hasattr(head, "conv") and hasattr(head, last) for head, last in wanted)


@dataclass
class _Unit:
    channels: dict[Place, list[int]]
    fixed: bool = False

    def members(self) -> Iterable[Member]:
        return ((place, channel) for place, held in self.channels.items() for channel in held)


def _pool(alike: list[_Unit]) -> Pool:
    places = {place: np.asarray([sorted(unit.channels[place]) for unit in alike]) for place in alike[0].channels}
    order = np.argsort(next(iter(places.values()))[:, 0])
    return Pool({place: rows[order] for place, rows in places.items()}, not alike[0].fixed)


def _units(network: nn.Module, channels: int, size: int) -> list[_Unit]:
    """Return the units as torch-pruning sees them, in a copy without padded shortcuts, which `_ties` adds."""
    seen = copy.deepcopy(network).requires_grad_(True)  # the graph is seen by its gradients, and weights may be frozen
    for block in seen.modules():
        if isinstance(block, cifar.Block) and isinstance(block.shortcut, cifar.PadShortcut):
            block.shortcut = _Nowhere(block.conv2.out_channels)
    if isinstance(seen, detectors.OneTensor):
        seen.__class__ = _Maps
    graph = torch_pruning.DependencyGraph()
    with torch.enable_grad():
        graph.build_dependency(seen, torch.zeros(2, channels, size, size), verbose=False)
    names = {id(module): name for name, module in seen.named_modules()}
    found: list[_Unit] = []
    known: set[Member] = set()
    for name, module in seen.named_modules():
        if not isinstance(module, nn.Conv2d) or module not in graph.module2node:
            continue
        rest = [index for index in range(module.out_channels) if (Place(name, "out"), index) not in known]
        if rest:
            units = _from_group(graph, module, rest, names)
            known.update(member for unit in units for member in unit.members())
            found += units
    return found


def _from_group(graph: Any, module: nn.Module, indices: list[int], names: Mapping[int, str]) -> list[_Unit]:
    prune = graph.get_pruner_of_module(module).prune_out_channels
    found = {index: _Unit(defaultdict(list)) for index in indices}
    for item in graph.get_pruning_group(module, prune, indices).items:
        layer = item.dep.target.module
        name = names.get(id(layer))
        known = isinstance(layer, nn.Conv2d | nn.Linear | _NORMS)
        if known and name is not None:
            is_output = isinstance(layer, _NORMS) or graph.is_out_channel_pruning_fn(item.dep.handler)
            place = Place(name, "out" if is_output else "in")
            for index, root in zip(item.idxs, item.root_idxs, strict=True):
                if index < _width(layer, place.side):  # a user's own pads lead beyond it
                    found[root].channels[place].append(index)
        ends = type(layer).__name__ == "_OutputOp" or (isinstance(layer, nn.Linear) and place.side == "out")
        if ends or (_is_bare(layer) if known else _is_tied(item.dep.target, layer)):
            for root in item.root_idxs:
                found[root].fixed = True
    return list(found.values())


def _width(layer: Any, side: str) -> int:
    if isinstance(layer, _NORMS):
        return layer.num_features
    if isinstance(layer, nn.Linear):
        return layer.out_features if side == "out" else layer.in_features
    return layer.out_channels if side == "out" else layer.in_channels


def _is_bare(layer: Any) -> bool:
    """Return whether it is normalisation without a scale: its tensors do not show how wide it is."""
    return isinstance(layer, _NORMS) and layer.weight is None


def _is_tied(node: Any, layer: Any) -> bool:
    """Return whether it cannot be pruned: a layer of another kind, a parameter for each channel outside of layers, a
    convolution that is written in code, as of a blurred pool, or a user's own pad.
    """
    if isinstance(layer, nn.Parameter) or "Convolution" in node.name:
        return True
    pads = "ConstantPad" in node.name and _pads_channels(node.grad_fn)
    return pads or any(True for _ in layer.parameters())


def _pads_channels(grad_fn: Any) -> bool:
    """Return whether it is a user's own pad of channels: what it adds is written in code, and cannot change."""
    pad = getattr(grad_fn, "_saved_pad", ())
    return len(pad) > 4 and any(pad[4:6])


def _merged(units: list[_Unit], network: nn.Module) -> list[_Unit]:
    """Merge units that are tied together by pads of option A and by grouped convolutions."""
    at = {member: number for number, unit in enumerate(units) for member in unit.members()}
    parent = list(range(len(units)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for tied in _ties(network):
        roots = {root(at[member]) for member in tied if member in at}
        for other in roots:
            parent[other] = min(roots)
    merged: dict[int, _Unit] = {}
    for number, unit in enumerate(units):
        into = merged.setdefault(root(number), _Unit(defaultdict(list)))
        into.fixed |= unit.fixed
        for place, held in unit.channels.items():
            into.channels[place] += held
    return list(merged.values())


def _ties(network: nn.Module) -> Iterable[list[Member]]:
    """Yield what pads of option A and grouped convolutions tie together."""
    for name, module in network.named_modules():
        if isinstance(module, cifar.Block) and isinstance(module.shortcut, cifar.PadShortcut):
            into, out = Place(f"{name}.conv1", "in"), Place(f"{name}.conv2", "out")
            for index in range(module.conv1.in_channels):
                yield [(into, index), (out, module.shortcut.before + index)]
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            takes, gives = module.in_channels // module.groups, module.out_channels // module.groups
            for group in range(module.groups):
                inside = [(Place(name, "in"), index) for index in range(group * takes, (group + 1) * takes)]
                outside = [(Place(name, "out"), index) for index in range(group * gives, (group + 1) * gives)]
                yield inside + outside


def _layers(network: nn.Module, channels: int, size: int) -> list[Layer]:
    found: dict[str, Layer] = {}

    def seen(name: str, module: nn.Module, answer: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            kernel, positions = module.kernel_size[0] * module.kernel_size[1], answer.shape[2] * answer.shape[3]
            positions += found[name].positions if name in found else 0  # one layer may serve several levels
            found[name] = Layer(name, module.out_channels, module.in_channels, module.groups, kernel, positions)
        elif isinstance(module, nn.Linear):
            found[name] = Layer(name, module.out_features, module.in_features, 1, 1, 1)

    hooks = [
        module.register_forward_hook(lambda module, _, answer, name=name: seen(name, module, answer))
        for name, module in network.named_modules()
    ]
    try:
        with torch.no_grad():
            network(torch.zeros(1, channels, size, size))
    finally:
        for hook in hooks:
            hook.remove()
    return list(found.values())


class _Maps(detectors.OneTensor):
    """A detector before it puts the numbers of all cells next to each other, which hides the channels."""

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
        return [each + 0 for each in self.maps(x)]  # the sum is the end of the graph: its channels stay


class _Nowhere(nn.Module):
    """A shortcut that adds nothing."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, :1, ::2, ::2].detach()
        return torch.zeros_like(x).expand(-1, self.channels, -1, -1)
