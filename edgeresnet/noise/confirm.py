"""Runs the INT8 network with other layers in float, exactly: what the scan estimates, measured."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..portable import inference, machine
from ..quantization import answers
from ..quantization.answers import Unit
from .pair import Pair
from .scan import Progress, Scan, as_tensor, computed, rounded

_AT_ONCE = 1 << 20  # values of the images in a batch: no gradient is stored
ALL_DB = 60.0  # where no noise is left


class Measured(NamedTuple):
    """How one form of the network answers, compared with the FP32 network."""

    sqnr_db: float | None
    flips: int  # images, or pixels or anchors that are looked at, with another top class


def run(pair: Pair, images: np.ndarray, int8: Collection[str]) -> np.ndarray:
    """Return the logits where only these layers, by name, are INT8, and all others are in float: those of a scan."""
    return np.concatenate([answers.sampled(part[pair.net.output]) for part in _runs(pair, images, int8)])


def outputs(pair: Pair, images: np.ndarray, int8: Collection[str], tensors: Collection[str]) -> dict[str, np.ndarray]:
    """Return tensors where only these layers, by name, are INT8."""
    parts = list(_runs(pair, images, int8, tensors))
    return {tensor: np.concatenate([part[tensor] for part in parts]) for tensor in tensors}


def _runs(
    pair: Pair, images: np.ndarray, int8: Collection[str], tensors: Collection[str] = ()
) -> Iterator[dict[str, np.ndarray]]:
    """Yield tensors of a few images at a time: the answers, where none are named."""
    torch.set_num_threads(machine.cores())
    size = max(1, min(128, _AT_ONCE // images[0].size))
    for start in range(0, len(images), size):
        with torch.no_grad():
            yield _forward(pair, as_tensor(images[start : start + size]), int8, tensors or [pair.net.output])


def _forward(pair: Pair, batch: Tensor, int8: Collection[str], tensors: Collection[str]) -> dict[str, np.ndarray]:
    net, layers = pair.net, {layer.node.name: layer for layer in pair.layers}
    values = {net.input: batch}
    found = {tensor: np.asarray(batch.numpy()) for tensor in tensors if tensor == net.input}
    for node in net.walk(values):
        layer = layers.get(node.name)
        as_int8 = layer is not None and layer.name in int8
        value = rounded(pair, layer, values) if layer and as_int8 else computed(pair, node, values, exactly=True)
        values[node.name] = value
        if node.name in tensors:
            found[node.name] = np.asarray(value.numpy())
        if len(found) == len(tensors):
            break
    return found


def compared(exact: np.ndarray, given: np.ndarray, unit: Unit) -> Measured:
    """Compare logits with the FP32 network's."""
    flips = int((answers.top(given, unit) != answers.top(exact, unit)).sum())
    return Measured(inference.sqnr_db(exact, given), flips)


class Confirmed(NamedTuple):
    """A layer's noise, measured by two runs."""

    alone: Measured  # this layer in INT8, all others in float
    without: Measured  # this layer in float, all others in INT8


def confirm(
    pair: Pair,
    images: np.ndarray,
    found: Scan,
    names: Collection[str],
    progress: Progress = lambda done, total, word: None,
) -> dict[str, Confirmed]:
    """Measure some layers, each by two runs."""
    every, confirmed = set(found.layers), {}
    for number, name in enumerate(names, 1):
        alone, rest = (compared(found.exact, run(pair, images, int8), found.unit) for int8 in ({name}, every - {name}))
        confirmed[name] = Confirmed(alone, rest)
        progress(number, len(names), "layers")
    return confirmed


def worst(found: Scan, count: int) -> list[str]:
    """Return the layers to measure: those whose noise is largest alone or in the complete network, the worst first."""
    by_cost = np.argsort(-np.array(found.cost_db()), kind="stable").tolist()
    by_noise = np.argsort(-np.square(found.moved).sum(0), kind="stable").tolist()
    chosen = dict.fromkeys([*by_cost[: (count + 1) // 2], *by_noise])
    return [found.layers[index] for index in list(chosen)[:count]]
