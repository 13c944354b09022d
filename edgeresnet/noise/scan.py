"""How much noise each layer's rounding adds to the logits: all layers at once, by gradients.

For each image both networks run, and in the INT8 one each layer runs a second time, exactly, on the inputs that it got.
What differs is the error that this layer adds. Its product with the gradient of the logits, summed with random signs,
is what it moves them by: squared and averaged over images, the noise at the logits. First order: large errors are
estimated too high or too low, so the worst layers are run (`confirm`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..portable import inference, machine
from ..quantization import answers
from ..quantization.answers import Unit
from ..quantization.net import Node
from ..quantization.torch_net import OPERATORS
from .pair import Layer, Pair, operand

Progress = Callable[[int, int, str], None]
_AT_ONCE = 1 << 18  # values of the images in a batch: one at 224, since all activations of a batch are in memory


class Observer(Protocol):
    """Sees what layers read, batch by batch."""

    def see(self, layer: Layer, slot: int, exact: Tensor, given: Tensor, first: int) -> None:
        """Take what a layer reads: without any rounding, and in the INT8 network before it is rounded."""


@dataclass(frozen=True)
class Scan:
    """What each layer does to each image's logits. Columns are layers, rows images."""

    layers: tuple[str, ...]
    moved: np.ndarray  # the random sum of logits that a layer moves, by its own rounding
    total: np.ndarray  # the same of all rounding together, as it was
    exact: np.ndarray  # the FP32 network's logits; of maps and of detectors those of some places (`answers.sampled`)
    given: np.ndarray  # the INT8 network's
    signal: np.ndarray  # per layer: squares of its outputs
    apart: np.ndarray  # per layer: squares of what its outputs differ by, with all noise before it
    unit: Unit = "image"  # what has logits of its own
    loud: float = 0.0  # squares of all the FP32 network's logits

    @property
    def images(self) -> int:
        return len(self.total)

    def sqnr_db(self) -> float | None:
        return inference.sqnr_db(self.exact, self.given)

    def own_db(self) -> list[float | None]:
        """Return the estimated SQNR at the logits if one layer alone were INT8."""
        signal = self.loud
        return [inference.decibels(signal, float(noise)) for noise in np.square(self.moved).sum(0)]

    def cost_db(self) -> list[float]:
        """Return by how many decibels the estimated SQNR rises if one layer is left in float."""
        return [self._without_db(layer) for layer in range(len(self.layers))]

    def _without_db(self, layer: int) -> float:
        left = self.total - self.moved[:, layer]
        before, after = float(np.square(self.total).sum()), float(np.square(left).sum())
        return 10 * float(np.log10(max(before, 1e-30) / max(after, 1e-6 * before, 1e-30)))

    def output_db(self) -> list[float | None]:
        """Return the SQNR of each layer's output, with all noise before it."""
        return [inference.decibels(float(one), float(two)) for one, two in zip(self.signal, self.apart, strict=True)]

    def explained(self) -> float:
        """Return how well the layers' parts add up to the whole: 1 where the first order is all there is."""
        left = np.square(self.total - self.moved.sum(1)).sum()
        return 1 - float(left / max(np.square(self.total).sum(), 1e-30))


