"""Structured pruning: channels are removed, and what is left is an ordinary, narrower network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import models
from ..context import Context
from ..errors import ModelError
from ..images import Samples
from ..images import choose as chosen_images
from ..models import checkpoint, shapes
from ..notes import PruneNotes, SpeedupSearch
from ..portable import machine
from ..pruning import cut, importance, units
from ..pruning.choose import Choice, Chooser
from ..store import Given
from ..tasks import LearnedTask
from ..training.labels import labels_of
from ..tune import speedup as speed
from .specs import PruneInputs, PruneSpec

# How many images: the multiplications that they may take together, the fewest, the most. `_SEEN` show how accurate a
# pruned network is, `_TAYLOR` go through the network and back.
_SEEN = (300_000_000_000, 64, 1000)
_TAYLOR = (500_000_000_000, 64, 512)
_AT_ONCE = 64
_PIXELS_AT_ONCE = 8 * 224 * 224  # what a network holds of an image, to go back through, may be a hundred times as much


def prune(inputs: PruneInputs, spec: PruneSpec, out: Path, ctx: Context) -> PruneNotes:
    """Prune a network to its goal, and write the narrower network's weights."""
    plan, size = spec.prune, spec.preprocessing.size
    torch.set_num_threads(machine.cores())
    network = checkpoint.network_of(inputs.network, spec.network)
    models.check_answer(network, spec.network, size)
    if spec.network.detector and not units.shows_channels(network):
        raise ModelError(
            str(spec.network.arch),
            "cannot be pruned: how it joins the answers of its levels hides its channels",
            hint="return torchvision's RetinaNet from your function, with torchvision's head",
        )
    cuttable = units.of(network, spec.network.channels, size)
    if plan.importance == "taylor":
        assert inputs.training is not None  # the planner hands them in
        _collect_gradients(network, inputs.training.value, cuttable.macs, ctx, spec.network.learned)
    scores = importance.scores(network, cuttable, plan.importance)
    chooser = Chooser(cuttable, scores, multiple=spec.multiple, every_layer_alike=plan.scope == "per-layer")
    choice, search = _chosen(network, chooser, inputs, spec, ctx)
    narrow = cut.cut(network, choice)
    models.check_answer(narrow, spec.network, size)
    widths = _widths(network, narrow)
    _write(narrow, widths, inputs, spec, out / checkpoint.FILE)
    return PruneNotes(
        macs=(chooser.dense.macs, choice.macs),
        params=(chooser.dense.params, choice.params),
        ratio=choice.ratio,
        widths=widths,
        importance=plan.importance,
        multiple=spec.multiple,
        finest=chooser.finest,
        speedup=search,
    )


def _chosen(
    network: nn.Module, chooser: Chooser, inputs: PruneInputs, spec: PruneSpec, ctx: Context
) -> tuple[Choice, SpeedupSearch | None]:
    """Return what stays, and how a speed-up was reached, where that is the goal."""
    if spec.timed is None:
        goal, value = spec.prune.goal()
        return chooser.for_goal(goal, value), None
    return speed.fastest(network, chooser, _goal(inputs, spec, chooser), ctx)


def _write(
    narrow: nn.Module, widths: Mapping[str, tuple[int, int]], inputs: PruneInputs, spec: PruneSpec, path: Path
) -> None:
    about = shapes.metadata(Path(checkpoint.of(inputs.network)))
    network = spec.network
    about |= {"arch": str(network.arch), "classes": str(network.classes), "channels": str(network.channels)}
    about |= {"preprocessing": json.dumps(spec.preprocessing.to_json()), "pruned": json.dumps(widths)}
    checkpoint.write(narrow, path, about)
    try:  # whether a network of a user's own can be read again, only its file shows
        checkpoint.network_of(Given("", path), spec.network)
    except ModelError as problem:
        raise ModelError(
            f"the pruned {spec.network.arch}",
            f"cannot be loaded again: {problem.message}",
            hint="define its layers in the order of their use: from the input to the classifier",
        ) from problem


def _widths(network: nn.Module, narrow: nn.Module) -> dict[str, tuple[int, int]]:
    """Return each convolution's number of channels, before and after."""
    both = zip(network.named_modules(), narrow.modules(), strict=True)
    return {
        name: (before.out_channels, after.out_channels)
        for (name, before), after in both
        if isinstance(before, nn.Conv2d) and isinstance(after, nn.Conv2d)
    }


def _goal(inputs: PruneInputs, spec: PruneSpec, chooser: Chooser) -> speed.Goal:
    """Return the speed-up that is wanted, with a few labelled images, if there are any, to show each cut's accuracy."""
    assert spec.timed is not None
    ships = {name: each.ships for name, each in spec.timed.targets.items()}
    speedups, given = spec.prune.speedup or {}, inputs.evaluation or inputs.training
    if given is None or not given.value.classes:
        return speed.Goal(speedups, ships, spec.timed.timing)
    few, task = _some(given.value, chooser.dense.macs, _SEEN, spec.seed), spec.network.learned
    return speed.Goal(
        speedups, ships, spec.timed.timing, lambda network: _score(network, few, task), len(few), task.metric
    )


def _some(samples: Samples, macs: int, bounds: tuple[int, int, int], seed: int) -> Samples:
    """Return some of the images, balanced over classes."""
    multiplications, fewest, most = bounds
    count = min(len(samples), max(fewest, min(most, multiplications // max(macs, 1))))
    return samples.subset(chosen_images.balanced(samples, count, seed))


@torch.no_grad()
def _score(network: nn.Module, samples: Samples, task: LearnedTask) -> float:
    """Return how good the answers are, over the images that can be read."""
    counts = [task.counts(network(images), labels) for images, labels, _ in _batches(samples)]
    return task.score(torch.stack(counts).sum(0)) if counts else 0.0


def _batches(samples: Samples) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Yield images, labels, and how many images these were until now."""
    for batch in samples.batches(max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // samples.preprocessing.size**2))):
        images = torch.from_numpy(samples.preprocessing.normalize(np.asarray(batch.pixels)))
        yield images, labels_of(samples, batch.indices).of(np.arange(len(batch.indices))), int(batch.indices[-1]) + 1


def _collect_gradients(network: nn.Module, samples: Samples, macs: int, ctx: Context, task: LearnedTask) -> None:
    """Leave in each weight, frozen or not, the gradient of the loss on some images."""
    few = _some(samples, macs, _TAYLOR, ctx.seed)
    network.requires_grad_(True).zero_grad(set_to_none=True)
    for images, labels, done in _batches(few):
        torch.autograd.backward(task.loss(network(images), labels))
        ctx.progress(done, len(few), "images for taylor")
