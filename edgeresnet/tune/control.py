"""Which layers of an INT8 network stay in float, so that its promises hold at the fewest milliseconds.

Pure: a `Question` answers. Layers are taken in batches, the one first that removes most noise, until the forecast is
good enough. Then those that are not needed become INT8 again. If no set does without these layers, they are chosen.
Else layers are timed, and the same with noise per millisecond gives a second set: the faster one wins.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from ..deadline import Deadline, OutOfTime
from .forecast import Forecast

Layers = frozenset[str]
Ended = Literal["enough", "found", "time", "reach"]
_WORTH = 0.003  # of the noise: a layer that adds less is not a candidate at first
_TIMED = 8  # layers whose milliseconds are measured
_AT_ONCE = 4  # of them in one measurement: time may end between two
_FEW = 4  # layers that are looked at one by one: whether no set does without them
_LIKELY = 3  # small sets that are tried although no order of the layers led to them
_LEAST_MS = 0.002  # of all: a smaller difference is not measured, but chance


class Question(Protocol):
    """What the search may know. Each answer may take seconds."""

    def layers(self) -> Sequence[str]:
        """Return the layers that may stay in float, in the network's order."""

    def removed(self, chosen: Layers) -> float:
        """Return the estimated part of the noise at the logits that goes if these layers stay in float: 0 to 1."""

    def forecast(self, chosen: Layers) -> Forecast:
        """Return what the verdict will be if these layers stay in float."""

    def times(self, sets: Sequence[Layers]) -> list[float | None]:
        """Return how long each network takes, relative to the first, measured in turn; None: it does not compile."""


@dataclass(frozen=True)
class Tried:
    """A set of layers in float, and what it gave."""

    layers: tuple[str, ...]
    forecast: Forecast
    time: float | None = None  # relative to INT8 in all layers, where it was measured


@dataclass
class Found:
    """What the search chose, and why it ended: INT8 was good enough, it found layers, time, or no set is enough."""

    chosen: tuple[str, ...]
    forecast: Forecast
    ended: Ended
    tried: list[Tried] = field(default_factory=list)


def control(question: Question, until: Deadline) -> Found:
    """Search until the forecast is kept, no set of layers is enough, or the time ends: with the best so far then."""
    return _Search(question, until).run()


def shortest(order: Sequence[str], enough: Callable[[Sequence[str]], bool]) -> Sequence[str]:
    """Return the shortest beginning of the order that is enough, by doubling and halving; else all of the order."""
    below, size = 0, min(1, len(order))
    while not enough(order[:size]):
        if size >= len(order):
            return order
        below, size = size, min(2 * size, len(order))
    while size - below > 1:
        middle = (below + size) // 2
        below, size = (below, middle) if enough(order[:middle]) else (middle, size)
    return order[:size]


