"""Training and fine-tuning, small and honest: the best epoch by images that are neither trained on nor evaluated.

An interrupted training goes on from its last finished epoch. Knows nothing of targets.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import models
from .artifact import Given, Parent, write_bytes
from .context import Context
from .device import machine
from .errors import ModelError
from .images import Samples, choose
from .models import checkpoint
from .recipe import Augment, Train

STATE = "state.pt"


def train(parents: Mapping[str, Parent], spec: Mapping[str, Any], out: Path, ctx: Context) -> dict[str, Any]:
    """Parents: `training` images and, to fine-tune, a `checkpoint`. Writes the best weights and the history."""
    plan = Train(**spec["train"])
    torch.set_num_threads(machine.cores())
    torch.manual_seed(ctx.seed)
    samples: Samples = parents["training"].value  # type: ignore[union-attr]
    network = models.build(spec["arch"], spec["classes"], spec["channels"])
    if "checkpoint" in parents:
        assert isinstance(parents["checkpoint"], Given)
        checkpoint.load_into(network, parents["checkpoint"].value, spec["arch"])
    models.check_answer(network, spec, samples.preprocessing.size)
    _tell_skipped(samples, ctx)
    learning, validation = choose.split(samples, plan.validation, ctx.seed)
    training = _Training(network, plan, _Split(learning), _Split(validation), ctx)
    training.run()
    network.load_state_dict(training.best.weights)
    about = {"arch": spec["arch"], "classes": spec["classes"], "channels": spec["channels"]}
    checkpoint.write(network, out / checkpoint.FILE, about)
    (out / "history.json").write_text(json.dumps(training.history, indent=1))
    return {
        "images": len(learning),
        "validation_images": len(validation),
        "best_epoch": training.best.epoch,
        "validation_top1": training.best.top1,
        "epochs": len(training.history),
    }


def _tell_skipped(samples: Samples, ctx: Context) -> None:
    missing = sorted(set(range(len(samples))) - set(samples.table().indices.tolist()))
    if missing:
        first = ", ".join(samples.name(index) for index in missing[:3])
        ctx.warn(f"{len(missing)} unreadable training images were left out: {first}")


class _Split:
    """One side of the training images as batches of tensors."""

    def __init__(self, samples: Samples):
        self._table = samples.table()
        self._normalize = samples.preprocessing.normalize
        self._labels = torch.from_numpy(self._table.labels)

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self._normalize(self._table.take(rows))), self._labels[rows]

    def __len__(self) -> int:
        return len(self._table)


@dataclass
class _Best:
    epoch: int = 0
    top1: float = -1.0
    loss: float = math.inf
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


class _Training:
    """The state of one training, as it is saved after every epoch and taken up again."""

    def __init__(self, network: nn.Module, plan: Train, learning: _Split, validation: _Split, ctx: Context):
        self.network, self.plan, self.learning, self.validation, self.ctx = network, plan, learning, validation, ctx
        self.steps = math.ceil(len(learning) / plan.batch)
        self.optimizer = _optimizer(network, plan)
        self.scheduler = _scheduler(self.optimizer, plan, self.steps)
        self.best = _Best()
        self.history: list[dict[str, float]] = []

    def run(self) -> None:
        self._take_up()
        for epoch in range(len(self.history) + 1, self.plan.epochs + 1):
            loss = self._epoch(epoch)
            top1, validation_loss = self._validate()
            self.history.append(
                {"epoch": epoch, "loss": loss, "validation_top1": top1, "validation_loss": validation_loss}
            )
            if (top1, -validation_loss) > (self.best.top1, -self.best.loss):
                weights = {key: value.clone() for key, value in self.network.state_dict().items()}
                self.best = _Best(epoch, top1, validation_loss, weights)
            self._save()

    def _epoch(self, epoch: int) -> float:
        self.network.train()
        # Order and augmentation depend on seed and epoch alone, so a resumed training is the same training.
        rng = np.random.default_rng([self.ctx.seed, epoch])
        order, total = rng.permutation(len(self.learning)), 0.0
        for step in range(self.steps):
            part = order[step * self.plan.batch : (step + 1) * self.plan.batch]
            images, labels = self.learning.batch(part)
            if len(part) == 1 and self.steps > 1:
                continue  # batch normalisation cannot learn from one image
            loss = F.cross_entropy(self.network(augmented(images, self.plan.augment, rng)), labels)
            if not math.isfinite(loss.item()):
                raise ModelError(
                    f"the loss became {loss.item()} in epoch {epoch}, step {step + 1}",
                    hint=f"lower `train.rate` (it is {self.plan.rate:g}); the epochs before are kept",
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            total += loss.item() * len(part)
            done = (epoch - 1) * self.steps + step + 1
            self.ctx.progress(done, self.plan.epochs * self.steps, f"epoch {epoch} of {self.plan.epochs}")
        return total / len(self.learning)

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        self.network.eval()
        right, loss = 0, 0.0
        for start in range(0, len(self.validation), 256):
            images, labels = self.validation.batch(np.arange(start, min(start + 256, len(self.validation))))
            logits = self.network(images)
            right += int((logits.argmax(1) == labels).sum())
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
        return right / len(self.validation), loss / len(self.validation)

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "best": vars(self.best),
            "history": self.history,
            "torch_rng": torch.get_rng_state(),
        }
        held = io.BytesIO()
        torch.save(state, held)
        write_bytes(self.ctx.scratch / STATE, held.getbuffer())

    def _take_up(self) -> None:
        path = self.ctx.scratch / STATE
        if not path.is_file():
            return
        try:
            state = checkpoint.unpickle(path)
        except ModelError:  # not whole: begin anew
            return
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["torch_rng"])
        self.best, self.history = _Best(**state["best"]), state["history"]
        self.ctx.warn(f"training went on after epoch {len(self.history)}, where it was interrupted")


def augmented(images: torch.Tensor, how: Augment, rng: np.random.Generator) -> torch.Tensor:
    """A mirrored and shifted copy; the edge is repeated where a shift uncovers it."""
    if how.flip:
        mirrored = torch.from_numpy(rng.random(len(images)) < 0.5)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if how.shift:
        height, width = images.shape[2:]
        wide = F.pad(images, (how.shift,) * 4, mode="replicate")
        moves = torch.from_numpy(rng.integers(0, 2 * how.shift + 1, size=(2, len(images))))
        rows = moves[0][:, None] + torch.arange(height)
        columns = moves[1][:, None] + torch.arange(width)
        which = torch.arange(len(images))[:, None, None]
        images = wide.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return images.contiguous()


def _optimizer(network: nn.Module, plan: Train) -> torch.optim.Optimizer:
    """Weight decay for matrices only: on biases and normalisation it shrinks what should not shrink."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if plan.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=plan.rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=plan.rate)


def _scheduler(optimizer: torch.optim.Optimizer, plan: Train, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    total = plan.epochs * steps
    if plan.schedule == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=plan.rate, total_steps=total + 1)
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
