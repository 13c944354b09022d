"""Chooses the channels' factors and the tensors' ranges together, by how much rounding and clipping move the logits.

A wide range rounds coarsely, and a narrow one clips. Where a tensor has thousands of values of an image, a rare clipped
one hardly moves the logits; where it has one per channel, it does. Gradients show it for each channel: the noise of
rounding adds up by its squares, and a channel's clipped parts by their sum over the image, since they have one sign.
Images with large values have them in many channels: what is clipped there adds up, too.
Rounding of weights limits how far the factors go. A few hundred images and gradients show more than the equalizer sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
import torch
from torch import Tensor

from ..deadline import Deadline
from ..portable import machine
from .channels import Channels
from .net import Net
from .placement import Placement
from .ranges import Ranges
from .scales import half_precision
from .torch_net import TorchNet

_OCTAVE = 6  # thresholds between a range and its half
_THRESHOLDS = 2.0 ** (1 - torch.arange(25, dtype=torch.float64) / _OCTAVE)  # parts of a channel's peak: 2 to an eighth
_ENOUGH = 8  # images that exceed a threshold: with fewer, its cost follows from the lower ones
_STEPS, _RATE = 150, 0.05
_CAUTION = 0.02  # how much a factor far from 1 must gain
_LARGEST = 5.0  # the logarithm of a factor stays within
_ROUNDED_TOGETHER = 0.25  # of the noise of nearest weights: what is left of it
_NOTHING, _SMALLEST = 1e-12, 1e-300


Noise = Callable[[np.ndarray], tuple[float, np.ndarray]]


class Learned(NamedTuple):
    """What was found: factors by class of channels, and the magnitude that each tensor's largest integer stands for."""

    factors: np.ndarray
    reach: dict[str, float]

    def of(self, channels: Channels) -> Callable[[str], np.ndarray | None]:
        """Return what gives a tensor's factors, one per channel; None where it has none."""
        return lambda tensor: self.factors[channels.of[tensor]] if tensor in channels.of else None

    def scales(self, placement: Placement) -> dict[str, float]:
        """Return the scales."""
        found = {tensor: reach / _levels(placement, tensor) for tensor, reach in self.reach.items()}
        return {tensor: float(half_precision(scale)) for tensor, scale in found.items()}


class Curve(NamedTuple):
    """What one tensor's channels cost an image. What depends on a threshold is thresholds × channels."""

    peak: Tensor  # the largest magnitude
    felt: Tensor  # squared gradients of values that are not zero
    clipped: Tensor  # squared sums of what is clipped at each threshold, as the logits feel it
    exceeding: Tensor  # images with a value above each threshold
    excess: Tensor  # the mean by which such images exceed it
    together: Tensor  # for each threshold: how many times as much is felt, since channels are clipped together


@dataclass
class _Sums:
    """A curve in the making."""

    peak: Tensor
    felt: Tensor | float = 0.0
    clipped: Tensor | float = 0.0
    exceeding: Tensor | float = 0.0
    excess: Tensor | float = 0.0
    together: Tensor | float = 0.0  # squared sums over channels, too

    def add(self, values: Tensor, slopes: Tensor) -> None:
        """Add images, as images × channels × positions."""
        self.felt = self.felt + (slopes.square() * (values != 0)).sum((0, 2)).double()  # zero has no rounding error
        sizes, thresholds = values.abs(), _THRESHOLDS.to(self.peak)[:, None] * self.peak
        above = sizes.amax(2) - thresholds[:, None]
        self.exceeding = self.exceeding + (above > 0).sum(1).double()
        self.excess = self.excess + above.clamp_min(0).sum(1).double()
        clipped = self._clipped(sizes, slopes * values.sign(), thresholds)
        self.clipped = self.clipped + clipped.square().sum(1)
        self.together = self.together + clipped.sum(2).square().sum(1)

    def _clipped(self, sizes: Tensor, slopes: Tensor, thresholds: Tensor) -> Tensor:
        """Return slopes times what is clipped, summed over positions: thresholds × images × channels.

        Each value is counted once, at the highest threshold below it; sums from the top give all thresholds.
        """
        count, (images, channels, _) = len(_THRESHOLDS), sizes.shape
        at = torch.nonzero(sizes > thresholds[-1, :, None], as_tuple=True)
        large, felt = sizes[at].double(), slopes[at].double()
        first = (_OCTAVE * (1 - torch.log2(large / self.peak[at[1]]))).ceil().clamp(0, count - 1).long()
        slot = (at[0] * channels + at[1]) * count + first
        size = images * channels * count
        whole, number = (
            torch.zeros(size, dtype=torch.float64, device=sizes.device).index_add_(0, slot, part)
            .view(images, channels, count).cumsum(2).permute(2, 0, 1)
            for part in (felt * large, felt)
        )  # fmt: skip
        return whole - number * thresholds[:, None]

    def curve(self, images: int) -> Curve:
        """Return the mean over images, on the processor."""
        exceeding, alone = torch.as_tensor(self.exceeding), torch.as_tensor(self.clipped).sum(1)
        together = torch.where(alone > 0, self.together / alone.clamp_min(_SMALLEST), 1.0).clamp_min(1.0)
        means = self.felt / images, self.clipped / images, exceeding, self.excess / exceeding.clamp_min(1)
        found = self.peak, *means, together
        return Curve(*(torch.as_tensor(part).double().cpu() for part in found))


