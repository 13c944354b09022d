"""What layers read, collected while the network is scanned: extremes per image and per channel, and a histogram.

Values are those without rounding, in the INT8 file's units. Extremes are exact; the histogram counts a sample of at
most about a million values per tensor.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..portable import machine
from ..quantization.histogram import Histogram
from .pair import Layer, Pair
from .scan import as_tensor, computed

_SAMPLE = 1 << 20  # values per tensor
_LEAST = 256  # values per image
_AT_ONCE = 1 << 20  # values of the images in a batch


@dataclass
class Seen:
    """What was seen of one tensor."""

    low: np.ndarray  # per image
    high: np.ndarray
    channel_low: np.ndarray
    channel_high: np.ndarray
    channel_power: np.ndarray  # sums of squares
    histogram: Histogram = field(default_factory=Histogram)

    @property
    def extremes(self) -> tuple[float, float]:
        return float(self.low.min()), float(self.high.max())

    @property
    def reach(self) -> np.ndarray:
        """Return each image's largest magnitude."""
        return np.asarray(np.maximum(np.abs(self.low), np.abs(self.high)))

    @property
    def channel_reach(self) -> np.ndarray:
        """Return each channel's largest magnitude."""
        return np.asarray(np.maximum(np.abs(self.channel_low), np.abs(self.channel_high)))

    def halves(self) -> tuple[float, float]:
        """Return the largest magnitude in the first half of the images, and in the second."""
        middle = max(1, len(self.reach) // 2)
        return float(self.reach[:middle].max()), float(self.reach[middle:].max(initial=0.0))

    def percentile(self, share: float) -> float:
        """Return the magnitude that this share of the sampled values does not pass."""
        counts, half = self.histogram.counts, len(self.histogram.counts) // 2
        both = counts[half:] + counts[:half][::-1]
        total = np.cumsum(both)
        if not total[-1]:
            return 0.0
        found = int(np.searchsorted(total, share * total[-1]))
        return float(self.histogram.centres[half:][min(found, half - 1)])

    def outside(self, floor: float, ceiling: float) -> tuple[float, float]:
        """Return which shares of the sampled values lie below a grid and above it."""
        counts, centres = self.histogram.counts, self.histogram.centres
        total = max(len(self.histogram), 1)
        return float(counts[centres < floor].sum() / total), float(counts[centres > ceiling].sum() / total)


class Ranges:
    """Sees each tensor that a layer rounds, once per batch."""

    def __init__(self, images: int):
        self._images, self._per_image = images, max(_LEAST, _SAMPLE // max(images, 1))
        self._seen: dict[str, Seen] = {}
        self._last: dict[str, int] = {}

    def __getitem__(self, tensor: str) -> Seen:
        return self._seen[tensor]

    def __contains__(self, tensor: object) -> bool:
        return tensor in self._seen

    def see(self, layer: Layer, slot: int, exact: Tensor, given: Tensor, first: int) -> None:
        """Take what a layer reads."""
        self.take(layer.node.inputs[slot], exact, first)

    def take(self, tensor: str, values: Tensor, first: int) -> None:
        """Take a tensor's values for a batch that begins with this image."""
        if self._last.get(tensor) == first:
            return
        self._last[tensor] = first
        rows = values.reshape(len(values), values.shape[1] if values.dim() > 1 else 1, -1)
        low, high = (each.numpy() for each in torch.aminmax(rows, dim=2))
        power = torch.linalg.vector_norm(rows, dim=2).double().square().sum(0).numpy()
        if tensor not in self._seen:
            empty = np.zeros(self._images)
            self._seen[tensor] = Seen(empty, empty.copy(), low[0], high[0], np.zeros(len(power)))
        seen, where = self._seen[tensor], slice(first, first + len(values))
        seen.low[where], seen.high[where] = low.min(1), high.max(1)
        seen.channel_low = np.minimum(seen.channel_low, low.min(0))
        seen.channel_high = np.maximum(seen.channel_high, high.max(0))
        seen.channel_power = seen.channel_power + power
        seen.histogram.add(_sampled(values, self._per_image * len(values)))


def look(pair: Pair, images: np.ndarray, tensors: Collection[str]) -> Ranges:
    """See tensors of the network without rounding, for other images."""
    torch.set_num_threads(machine.cores())
    found, net = Ranges(len(images)), pair.net
    size = max(1, min(64, _AT_ONCE // images[0].size))
    index = {name: number for number, node in enumerate(net.nodes) for name in node.inputs}
    until = max((number for number, node in enumerate(net.nodes) if node.name in tensors), default=-1)
    with torch.no_grad():
        for start in range(0, len(images), size):
            values = {net.input: as_tensor(images[start : start + size])}
            if net.input in tensors:
                found.take(net.input, values[net.input], start)
            for number, node in enumerate(net.nodes[: until + 1]):
                values[node.name] = computed(pair, node, values, exactly=True)
                if node.name in tensors:
                    found.take(node.name, values[node.name], start)
                for name in node.inputs:
                    if index[name] == number:
                        values.pop(name, None)
    return found


def _sampled(values: Tensor, count: int) -> np.ndarray:
    """Return about this count of values, evenly spread; an odd step meets all channels and columns."""
    flat = values.reshape(-1)
    step = max(1, -(-flat.numel() // count)) | 1
    return np.asarray(flat[::step].numpy())