def scan(
    pair: Pair,
    images: np.ndarray,
    *,
    seed: int = 0,
    observers: Sequence[Observer] = (),
    progress: Progress = lambda done, total, word: None,
) -> Scan:
    """Estimate what each layer's rounding does to the logits of normalised images."""
    torch.set_num_threads(machine.cores())
    size = max(1, min(64, _AT_ONCE // images[0].size))
    parts = []
    for start in range(0, len(images), size):
        batch = as_tensor(images[start : start + size])
        generator = torch.Generator().manual_seed(seed * 1_000_003 + start)
        parts.append(_Batch(pair, observers, start).run(batch, generator))
        progress(min(start + size, len(images)), len(images), "images")
    moved, total, exact, given, signal, apart, loud, units = zip(*parts, strict=True)
    return Scan(
        tuple(layer.name for layer in pair.layers),
        np.concatenate(moved),
        np.concatenate(total),
        np.concatenate(exact),
        np.concatenate(given),
        np.sum(signal, axis=0),
        np.sum(apart, axis=0),
        units[0],
        sum(loud),
    )


class _Batch:
    """One batch, forwards in both networks and backwards in the INT8 one."""

    def __init__(self, pair: Pair, observers: Sequence[Observer], start: int):
        self._pair, self._observers, self._start = pair, observers, start
        self._layers = {layer.node.name: (index, layer) for index, layer in enumerate(pair.layers)}
        count = len(pair.layers)
        self._errors: dict[int, Tensor] = {}
        self._signal, self._apart = np.zeros(count), np.zeros(count)

    def run(self, batch: Tensor, generator: torch.Generator) -> tuple[Any, ...]:
        net = self._pair.net
        exact, given = {net.input: batch}, {net.input: batch}
        for node in net.walk(exact, given):
            with torch.no_grad():
                exact[node.name] = computed(self._pair, node, exact, exactly=True)
            with torch.enable_grad():
                given[node.name] = self._given(node, exact, given)
        with torch.enable_grad():
            return self._found(exact[net.output], given[net.output], generator)

    def _given(self, node: Node, exact: dict[str, Tensor], given: dict[str, Tensor]) -> Tensor:
        if node.name not in self._layers:
            return computed(self._pair, node, given, exactly=True)
        index, layer = self._layers[node.name]
        for observer in self._observers:
            for slot in layer.reads:
                name = node.inputs[slot]
                observer.see(layer, slot, exact[name], given[name].detach(), self._start)
        found = rounded(self._pair, layer, given)
        with torch.no_grad():
            self._errors[index] = found - computed(self._pair, node, given, exactly=True)
            self._signal[index] = _squares(exact[node.name])
            self._apart[index] = _squares(found - exact[node.name])
        if not found.requires_grad:  # nothing before it is rounded
            found.requires_grad_()
        found.register_hook(lambda slope: self._felt(index, slope))
        return found

    def _felt(self, index: int, slope: Tensor) -> None:
        """Take the slope of a layer's output as soon as it is known: all of them would be a network's activations."""
        self._moved[:, index] = _products(slope, self._errors.pop(index))

    def _found(self, exact: Tensor, given: Tensor, generator: torch.Generator) -> tuple[Any, ...]:
        signs = torch.randint(0, 2, given.shape, generator=generator) * 2.0 - 1
        self._moved = np.zeros((len(given), len(self._layers)))
        if given.requires_grad:
            (given * signs).sum().backward()
        given = given.detach()
        total = ((given - exact) * signs).double().flatten(1).sum(1).numpy()
        few = (answers.sampled(each.numpy()) for each in (exact, given))
        loud = float(np.square(exact.numpy(), dtype=np.float64).sum())
        return self._moved, total, *few, self._signal, self._apart, loud, self._pair.unit


def as_tensor(images: np.ndarray) -> Tensor:
    """Return images for torch, which takes no array that cannot be written."""
    return torch.from_numpy(np.require(images, np.float32, requirements=["C", "W"]))


def _products(one: Tensor, other: Tensor) -> np.ndarray:
    """Return an image's sum of products."""
    return np.asarray(torch.einsum("ij,ij->i", one.flatten(1), other.flatten(1)).numpy())


def _squares(values: Tensor) -> float:
    return float(_products(values, values).sum(dtype=np.float64))


def computed(pair: Pair, node: Node, values: dict[str, Tensor], *, exactly: bool) -> Tensor:
    """Compute a node without rounding what it reads: with its weights before rounding, or as they are stored."""
    own = pair.exact(node) if exactly else {}
    inputs = [
        values[name] if name in values else own[name] if name in own else operand(pair.runner, name)
        for name in node.inputs
    ]
    return OPERATORS[node.kind](node, *inputs)


def rounded(pair: Pair, layer: Layer, values: dict[str, Tensor]) -> Tensor:
    """Compute a layer as the INT8 file has it."""
    inputs: list[Tensor | np.ndarray | None] = []
    for slot, name in enumerate(layer.node.inputs):
        value = values[name] if name in values else operand(pair.runner, name)
        for grid in layer.reads.get(slot, ()):
            assert isinstance(value, Tensor)
            value = grid.fake(value)
        inputs.append(value)
    return OPERATORS[layer.node.kind](layer.node, *inputs)
