"""Each step is compared with the best so far on images that had no part in it, and undone where it lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest

from edgeresnet import deadline, targets
from edgeresnet.errors import ModelError
from edgeresnet.notes import HeldOut, QuantizeStep
from edgeresnet.quantization import clipping, engine, qdq, refine, scales, session

from ..graph.running import answers, openvino_answers, sqnr, whole_sums
from . import nets
from .nets import (
    BOTH,
    CPU,
    HALF,
    TENSORRT,
    basic,
    changed,
    constants,
    equalize,
    images,
    int8,
    makers,
    notes_of,
    plain,
    source,
)


def names(found: engine.Quantized) -> list[str]:
    return [step.name for step in found.steps]


def _measured(found: engine.Quantized | QuantizeStep) -> float:
    """Return the decibels, which are known: images were held out."""
    assert found.sqnr_db is not None
    return found.sqnr_db


def test_the_steps_and_what_they_came_to() -> None:
    found = int8(basic(), TENSORRT)
    assert names(found) == ["scales", "bias correction", "weights rounded together"]
    assert found.steps[0].kept
    best = max(step.sqnr_db for step in found.steps if step.sqnr_db is not None)
    assert found.sqnr_db == best
    assert found.held_out == 16
    assert found.sqnr_db == pytest.approx(
        sqnr(answers(basic(), images(16, seed=9)), answers(found.model(), images(16, seed=9))), abs=1.0
    )


def test_a_step_that_loses_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(model: Any, placement: Any, values: qdq.Values, reads: Any) -> qdq.Values:
        return replace(values, biases={"c1_out": np.full(8, 5.0)})

    monkeypatch.setattr(refine, "bias_correction", spoil)
    found = int8(plain(), TENSORRT)
    first, *others = found.steps
    assert [step.kept for step in found.steps] == [True, False, False]  # weights that are rounded are corrected, too
    assert all(_measured(step) < _measured(first) for step in others)
    assert found.sqnr_db == first.sqnr_db
    assert found.values.biases == {}
    assert (constants(found.model())["c1.bias"] == constants(plain())["c1.bias"]).all()


def test_equalized_channels_are_taken_where_they_win_and_left_where_they_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(equalized: onnx.ModelProto) -> engine.Quantized:
        both = source(plain()), source(equalized)
        return engine.quantize(*both, engine.Choices(TENSORRT), nets.batches(images()), images(16, seed=9))

    rescaled = equalize(plain(), images(), 0)
    assert rescaled is not None
    found = run(rescaled)
    assert names(found) == ["scales", "bias correction", "equalized channels", "weights rounded together"]
    assert (found.source.model is rescaled) == found.steps[2].kept
    lost = run(changed(rescaled, "c2.weight", -constants(rescaled)["c2.weight"]))  # the answers of another network
    assert not lost.steps[2].kept
    assert lost.source.model.SerializeToString() == plain().SerializeToString()
    assert lost.sqnr_db == max(_measured(step) for step in lost.steps)


def test_without_images_held_out_every_step_stays_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = int8(plain(), TENSORRT, held=0)
    assert [(step.sqnr_db, step.kept) for step in found.steps] == [(None, True)] * 3
    assert notes_of(found).held_out == HeldOut(images=0, agree=0, sqnr_db=None)
    assert notes_of(found).layers == {}


def test_all_layers_excluded_is_an_error_that_says_why() -> None:
    with pytest.raises(ModelError, match=r"network has no layer that can become INT8 \(c1: excluded") as caught:
        int8(plain(), TENSORRT, exclude=(".",))
    assert caught.value.hint == "exclude fewer layers"


def test_incorrect_scales_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    good, right = _measured(int8(plain(), TENSORRT)), scales.activation
    monkeypatch.setattr(scales, "activation", lambda *given: 8 * right(*given))
    assert _measured(int8(plain(), TENSORRT)) < good - 6


def test_half_the_weight_range_costs_decibels_and_is_kept_to() -> None:
    for dialect, most in ((HALF, 63), (CPU, 127)):
        held = constants(int8(plain(), dialect).model())
        assert max(np.abs(v).max() for n, v in held.items() if n.endswith("weight_quantized")) == most


def test_the_estimator_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scales.ESTIMATORS, "entropy", lambda histogram, reach, grid: reach / 2)
    one, two = (int8(plain(), CPU, estimator=word).values.scales for word in ("min-max", "entropy"))
    assert [two[name] / one[name] for name in one] == pytest.approx([0.5] * len(one), rel=1e-3)


def test_notes_name_what_became_int8_and_what_did_not() -> None:
    notes = notes_of(int8(plain(), TENSORRT, exclude=("c2",)))
    assert notes.int8 == ("c1", "fc")
    assert notes.kept_float == {"c2": "excluded by 'c2'"}
    assert notes.held_out.images == 16
    assert [step.name for step in notes.steps] == ["scales", "bias correction", "weights rounded together"]
    assert (notes.bytes_before, notes.bytes_after, notes.dialect) == (9, 4, TENSORRT)
    assert set(notes.layers) == {"c1", "fc"}
    assert not notes.images_in_levels


@pytest.mark.parametrize(
    ("images_seen", "name"),
    [
        (32, "learned channels and ranges (32 images)"),
        (20, "learned channels and ranges (20 of 32 images, stopped by the time budget)"),
        (0, "learned channels and ranges (no time was left)"),
    ],
)
def test_learning_is_a_step_that_says_how_far_its_time_went(
    images_seen: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    observe = clipping.observe

    def short(model: Any, placement: Any, ranges: Any, given: Any, *rest: Any) -> clipping.Observed:
        assert len(given) == 32
        return observe(model, placement, ranges, given[:images_seen], *rest)

    monkeypatch.setattr(clipping, "observe", short)
    monkeypatch.setattr(engine, "_FEWEST_OBSERVED", 8)
    assert names(int8(plain(), TENSORRT, effort="balanced"))[-1] == name


def test_best_learns_from_mirrored_images_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, observe = [], clipping.observe

    def watched(model: Any, placement: Any, ranges: Any, given: Any, *rest: Any) -> clipping.Observed:
        seen.append((given, rest[2]))
        return observe(model, placement, ranges, given, *rest)

    monkeypatch.setattr(clipping, "observe", watched)
    found = int8(plain(), TENSORRT, effort="best")
    (as_given, seed), (mirrored, other) = seen
    assert (as_given[..., ::-1] == mirrored).all()
    assert seed != other
    assert [name[28:] for name in names(found)[-2:]] == ["(32 images)", "(64 images)"]
    assert found.sqnr_db == max(step.sqnr_db or 0 for step in found.steps)


def test_channels_and_ranges_are_learned_where_that_brings_the_answers_closer() -> None:
    """Check a network with one channel ten times as large as the others, which was not equalized before."""
    model = nets.uneven(plain(), "c1", "c2", factor=10.0)
    fast, found = int8(model, TENSORRT, held=64), int8(model, TENSORRT, held=64, effort="balanced")
    assert names(found)[-1] == "learned channels and ranges (32 images)"
    assert found.steps[-1].kept
    assert _measured(found) > _measured(fast) + 1
    assert set(makers(found.model())) == set(makers(fast.model()))
    assert np.allclose(answers(found.source.model, images()), answers(model, images()), atol=1e-3)


def test_learning_that_loses_leaves_what_fast_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that it is undone, is in the notes, and changes no byte of the file."""

    def narrow(net: Any, placement: Any, scales_: Any, channels: Any, *rest: Any) -> clipping.Learned:
        return clipping.Learned(np.ones(len(channels.free)), dict.fromkeys(scales_, 1e-3))

    monkeypatch.setattr(clipping, "learn", narrow)
    fast, found = int8(basic(), TENSORRT), int8(basic(), TENSORRT, effort="best")
    assert [step.kept for step in found.steps[-2:]] == [False, False]
    assert found.model().SerializeToString() == fast.model().SerializeToString()