def observe(
    model: onnx.ModelProto,
    placement: Placement,
    ranges: Ranges,
    images: np.ndarray,
    batch: int,
    deadline: Deadline,
    seed: int,
    device: torch.device = torch.device("cpu"),  # noqa: B008
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Curve], int]:
    """Run images forwards and backwards, all or until the time is over; return curves, and how many it saw."""
    torch.set_num_threads(machine.cores())

    def observed(on: torch.device) -> tuple[dict[str, Curve], int]:
        generator, run, done = torch.Generator().manual_seed(seed), TorchNet(Net(model), on), 0
        sums = _begun(run.net, placement, ranges, on)
        while sums and done < len(images) and deadline.fits() != 0:
            deadline.start()
            some = torch.from_numpy(np.ascontiguousarray(images[done : done + batch])).to(on)
            _add(run, sums, some, generator)
            done += len(some)
            on_batch(done, len(images))
            deadline.took()
        return {name: one.curve(done) for name, one in sums.items()} if done else {}, done

    try:
        return observed(device)
    except RuntimeError:  # a GPU that has too little memory, or is gone
        if device.type == "cpu":
            raise
        return observed(torch.device("cpu"))


def _begun(net: Net, placement: Placement, ranges: Ranges, device: torch.device) -> dict[str, _Sums]:
    sums = {}
    for name in dict.fromkeys(map(placement.source, placement.points)):
        if name in ranges.tensors and name in net.maker:
            seen = ranges.tensors[name]
            peak = np.maximum(np.maximum(seen.highest, -seen.lowest), _NOTHING).astype(np.float32)
            sums[name] = _Sums(torch.from_numpy(peak).to(device))
    return sums


def _add(run: TorchNet, sums: Mapping[str, _Sums], some: Tensor, generator: torch.Generator) -> None:
    """Add a batch to the sums. Random signs stand for all logits, as in `sensitivity`."""
    with torch.enable_grad():
        found = run.run(some.requires_grad_(), run.constants, keep=tuple(sums))
        logits = found[run.net.output]
        signs = (torch.randint(0, 2, tuple(logits.shape), generator=generator) * 2.0 - 1).to(logits)
        slopes = torch.autograd.grad((logits * signs).sum(), [found[name] for name in sums])
    with torch.no_grad():
        for name, slope in zip(sums, slopes, strict=True):
            values = found[name].detach()
            sums[name].add(values.reshape(*values.shape[:2], -1), slope.reshape(*values.shape[:2], -1))


def smoothed(curve: Curve) -> Tensor:
    """Return the cost of clipping, with a tail above the thresholds that enough images exceed.

    A peak over a few hundred images is chance: others will exceed it. The tail is exponential, as is the excess.
    """
    enough = curve.exceeding >= _ENOUGH
    lowest = torch.full((len(curve.peak),), len(_THRESHOLDS) - 1)
    known = torch.where(enough.any(0), enough.double().argmax(0), lowest)
    channel = torch.arange(len(curve.peak))
    thresholds = _THRESHOLDS[:, None] * curve.peak
    beyond = (thresholds - thresholds[known, channel]).clamp_min(0)
    tail = curve.clipped[known, channel] * torch.exp(-beyond / curve.excess[known, channel].clamp_min(_NOTHING))
    above = torch.arange(len(_THRESHOLDS))[:, None] < known
    return torch.where(above, torch.maximum(tail, curve.clipped), curve.clipped)


