"""What causes are found from: both networks, the scan, and what was seen of the tensors meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx

from ...portable import machine
from ..compiled import Compiler
from ..grids import Grid
from ..observe import Ranges, Seen, look
from ..pair import Layer, Pair
from ..scan import Scan
from ..strip import Slot
from .whatif import WhatIf

_ENOUGH = 8  # images
_ALMOST_ZERO = 1e-6


@dataclass(frozen=True)
class Site:
    """A tensor with the grid that some layers read it by: they share its rounding."""

    tensor: str
    grids: tuple[Grid, ...]
    readers: tuple[tuple[Layer, int], ...]  # layers, and which of their inputs; the worst first
    noise: float  # what these layers move the logits by, estimated, by all that they round

    @property
    def grid(self) -> Grid:
        """Return the grid that decides: of several, the coarsest."""
        return max(self.grids, key=lambda grid: float(grid.scale.max()))

    @property
    def layer(self) -> str:
        return self.readers[0][0].name

    def reads(self, grid: Grid) -> dict[Slot, tuple[Grid, ...]]:
        """Return what its readers read by another grid."""
        return {(layer.node.name, slot): (grid,) for layer, slot in self.readers}


@dataclass(frozen=True)
class Evidence:
    """What causes are found from."""

    pair: Pair
    scan: Scan
    ranges: Ranges
    images: np.ndarray
    rounded: onnx.ModelProto
    exact: onnx.ModelProto
    calibration: np.ndarray | None = None
    compiler: Compiler | None = None
    saturates: bool | None = None  # whether sums of two products are held in 16 bits; None: as on this CPU

    @cached_property
    def whatif(self) -> WhatIf:
        return WhatIf(self.pair, self.images, self.scan.exact, self.scan.given)

    @cached_property
    def varied(self) -> bool:
        """Whether the images are enough to show what values a tensor takes: a few, or copies of one, are not."""
        return len(self.images) >= _ENOUGH and bool(np.ptp(self.images, axis=0).any())

    @cached_property
    def sums_saturate(self) -> bool:
        return not machine.has_int8() if self.saturates is None else self.saturates

    @cached_property
    def noise_of(self) -> dict[str, float]:
        """layer → what its rounding moves the logits by, estimated."""
        return dict(zip(self.scan.layers, np.square(self.scan.moved).sum(0).tolist(), strict=True))

    @cached_property
    def sites(self) -> list[Site]:
        """All rounded tensors, the one whose readers add most noise first."""
        readers: dict[tuple[str, tuple[bytes, ...]], list[tuple[Layer, int]]] = {}
        for layer in self.pair.layers:
            for slot, grids in layer.reads.items():
                key = layer.node.inputs[slot], tuple(grid.scale.tobytes() + grid.zero.tobytes() for grid in grids)
                readers.setdefault(key, []).append((layer, slot))
        column = {name: index for index, name in enumerate(self.scan.layers)}
        found = []
        for (tensor, _), those in readers.items():
            those.sort(key=lambda each: -self.noise_of[each[0].name])
            moved = self.scan.moved[:, sorted({column[layer.name] for layer, _ in those})].sum(1)
            layer, slot = those[0]
            found.append(Site(tensor, tuple(layer.reads[slot]), tuple(those), float(np.square(moved).sum())))
        return sorted(found, key=lambda site: -site.noise)

    def seen(self, site: Site) -> Seen:
        return self.ranges[site.tensor]

    def never_negative(self, site: Site) -> bool:
        low, high = self.seen(site).extremes
        return low >= -_ALMOST_ZERO * max(high, 0.0)

    @cached_property
    def symmetric_only(self) -> bool:
        """Whether the file has no zero points and no unsigned integers: its compiler may read no others."""
        return all(site.grid.low < 0 and not site.grid.zero.any() for site in self.sites)

    @cached_property
    def calibrated(self) -> Ranges | None:
        """What the calibration images give; None: they are not known."""
        if self.calibration is None:
            return None
        return look(self.pair, self.calibration, {site.tensor for site in self.sites})
