"""A training or a recovery, epoch by epoch: as one sentence, and as a table that is never longer than a screen."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...notes import Epoch, RecoverNotes, TrainNotes

_BARS = "▁▂▃▄▅▆▇█"
_LONGEST = 24  # epochs as bars, and as rows

Learned = TrainNotes | RecoverNotes


def epoch_columns(notes: Learned) -> tuple[str, ...]:
    return ("epoch", "loss", "validation loss", f"validation {notes.metric}", "")


def training_sentence(notes: TrainNotes) -> str:
    """Return how a training went; empty without a history."""
    shown = _some(notes.history, notes.best_epoch)
    if not shown:
        return ""
    losses = [each.validation_loss for each in shown]
    score = [100 * each.validation_top1 for each in shown]
    span = f"{_number(losses[0], 3)} to {_number(losses[-1], 3)}"
    return (
        f"validation loss {_bars(losses)} {span}, {notes.metric} {_bars(score)} {score[0]:.2f} to {score[-1]:.2f} % of "
        f"{notes.validation_images} images; {best_epoch_sentence(notes)}"
    )


def best_epoch_sentence(notes: TrainNotes) -> str:
    """Return which epoch is kept."""
    return f"best in epoch {notes.best_epoch} of {notes.epochs}: {100 * notes.validation_top1:.2f} %"


def recovery_sentence(notes: RecoverNotes) -> str:
    """Return what came back of what pruning lost."""
    best, epochs = notes.best_epoch, notes.epochs
    learned = f", {100 * notes.validation_top1:.2f} % after epoch {best} of {epochs}"
    if not best:
        learned = f", not better after {epochs} epoch{'' if epochs == 1 else 's'} of training" if epochs else ""
    if notes.enough:
        learned = ", which is enough: no training followed"
    return (
        f"{notes.metric} of {notes.validation_images} validation images: {100 * notes.dense_top1:.2f} % before "
        f"pruning, {100 * notes.pruned_top1:.2f} % after it, {100 * notes.statistics_top1:.2f} % with new batch "
        f"statistics{learned}"
    )


def epoch_rows(notes: Learned) -> list[tuple[str, ...]]:
    """Return rows under the columns: of a long training some epochs, with the first, the best and the last."""
    return [epoch_cells(each, notes.best_epoch) for each in _some(notes.history, notes.best_epoch)]


def epoch_cells(epoch: Epoch, best: int) -> tuple[str, ...]:
    """Return the cells under the columns."""
    return (
        str(epoch.epoch),
        "" if epoch.loss is None else _number(epoch.loss, 4),
        _number(epoch.validation_loss, 4),
        f"{100 * epoch.validation_top1:.2f} %",
        "best" if epoch.epoch == best else "",
    )


def _some(history: Sequence[Epoch], best: int) -> list[Epoch]:
    if len(history) <= _LONGEST:
        return list(history)
    every = math.ceil(len(history) / (_LONGEST - 3))
    last = history[-1].epoch
    return [each for index, each in enumerate(history) if index % every == 0 or each.epoch in (best, last)]


def _number(loss: float, digits: int) -> str:
    """Return a loss; one that ran away stays short."""
    return f"{loss:.{digits}f}" if abs(loss) < 1e5 else f"{loss:.3g}"


def _bars(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[round((value - low) / step)] for value in values)
