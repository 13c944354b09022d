"""Which of several INT8 networks ships: one that keeps its promises, or the closest; never one that breaks them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from edgeresnet.pipeline.choosing import chosen
from edgeresnet.portable import codec, intervals, judging
from edgeresnet.portable.codec import CodecError
from edgeresnet.portable.result import INT8, PLAIN, SAFE, Alternative, Choice, Judged, Measured, Promise
from edgeresnet.portable.times import Latency

from ..portable.results import accuracy, latency, measured, process, variant

pytestmark = pytest.mark.unit

PROMISE = Promise("max_drop_pp", 1.0)
IMAGES = 2000


LABELS = tuple(n % 10 for n in range(IMAGES))


def timed(ms: Sequence[float]) -> Latency:
    """Return times of one window in each process."""
    return latency([process([each, each]) for each in ms])


def one(lost: int, ms: float = 1.0) -> Measured:
    """A network that loses the first images, and takes some milliseconds in each of five processes."""
    predicted = tuple((label + 1) % 10 if n < lost else label for n, label in enumerate(LABELS))
    counts = accuracy(IMAGES, agree=IMAGES - lost, top1=IMAGES - lost, lost=lost, won=0)
    int8 = replace(variant(timed([ms] * 5), counts), predicted=predicted)
    classes = [f"c{n}" for n in range(10)]
    return measured("int8", {"int8": int8}, classes=classes, labels=list(LABELS), reference_predicted=list(LABELS))


def several(of: Mapping[str, Measured], left_out: Mapping[str, str] | None = None) -> Measured:
    """A device's result with these INT8 networks, the first one in the place of `int8`."""
    (first, whole), *others = of.items()
    alternatives = {name: Alternative(each.shipped) for name, each in others}
    return replace(whole, choice=Choice(first, alternatives, left_out or {}))


def taken(result: Measured, *more: Promise) -> str:
    found = chosen(result, [PROMISE, *more])
    assert found.choice is not None
    return found.choice.taken


def test_the_fastest_that_keeps_every_promise_ships() -> None:
    good = {"int8": one(2, ms=1.2), SAFE: one(0, ms=1.5), PLAIN: one(1, ms=1.0)}
    assert taken(several(good)) == PLAIN
    assert taken(several({**good, PLAIN: one(200, ms=1.0)})) == "int8", "INT8 in all layers breaks the promise"
    assert taken(several({**good, PLAIN: one(200), "int8": one(90, ms=1.2)})) == SAFE
    assert taken(several({**good, SAFE: one(0, ms=0.5)})) == SAFE, "times are measured, not guessed"


def test_what_was_chosen_is_int8_and_the_others_go_along() -> None:
    result = several({"int8": one(200), SAFE: one(1), PLAIN: one(300)})
    found = chosen(result, [PROMISE])
    assert found.shipped == result.choice.others[SAFE].variant  # type: ignore[union-attr]
    assert found.choice is not None
    assert set(found.choice.others) == {"int8", PLAIN}
    assert found.choice.others["int8"].variant == result.shipped
    assert [found.choice.judged[name].verdict for name in INT8] == ["BROKEN", "KEPT", "BROKEN"]
    assert found.choice.judged["int8"].promise == "max_drop_pp"
    assert codec.decode(Measured, codec.encode(found)) == found
    assert chosen(found, [PROMISE]) == found, "chosen again it is the same"
    assert chosen(one(1), [PROMISE]) == one(1), "a single network is as it was"


def test_an_undecided_network_is_not_kept() -> None:
    undecided = one(15)
    assert judging.judge([PROMISE], "x", undecided)[0].verdict == "UNDECIDED"
    assert taken(several({"int8": undecided, SAFE: one(1, ms=9.0)})) == SAFE, "though it is nine times slower"


def test_where_none_keeps_the_closest_ships_with_its_distance() -> None:
    found = chosen(several({"int8": one(90), SAFE: one(60, ms=3.0), PLAIN: one(300, ms=0.5)}), [PROMISE])
    assert found.choice is not None
    assert found.choice.taken == SAFE
    about = found.choice.judged
    assert [about[name].verdict for name in INT8] == ["BROKEN"] * 3
    assert 0 < (about[SAFE].distance or 0) < (about["int8"].distance or 0) < (about[PLAIN].distance or 0)


