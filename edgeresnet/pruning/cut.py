"""Carries out a choice: the same network with fewer channels, its weights gathered from the old ones."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from ..models import cifar, widths
from .choose import Choice
from .units import Place


def cut(network: nn.Module, choice: Choice) -> nn.Module:
    """Return a narrower copy of a network."""
    order = _orders(network, choice)
    held = {}
    modules = dict(network.named_modules())
    for key, value in network.state_dict().items():
        layer, _, kind = key.rpartition(".")
        held[key] = _gathered(value, modules[layer], layer, kind, order)
    narrow = copy.deepcopy(network)
    widths.narrow(narrow, {key: tuple(value.shape) for key, value in held.items()})
    narrow.load_state_dict(held)
    return narrow


def _gathered(
    value: torch.Tensor, module: nn.Module, layer: str, kind: str, order: dict[Place, np.ndarray]
) -> torch.Tensor:
    out, into = order.get(Place(layer, "out")), order.get(Place(layer, "in"))
    if value.ndim and out is not None:
        value = value[torch.from_numpy(out)]
    if kind == "weight" and value.ndim > 1 and into is not None and getattr(module, "groups", 1) == 1:
        value = value[:, torch.from_numpy(into)]
    return value.clone()


def _orders(network: nn.Module, choice: Choice) -> dict[Place, np.ndarray]:
    """Return for each place the channels that stay, in their new order."""
    unit_at = _units_at(choice)
    kept = np.concatenate(choice.kept)
    order = {place: np.flatnonzero(kept[units]) for place, units in unit_at.items()}
    for name, block in network.named_modules():
        if isinstance(block, cifar.Block) and isinstance(block.shortcut, cifar.PadShortcut):
            _keep_pads_even(f"{name}.conv1", f"{name}.conv2", block.shortcut.before, unit_at, order)
    return order


def _units_at(choice: Choice) -> dict[Place, np.ndarray]:
    """Return for each place the number of each channel's unit."""
    length: dict[Place, int] = {}
    for pool in choice.cuttable.pools:
        for place, rows in pool.places.items():
            length[place] = length.get(place, 0) + rows.size
    found = {place: np.full(count, -1) for place, count in length.items()}
    first = 0
    for pool in choice.cuttable.pools:
        for place, rows in pool.places.items():
            found[place][rows.ravel()] = np.repeat(np.arange(first, first + pool.units), rows.shape[1])
        first += pool.units
    return found


def _keep_pads_even(
    into: str, out: str, before: int, unit_at: dict[Place, np.ndarray], order: dict[Place, np.ndarray]
) -> None:
    """Order a stage's channels so that an option-A shortcut has as many zeros before as after (or one more after).

    Channels that the shortcut does not reach can stand anywhere, and stand alike in all layers of the stage.
    """
    source, stage = Place(into, "in"), Place(out, "out")
    reached = before + order[source]
    others = np.setdiff1d(order[stage], reached)
    half = len(others) // 2
    new = np.concatenate([others[:half], reached, others[half:]])
    for place, units in unit_at.items():
        if len(units) == len(unit_at[stage]) and (units == unit_at[stage]).all():
            order[place] = new