@dataclass
class _Part:
    """One tensor, as the search sees it. Where the compiler does not round it, it must not move the factors."""

    curve: Curve
    levels: int  # above zero
    classes: Tensor | None  # of its channels; None: none has a factor
    start: float  # the reach before
    executed: bool

    def __post_init__(self) -> None:
        self._clipped = smoothed(self.curve) * self.curve.together[:, None]
        self._peaks = self.curve.peak.log()
        self._channels = torch.arange(len(self._peaks))

    def noise(self, factors: Tensor, reach: Tensor) -> Tensor:
        """Return the noise in the logits, by logarithms: a channel's step and threshold are divided by its factor."""
        own = torch.zeros_like(self._peaks) if self.classes is None else factors[self.classes]
        own = reach - (own if self.executed else own.detach())
        rounding = (torch.exp(2 * own) * self.curve.felt).sum() / (12 * self.levels**2)
        at = (_OCTAVE * (1 - (own - self._peaks) / math.log(2))).clamp(0, len(_THRESHOLDS) - 1 - 1e-6)
        below = at.detach().floor().long()
        low, high = self._clipped[below, self._channels], self._clipped[below + 1, self._channels]
        return rounding + (low + (high - low) * (at - below)).sum()


def learn(
    net: Net,
    placement: Placement,
    scales: Mapping[str, float],
    channels: Channels,
    weights: Noise | None,
    curves: Mapping[str, Curve],
) -> Learned | None:
    """Return the factors and ranges of least noise; None where nothing reaches the logits.

    `weights` returns the noise of the weights' rounding, and its slope, by the factors' logarithms.
    """
    parts = _parts(net, placement, scales, channels, curves)
    factors = torch.zeros(len(channels.free), dtype=torch.float64, requires_grad=True)
    reach = torch.tensor([math.log(part.start) for part in parts.values()], dtype=torch.float64, requires_grad=True)
    free = torch.from_numpy(channels.free)
    optimizer = torch.optim.Adam([factors, reach])

    def cost() -> Tensor:
        used = (factors * free).clamp(-_LARGEST, _LARGEST)
        noise = torch.stack([part.noise(used, one) for part, one in zip(parts.values(), reach, strict=True)]).sum()
        if weights is not None:
            value, slope = weights(used.detach().numpy())
            along = (used * torch.from_numpy(slope)).sum()
            noise = noise + _ROUNDED_TOGETHER * (value + along - along.detach())
        return torch.log(noise) + _CAUTION * used.square().mean()

    with torch.enable_grad():
        if not parts or not bool(torch.isfinite(cost())):
            return None
        for step in range(_STEPS):
            optimizer.param_groups[0]["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * step / _STEPS))
            optimizer.zero_grad()
            cost().backward()
            optimizer.step()
    found = (factors * free).clamp(-_LARGEST, _LARGEST).detach().exp().numpy()
    return Learned(found, dict(zip(parts, reach.detach().exp().tolist(), strict=True)))


def _parts(
    net: Net, placement: Placement, scales: Mapping[str, float], channels: Channels, curves: Mapping[str, Curve]
) -> dict[str, _Part]:
    inputs = {node.name: node.inputs for node in net.nodes}
    rounded = {placement.source(inputs[name][slot]) for name, slot in placement.executed().reads}
    found = {}
    for tensor, curve in curves.items():
        levels = _levels(placement, tensor)
        classes = torch.from_numpy(channels.of[tensor]) if tensor in channels.of else None
        found[tensor] = _Part(curve, levels, classes, scales[tensor] * levels, tensor in rounded)
    return found


def _levels(placement: Placement, tensor: str) -> int:
    """Return the largest integer of a grid."""
    grid = placement.points[tensor]
    return max(grid.high, -grid.low - 1)
