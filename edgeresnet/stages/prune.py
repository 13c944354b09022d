"""Structured pruning: whole channels are removed, and what is left is an ordinary, narrower network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import models
from ..context import Context
from ..errors import ModelError
from ..images import Samples
from ..images import choose as chosen_images
from ..models import checkpoint, shapes
from ..portable import machine
from ..pruning import choose, cut, importance, speed, units
from ..recipe import Prune
from ..store import Given, Parent

# As many images as so many multiplications allow, the fewest, the most: of those that tell how right a cut is, and of
# those whose loss is asked for, there and back.
_SEEN = (300_000_000_000, 64, 1000)
_TAYLOR = (500_000_000_000, 64, 512)
_AT_ONCE = 64
_PIXELS_AT_ONCE = 8 * 224 * 224  # what a network holds of an image, to go back through, may be a hundred times as much


def prune(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: the `network`'s weights; `training` images for taylor; for a goal in milliseconds, images that tell how
    right a cut is. Writes the narrower network's weights.
    """
    plan = Prune(**spec["prune"])
    torch.set_num_threads(machine.cores())
    network = checkpoint.network_of(parents["network"], spec)
    models.check_answer(network, spec, spec["size"])
    cuttable = units.of(network, spec["channels"], spec["size"])
    if plan.importance == "taylor":
        _ask_the_loss(network, parents["training"].value, cuttable.macs, ctx)  # type: ignore[union-attr]
    scores = importance.scores(network, cuttable, plan.importance)
    chooser = choose.Chooser(cuttable, scores, multiple=spec["multiple"], every_layer_alike=plan.scope == "per-layer")
    goal, value = plan.goal()
    curve: dict[str, Any] | None = None
    if goal == "speedup":
        choice, curve = speed.fastest(network, chooser, _asked(value, parents, spec, chooser), ctx)
    else:
        choice = chooser.for_goal(goal, value)
    narrow = cut.cut(network, choice)
    models.check_answer(narrow, spec, spec["size"])
    widths = _widths(network, narrow)
    told = shapes.metadata(Path(checkpoint.of(parents["network"])))
    told |= {key: str(spec[key]) for key in ("arch", "classes", "channels")}
    told |= {"preprocessing": json.dumps(spec["preprocessing"]), "pruned": json.dumps(widths)}
    checkpoint.write(narrow, out / checkpoint.FILE, told)
    _check_again(out / checkpoint.FILE, spec)
    return {
        "macs": [chooser.dense.macs, choice.macs],
        "params": [chooser.dense.params, choice.params],
        "ratio": choice.ratio,
        "widths": widths,
        "importance": plan.importance,
        "multiple": spec["multiple"],
        "finest": chooser.finest,
        "speedup": curve,
    }


def _check_again(path: Path, spec: Mapping[str, Any]) -> None:
    """What was written is what will be read: whether a network of a user's own can be, its file alone shows."""
    try:
        checkpoint.network_of(Given("", path), spec)
    except ModelError as problem:
        raise ModelError(
            f"what is left of {spec['arch']} could not be read again: {problem.message}",
            hint="register its layers in the order of their use: first what sees images, last the classifier",
        ) from problem


def _widths(network: nn.Module, narrow: nn.Module) -> dict[str, list[int]]:
    """Of each convolution: how many channels it gave, and gives now."""
    both = zip(network.named_modules(), narrow.modules(), strict=True)
    return {
        name: [before.out_channels, after.out_channels]
        for (name, before), after in both
        if isinstance(before, nn.Conv2d) and isinstance(after, nn.Conv2d)
    }


def _asked(
    goals: Mapping[str, float], parents: Mapping[str, Parent], spec: Mapping[str, Any], chooser: choose.Chooser
) -> speed.Asked:
    """With a few images, where there are labels, to tell how right each cut is before anything is recovered."""
    ships = {name: each["ships"] for name, each in spec["timed"].items()}
    slot = next((slot for slot in ("evaluation", "training") if slot in parents), None)
    samples: Samples | None = parents[slot].value if slot else None  # type: ignore[union-attr]
    if samples is None or not samples.classes:
        return speed.Asked(goals, ships, spec["verify"])
    few = _some(samples, chooser.dense.macs, _SEEN, spec["seed"])
    return speed.Asked(goals, ships, spec["verify"], lambda network: _right(network, few), len(few))


def _some(samples: Samples, macs: int, bounds: tuple[int, int, int], seed: int) -> Samples:
    """Balanced over classes."""
    multiplications, fewest, most = bounds
    count = min(len(samples), max(fewest, min(most, multiplications // max(macs, 1))))
    return samples.subset(chosen_images.balanced(samples, count, seed))


@torch.no_grad()
def _right(network: nn.Module, samples: Samples) -> float:
    """The part of those that can be read."""
    right = seen = 0
    for images, labels, _ in _batches(samples):
        right += int((network(images).argmax(1) == labels).sum())
        seen += len(labels)
    return right / max(seen, 1)


def _batches(samples: Samples) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Images, labels, and how many these were so far."""
    for batch in samples.batches(max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // samples.preprocessing.size**2))):
        images = torch.from_numpy(samples.preprocessing.normalize(np.asarray(batch.pixels)))
        yield images, torch.from_numpy(batch.labels), int(batch.indices[-1]) + 1


def _ask_the_loss(network: nn.Module, samples: Samples, macs: int, ctx: Context) -> None:
    """Leaves in the weights what the loss on some images feels of each, frozen or not."""
    few = _some(samples, macs, _TAYLOR, ctx.seed)
    network.requires_grad_(True).zero_grad(set_to_none=True)
    for images, labels, done in _batches(few):
        nn.functional.cross_entropy(network(images), labels, reduction="sum").backward()
        ctx.progress(done, len(few), "images asked for taylor")
