"""Epoch after epoch: learn, validate, keep the best, save.

Training ends after the last epoch, when nothing gets better any more, or when the loss becomes NaN or infinite. The
best epoch until then is kept.
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
from torch import nn

from .. import tasks
from ..context import Context
from ..errors import ModelError
from ..models import checkpoint
from ..notes import Epoch
from ..portable import codec
from ..recipe import Recover, Train
from ..store import write_bytes
from . import parts, process_group
from . import precision as precisions
from .batches import Split
from .moves import Moves

STATE = "state.pt"
Teach = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # images and logits → how far a teacher's answers are
_VALIDATED_AT_ONCE = 256
_OVERHEAD = 1.2  # times the steps of an epoch: images are moved, weights changed, validated
_State = dict[str, Any]  # as torch saves it
_CLASSES = tasks.of(tasks.CLASSIFICATION)


@dataclass
class Best:
    """The best epoch until now, with its weights."""

    epoch: int = -1
    top1: float = -1.0
    loss: float = math.inf
    weights: dict[str, torch.Tensor] = field(default_factory=dict)


class _Diverged(Exception):
    """The loss is NaN or infinite: `subject problem` is a sentence."""

    def __init__(self, subject: str, problem: str):
        super().__init__(f"{subject} {problem}")
        self.subject, self.problem = subject, problem


class Training:
    """One training. It is saved after every epoch and goes on from there.

    `able` says that the network was trained before: its weights as they are given are epoch 0, which may be the best.
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
        task: tasks.LearnedTask = _CLASSES,
    ):
        self.task = task
        self.teach, self.until = teach, until
        self.plan, self.learning, self.validation, self.ctx, self.able = plan, learning, validation, ctx, able
        self.group = process_group.mine()
        self.device = self.group.device
        parts.freeze(network, plan.freeze)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.steps = math.ceil(len(learning) / plan.batch)
        self._plan_for(plan.epochs)
        self.best, self.precision, self.stopped = Best(), "", ""
        self.history: list[Epoch] = []
        self.longest = 0.0  # seconds of an epoch
        self.spent, self.began = 0.0, time.monotonic()  # seconds before an interruption, and since when after it

    @property
    def epochs(self) -> int:
        """Return how many epochs are done."""
        return self.history[-1].epoch if self.history else 0

    def run(self) -> None:
        """Train to the end, from the saved state where there is one."""
        self._resume()
        self.precision = self.precision or self.group.share(self._precision() if self.group.leads else None)
        if not self.history and self.until < math.inf:
            self._fit(self.group.share(self._fitting() if self.group.leads else None))
        self.learner = self.group.joined(self.network)
        try:
            if self.able and not self.history:
                self._validated(0)
            while self.epochs < self.planned and not self.stopped and not self._is_over():
                self._one(self.epochs + 1)
        except _Diverged as problem:
            self._stop_after(problem)
        if self.stopped and self.group.leads:
            self._save()
        self._warn_of_the_end()

    def _warn_of_the_end(self) -> None:
        if self.stopped:
            result = f"the best epoch, {self.best.epoch}" if self.best.epoch else "the given weights"
            self.ctx.warn("ended-early", f"{self.stopped}: the result is {result}")
        elif self.best.epoch == 0:
            none = f"no epoch was better than the given weights on {len(self.validation)} images"
            self.ctx.warn("no-better-epoch", f"{none}: these weights are the result")

    def _one(self, epoch: int) -> None:
        began = time.perf_counter()
        rate = float(max(self.scheduler.get_last_lr()))
        loss, seen = self.learn(epoch)
        seconds = time.perf_counter() - began
        line = self._validated(epoch, rate, loss)
        self.longest = max(self.longest, time.perf_counter() - began)
        if self.group.leads:
            self._save()
        self.ctx.record({**codec.encode(line), "seconds": seconds, "images_per_s": seen / seconds})

    def _is_over(self) -> bool:
        """Return whether training ends early: nothing gets better, or there is no time for another epoch."""
        left = self.until - time.monotonic()
        if self.group.share(left < self.longest):
            self.stopped = f"training reached its time limit after epoch {self.epochs} of {self.planned}"
            return True
        since = self.epochs - max(self.best.epoch, 0)
        if self.plan.patience is None or since < self.plan.patience:
            return False
        self.stopped = f"training stopped after epoch {self.epochs}, because none of the last {since} was better"
        return True

    def _stop_after(self, problem: _Diverged) -> None:
        """Stop with the best epoch, or raise where none is good yet: the given weights are not a trained result of
        `train`, but they are something to go on with for `recover`.
        """
        recovers = isinstance(self.plan, Recover)
        rate = f"`{'recover' if recovers else 'train'}.rate`"
        if self.best.epoch < (0 if recovers else 1):
            hint = f"lower {rate} (now {self.plan.rate:g})"
            raise ModelError(problem.subject, problem.problem, hint=hint) from None
        self.stopped = f"training stopped, because {problem} (a lower {rate} than {self.plan.rate:g} may help)"

    def learn(self, epoch: int) -> tuple[float, int]:
        """Learn from every image once, if there is time for all. Return the mean loss, and over how many images."""
        parts.to_training(self.network)
        # Order and augmentation depend on seed and epoch alone, so a resumed training is the same training.
        rng = np.random.default_rng([self.ctx.seed, epoch])
        order, total, seen = rng.permutation(len(self.learning)), 0.0, 0
        for step in range(self.steps):
            if step and self.until < math.inf and self.group.share(time.monotonic() > self.until):
                break
            rows = order[step * self.plan.batch : (step + 1) * self.plan.batch]
            if len(rows) == 1 and self.steps > 1:
                continue  # batch normalisation cannot learn from one image
            loss = self._loss(rows, rng)
            mean = self.group.sum(loss)[0] / self.group.size
            if not math.isfinite(mean):
                raise _Diverged("the loss", f"became {mean} in epoch {epoch}, step {step + 1} of {self.steps}")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            total, seen = total + mean * len(rows), seen + len(rows)
            done = (epoch - 1) * self.steps + step + 1
            self.ctx.progress(done, self.planned * self.steps, f"epoch {epoch} of {self.planned}")
        return total / max(seen, 1), seen

    def _loss(self, rows: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
        """Return the loss of this process's part, so that the mean over processes is the mean over the batch."""
        moves, part = Moves.drawn(len(rows), self.plan.augment, rng), self.group.part(len(rows))
        images, labels = self.learning.batch(rows[part], self.device)
        images, labels = self.learning.moved(images, labels, moves.of(part), self.plan.augment.shift)
        with precisions.autocast(self.device, self.precision):
            logits = self.learner(images)
            loss = self.teach(images, logits) if self.teach else None
        labelled = self.task.loss(logits.float(), labels, self.plan.label_smoothing)
        loss = labelled if loss is None else loss + (1 - self.plan.distill) * labelled  # type: ignore[union-attr]
        return loss * (self.group.size / len(rows))

    def _validated(self, epoch: int, rate: float | None = None, learned: float | None = None) -> Epoch:
        """Validate after an epoch, add it to the history, and keep its weights if they are the best so far."""
        top1, loss = self._validate()
        if not math.isfinite(loss):
            raise _Diverged("the loss on the validation images", f"became {loss} after epoch {epoch}")
        line = Epoch(
            epoch=epoch,
            rate=rate,
            loss=learned,
            validation_top1=top1,
            validation_loss=loss,
            metric=self.task.metric,
        )
        self.history.append(line)
        if (top1, -loss) > (self.best.top1, -self.best.loss):
            weights = {key: value.clone() for key, value in self.network.state_dict().items()}
            self.best = Best(epoch, top1, loss, weights)
        return line

    def _validate(self) -> tuple[float, float]:
        return validate(self.network, self.validation, self.group, self.task)

    def _plan_for(self, epochs: int) -> None:
        self.planned = epochs
        self.optimizer = parts.optimizer(self.network, self.plan)
        self.scheduler = parts.scheduler(self.optimizer, self.plan, epochs * self.steps)

    def _fitting(self) -> float:
        """Return how many epochs there is time for, so that the rate comes down in time: weights settle then."""
        images, labels = self._some()
        a_step = precisions.step_s(
            copy.deepcopy(self.network), images, labels, self.task.loss, self.precision, self.teach
        )
        first = a_step / 3 * len(self.validation) / self.plan.batch  # before it learns: forwards alone
        fitting = (self.until - time.monotonic() - first) / (_OVERHEAD * a_step * self.steps)
        return min(max(fitting, 0.0), self.plan.epochs)

    def _fit(self, epochs: float) -> None:
        """Plan for the epochs that fit: some in full; or a part of one, with some of the images; or none."""
        full, part = self.steps, int(min(epochs, 1) * self.steps)
        self.steps = max(1, part)
        self._plan_for(max(1, int(epochs)))
        if not part:
            self.planned, self.stopped = 0, "the time limit leaves no time to train"
        elif part < full:
            self.ctx.warn(
                "short-of-time",
                f"the time limit allows {part} of the {full} steps of one epoch, so training does not see all images",
            )

    def _precision(self) -> str:
        return precisions.chosen(self.plan.precision, self.network, self.device, self.task.loss, self._some)

    def _some(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch to time a step with."""
        parts.to_training(self.network)
        return self.learning.batch(np.arange(min(self.plan.batch, len(self.learning))), self.device)

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "best": vars(self.best),
            "history": codec.encode(self.history),
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

    def _resume(self) -> None:
        state: _State | None = self.group.share(self._saved() if self.group.leads else None)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.steps, self.spent, self.longest = state["steps"], state["spent"], state["longest"]
        self.until -= self.spent
        self._plan_for(state["planned"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        torch.set_rng_state(state["torch_rng"])
        self.best, self.precision = Best(**state["best"]), state["precision"]
        self.history = [codec.decode(Epoch, line) for line in state["history"]]
        self.stopped = state["stopped"]
        if self.epochs < self.planned and not self.stopped:
            self.ctx.warn("continued", f"training continues after an interruption: {self.epochs} epochs were finished")

    def _saved(self) -> _State | None:
        path = self.ctx.scratch / STATE
        if not path.is_file():
            return None
        try:
            found = checkpoint.unpickle(path)
            return found if "stopped" in found else None  # else it is an older version's
        except ModelError:  # the file is damaged: begin again
            return None


@torch.no_grad()
def validate(
    network: nn.Module, split: Split, group: process_group.ProcessGroup, task: tasks.LearnedTask = _CLASSES
) -> tuple[float, float]:
    """Return how good the answers are, by the task's own measure, and the mean loss."""
    network.eval()
    count, loss, at_once = len(split), torch.zeros(()), split.at_once(_VALIDATED_AT_ONCE, task)
    counts: torch.Tensor | None = None
    for start in range(0, count, at_once):
        rows = np.arange(start, min(start + at_once, count))
        images, labels = split.batch(rows[group.part(len(rows))], group.device)
        logits = network(images)
        found = task.counts(logits, labels).cpu()
        counts = found if counts is None else counts + found
        loss += task.loss(logits, labels).cpu()
    assert counts is not None  # a split has images
    return task.score(group.added(counts)), group.sum(loss)[0] / count
