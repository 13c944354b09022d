"""A training or a recovery, epoch by epoch: as one line, and as a table that is never longer than a screen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = ("epoch", "loss", "validation loss", "validation top-1", "")
_BARS = "▁▂▃▄▅▆▇█"
_LONGEST = 24  # epochs as bars, and as rows


def line(notes: Mapping[str, Any]) -> str:
    """How it went, of one training's notes; empty where they are of an older version."""
    history = notes.get("history")
    if not history:
        return ""
    shown = _some(history, notes["best_epoch"])
    losses = [each["validation_loss"] for each in shown]
    right = [100 * each["validation_top1"] for each in shown]
    count = notes["validation_images"]
    span = f"{_number(losses[0], 3)} to {_number(losses[-1], 3)}"
    return (
        f"validation loss {_bars(losses)} {span}, top-1 {_bars(right)} {right[0]:.2f} to {right[-1]:.2f} % of {count} "
        f"images; best in epoch {notes['best_epoch']} of {notes['epochs']}: {100 * notes['validation_top1']:.2f} %"
    )


def recovery(notes: Mapping[str, Any]) -> str:
    """What came back of what was lost."""
    best, epochs = notes["best_epoch"], notes["epochs"]
    learned = f", {100 * notes['validation_top1']:.2f} % after epoch {best} of {epochs}"
    if not best:
        learned = f", no better after {epochs} epoch{'' if epochs == 1 else 's'} of learning" if epochs else ""
    if notes.get("enough"):
        learned = ", which is enough: nothing was learned"
    return (
        f"{notes['validation_images']} validation images: {100 * notes['pruned_top1']:.2f} % right as it was cut, "
        f"{100 * notes['statistics_top1']:.2f} % with statistics measured anew{learned}; "
        f"{100 * notes['dense_top1']:.2f} % before it was cut"
    )


def rows(notes: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Of a long training some epochs, the first, the best and the last among them."""
    best = notes["best_epoch"]
    return [
        (
            str(each["epoch"]),
            _number(each["loss"], 4) if "loss" in each else "",
            _number(each["validation_loss"], 4),
            f"{100 * each['validation_top1']:.2f} %",
            "best" if each["epoch"] == best else "",
        )
        for each in _some(notes.get("history") or [], best)
    ]


def _some(history: Sequence[Mapping[str, Any]], best: int) -> list[Mapping[str, Any]]:
    if len(history) <= _LONGEST:
        return list(history)
    every = math.ceil(len(history) / (_LONGEST - 3))
    last = history[-1]["epoch"]
    return [each for index, each in enumerate(history) if index % every == 0 or each["epoch"] in (best, last)]


def _number(loss: float, digits: int) -> str:
    """A loss that ran away stays short."""
    return f"{loss:.{digits}f}" if abs(loss) < 1e5 else f"{loss:.3g}"


def _bars(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    step = (high - low) / (len(_BARS) - 1) or 1.0
    return "".join(_BARS[round((value - low) / step)] for value in values)
