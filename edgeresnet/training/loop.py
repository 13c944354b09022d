"""Epoch after epoch: learn, validate, keep the best, save.

Ends when all are done, when nothing gets better any more, or when the loss is no number any longer; what was best until
then is kept.
"""

from __future__ import annotations

import copy
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..context import Context
from ..errors import ModelError
from ..models import checkpoint
from ..recipe import Recover, Train
from ..store import write_bytes
from . import parts, process_group
from . import precision as precisions
from .batches import Moves, Split

STATE = "state.pt"
Teach = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # images and logits → what a teacher says against them
_VALIDATED_AT_ONCE = 256
_BESIDE = 1.2  # times the steps of an epoch: images are moved, weights changed, validated


@dataclass
class Best:
    epoch: int = -1
    top1: float = -1.0
    loss: float = math.inf
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


class _Diverged(Exception):
    """The loss is no number any longer."""


class Training:
    """One training, as it is saved after every epoch and taken up again. `able` is a network that can do something
    already: what it does before it learns is epoch 0, and may turn out to be the best.
    """

    def __init__(
        self,
        network: nn.Module,
        plan: Train | Recover,
        learning: Split,
        validation: Split,
        ctx: Context,
        *,
        able: bool,
        teach: Teach | None = None,
        until: float = math.inf,
    ):
        self.teach, self.until = teach, until
        self.plan, self.learning, self.validation, self.ctx, self.able = plan, learning, validation, ctx, able
        self.team = process_group.mine()
        self.device = self.team.device
        parts.freeze(network, plan.freeze)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.steps = math.ceil(len(learning) / plan.batch)
        self._plan_for(plan.epochs)
        self.best, self.precision, self.stopped = Best(), "", ""
        self.history: list[dict[str, Any]] = []
        self.longest = 0.0  # seconds of an epoch
        self.spent, self.began = 0.0, time.monotonic()  # seconds before an interruption, and since when after it

    @property
    def epochs(self) -> int:
        """So many are done."""
        return self.history[-1]["epoch"] if self.history else 0

    def run(self) -> None:
        self._take_up()
        self.precision = self.precision or self.team.share(self._precision() if self.team.leads else None)
        if not self.history and self.until < math.inf:
            self._fit(self.team.share(self._fitting() if self.team.leads else None))
        self.learner = self.team.joined(self.network)
        try:
            if self.able and not self.history:
                self._validated({"epoch": 0})
            while self.epochs < self.planned and not self.stopped and not self._is_over():
                self._one(self.epochs + 1)
        except _Diverged as problem:
            self._stop_after(problem)
        if self.stopped and self.team.leads:
            self._save()
        if self.stopped:
            self.ctx.warn("ended-early", f"{self.stopped}: the best epoch, {self.best.epoch}, is kept")
        elif self.best.epoch == 0:
            self.ctx.warn(
                "no-better-epoch",
                f"no epoch was better than the given weights on {len(self.validation)} images: they are kept",
            )

    def _one(self, epoch: int) -> None:
        began = time.perf_counter()
        rate = max(self.scheduler.get_last_lr())
        loss, seen = self.learn(epoch)
        seconds = time.perf_counter() - began
        line = self._validated({"epoch": epoch, "rate": rate, "loss": loss})
        self.longest = max(self.longest, time.perf_counter() - began)
        if self.team.leads:
            self._save()
        self.ctx.record({**line, "seconds": seconds, "images_per_s": seen / seconds})

    def _is_over(self) -> bool:
        """Before its last epoch: nothing gets better, or there is no time for another epoch."""
        left = self.until - time.monotonic()
        if self.team.share(left < self.longest):
            self.stopped = f"its time was over after epoch {self.epochs} of {self.planned}"
            return True
        since = self.epochs - max(self.best.epoch, 0)
        if self.plan.patience is None or since < self.plan.patience:
            return False
        self.stopped = f"training stopped after epoch {self.epochs}: none of the last {since} was better"
        return True

    def _stop_after(self, problem: _Diverged) -> None:
        """Where nothing good is there yet it is an error; given weights are nothing that was trained, but all that is
        to be recovered.
        """
        recovers = isinstance(self.plan, Recover)
        rate = f"`{'recover' if recovers else 'train'}.rate`"
        if self.best.epoch < (0 if recovers else 1):
            raise ModelError(str(problem), hint=f"lower {rate}, which is {self.plan.rate:g}") from None
        self.stopped = f"{problem}, and training stopped (a lower {rate} than {self.plan.rate:g} may go on)"

    def learn(self, epoch: int) -> tuple[float, int]:
        """Learns from every image once, if there is time for all; the mean loss, and of how many images that is."""
        parts.to_training(self.network)
        # Order and augmentation depend on seed and epoch alone, so a resumed training is the same training.
        rng = np.random.default_rng([self.ctx.seed, epoch])
        order, total, seen = rng.permutation(len(self.learning)), 0.0, 0
        for step in range(self.steps):
            if step and self.until < math.inf and self.team.share(time.monotonic() > self.until):
                break
            rows = order[step * self.plan.batch : (step + 1) * self.plan.batch]
            if len(rows) == 1 and self.steps > 1:
                continue  # batch normalisation cannot learn from one image
            loss = self._loss(rows, rng)
            mean = self.team.sum(loss)[0] / self.team.size
            if not math.isfinite(mean):
                raise _Diverged(f"the loss became {mean} in epoch {epoch}, step {step + 1} of {self.steps}")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            total, seen = total + mean * len(rows), seen + len(rows)
            done = (epoch - 1) * self.steps + step + 1
            self.ctx.progress(done, self.planned * self.steps, f"epoch {epoch} of {self.planned}")
        return total / max(seen, 1), seen

    def _loss(self, rows: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """Of this process's part, so that the mean over processes is the mean over the batch."""
        moves, part = Moves.drawn(len(rows), self.plan.augment, rng), self.team.part(len(rows))
        images, labels = self.learning.batch(rows[part], self.device)
        with precisions.autocast(self.device, self.precision):
            images = moves.of(part).on(images, self.plan.augment.shift)
            logits = self.learner(images)
            loss = self.teach(images, logits) if self.teach else None
        smoothing = self.plan.label_smoothing
        labelled = F.cross_entropy(logits.float(), labels, reduction="sum", label_smoothing=smoothing)
        loss = labelled if loss is None else loss + (1 - self.plan.distill) * labelled  # type: ignore[union-attr]
        return loss * (self.team.size / len(rows))

    def _validated(self, line: dict[str, Any]) -> dict[str, Any]:
        """What an epoch came to, into the history; the best so far is kept."""
        top1, loss = self._validate()
        if not math.isfinite(loss):
            raise _Diverged(f"the loss on the validation images became {loss} after epoch {line['epoch']}")
        line = {**line, "validation_top1": top1, "validation_loss": loss}
        self.history.append(line)
        if (top1, -loss) > (self.best.top1, -self.best.loss):
            weights = {key: value.clone() for key, value in self.network.state_dict().items()}
            self.best = Best(line["epoch"], top1, loss, weights)
        return line

    def _validate(self) -> tuple[float, float]:
        return validate(self.network, self.validation, self.team)

    def _plan_for(self, epochs: int) -> None:
        self.planned = epochs
        self.optimizer = parts.optimizer(self.network, self.plan)
        self.scheduler = parts.scheduler(self.optimizer, self.plan, epochs * self.steps)

    def _fitting(self) -> float:
        """So many epochs as there is time for: what was learned settles where the rate has come down, not before."""
        images, labels = self._some()
        a_step = precisions.step_s(copy.deepcopy(self.network), images, labels, self.precision, self.teach)
        first = a_step / 3 * len(self.validation) / self.plan.batch  # before it learns: forwards alone
        fitting = (self.until - time.monotonic() - first) / (_BESIDE * a_step * self.steps)
        return min(max(fitting, 0.0), self.plan.epochs)

    def _fit(self, epochs: float) -> None:
        """Whole ones; or a part of the only one, from some of the images; or none."""
        whole, part = self.steps, int(min(epochs, 1) * self.steps)
        self.steps = max(1, part)
        self._plan_for(max(1, int(epochs)))
        if not part:
            self.planned, self.stopped = 0, "there was no time to learn"
        elif part < whole:
            self.ctx.warn(
                "short-of-time", f"there is time for {part} of the {whole} steps of one epoch: not all images are seen"
            )

    def _precision(self) -> str:
        return precisions.chosen(self.plan.precision, self.network, self.device, self._some)

    def _some(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch to time a step with."""
        parts.to_training(self.network)
        return self.learning.batch(np.arange(min(self.plan.batch, len(self.learning))), self.device)

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "best": vars(self.best),
            "history": self.history,
            "precision": self.precision,
            "planned": self.planned,
            "steps": self.steps,
            "spent": self.spent + time.monotonic() - self.began,
            "longest": self.longest,
            "stopped": self.stopped,
            "torch_rng": torch.get_rng_state(),
        }
        held = io.BytesIO()
        torch.save(state, held)
        write_bytes(self.ctx.scratch / STATE, held.getbuffer())

    def _take_up(self) -> None:
        state = self.team.share(self._saved() if self.team.leads else None)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.steps, self.spent, self.longest = state["steps"], state["spent"], state["longest"]
        self.until -= self.spent
        self._plan_for(state["planned"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["torch_rng"])
        self.best, self.history, self.precision = Best(**state["best"]), state["history"], state["precision"]
        self.stopped = state["stopped"]
        if self.epochs < self.planned and not self.stopped:
            self.ctx.warn("continued", f"training went on after epoch {self.epochs}, where it was interrupted")

    def _saved(self) -> Any:
        path = self.ctx.scratch / STATE
        if not path.is_file():
            return None
        try:
            found = checkpoint.unpickle(path)
            return found if "stopped" in found else None  # else an older version's
        except ModelError:  # not whole: begin anew
            return None


@torch.no_grad()
def validate(network: nn.Module, split: Split, among: process_group.Team) -> tuple[float, float]:
    """The part of right answers, and the mean loss."""
    network.eval()
    count, right, loss = len(split), torch.zeros(()), torch.zeros(())
    for start in range(0, count, _VALIDATED_AT_ONCE):
        rows = np.arange(start, min(start + _VALIDATED_AT_ONCE, count))
        images, labels = split.batch(rows[among.part(len(rows))], among.device)
        logits = network(images)
        right += (logits.argmax(1) == labels).sum().cpu()
        loss += F.cross_entropy(logits, labels, reduction="sum").cpu()
    all_right, all_loss = among.sum(right, loss)
    return all_right / count, all_loss / count
