"""Rounds of verdicts on the same images: when another one follows, what ships at last, and how often they err."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeresnet.notes import ControlNotes, FloatLayers, HeldOut, QuantizeNotes
from edgeresnet.pipeline import rounds
from edgeresnet.portable import judging
from edgeresnet.portable.result import Choice, Measured, Promise
from edgeresnet.portable.session import Dialect
from edgeresnet.runs import StepId

from ..portable.test_judging import _result

pytestmark = pytest.mark.unit

TARGET, LIMIT, MINUTES = "openvino", 1.0, 10.0
VERIFY, QUANTIZE = StepId("verify", TARGET), StepId("quantize", TARGET)
PROMISE = Promise("max_drop_pp", LIMIT)


def notes(ended: str, seconds: float = 30.0) -> QuantizeNotes:
    chosen = FloatLayers((), 0.0, 0.0, 0.0, kept=True)
    control = ControlNotes(ended, 1, 100, chosen, (chosen,), timed=True, seconds=seconds)  # type: ignore[arg-type]
    held, dialect = HeldOut(0, 0, None), Dialect("u8-after-relu", "both", 16)
    return QuantizeNotes((), {}, ("conv1",), {}, images_in_levels=False, held_out=held, bytes_before=1,
                         bytes_after=1, dialect=dialect, control=control)  # fmt: skip


class Play:
    """A target's rounds, with the results that are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.rounds, self.now = rounds.Rounds(), {}  # type: ignore[var-annotated]
        monkeypatch.setattr(rounds.verify, "read_result", lambda artifact: artifact.result)

    def after(self, result: Measured, ended: str = "found", seconds: float = 30.0) -> tuple[int, float] | None:
        verified: Any = SimpleNamespace(step=SimpleNamespace(id=VERIFY), artifact=SimpleNamespace(result=result))
        quantized: Any = SimpleNamespace(artifact=SimpleNamespace(notes=notes(ended, seconds)))
        quantize = SimpleNamespace(minutes=MINUTES)
        recipe = SimpleNamespace(promises=SimpleNamespace(promises=lambda: (PROMISE,)), quantize=quantize)
        resolved: Any = SimpleNamespace(rounds=self.now, recipe=recipe)
        found = self.rounds.next_after(verified, {QUANTIZE: quantized}, resolved)
        if found:
            self.now = {TARGET: found}
        return found

    def on_devices(self, *results: Measured | None, ended: str = "enough") -> dict[str, tuple[int, float]]:
        """Return the next round after several devices; None: one that did not answer."""
        places = {f"{TARGET}@{number}": TARGET for number, _ in enumerate(results)}
        quantized: Any = SimpleNamespace(artifact=SimpleNamespace(notes=notes(ended)))
        outcomes: Any = {QUANTIZE: quantized}
        for place, result in zip(places, results, strict=True):
            artifact = SimpleNamespace(result=replace(result, target=place)) if result else None
            outcomes[StepId("verify", place)] = SimpleNamespace(artifact=artifact)
        recipe = SimpleNamespace(
            promises=SimpleNamespace(promises=lambda: (PROMISE,)),
            quantize=SimpleNamespace(minutes=MINUTES),
            places=lambda: {**places, "other": "other"},
        )
        found = self.rounds.next_on_devices(outcomes, SimpleNamespace(rounds=self.now, recipe=recipe))  # type: ignore[arg-type]
        self.now = {**self.now, **found}
        return found


GOOD, BAD, WORSE = _result(lost=10, won=10), _result(lost=90, won=10), _result(lost=190, won=10)


def test_a_kept_promise_ends_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Play(monkeypatch).after(GOOD) is None


def test_four_verdicts_at_most_and_the_best_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(monkeypatch)
    assert [play.after(WORSE), play.after(BAD), play.after(WORSE)] == [(2, 30.0), (3, 60.0), (4, 90.0)]
    assert play.after(WORSE) == (2, 30.0), "the second one was the best"
    assert play.after(BAD) is None, "and it is not another round"


def test_a_search_that_ran_out_of_layers_or_time_has_no_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Play(monkeypatch).after(BAD, "reach") is None
    assert Play(monkeypatch).after(BAD, "time") is None


def test_a_bundle_with_several_networks_has_no_next_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them has the widest margin already, and all of them were judged at once."""
    assert Play(monkeypatch).after(replace(BAD, choice=Choice("int8"))) is None


def test_a_round_follows_where_one_of_several_devices_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Play(monkeypatch).on_devices(GOOD, GOOD) == {}
    assert Play(monkeypatch).on_devices(None, None) == {}, "what was not measured has no verdict to mend"
    play = Play(monkeypatch)
    assert play.on_devices(GOOD, BAD, None) == {TARGET: (2, 30.0)}
    assert play.on_devices(BAD, WORSE) == {TARGET: (3, 60.0)}
    assert play.on_devices(GOOD, WORSE) == {TARGET: (4, 90.0)}
    assert play.on_devices(WORSE, WORSE) == {TARGET: (1, 0.0)}, "the worst device counts, and was best in the first"
    assert play.on_devices(GOOD, BAD) == {}
    play = Play(monkeypatch)
    assert play.on_devices(BAD) == {TARGET: (2, 30.0)}
    assert play.on_devices(replace(BAD, choice=Choice("int8"))) == {}, "its networks have all wider margins"


def test_no_round_follows_once_the_minutes_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(monkeypatch)
    assert play.after(WORSE, seconds=400.0) == (2, 400.0)
    assert play.after(BAD, seconds=200.0) is None, "and the second one was better"


def test_a_limit_that_the_images_cannot_show_starts_no_round(monkeypatch: pytest.MonkeyPatch) -> None:
    few = _result(lost=0, won=0, images=50, top1=45)
    assert judging.judge([PROMISE], TARGET, few)[0].verdict == "UNDECIDED"
    assert Play(monkeypatch).after(few) is None


def test_a_network_that_breaks_its_promise_is_rarely_kept_in_any_round() -> None:
    """Each round has a network of its own that loses a little more than was promised: the worst case."""
    rng, images, repetitions, kept = np.random.default_rng(0), 2000, 200, 0
    for _ in range(repetitions):
        for number in range(1, judging.ROUNDS + 1):
            lost, won, _ = rng.multinomial(images, [0.0251, 0.015, 1 - 0.0401])
            result = _result(lost=int(lost), won=int(won), images=images, top1=1800)
            (verdict,) = judging.judge([PROMISE], TARGET, result, number)
            if verdict.verdict == "KEPT":
                kept += 1
                break
    assert kept / repetitions <= 0.05 + 0.02, "5 %, and what chance adds"
    assert kept > 0, "or the test shows nothing"


def test_later_verdicts_say_how_sure_they_are() -> None:
    (first,), (second,) = (judging.judge([PROMISE], TARGET, BAD, number) for number in (1, 2))
    assert "verdict" not in first.reason
    assert "verdict 2 of at most 4 on these images" in second.reason
    assert second.low is not None
    assert first.low is not None
    assert second.low < first.low
