"""After pruning: normalisation's statistics are measured again, then the network learns in rounds, from the images and
from what it answered before it was pruned. The best state of all is the result.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import models
from ..context import Context
from ..images import Samples, choose
from ..models import checkpoint
from ..notes import Epoch, RecoverNotes
from ..portable import machine
from ..recipe import Recover
from ..store import Artifact
from ..tasks import LearnedTask
from ..training import metadata, process_group
from ..training.batches import Split
from ..training.loop import Teach, Training, validate
from .specs import Architecture, NetworkFile, RecoverInputs, RecoverSpec

_STATISTICS_IMAGES = 2048
_AT_ONCE = 256


def recover(inputs: RecoverInputs, spec: RecoverSpec, out: Path, ctx: Context) -> RecoverNotes:
    """Recover what pruning cost, and write the best weights."""
    plan, samples, began = spec.recover, inputs.training.value, time.monotonic()
    torch.set_num_threads(machine.cores())
    torch.manual_seed(ctx.seed)
    network, dense = (_built(parent, spec.network) for parent in (inputs.network, inputs.dense))
    models.check_answer(network, spec.network, samples.preprocessing.size)
    sides = choose.split(samples, plan.validation, ctx.seed)
    learning, validation = (Split(each if plan.epochs else _some(each, ctx.seed)) for each in sides)
    task = spec.network.learned
    dense_top1, _ = validate(dense, validation, process_group.mine(), task)
    before, after = remeasure_statistics(network, learning, validation, ctx, task)
    until = began + 60 * plan.minutes if plan.minutes else float("inf")
    teach = taught(dense, plan, task) if plan.distill else None
    rounds = _Rounds(network, plan, learning, validation, ctx, teach, until, task)
    top1 = rounds.run(max(before, after), dense_top1 - plan.enough_pp / 100)
    checkpoint.write(network, out / checkpoint.FILE, metadata.of(spec.network, samples, inputs.network))
    return RecoverNotes(
        images=len(learning),
        validation_images=len(validation),
        dense_top1=dense_top1,
        pruned_top1=before,
        statistics_top1=after,
        validation_top1=top1,
        rounds=rounds.done,
        enough=rounds.enough,
        best_epoch=rounds.best_epoch,
        epochs=rounds.epochs,
        history=tuple(rounds.history),
        metric=task.metric,
    )


def _some(samples: Samples, seed: int) -> Samples:
    """Return enough images for statistics alone. They are drawn: classes stay as frequent as they are."""
    if len(samples) <= _STATISTICS_IMAGES:
        return samples
    drawn = np.random.default_rng(seed).permutation(len(samples))[:_STATISTICS_IMAGES]
    return samples.subset(np.sort(drawn))


def taught(teacher: nn.Module, plan: Recover, task: LearnedTask) -> Teach:
    """Return a loss: how far answers are from the teacher's, summed over a batch."""

    def apart(images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = teacher(images).float()
        return plan.distill * task.apart(logits.float(), wanted, plan.temperature)

    return apart


def remeasure_statistics(
    network: nn.Module, learning: Split, validation: Split, ctx: Context, task: LearnedTask
) -> tuple[float, float]:
    """Return the score after pruning, and with statistics that are measured again; the better statistics stay."""
    group = process_group.mine()
    before, _ = validate(network, validation, group, task)
    old = {key: value.clone() for key, value in network.state_dict().items()}
    _measure_statistics(network, learning, ctx, task)
    after, _ = validate(network, validation, group, task)
    if after < before:
        network.load_state_dict(old)
        ctx.warn("old-statistics", "new normalisation statistics lower the accuracy: the old ones stay in use")
    return before, after


class _Rounds:
    """Rounds of learning. Each begins with the best state until then; those before an interruption are not repeated."""

    def __init__(
        self,
        network: nn.Module,
        plan: Recover,
        learning: Split,
        validation: Split,
        ctx: Context,
        teach: Teach | None,
        until: float,
        task: LearnedTask,
    ):
        self.network, self.plan, self.ctx, self.teach, self.task = network, plan, ctx, teach, task
        self.learning, self.validation, self.until = learning, validation, until
        self.history: list[Epoch] = []
        self.done = self.best_epoch = self.epochs = 0
        self.longest = 0.0  # seconds of an epoch
        self.enough = False  # with statistics alone, where the recipe wants learning

    def run(self, top1: float, wanted: float) -> float:
        """Learn until top-1 is as wanted, or the rounds or the time are over. Return top-1."""
        for number in range(1, self.plan.rounds + 1 if self.plan.epochs else 1):
            if top1 >= wanted or (self.done and self.until - time.monotonic() < self.longest):
                self.enough = not self.done
                break
            top1 = self._one(number)
        return top1

    def _one(self, number: int) -> float:
        scratch = self.ctx.scratch / f"round-{number}"
        scratch.mkdir(parents=True, exist_ok=True)
        ctx = replace(self.ctx, seed=self.ctx.seed + number, scratch=scratch, warnings=[])
        training = Training(
            self.network,
            self.plan,
            self.learning,
            self.validation,
            ctx,
            able=True,
            teach=self.teach,
            until=self.until,
            task=self.task,
        )
        training.run()
        self.until = training.until  # what was spent before an interruption is spent
        best = training.best
        self.network.load_state_dict(best.weights)
        lines = [line for line in training.history if line.epoch or not self.history]
        self.history += [replace(line, round=number, epoch=self.epochs + line.epoch) for line in lines]
        self.best_epoch = self.epochs + best.epoch if best.epoch else self.best_epoch
        self.epochs, self.done = self.epochs + training.epochs, number
        self.longest = max(self.longest, training.longest)
        self.ctx.warnings += [replace(warning, text=f"round {number}: {warning.text}") for warning in ctx.warnings]
        return best.top1


@torch.no_grad()
def _measure_statistics(network: nn.Module, learning: Split, ctx: Context, task: LearnedTask) -> None:
    """Replace normalisation's statistics by the plain mean over some images, each seen once."""
    norms = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    momentum = [each.momentum for each in norms]
    network.train()
    for each in norms:
        each.reset_running_stats()
        each.momentum = None  # torch: a mean over all that was seen
    rows = np.random.default_rng(ctx.seed).permutation(len(learning))[:_STATISTICS_IMAGES]
    at_once = max(2, learning.at_once(_AT_ONCE, task))  # one image has no spread
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        if len(part) > 1 or len(rows) == 1:
            network(learning.batch(part, process_group.mine().device)[0])
    for each, value in zip(norms, momentum, strict=True):
        each.momentum = value


def _built(parent: Artifact | NetworkFile, about: Architecture) -> nn.Module:
    network, device = checkpoint.network_of(parent, about), process_group.mine().device
    moved: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved
