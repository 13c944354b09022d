"""An INT8 network with as many layers in float as its promises need, within the minutes of a recipe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from ..notes import ControlNotes, FloatLayers
from ..quantization import engine
from .control import Found, Layers, Tried, control
from .forecast import Goals
from .layers import Int8Layers, Outlook, Timed, patterns

_REPAIRS = 3  # times that layers are added after quantizing again, where the forecast is not kept then

Quantize = Callable[[engine.Choices], engine.Quantized]


class Controlled(NamedTuple):
    """The INT8 network that ships, how it was found, and whether the search continued after an interruption."""

    network: engine.Quantized
    notes: ControlNotes
    continued: int


def controlled(
    exact: onnx.ModelProto,
    quantize: Quantize,
    choices: engine.Choices,
    images: np.ndarray,
    goals: Goals,
    timed: Timed | None,
    folder: Path,
    question: str,
    spent: float,
) -> Controlled:
    """Quantize, and leave layers in float until the promises are forecast to be kept.

    `exact` is the FP32 network, `spent` the seconds of earlier rounds. `folder` keeps what was measured for the same
    question: a text that names all that an answer depends on.
    """
    began = time.monotonic()
    quick = replace(choices, effort="fast")
    base = quantize(quick)
    again = time.monotonic() - began  # quantizing at the end takes as long
    outlook = Outlook.on(exact, images, goals)
    first, continued = outlook.of(base), 0
    if first.kept:  # then nothing has to be searched
        found = Found((), first, "enough", [Tried((), first)])
        network = base if quick == choices else quantize(choices)
    else:
        layers = Int8Layers(exact, base, quick, outlook, timed, folder, question, choices.seed)

        def left() -> float:
            return 60 * choices.minutes - spent - again - (time.monotonic() - began)

        network, found = _repaired(layers, outlook, quantize, choices, control(layers, left), left)
        continued = layers.continued
    notes = ControlNotes(
        ended=found.ended,
        round=goals.round,
        images=len(outlook.images),
        chosen=_float(Tried(found.chosen, found.forecast, _time_of(found))),
        tried=tuple(map(_float, found.tried)),
        timed=timed is not None,
        seconds=round(time.monotonic() - began, 1),
    )
    return Controlled(network, notes, continued)


def _repaired(
    question: Int8Layers,
    outlook: Outlook,
    quantize: Quantize,
    choices: engine.Choices,
    found: Found,
    left: Callable[[], float],
) -> tuple[engine.Quantized, Found]:
    """Quantize with the chosen layers in float. What quantizing again changed may need a few more of them."""
    chosen = list(found.chosen)
    for attempt in range(_REPAIRS + 1):
        network = quantize(engine.excluding(choices, patterns(chosen)))
        forecast = outlook.of(network)
        rest = [layer for layer in question.layers() if layer not in chosen]
        if forecast.kept or found.ended != "found" or len(rest) < 2 or attempt == _REPAIRS or left() <= 0:
            break
        chosen.append(max(rest, key=lambda layer: question.removed(Layers({*chosen, layer}))))
    ended = found.ended
    if ended == "found" and not forecast.kept:
        ended = "time" if left() <= 0 else "reach"
    in_order = tuple(layer for layer in question.layers() if layer in chosen)
    return network, Found(in_order, forecast, ended, found.tried)


def _time_of(found: Found) -> float | None:
    return next((each.time for each in found.tried if each.layers == found.chosen), None)


def _float(tried: Tried) -> FloatLayers:
    about = tried.forecast
    return FloatLayers(tried.layers, about.flips_pct, about.drop_pp, about.confidence_change, about.kept, tried.time)
