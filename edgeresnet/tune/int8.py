"""An INT8 network with as many layers in float as its promises need, within the minutes of a recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import onnx

from ..deadline import Deadline, OutOfTime
from ..notes import ControlNotes, FloatLayers
from ..portable.result import INT8, PLAIN, SAFE
from ..quantization import engine, partly
from . import front
from .control import Found, Layers, Tried, control
from .forecast import Forecast, Goals
from .layers import Int8Layers, Outlook, Timed, patterns

_REPAIRS = 3  # times that layers are added after quantizing again, where no forecast is kept
_HOPELESS = 6.0  # times what is promised: INT8 in all layers does not go to a device then, learned or not
_SEARCHING = 0.5  # of the time, where learning follows

Quantize = Callable[[engine.Choices], engine.Quantized]


class Controlled(NamedTuple):
    """The INT8 network that ships, how it was found, and whether the search continued after an interruption.

    `others` are those that a device chooses from, too.
    """

    network: engine.Quantized
    notes: ControlNotes
    continued: int
    others: Mapping[str, engine.Quantized] = MappingProxyType({})


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
    *,
    several: bool = False,
) -> Controlled:
    """Quantize, and leave layers in float until the promises are forecast to be kept.

    `exact` is the FP32 network, `spent` the seconds of earlier rounds. `folder` keeps what was measured for the same
    question: a text that names all that an answer depends on. `several`: a device chooses, so others go along unless
    INT8 in all layers is good enough; it is one of them unless it is hopeless.
    """
    until = Deadline(60 * choices.minutes - spent)
    making = _Making(exact, quantize, choices, images, goals, until)
    first, layers = making.forecast(making.base), None
    found = Found((), first, "enough", [Tried((), first)])
    if not first.kept:
        if several:
            making.judged_with([name for name in INT8 if name != PLAIN or first.excess <= _HOPELESS])
        searching = until.part(_SEARCHING if making.learns else 1.0, reserved=making.seconds)
        try:
            quick, outlook = making.quick, making.outlook
            layers = Int8Layers(exact, making.base, quick, outlook, timed, folder, question, choices.seed, searching)
            found = control(layers, searching)
        except OutOfTime:  # before the first layer was looked at
            found = replace(found, ended="time")
    network, found = making.finished(found, layers)
    others = making.others(network, found, layers) if several and layers and found.chosen else {}
    notes = ControlNotes(
        ended=found.ended,
        round=goals.round,
        images=len(making.outlook.images),
        chosen=_float(Tried(found.chosen, found.forecast, _time_of(found))),
        tried=tuple(map(_float, found.tried)),
        timed=timed is not None,
        seconds=round(until.elapsed, 1),
        others={name: _float(tried) for name, (_, tried) in others.items()},
    )
    networks = {name: made for name, (made, _) in others.items()}
    return Controlled(network, notes, layers.continued if layers else 0, networks)


class _Making:
    """Quantizes: once to begin with, and again with layers in float, where that still fits into the time."""

    def __init__(
        self,
        exact: onnx.ModelProto,
        quantize: Quantize,
        choices: engine.Choices,
        images: np.ndarray,
        goals: Goals,
        until: Deadline,
    ):
        self._exact, self._quantize, self._choices, self._until = exact, quantize, choices, until
        self.quick = replace(choices, effort="fast")
        self.learns = self.quick != choices
        self.base = quantize(self.quick)
        self.seconds = until.elapsed  # quantizing again takes as long
        self.outlook = Outlook.on(exact, images, goals)
        self._held = images[len(images) - self.base.held_out :]
        self._looked: list[float] = []  # seconds of each forecast
        self._learners = 1  # networks that share the time to learn
        self._plain = False  # whether INT8 in all layers goes to the device

    def judged_with(self, networks: Sequence[str]) -> None:
        """Set which networks are judged at once. The one without a layer in float learns too."""
        self.outlook = self.outlook.judged_with(len(networks))
        self._plain = PLAIN in networks
        self._learners = 2 if self.learns and self._plain else 1

    def forecast(self, network: engine.Quantized) -> Forecast:
        """Return what the verdict of a network will be."""
        began = self._until.elapsed
        found = self.outlook.of(network)
        self._looked.append(self._until.elapsed - began)
        return found

    def finished(self, found: Found, layers: Int8Layers | None) -> tuple[engine.Quantized, Found]:
        """Return the network that ships: with the layers that were found in float, and quantized again if that is no
        worse and time is left. Where no forecast is kept, a few more layers may help.
        """
        chosen, shipped, network, forecast = list(found.chosen), found.chosen, self.base, found.forecast
        if chosen:
            network = partly.in_float(self.base, self._with(chosen), self._exact, self._held)
            forecast = self.forecast(network)
        for _ in range(_REPAIRS + 1) if chosen or self.learns else ():
            again = self._again(chosen)
            if again is None:
                break
            its = self.forecast(again)
            if its.excess <= forecast.excess or (self.learns and its.kept):
                network, forecast, shipped = again, its, tuple(chosen)
            more = _one_more(layers, chosen) if layers and found.ended == "found" and not forecast.kept else None
            if more is None:
                break
            chosen.append(more)
        ended = found.ended
        if ended in ("enough", "found") and not forecast.kept:
            ended = "time" if self._left <= 0 else "reach"
        in_order = tuple(layer for layer in layers.layers() if layer in shipped) if layers else ()
        return network, Found(in_order, forecast, ended, found.tried)

    def others(
        self, network: engine.Quantized, found: Found, layers: Int8Layers
    ) -> dict[str, tuple[engine.Quantized, Tried]]:
        """Return other networks for the device to measure: none in float, and more in float than the forecast needs."""
        self._learners, made = 1, {}
        if self._plain:
            plain = (self._again([]) if self.learns else None) or self.base
            made[PLAIN] = plain, Tried((), self.forecast(plain))
        with contextlib.suppress(OutOfTime):
            more = front.safer(layers, found.chosen, self.outlook.goals, self._until)
            if more:
                safe = partly.in_float(network, self._with(list(more)), self._exact, self._held)
                made[SAFE] = safe, Tried(more, self.forecast(safe))
        return made

    def _with(self, chosen: list[str]) -> engine.Choices:
        return engine.excluding(self._choices, patterns(chosen))

    def _again(self, chosen: list[str]) -> engine.Quantized | None:
        """Quantize with layers in float, and learn in what is left of the time; None where none is left."""
        if self._left <= 0:
            return None
        return self._quantize(replace(self._with(chosen), minutes=self._left / 60 / self._learners))

    @property
    def _left(self) -> float:
        """Return the seconds that are left after quantizing again, on a machine as fast as it was just now."""
        slower = max(1.0, self._looked[-1] / self._looked[0]) if self._looked[0] else 1.0
        return self._until.left - self.seconds * slower


def _one_more(layers: Int8Layers, chosen: Sequence[str]) -> str | None:
    """Return the layer that removes most noise together with those that are chosen; the last one stays INT8."""
    rest = [layer for layer in layers.layers() if layer not in chosen]
    return max(rest, key=lambda layer: layers.removed(Layers({*chosen, layer}))) if len(rest) > 1 else None


def _time_of(found: Found) -> float | None:
    return next((each.time for each in found.tried if each.layers == found.chosen), None)


def _float(tried: Tried) -> FloatLayers:
    about = tried.forecast
    return FloatLayers(tried.layers, about.flips_pct, about.drop_pp, about.confidence_change, about.kept, tried.time)