class _Search:
    def __init__(self, question: Question, until: Deadline):
        self._question, self._until = question, until
        self._forecasts, self._timings = until.part(1.0), until.part(1.0)  # how long each takes
        self._order = list(question.layers())
        self._tried: dict[Layers, Tried] = {}
        self._cost: dict[str, float] = {}  # of each layer that was timed; infinite: it does not compile
        self._broken: set[Layers] = set()  # sets that do not compile

    def run(self) -> Found:
        none = Layers()
        first = self._forecast(none)
        if first.kept or not self._order:
            return self._found(none, "enough" if first.kept else "reach")
        try:
            gains = {layer: self._removed(Layers({layer})) for layer in self._order}
            fewest = self._by(gains, per_time=False)
            if self._tried[fewest].forecast.kept and self._indispensable(fewest) and self._compiles(fewest):
                return self._found(fewest, "found")
            self._measure_layers(sorted(self._order, key=lambda layer: -gains[layer])[:_TIMED])
            sets = [self._by(gains, per_time=True), self._by(gains, per_time=False)]
            sets += self._cheaper([each for each in sets if self._tried[each].forecast.kept], gains)
        except OutOfTime:
            return self._found(self._best(), "time")
        kept = [each for each in dict.fromkeys(sets) if self._tried[each].forecast.kept]
        if not kept:
            return self._found(self._best(), "reach")
        return self._found(self._fastest(kept), "found")

    def _found(self, chosen: Layers, ended: Ended) -> Found:
        tried = list(self._tried.values())
        return Found(self._sorted(chosen), self._tried[chosen].forecast, ended, tried)

    def _sorted(self, chosen: Layers) -> tuple[str, ...]:
        return tuple(layer for layer in self._order if layer in chosen)

    def _forecast(self, chosen: Layers) -> Forecast:
        if chosen not in self._tried:
            answer = functools.partial(self._question.forecast, chosen)
            found = self._forecasts.take(answer) if self._tried else answer()
            self._tried[chosen] = Tried(self._sorted(chosen), found)
        return self._tried[chosen].forecast

    def _best(self) -> Layers:
        """Return the best set so far: one that is kept, with the fewest layers, else the nearest."""
        never = {layer for layer, cost in self._cost.items() if cost == float("inf")}
        return min(
            (each for each in self._tried if not each & never and each not in self._broken),
            key=lambda each: (
                not self._tried[each].forecast.kept,
                len(each) if self._tried[each].forecast.kept else self._tried[each].forecast.excess,
                len(each),
            ),
        )

    def _removed(self, chosen: Layers) -> float:
        if self._until.left <= 0:
            raise OutOfTime
        return self._question.removed(chosen)

    def _times(self, sets: Sequence[Layers]) -> list[float | None]:
        return self._timings.take(lambda: self._question.times([Layers(), *sets]))[1:]

    def _indispensable(self, chosen: Layers) -> bool:
        """Return whether no set without one of these layers is kept: then milliseconds have nothing to choose."""
        others = (Layers(self._order) - {layer} for layer in chosen)
        return len(chosen) <= _FEW and not any(self._forecast(each).kept for each in others)

    def _compiles(self, chosen: Layers) -> bool:
        """Measure a set; return whether it compiles, which is unknown where no time is left."""
        try:
            (time,) = self._times([chosen])
        except OutOfTime:
            return True
        self._tried[chosen] = replace(self._tried[chosen], time=time)
        self._broken |= {chosen} if time is None else set()
        return time is not None

    def _measure_layers(self, layers: Sequence[str]) -> None:
        """Measure what one layer in float costs, each by itself: a float layer can break a fusion.

        Where no time is left for that, there may be some for forecasts.
        """
        with contextlib.suppress(OutOfTime):
            for start in range(0, len(layers), _AT_ONCE):
                some = layers[start : start + _AT_ONCE]
                times = self._times([Layers({layer}) for layer in some])
                for layer, time in zip(some, times, strict=True):
                    self._cost[layer] = float("inf") if time is None else max(_LEAST_MS, time - 1)

    def _by(self, gains: dict[str, float], *, per_time: bool) -> Layers:
        """Return the set that one order of the layers leads to: grown until it is kept, then reduced."""
        candidates = [layer for layer in self._order if gains[layer] > _WORTH]
        order = self._ranked(candidates, per_time=per_time)
        others = sorted(set(self._order) - set(order), key=lambda layer: -gains[layer])
        grown = self._grown([*order, *(layer for layer in others if self._cost.get(layer) != float("inf"))])
        if not self._tried[grown].forecast.kept:
            return grown
        spares = (lambda layer: -self._estimate(Layers({layer}))) if per_time else gains.__getitem__
        return self._reduced(grown, spares)

    def _cheaper(self, kept: Sequence[Layers], gains: dict[str, float]) -> list[Layers]:
        """Return small sets that should cost less than those that are kept and remove as much noise, if they do."""
        if not kept:
            return []
        enough = min(map(self._removed, kept))
        failed = [self._removed(each) for each, tried in self._tried.items() if not tried.forecast.kept]
        needed = max((part for part in failed if part < enough), default=0.0)
        least = min(map(self._estimate, kept))
        few = [layer for layer in self._order if gains[layer] > _WORTH and layer in self._cost]
        sizes = range(1, min(4, len(self._order)))
        small = [Layers(some) for size in sizes for some in itertools.combinations(few, size)]
        cheaper = sorted((each for each in small if self._estimate(each) < least), key=self._estimate)
        likely = (each for each in cheaper if self._removed(each) > needed)
        return [each for each in itertools.islice(likely, _LIKELY) if self._forecast(each).kept]

    def _estimate(self, chosen: Layers) -> float:
        """Return what a set costs if milliseconds add up."""
        return sum(self._cost.get(layer, self._usual) for layer in chosen)

    @property
    def _usual(self) -> float:
        """Return what a layer costs that was not measured."""
        return sorted(self._cost.values())[len(self._cost) // 2] if self._cost else 1.0

    def _ranked(self, candidates: Sequence[str], *, per_time: bool) -> list[str]:
        """Order layers greedily: each next one removes most noise that is still there, per millisecond or at all."""
        left = [layer for layer in candidates if self._cost.get(layer) != float("inf")]
        chosen: list[str] = []
        while left:
            before = self._removed(Layers(chosen))

            def worth(layer: str, before: float = before) -> float:
                gain = self._removed(Layers({*chosen, layer})) - before
                return gain / self._cost.get(layer, self._usual) if per_time else gain

            best = max(left, key=worth)
            chosen.append(best)
            left.remove(best)
        return chosen

    def _grown(self, order: Sequence[str]) -> Layers:
        """Return the shortest beginning of the order that is kept, found by doubling and halving; else all of it.

        One layer stays in INT8 at least: with none there is no INT8 network.
        """
        order = order[: len(self._order) - 1]
        return Layers(shortest(order, lambda some: self._forecast(Layers(some)).kept))

    def _reduced(self, chosen: Layers, first: Callable[[str], float]) -> Layers:
        """Return the set without the layers that it does not need, those with the least number tried first."""
        for layer in sorted(chosen, key=lambda each: (first(each), self._order.index(each))):
            fewer = chosen - {layer}
            if fewer and self._forecast(fewer).kept:
                chosen = fewer
        return chosen

    def _fastest(self, sets: Sequence[Layers]) -> Layers:
        """Return the set that takes the least time; the smaller one where that cannot be measured."""
        smallest = min(sets, key=lambda each: (len(each), self._sorted(each)))
        if len(sets) == 1:
            return smallest
        try:
            times = self._times(sets)
        except OutOfTime:
            return smallest
        for each, time in zip(sets, times, strict=True):
            self._tried[each] = replace(self._tried[each], time=time)
        return min(
            zip(sets, times, strict=True), key=lambda one: (float("inf") if one[1] is None else one[1], len(one[0]))
        )[0]
