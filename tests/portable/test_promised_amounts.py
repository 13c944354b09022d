"""Promises on energy and throughput: what is not measured is never kept, and an interval decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from edgeresnet.portable import codec, energy, judging
from edgeresnet.portable.energy import ProcessEnergy
from edgeresnet.portable.measure import ThroughputPlan, TimingPlan
from edgeresnet.portable.result import Deferred, Measured, NotMeasured, Promise, Result, Verdict
from edgeresnet.portable.session import Throughput
from edgeresnet.portable.times import NO_RATE, ProcessTimes, SweepCell
from edgeresnet.portable.worker import Worker

from . import scripted
from .results import latency, measured, process, variant

pytestmark = pytest.mark.unit

ENERGY, RATE = "max_energy_mj", "min_throughput_ips"
TIMES = [1.0, 1.1, 0.9, 1.0]


def of(processes: Sequence[ProcessTimes]) -> Measured:
    return measured("int8", {"int8": variant(latency(processes))})


def powered(*watts: float, idle_w: float | None = 2.0) -> Measured:
    """Four inferences in a window of a second: 250 mJ per inference for each watt."""
    return of([replace(process(TIMES), energy=ProcessEnergy("a rail", (each,), (1.0,), idle_w)) for each in watts])


def answering(*rates: float, problem: str = "") -> Measured:
    cells = [(SweepCell(8, 4, each, (1.0,)),) for each in rates]
    return of([replace(process(TIMES), sweep=each, sweep_problem=problem) for each in cells])


def judged(result: Result, kind: str, limit: float) -> Verdict:
    (found,) = judging.judge([Promise(kind, limit)], "x", result)
    return found


@pytest.mark.parametrize(("limit", "word"), [(2600.0, "KEPT"), (2500.0, "UNDECIDED"), (2400.0, "BROKEN")])
def test_the_interval_of_energy_decides(limit: float, word: str) -> None:
    found = judged(powered(10.0, 10.1, 9.9, 10.05, 9.95), ENERGY, limit)
    assert found.verdict == word
    assert found.value == pytest.approx(2500)
    assert "mJ per inference (10 W, 2 W idle, by a rail), 95 % interval" in found.reason


@pytest.mark.parametrize(("limit", "word"), [(950.0, "KEPT"), (1000.0, "UNDECIDED"), (1050.0, "BROKEN")])
def test_the_interval_of_throughput_decides(limit: float, word: str) -> None:
    found = judged(answering(1000, 1010, 990, 1005, 995), RATE, limit)
    assert found.verdict == word
    assert "1000.00 images/s (batch 8, 4 streams), 95 % interval" in found.reason


@pytest.mark.parametrize(("result", "kind", "limit"), [(powered(10.0), ENERGY, 1e9), (answering(1000.0), RATE, 1.0)])
def test_one_process_decides_nothing(result: Measured, kind: str, limit: float) -> None:
    found = judged(result, kind, limit)
    assert found.verdict == "UNDECIDED"
    assert "one process gives no interval: use 3 or more (`verify.processes`)" in found.reason


WITHOUT = replace(process(TIMES), energy="this machine shows no energy sensor")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (of([WITHOUT, WITHOUT, WITHOUT]), "this machine shows no energy sensor"),
        (of([*powered(10.0, 10.0).shipped.latency.processes, WITHOUT]), "this machine shows no energy sensor"),  # type: ignore[union-attr]
        (of([process(TIMES)] * 3), energy.OLD),
        (powered(0.0, 0.0, 0.0), "a rail reported no energy while the network ran"),
        (powered(10.0, 10.0, 0.0), "a rail reported no energy while the network ran"),
        (powered(2.0, 2.0, 2.0), "a rail reported 2 W idle and working: it does not follow the load"),
        (measured("int8", {"int8": variant(None)}), "its latency was not measured"),
        (NotMeasured("x", "its compiler failed"), "its compiler failed"),
        (of([replace(each, clock_ms=-1.0) for each in powered(10, 10).shipped.latency.processes]),  # type: ignore[union-attr]
         "the clock went backwards during the measurement"),
    ],
)  # fmt: skip
def test_no_sensor_and_zero_joules_are_never_kept(result: Result, reason: str) -> None:
    found = judged(result, ENERGY, 1e12)
    assert (found.verdict, found.reason) == ("NOT_MEASURED", reason)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (of([process(TIMES)] * 3), NO_RATE),
        (answering(1000.0, 0.0, 1000.0), "no image was answered while throughput was measured"),
        (answering(1000.0, 1000.0, problem="it ran out of memory"), "it ran out of memory"),
        (of([replace(process(TIMES), sweep=(SweepCell(1, 1, 9.0, ()), SweepCell(1, 2, 9.0, ())))] * 3),
         "more than one batch size or number of streams was measured"),
    ],
)  # fmt: skip
def test_no_throughput_is_never_kept(result: Result, reason: str) -> None:
    found = judged(result, RATE, 1e-9)
    assert (found.verdict, found.reason) == ("NOT_MEASURED", reason)


def test_what_waits_for_a_device_is_deferred() -> None:
    assert {judged(Deferred("x", "its bundle waits"), kind, 1.0).verdict for kind in (ENERGY, RATE)} == {"DEFERRED"}


def test_the_worst_build_is_judged() -> None:
    good, bad = powered(10.0, 10.1, 9.9), powered(20.0, 20.1, 19.9)
    found = judged(replace(good, rebuilds=(bad.shipped,)), ENERGY, 3000.0)
    assert found.verdict == "BROKEN"
    assert found.reason.endswith("worst of 2 builds")


def test_throughput_is_measured_with_the_wanted_batch_and_streams() -> None:
    session = scripted.Scripted()
    found = _timed(session, ThroughputPlan(4, 8))
    assert [(each.batch, each.streams, each.images_per_s) for each in found.sweep] == [(8, 4, 6400.0)]
    assert [each.batch for each in _timed(session, ThroughputPlan(4)).sweep] == [1]


def test_throughput_that_fails_is_a_reason_and_ends_nothing() -> None:
    class Small(scripted.Scripted):
        def throughput(self, batch: object, streams: int, seconds: float) -> Throughput:
            from edgeresnet.errors import TargetError

            raise TargetError("the network", "was built for batches of 1 images, not of 8", hint="")

    found = _timed(Small(), ThroughputPlan(4, 8))
    assert found.host_ms
    assert found.sweep_problem == (
        "throughput was not measured: the network was built for batches of 1 images, not of 8"
    )


def _timed(session: scripted.Scripted, plan: ThroughputPlan) -> ProcessTimes:
    from edgeresnet.portable import measure

    jobs = {"a": scripted.job(session)}
    how = {"start": scripted.here, "clock": session.clock, "window_s": 0.05}
    (found,) = measure.rounds(jobs, processes=1, seconds=1, throughput=plan, **how)  # type: ignore[arg-type]
    assert isinstance(scripted.here(jobs["a"]), Worker)
    return found["a"]


def test_a_plan_without_throughput_is_written_as_before() -> None:
    """It is in the key of what was measured, and in bundles that were handed over."""
    assert codec.encode(TimingPlan(5, 30.0)) == {"processes": 5, "seconds": 30.0}
    assert codec.decode(TimingPlan, {"processes": 5, "seconds": 30.0}) == TimingPlan(5, 30.0)
    plan = TimingPlan(5, 30.0, ThroughputPlan(2))
    assert codec.decode(TimingPlan, codec.encode(plan)) == plan
