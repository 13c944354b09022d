"""An INT8 network with other grids or weights in places, run: by how much a remedy lowers the noise at the logits."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ...portable import inference
from ..confirm import run
from ..grids import Grid
from ..pair import Layer, Pair
from ..strip import Slot

_MOST_DB = 60.0  # where a remedy leaves no noise at all
_IMAGES, _FEWEST = 64, 16
_VALUES = 1 << 22  # of all images that a remedy is tried on


@dataclass(frozen=True)
class Change:
    """What is different in a network."""

    reads: Mapping[Slot, tuple[Grid, ...]] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)  # a layer's, dequantized, by the node's name

    def __or__(self, other: Change) -> Change:
        return Change({**self.reads, **other.reads}, {**self.weights, **other.weights})


class WhatIf:
    """Runs a network with changes, and compares it with the network as it is now."""

    def __init__(self, pair: Pair, images: np.ndarray, exact: np.ndarray, given: np.ndarray):
        count = max(_FEWEST, min(_IMAGES, _VALUES // images[0].size))
        self._pair, self._images, self._exact = pair, images[:count], exact[:count]
        self._now, self._sqnr_db = Change(), inference.sqnr_db(self._exact, given[:count])

    @property
    def sqnr_db(self) -> float | None:
        """Return the SQNR of the network as it is now, with all changes that were accepted."""
        return self._sqnr_db

    def gain_db(self, change: Change) -> float:
        """Return by how many decibels SQNR rises with a change."""
        if self._sqnr_db is None:
            return 0.0
        found = self._run(self._now | change)
        return (_MOST_DB if found is None else found) - self._sqnr_db

    def accept(self, change: Change, gain_db: float) -> None:
        """Keep a change: what follows is compared with the network that has it."""
        self._now = self._now | change
        if self._sqnr_db is not None:
            self._sqnr_db += gain_db

    def _run(self, change: Change) -> float | None:
        pair = changed(self._pair, change)
        return inference.sqnr_db(self._exact, run(pair, self._images, {layer.name for layer in pair.layers}))


def changed(pair: Pair, change: Change) -> Pair:
    """Return a network with changes."""
    runner = copy.copy(pair.runner)
    runner.constants = dict(runner.constants)
    layers = []
    for layer in pair.layers:
        weights = change.weights.get(layer.node.name)
        if weights is not None:
            runner.constants[layer.node.inputs[1]] = torch.from_numpy(np.ascontiguousarray(weights, np.float32))
            if layer.bias is not None:  # the file's bias may be corrected for the weights that it had
                runner.constants[layer.node.inputs[2]] = torch.from_numpy(layer.bias.astype(np.float32))
        layers.append(_with_reads(layer, change.reads))
    return replace(pair, runner=runner, layers=layers)


def _with_reads(layer: Layer, reads: Mapping[Slot, tuple[Grid, ...]]) -> Layer:
    own = {slot: reads.get((layer.node.name, slot), grids) for slot, grids in layer.reads.items()}
    return replace(layer, reads=own)
