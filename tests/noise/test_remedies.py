"""A cause is named only where its remedy takes noise away."""

from __future__ import annotations

from typing import Any, cast

from edgeresnet.noise.causes.remedies import CHOSEN_DB, EVERYWHERE_DB, WRONG_DB, Place, Remedy, search
from edgeresnet.noise.causes.whatif import Change, WhatIf
from edgeresnet.noise.diagnosis import Cause


class Gains:
    """Stands for runs of the network: each change lowers the noise by a known part."""

    def __init__(self, noise: dict[str, float]):
        self.noise = noise  # of each place
        self.runs = 0

    def gain_db(self, change: Change) -> float:
        import math

        self.runs += 1
        left = {place: part for place, part in self.noise.items() if place not in change.weights}
        return 10 * math.log10(sum(self.noise.values()) / max(sum(left.values()), 1e-9))

    def accept(self, change: Change, gain_db: float) -> None:
        self.noise = {place: part for place, part in self.noise.items() if place not in change.weights}


def _place(*names: str, enough: float = WRONG_DB, promise: float = 1.0) -> Place:
    change = Change(weights=dict.fromkeys(names, cast("Any", None)))
    return Place((Remedy(change, lambda: Cause("code", "+".join(names), "", ""), enough),), promise)


def _found(noise: dict[str, float], *places: Place) -> list[tuple[str, float]]:
    return [(cause.layer, round(cause.weight, 3)) for cause in search(cast("WhatIf", Gains(noise)), places)]


def test_a_remedy_that_takes_little_noise_away_names_no_cause() -> None:
    assert _found({"a": 0.1, "rest": 0.9}, _place("a")) == []
    assert _found({"a": 0.3, "rest": 0.7}, _place("a")) == [("a", 0.3)]
    assert _found({"a": 0.3, "rest": 0.7}, _place("a", enough=CHOSEN_DB)) == []


def test_the_place_with_most_noise_is_named_first() -> None:
    noise = {"a": 0.05, "b": 0.8, "rest": 0.15}
    assert _found(noise, _place("a", promise=9.0), _place("b")) == [("b", 0.8)]


def test_a_second_cause_must_explain_much_of_what_is_left() -> None:
    assert _found({"a": 0.16, "b": 0.8, "rest": 0.04}, _place("a"), _place("b")) == [("b", 0.8), ("a", 0.16)]
    assert _found({"a": 0.06, "b": 0.8, "rest": 0.14}, _place("a"), _place("b")) == [("b", 0.8)]


def test_one_place_is_named_before_many_that_help_as_much() -> None:
    everywhere = _place("a", "b", "c", enough=EVERYWHERE_DB)
    noise = {"a": 0.85, "b": 0.01, "c": 0.01, "rest": 0.13}
    assert _found(noise, everywhere, _place("a")) == [("a", 0.85)]
    noise = {"a": 0.3, "b": 0.3, "c": 0.3, "rest": 0.1}
    assert _found(noise, everywhere, _place("a"))[0] == ("a+b+c", 0.9)
