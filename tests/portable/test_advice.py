"""INT8 that is no faster than its twin is found, and what stood in its way is named."""

from __future__ import annotations

from typing import Any

import pytest

from edgeresnet.portable import advice
from edgeresnet.portable.session import Layer

pytestmark = pytest.mark.unit


def timed(milliseconds: float, spread: float = 0.01) -> dict[str, Any]:
    """Five processes, each a little faster or slower than the others."""

    def process(number: int) -> dict[str, Any]:
        window = [milliseconds * (1 + spread * (number - 2)) + 1e-4 * each for each in range(100)]
        return {"host_ms": [window, list(window)], "machine": {}, "clock_ms": 0.0}

    return {"batch": 1, "processes": [process(number) for number in range(5)]}


def result(int8_ms: float, half_ms: float, candidate: str = "int8", spread: float = 0.01) -> dict[str, Any]:
    layers = [Layer("conv1", "Conv", "i8"), Layer("fc", "Gemm", "f16"), Layer("pool", "Pool", "f32")]
    layers += [Layer("flat", "Reshape", "f32"), Layer("whole", "?", "?")]
    mine = {"latency": timed(int8_ms, spread), "float_layers": advice.float_layers(layers)}
    return {"candidate": candidate, "variants": {"half": {"latency": timed(half_ms, spread)}, candidate: mine}}


def test_what_is_faster_needs_no_advice() -> None:
    assert advice.advice(result(1.0, 1.5)) is None


@pytest.mark.parametrize("candidate", ["int8", "pruned"])
def test_one_process_has_no_interval(candidate: str) -> None:
    one = result(1.0, 1.2, candidate)
    one["variants"]["fp32"] = one["variants"]["half"]
    for variant in one["variants"].values():
        variant["latency"]["processes"] = variant["latency"]["processes"][:1]
    found = advice.advice(one)
    assert found is not None
    assert "1.199 times as fast, in one process: no interval" in found.sentence
    assert "inf" not in found.sentence


@pytest.mark.parametrize(("candidate", "word"), [("int8", "INT8"), ("candidate", "the candidate")])
def test_what_is_slower_is_not_what_to_ship(candidate: str, word: str) -> None:
    found = advice.advice(result(1.5, 1.0, candidate))
    assert found is not None
    assert found.ship == "half"
    assert found.sentence.startswith(f"ship the half-precision twin: {word} is no faster (0.668 times as fast")
    assert found.sentence.endswith("not in INT8: fc (Gemm, f16), pool (Pool, f32)")


def test_where_the_twin_is_no_faster_either_it_is_fp32() -> None:
    slower = result(1.5, 1.0)
    slower["variants"]["fp32"] = {"latency": timed(2.0)}
    assert advice.advice(slower).ship == "half"  # type: ignore[union-attr]
    slower["variants"]["fp32"] = {"latency": timed(0.9)}
    found = advice.advice(slower)
    assert found is not None
    assert found.ship == "fp32"
    assert found.sentence.startswith("ship FP32: INT8 is no faster than its half-precision twin")
    slower["variants"]["pruned"] = {"latency": timed(0.5)}  # the same network in FP32: that of the cut one's twin
    assert advice.advice(slower).ship == "pruned"  # type: ignore[union-attr]


def test_what_is_not_decided_is_told_and_ships() -> None:
    restless = result(1.0, 1.0, spread=0.1)
    restless["variants"]["half"]["latency"] = timed(1.0, -0.1)
    found = advice.advice(restless)
    assert found is not None
    assert found.ship == "int8"
    assert "is not shown to be faster" in found.sentence


def test_where_nothing_tells_there_is_no_advice() -> None:
    slower = result(1.5, 1.0)
    slower["variants"]["half"]["latency"] = None
    assert advice.advice(slower) is None
    assert advice.advice(result(1.5, 1.0, "fp32")) is None
    assert advice.advice({"target": "tensorrt", "reason": "handed over"}) is None
    del slower["variants"]["half"]
    assert advice.advice(slower) is None


@pytest.mark.parametrize(("full", "called"), [("fp32", "FP32"), ("pruned", "the pruned network in FP32")])
def test_where_there_is_no_twin_it_is_held_against_fp32(full: str, called: str) -> None:
    """As on a CPU without half precision, where INT8 may be slower, too."""
    one = result(1.5, 1.0)
    one["variants"][full] = one["variants"].pop("half")
    found = advice.advice(one)
    assert found is not None
    assert found.ship == full
    assert found.sentence.startswith(f"ship {called} where time counts: INT8 is no faster (0.668 times as fast")
    one["variants"]["int8"]["latency"] = timed(0.5)
    assert advice.advice(one) is None
    one["variants"]["int8"]["latency"] = timed(1.0, 0.1)
    one["variants"][full]["latency"] = timed(1.0, -0.1)
    assert f"is not shown to be faster than {called} (" in advice.advice(one).sentence  # type: ignore[union-attr]


def test_many_layers_are_counted() -> None:
    slower = result(1.5, 1.0)
    slower["variants"]["int8"]["float_layers"] = [[f"l{number}", "Conv", "f32"] for number in range(9)]
    found = advice.advice(slower)
    assert found is not None
    assert found.sentence.endswith("l4 (Conv, f32) and 4 more")


@pytest.mark.parametrize(("pruned_ms", "ship"), [(1.2, "fp32"), (1.001, "pruned"), (0.5, None)])
def test_a_cut_that_buys_no_time_is_not_what_to_ship(pruned_ms: float, ship: str | None) -> None:
    variants = {"fp32": {"latency": timed(1.0)}, "pruned": {"latency": timed(pruned_ms)}}
    # a little apart in each process, or no interval would hold 1
    for number, process in enumerate(variants["pruned"]["latency"]["processes"]):
        process["host_ms"] = [[one * (1 + 0.01 * (number % 2)) for one in each] for each in process["host_ms"]]
    found = advice.advice({"candidate": "pruned", "variants": variants})
    assert (found.ship if found else None) == ship
    if ship == "fp32":
        assert found is not None
        assert found.sentence.startswith("ship the network as it was before: pruned it is no faster (0.8")
