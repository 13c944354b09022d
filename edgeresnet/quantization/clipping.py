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
from ..errors import ModelError, first_line
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


@dataclass(frozen=True)
class Sums:
    """What some images add to the curve of one tensor."""

    peak: Tensor
    felt: Tensor
    clipped: Tensor
    exceeding: Tensor
    excess: Tensor
    together: Tensor  # squared sums over channels, too

    @staticmethod
    def of(peak: Tensor, values: Tensor, slopes: Tensor) -> Sums:
        """Return the sums of images, as images × channels × positions."""
        felt = (slopes.square() * (values != 0)).sum((0, 2)).double()  # zero has no rounding error
        sizes, thresholds = values.abs(), _THRESHOLDS.to(peak)[:, None] * peak
        above = sizes.amax(2) - thresholds[:, None]
        exceeding, excess = (above > 0).sum(1).double(), above.clamp_min(0).sum(1).double()
        clipped = _clipped(sizes, slopes * values.sign(), thresholds)
        return Sums(peak, felt, clipped.square().sum(1), exceeding, excess, clipped.sum(2).square().sum(1))

    def plus(self, other: Sums) -> Sums:
        """Return the sums of these images and others."""
        mine, theirs = ((one.felt, one.clipped, one.exceeding, one.excess, one.together) for one in (self, other))
        return Sums(self.peak, *(one + two.to(one) for one, two in zip(mine, theirs, strict=True)))

    def curve(self, images: int) -> Curve:
        """Return the mean over images, on the processor."""
        alone = self.clipped.sum(1)
        together = torch.where(alone > 0, self.together / alone.clamp_min(_SMALLEST), 1.0).clamp_min(1.0)
        means = self.felt / images, self.clipped / images, self.exceeding, self.excess / self.exceeding.clamp_min(1)
        return Curve(*(part.double().cpu() for part in (self.peak, *means, together)))


def _clipped(sizes: Tensor, slopes: Tensor, thresholds: Tensor) -> Tensor:
    """Return slopes times what is clipped, summed over positions: thresholds × images × channels.

    Each value is counted once, at the highest threshold below it; sums from the top give all thresholds.
    """
    count, (images, channels, _) = len(_THRESHOLDS), sizes.shape
    at = torch.nonzero(sizes > thresholds[-1, :, None], as_tuple=True)
    large, felt = sizes[at].double(), slopes[at].double()
    peak = thresholds[_OCTAVE]  # the first threshold is twice as large
    first = (_OCTAVE * (1 - torch.log2(large / peak[at[1]]))).ceil().clamp(0, count - 1).long()
    slot = (at[0] * channels + at[1]) * count + first
    size = images * channels * count
    whole, number = (
        torch.zeros(size, dtype=torch.float64, device=sizes.device).index_add_(0, slot, part)
        .view(images, channels, count).cumsum(2).permute(2, 0, 1)
        for part in (felt * large, felt)
    )  # fmt: skip
    return whole - number * thresholds[:, None]


class Observed(NamedTuple):
    """What images showed, and where they were run."""

    sums: Mapping[str, Sums]
    images: int
    device: str = "cpu"
    problem: str = ""  # why not on a GPU, as the end of a sentence

    def plus(self, other: Observed) -> Observed:
        """Return what these images and others showed."""
        if not (self.images and other.images):
            return self if self.images else other
        sums = {name: one.plus(other.sums[name]) for name, one in self.sums.items()}
        return Observed(sums, self.images + other.images, other.device, self.problem or other.problem)

    def curves(self) -> dict[str, Curve]:
        """Return the curve of each tensor."""
        return {name: one.curve(self.images) for name, one in self.sums.items()}


def device_of(wanted: str) -> torch.device:
    """Return the device to learn on: with `auto` a GPU where torch finds one."""
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise ModelError(
            "quantize.device: cuda", "needs a GPU, and torch finds none", hint="write `device: auto`, or leave it out"
        )
    return torch.device("cuda" if found and wanted != "cpu" else "cpu")


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
) -> Observed:
    """Run images forwards and backwards, all or until the time is over."""
    torch.set_num_threads(machine.cores())

    def observed(on: torch.device) -> Observed:
        generator, run, done, size = torch.Generator().manual_seed(seed), TorchNet(Net(model), on), 0, batch
        peaks, found = _peaks(run.net, placement, ranges, on), Observed({}, 0)
        if not peaks:
            return Observed({}, len(images))
        while done < len(images) and deadline.fits() != 0:
            deadline.start()
            some = np.ascontiguousarray(images[done : done + size])
            try:
                found = found.plus(Observed(_sums(run, peaks, some, on, generator), len(some), on.type))
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                size //= 2
                torch.cuda.empty_cache()
                continue
            done += len(some)
            on_batch(done, len(images))
            deadline.took()
        return found

    try:
        return observed(device)
    except RuntimeError as problem:  # a GPU that has too little memory, or is gone
        if device.type == "cpu":
            raise
        return observed(torch.device("cpu"))._replace(problem=f"; the GPU failed: {first_line(problem)[:80]}")


def _peaks(net: Net, placement: Placement, ranges: Ranges, device: torch.device) -> dict[str, Tensor]:
    """Return the largest magnitude of each channel of the tensors that are quantized."""
    found = {}
    for name in dict.fromkeys(map(placement.source, placement.points)):
        if name in ranges.tensors and name in net.maker:
            seen = ranges.tensors[name]
            peak = np.maximum(np.maximum(seen.highest, -seen.lowest), _NOTHING).astype(np.float32)
            found[name] = torch.from_numpy(peak).to(device)
    return found


def _sums(
    run: TorchNet, peaks: Mapping[str, Tensor], some: np.ndarray, on: torch.device, generator: torch.Generator
) -> dict[str, Sums]:
    """Return the sums of a batch. Random signs stand for all logits, as in `sensitivity`."""
    with torch.enable_grad():
        batch = torch.from_numpy(some).to(on).requires_grad_()
        found = run.run(batch, run.constants, keep=tuple(peaks))
        logits = found[run.net.output]
        signs = (torch.randint(0, 2, tuple(logits.shape), generator=generator) * 2.0 - 1).to(logits)
        slopes = torch.autograd.grad((logits * signs).sum(), [found[name] for name in peaks])
    sums = {}
    with torch.no_grad():
        for (name, peak), slope in zip(peaks.items(), slopes, strict=True):
            values = found[name].detach()
            shape = *values.shape[:2], -1
            sums[name] = Sums.of(peak, values.reshape(shape), slope.reshape(shape))
    return sums


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
