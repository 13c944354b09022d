"""INT8 that is no faster than its baseline is reported, and the layers that did not run in INT8 are named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeresnet.portable import advice
from edgeresnet.portable.result import Measured
from edgeresnet.portable.session import Layer
from edgeresnet.portable.times import Latency

from .results import change, latency, measured, process, variant, windows

pytestmark = pytest.mark.unit


def timed(milliseconds: float, spread: float = 0.01) -> Latency:
    """Five processes, each a little faster or slower than the others."""
    found = []
    for number in range(5):
        window = [milliseconds * (1 + spread * (number - 2)) + 1e-4 * each for each in range(100)]
        found.append(process(window, window))
    return latency(found)


def result(int8_ms: float, half_ms: float, candidate: str = "int8", spread: float = 0.01) -> Measured:
    layers = [Layer("conv1", "Conv", "i8"), Layer("fc", "Gemm", "f16"), Layer("pool", "Pool", "f32")]
    layers += [Layer("flat", "Reshape", "f32"), Layer("whole", "?", "?")]
    mine = replace(variant(timed(int8_ms, spread)), float_layers=advice.float_layers(layers))
    return measured(candidate, {"half": variant(timed(half_ms)), candidate: mine})


def added(to: Measured, name: str, times: Latency) -> Measured:
    return replace(to, variants={**to.variants, name: variant(times)})


def without_half(found: Measured, instead: str) -> Measured:
    """The same times, of another baseline."""
    names = {"half": instead}
    return replace(found, variants={names.get(name, name): each for name, each in found.variants.items()})


def test_what_is_faster_needs_no_advice() -> None:
    assert advice.advice(result(1.0, 1.5)) is None


@pytest.mark.parametrize("candidate", ["int8", "pruned"])
def test_one_process_has_no_interval(candidate: str) -> None:
    one = result(1.0, 1.2, candidate)
    one = replace(one, variants={**one.variants, "fp32": one.variants["half"]})
    for name, each in one.variants.items():
        assert each.latency
        one = change(one, name, latency=latency(each.latency.processes[:1]))
    found = advice.advice(one)
    assert found is not None
    assert "(1.199 times as fast: one process gives no interval). Measure in more processes, or ship " in found.sentence
    assert "inf" not in found.sentence


@pytest.mark.parametrize(("candidate", "word"), [("int8", "INT8"), ("candidate", "the candidate")])
def test_what_is_slower_is_not_what_to_ship(candidate: str, word: str) -> None:
    found = advice.advice(result(1.5, 1.0, candidate))
    assert found is not None
    assert found.ship == "half"
    assert found.sentence.startswith(f"Ship half precision: {word} is not faster (0.668 times as fast, 95 % interval")
    assert found.sentence.endswith("These layers do not run in INT8: fc (Gemm, f16), pool (Pool, f32).")


def test_where_half_precision_is_no_faster_either_it_is_fp32() -> None:
    slower = result(1.5, 1.0)
    assert advice.advice(added(slower, "fp32", timed(2.0))).ship == "half"  # type: ignore[union-attr]
    slower = added(slower, "fp32", timed(0.9))
    found = advice.advice(slower)
    assert found is not None
    assert found.ship == "fp32"
    assert found.sentence.startswith("Ship FP32: INT8 is not faster than half precision (")
    slower = added(slower, "pruned", timed(0.5))  # the same network in FP32: `half` is made of the pruned one
    assert advice.advice(slower).ship == "pruned"  # type: ignore[union-attr]


def test_what_is_undecided_is_reported_and_ships() -> None:
    restless = change(result(1.0, 1.0, spread=0.1), "half", latency=timed(1.0, -0.1))
    found = advice.advice(restless)
    assert found is not None
    assert found.ship == "int8"
    assert "is not shown to be faster" in found.sentence


def test_what_cannot_be_compared_gives_no_advice() -> None:
    slower = change(result(1.5, 1.0), "half", latency=None)
    assert advice.advice(slower) is None
    assert advice.advice(result(1.5, 1.0, "fp32")) is None
    assert advice.advice(replace(slower, variants={"int8": slower.variants["int8"]})) is None


@pytest.mark.parametrize(("full", "called"), [("fp32", "FP32"), ("pruned", "the pruned FP32 network")])
def test_without_half_precision_the_baseline_is_fp32(full: str, called: str) -> None:
    """As on a CPU without half precision, where INT8 may be slower, too."""
    one = without_half(result(1.5, 1.0), full)
    found = advice.advice(one)
    assert found is not None
    assert found.ship == full
    assert found.sentence.startswith(f"Ship {called}: INT8 is not faster (0.668 times as fast")
    assert "INT8 is only smaller: ship it where size counts." in found.sentence
    assert advice.advice(change(one, "int8", latency=timed(0.5))) is None
    one = change(change(one, "int8", latency=timed(1.0, 0.1)), full, latency=timed(1.0, -0.1))
    assert f"is not shown to be faster than {called} (" in advice.advice(one).sentence  # type: ignore[union-attr]


def test_many_layers_are_counted() -> None:
    layers = tuple(Layer(f"l{number}", "Conv", "f32") for number in range(9))
    found = advice.advice(change(result(1.5, 1.0), "int8", float_layers=layers))
    assert found is not None
    assert found.sentence.endswith("l4 (Conv, f32) and 4 more.")


@pytest.mark.parametrize(("pruned_ms", "ship"), [(1.2, "fp32"), (1.001, "pruned"), (0.5, None)])
def test_pruning_that_saves_no_time_is_not_what_to_ship(pruned_ms: float, ship: str | None) -> None:
    # a little apart in each process, or no interval would hold 1
    apart = [
        replace(each, host_ms=windows([one * (1 + 0.01 * (number % 2)) for one in window] for window in each.host_ms))
        for number, each in enumerate(timed(pruned_ms).processes)
    ]
    found = advice.advice(measured("pruned", {"fp32": variant(timed(1.0)), "pruned": variant(latency(apart))}))
    assert (found.ship if found else None) == ship
    if ship == "fp32":
        assert found is not None
        assert found.sentence.startswith("Ship the unpruned network: pruning saves no time (0.8")


def test_what_to_do_follows_the_verdict() -> None:
    faster, step = result(0.5, 1.0), advice.next_step
    assert step(faster, "BROKEN", "max_drop_pp: 9 lost") == "Do not ship INT8: max_drop_pp: 9 lost."
    assert step(faster, "UNDECIDED", "max_drop_pp: 9 lost") == "Do not ship INT8 yet: max_drop_pp: 9 lost."
    assert step(faster, "KEPT", "") == "Add promises to the recipe: a run without promises cannot fail."
    faster = added(faster, "fp32", timed(1.0))
    assert step(faster, "KEPT", "max_drop_pp: 1 lost") == "Ship INT8: 1.99 times as fast as FP32."
    slower = result(1.5, 1.0)
    assert step(slower, "UNDECIDED", "max_drop_pp: 9 lost") == advice.advice(slower).text  # type: ignore[union-attr]