def test_gradients_that_say_nothing_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipping, "learn", lambda *given: None)
    fast, found = int8(basic(), TENSORRT), int8(basic(), TENSORRT, effort="balanced")
    assert found.model().SerializeToString() == fast.model().SerializeToString()


def test_without_time_nothing_is_learned() -> None:
    fast, found = int8(basic(), TENSORRT), int8(basic(), TENSORRT, effort="best", minutes=0.0)
    assert names(found) == [*names(fast), "learned channels and ranges (no time was left)"]
    assert found.model().SerializeToString() == fast.model().SerializeToString()


@pytest.mark.parametrize("at", [1, 2])
def test_an_interruption_changes_no_later_result(at: int) -> None:
    undisturbed, calls = int8(plain(), TENSORRT, effort="best"), 0

    def stop(done: int, total: int, word: str) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        int8(plain(), TENSORRT, effort="best", progress=stop)
    again = int8(plain(), TENSORRT, effort="best")
    assert again.model().SerializeToString() == undisturbed.model().SerializeToString()


@pytest.mark.parametrize("slower", [1.0, 4.0])
def test_all_of_learning_ends_in_its_minutes(slower: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check observing, rounding and evaluations together, on a machine that slows down after 50 seconds."""
    now, began = [0.0], list[float]()

    def takes(owner: Any, name: str, seconds: float) -> None:
        whole = getattr(owner, name)

        def slow(*given: Any) -> Any:
            now[0] += seconds * (slower if began and now[0] > began[0] + 50 else 1.0)
            return whole(*given)

        monkeypatch.setattr(owner, name, slow)

    monkeypatch.setattr(engine, "_AT_ONCE", ((1 << 18, 4),))
    takes(clipping, "_sums", 4.0)
    takes(engine, "_rounded", 5.0)
    takes(engine.Evaluation, "__call__", 2.0)
    learning = engine._learn

    def begin(*given: Any) -> None:
        began.append(now[0])
        learning(*given)

    monkeypatch.setattr(engine, "_learn", begin)
    monkeypatch.setattr(deadline.time, "monotonic", lambda: now[0])
    found = int8(plain(), TENSORRT, effort="best", minutes=1.5)
    assert names(found)[-2] == "learned channels and ranges (32 images)"
    if slower == 1:
        assert names(found)[-1] == "learned channels and ranges (52 of 64 images, stopped by the time budget)"
    assert 60 < now[0] - began[0] <= 90 + 4 * slower  # one batch


def test_an_exact_network_has_a_finite_sqnr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdq, "write", lambda model, placement, values: model)
    assert int8(plain(), TENSORRT).sqnr_db == 200.0


def test_what_the_compiler_does_not_round_is_neither_evaluated_nor_learned_so() -> None:
    fused = replace(BOTH, sums_in_float=True)
    as_written, found = int8(basic(), BOTH, effort="balanced"), int8(basic(), fused, effort="balanced")
    assert set(makers(found.model())) == set(makers(as_written.model()))  # what stands in the file is the same
    assert _measured(found) > _measured(as_written) + 0.2


@whole_sums
@pytest.mark.parametrize("make", [make for name, make in nets.RESIDUAL.items() if name != "preact"])
def test_openvino_sums_in_float(make: nets.Make) -> None:
    """The dialect says so; here the compiler itself does: its answers are nearer to a file without that rounding."""
    found = int8(make(), targets.get("openvino").dialect)
    executed = qdq.write(found.source.model, found.placement.executed(), found.values)
    given = images(64, seed=5)
    compiled = openvino_answers(found.model(), given)
    assert sqnr(answers(executed, given), compiled) > 3 + sqnr(answers(found.model(), given), compiled)


def test_each_keeps_order_and_raises_what_is_raised() -> None:
    assert session.each(lambda value: value * 2, range(50)) == list(range(0, 100, 2))
    with pytest.raises(ZeroDivisionError):
        session.each(lambda value: 1 / value, [1, 0])