def test_what_was_not_measured_is_never_closer_than_what_was() -> None:
    """A network that answers one class for every image is not judged: nothing shows that it works."""
    dead = one(0, ms=0.1)
    dead = replace(dead, variants={**dead.variants, "int8": replace(dead.shipped, predicted=(0,) * IMAGES)})
    found = chosen(several({"int8": dead, SAFE: one(280)}), [PROMISE])
    assert found.choice is not None
    assert found.choice.judged["int8"] == Judged("NOT_MEASURED", "max_drop_pp")
    assert found.choice.taken == SAFE
    speed = Promise("min_speedup_half", 2.0)  # there is no half-precision variant: not measured for any of them
    assert taken(several({"int8": one(1), SAFE: one(90), PLAIN: one(91)}), speed) == "int8"


def test_each_network_is_judged_at_its_part_of_the_five_percent() -> None:
    """Find a loss that one network alone would keep, and one of three does not."""
    alone = next(n for n in range(30, 0, -1) if 100 * intervals.tango(n, 0, IMAGES).high <= 1)
    (verdict,) = judging.judge([PROMISE], "x", one(alone))
    assert verdict.verdict == "KEPT"
    assert "judged together" not in verdict.reason
    three = several({"int8": one(alone), SAFE: one(alone), PLAIN: one(alone)})
    (verdict,) = judging.judge([PROMISE], "x", three)
    assert verdict.verdict == "UNDECIDED"
    assert "one of 3 INT8 networks that are judged together, so the interval is one of 98.3 %" in verdict.reason
    (verdict,) = judging.judge([PROMISE], "x", three, rounds=2)
    assert "verdict 2 of at most 4 on these images, one of 3 INT8 networks" in verdict.reason
    assert "the interval is one of 99.4 %" in verdict.reason
    (size,) = judging.judge([Promise("max_size_mb", 9)], "x", three)
    assert "interval" not in size.reason, "a size has none"


def test_times_are_judged_so_too() -> None:
    """The fastest of several is the one that chance favours."""
    int8 = replace(one(1).shipped, latency=timed([1.0 + 0.05 * number for number in range(5)]))
    alone = replace(one(1), variants={"fp32": replace(int8, latency=timed([3.0] * 5)), "int8": int8})

    def low(networks: int) -> float:
        others = {name: Alternative(int8) for name in (SAFE, PLAIN)[: networks - 1]}
        several = replace(alone, choice=Choice("int8", others))
        (verdict,) = judging.judge([Promise("min_speedup_fp32", 1.0)], "x", several)
        assert verdict.low is not None
        return verdict.low

    assert low(3) < low(2) < low(1)


def test_a_network_that_breaks_its_promise_is_rarely_chosen_as_kept() -> None:
    """Three networks, each of which truly loses a little more than was promised: the worst case."""
    rng, kept, repetitions = random.Random(0), 0, 200
    for _ in range(repetitions):
        losses = [sum(rng.random() < 0.0105 for _ in range(IMAGES)) for _ in INT8]
        found = chosen(several({name: one(lost) for name, lost in zip(INT8, losses, strict=True)}), [PROMISE])
        assert found.choice is not None
        kept += found.choice.judged[found.choice.taken].verdict == "KEPT"
    assert kept <= 0.05 * repetitions


def test_times_that_cannot_be_compared_leave_the_fewest_layers_in_float() -> None:
    found = {name: one(1) for name in INT8}
    untimed = replace(found[SAFE], variants={"int8": replace(found[SAFE].shipped, latency=None)})
    assert taken(several({**found, SAFE: untimed})) == PLAIN


def test_a_choice_that_cannot_be_is_refused() -> None:
    good = several({"int8": one(1), SAFE: one(1)}, {PLAIN: "it cannot be built"})
    assert codec.decode(Measured, codec.encode(good)) == good
    for change in (
        {"taken": SAFE},
        {"taken": "int4"},
        {"left_out": {SAFE: "x"}},
        {"judged": {"int8": {"verdict": "KEPT", "distance": 0.0}}},
    ):
        document = codec.encode(good)
        document["choice"] |= change
        with pytest.raises(CodecError):
            codec.decode(Measured, document)
    document = codec.encode(good)
    document["choice"]["others"][SAFE]["variant"]["predicted"] = [0]
    with pytest.raises(CodecError, match=f"choice.others.{SAFE}.variant.predicted"):
        codec.decode(Measured, document)
