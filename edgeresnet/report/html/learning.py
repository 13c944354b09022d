"""How the network was trained: training and recovery, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...notes import Epoch, RecoverNotes, TrainNotes
from ...runs import Run, StepRecord
from ...text import as_sentence
from ..summary import best_epoch_sentence, epoch_cells, epoch_columns, recovery_sentence
from . import plot
from .element import Child, Markup, el
from .figure import figure, step_origin
from .scale import Scale, around

_HIGH = 150
_EPOCHS_DRAWN = 400  # points: of more epochs every second, third, …


class _Series(NamedTuple):
    """One line of a chart: what it is of, and its number of an epoch, None where there is none."""

    name: str
    number: Callable[[Epoch], float | None]


def curves(run: Run) -> list[Markup]:
    """Return the charts of a training and a recovery, where their notes have a history."""
    return [
        _curve(step, step.notes)
        for step in run.steps
        if isinstance(step.notes, TrainNotes | RecoverNotes) and step.notes.history
    ]


def _curve(step: StepRecord, notes: TrainNotes | RecoverNotes) -> Markup:
    every = 1 + len(notes.history) // _EPOCHS_DRAWN
    shown = [each for number, each in enumerate(notes.history) if number % every == 0 or each.epoch == notes.best_epoch]
    across = around([each.epoch for each in shown], room=0.02, log=False)
    losses = [
        _Series("training", lambda each: each.loss),
        _Series("validation", lambda each: each.validation_loss),
    ]
    score = [_Series("validation", lambda each: 100 * each.validation_top1)]
    drawn = [
        _lines(across, losses, shown, notes.best_epoch, "loss"),
        _lines(across, score, shown, notes.best_epoch, f"{notes.metric}, %"),
    ]
    sentence = recovery_sentence(notes) if isinstance(notes, RecoverNotes) else best_epoch_sentence(notes)
    return figure(
        "Recovery" if isinstance(notes, RecoverNotes) else "Training",
        f"{as_sentence(sentence)} The ring is the epoch that was stored.",
        el("div", drawn, class_="pair"),
        [step_origin(step)],
        (epoch_columns(notes), [epoch_cells(each, notes.best_epoch) for each in shown]),
        _legend(),
    )


def _legend() -> Markup:
    items = [el("li", el("i", class_=f"dash {each}"), each) for each in ("training", "validation")]
    return el("ul", items, class_="legend", aria_hidden="true")


def _lines(across: Scale, series: Sequence[_Series], shown: Sequence[Epoch], best: int, unit: str) -> Markup:
    values = [
        (name, [(each.epoch, value) for each in shown if (value := number(each)) is not None])
        for name, number in series
    ]
    up = around([value for _, points in values for _, value in points], log=False)
    inside: list[Child] = []
    for name, points in values:
        places = [(across.at(epoch), plot.down(up, value, _HIGH)) for epoch, value in points]
        inside.append(plot.stretched(plot.way(places), _HIGH, f"curve {name}") if len(places) > 1 else None)
    for name, points in values:
        for epoch, value in points:
            is_best = name == "validation" and epoch == best
            words = f"epoch {epoch}, {name}: {unit.split(',')[0]} {value:.4g}"
            words += ", the one that was stored" if is_best else ""
            place = across.across(epoch), plot.down(up, value, _HIGH)
            inside.append(plot.dot(words, *place, 4.5 if is_best else 2, f"{name} kept" if is_best else name))
    return plot.axes(across, up, _HIGH, ("epoch", unit), inside)
