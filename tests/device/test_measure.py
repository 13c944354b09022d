"""Timing, with clocks and processes that tick by script, and with a few real processes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from edgeresnet.device import machine, measure, worker
from edgeresnet.errors import MachineError, TargetError

from . import scripted
from .scripted import Scripted, here, job


def one(session: Any, **choices: Any) -> dict[str, Any]:
    choices = {"processes": 1, "window_s": 0.05, "start": here, "clock": session.clock, **choices}
    return measure.latency({"a": job(session)}, **choices)["a"]


def test_warm_up_is_found_and_not_counted() -> None:
    raw = one(Scripted(takes=[0.05] * 6 + [0.01] * 8 + [0.001]))
    (process,) = raw["processes"]
    assert process["first_ms"] == pytest.approx(50)
    assert process["warmup_ms"][0] > 40
    assert process["warmup_ms"][-1] == pytest.approx(1)
    assert max(measure.values(raw)) < 1.5, "a warm-up value was counted"


def test_a_warm_up_that_never_ends_is_ended() -> None:
    raw = one(Scripted(takes=[0.4 * 0.97**n for n in range(200)]))
    assert len(raw["processes"][0]["warmup_ms"]) < 40


def test_sessions_take_turns_and_who_begins_changes() -> None:
    order: list[str] = []
    jobs = {name: job(Scripted()) for name in "ab"}

    class Logged(worker.Worker):
        def window(self, kind: str, seconds: float) -> dict[str, Any] | None:
            if kind == "host":
                order.append(next(name for name in jobs if jobs[name] is self.job))
            return super().window(kind, seconds)

    def start(given: worker.Job) -> worker.Worker:
        return Logged(given, given.target.load(given.compiled).clock)  # type: ignore[attr-defined]

    found = list(measure.rounds(jobs, processes=2, window_s=0.1, start=start, seconds=1000))
    assert "".join(order) == "abba" + "baab"
    assert [len(about["host_ms"]) for each in found for about in each.values()] == [2] * 4
    assert list(found[1]) == ["a", "b"], "the caller's order is kept"


def test_windows_go_on_until_they_agree_or_the_cap_is_reached() -> None:
    def windows(takes: list[float], **choices: Any) -> int:
        return len(measure.windows(one(Scripted(takes=[0.01] * 16 + takes), **{"seconds": 1000, **choices}))[0])

    assert windows([0.01]) == 2
    assert 2 < windows([0.02] * 4 + [0.03] * 3 + [0.01]) < 8
    unstable = [0.01 * 1.02**n for n in range(200)]
    assert windows(unstable) == 8
    assert windows(unstable, seconds=0.5) < 8, "the budget ends it"


def test_even_the_smallest_budget_measures_once() -> None:
    raw = one(Scripted(takes=[0.2]), seconds=0.001, processes=3)
    assert [len(windows) for windows in measure.windows(raw)] == [1, 1, 1]


def test_a_sweep_comes_on_top_of_the_seconds() -> None:
    """The budget is for latency: what throughput takes is not taken from the rounds after it."""
    session = Scripted(takes=[0.01 * 1.001**n for n in range(5000)])
    real = session.throughput

    def slow(batch: np.ndarray, streams: int, seconds: float) -> Any:
        session.now += 1000
        return real(batch, streams, seconds)

    session.throughput = slow  # type: ignore[method-assign]
    choices = {"processes": 3, "seconds": 60, "sweep": ((1,), (1,)), "window_s": 0.5}
    assert [len(windows) for windows in measure.windows(one(session, **choices))] == [8, 8, 8]


def test_rounds_can_be_continued() -> None:
    session = Scripted()
    jobs = {"a": job(session)}
    more = measure.rounds(jobs, processes=5, first=3, window_s=0.01, start=here, clock=session.clock)
    assert len(list(more)) == 2


def test_a_clock_that_stands_still_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_IN_A_ROW", 20)
    session = Scripted()
    session.clock = lambda: 7.0  # type: ignore[method-assign]
    assert [len(window) for window in measure.windows(one(session))[0]] == [20, 20]


def test_a_clock_that_steps_back_ends_its_window_and_the_value_is_kept() -> None:
    session = Scripted(takes=[0.01] * 20 + [-3600.0] + [0.01])
    values = measure.values(one(session, clock=lambda: 0.0))
    assert min(values) == pytest.approx(-3_600_000)
    assert len(values) < 50


def test_a_step_back_between_two_inferences_is_seen_too() -> None:
    session, late = Scripted(), [0]

    def clock() -> float:
        late[0] += session.seen >= 60  # in the first window
        return session.now - 3600 * (late[0] > 1)

    session.clock = clock  # type: ignore[method-assign]
    raw = one(session, clock=lambda: 0.0)
    assert min(measure.values(raw)) == pytest.approx(-3_600_000, rel=1e-3)


def test_what_others_use_of_the_cpu_is_kept_with_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [0]

    def times() -> machine.CpuTimes:
        asked[0] += 1
        return machine.CpuTimes(1e9 * asked[0], 0.0)

    monkeypatch.setattr(machine, "cpu_times", times)
    (process,) = one(Scripted())["processes"]
    assert len(process["others_cpus"]) == len(process["host_ms"]) == len(process["pace_ms"])
    assert min(process["others_cpus"]) > 1
    assert process["stolen_cpus"] == [0.0, 0.0]


def test_kinds_never_mix() -> None:
    session = Scripted()
    session.device_times_ms = lambda batch, n: [7.0] * n  # type: ignore[method-assign]
    seen: list[tuple[int, int]] = []

    def files(first: int, count: int) -> np.ndarray:
        session.now += 0.02
        seen.append((first, count))
        return np.zeros((count, 1, 2, 2), np.float32)

    jobs = {"a": job(session, images=2, files=files)}
    raw = measure.latency(jobs, processes=1, window_s=0.1, start=here, clock=session.clock)["a"]
    assert set(np.round(measure.values(raw), 3)) == {1.0}
    assert set(measure.values(raw, "device")) == {7.0}
    assert set(np.round(measure.values(raw, "file"), 3)) == {21.0}
    assert seen[:3] == [(0, 2), (0, 2), (2, 2)], "one uncounted, then in turn"
    assert measure.percentiles(raw, "file")["p50"] == pytest.approx(21)


def test_what_is_not_there_is_not_measured() -> None:
    raw = one(Scripted())
    assert measure.windows(raw, "device") == measure.windows(raw, "file") == []
    assert measure.percentiles(raw, "device") == {}


def test_a_sweep_asks_for_every_batch_and_number_of_streams() -> None:
    session = Scripted()
    raw = one(session, sweep=((1, 4), (1, 2)))
    cells = raw["processes"][0]["sweep"]
    assert [(cell["batch"], cell["streams"]) for cell in cells] == [(1, 1), (1, 2), (4, 1), (4, 2)]
    assert cells[3]["images_per_s"] == pytest.approx(2 * 4 * 10 / 0.05)
    assert all(value == pytest.approx(1) for cell in cells for value in cell["ms"])


def test_conditions_are_stored_with_the_values() -> None:
    raw = one(Scripted())
    assert raw["machine"] == machine.conditions()
    assert raw["processes"][0]["before"].keys() == machine.state().keys()
    assert measure.middle(raw, "peak_memory_mb")
    assert measure.middle({"processes": [{"x": 1}, {"x": 5}, {"x": 2}]}, "x") == 2


# Real processes


def apart(target: Any, **about: Any) -> worker.Apart:
    return worker.Apart(worker.Job(target, scripted.Path(), np.zeros((1, 1, 2, 2), np.float32), **about))


def test_a_fresh_process_measures_as_this_one_does() -> None:
    found = apart(scripted.Quick())
    try:
        assert found.load().keys() == {"load_ms", "first_ms", "clock_ms"}
        assert found.warm_up()
        window = found.window("host", 0.02)
        assert window
        assert sum(window["ms"]) == pytest.approx(20, abs=15)
        assert found.window("device", 0.01) is None
        assert found.window("file", 0.01) is None
        assert found.sweep((1,), (1,), 0.01)[0]["images_per_s"] == 1000
    finally:
        found.close()


def test_a_runtime_that_prints_does_not_spoil_the_answers() -> None:
    found = apart(scripted.Prints())
    assert found.load()["load_ms"] >= 0
    found.close()


def test_a_process_knows_its_own_memory_and_not_its_parents() -> None:
    ballast = np.ones(50_000_000)  # 400 MB here
    small, large = apart(scripted.Quick()), apart(scripted.Large())
    for found in (small, large):
        found.load()
    first, second = small.peak_memory_mb(), large.peak_memory_mb()
    assert first is not None
    assert second is not None
    assert first < 100
    assert second - first == pytest.approx(200, rel=0.1)
    assert len(ballast)
    small.close()
    large.close()


def test_what_a_session_raises_comes_home() -> None:
    found = apart(scripted.Raises())
    found.load()
    with pytest.raises(TargetError, match="failed while it was timed: device lost"):
        found.window("host", 5)
    found.close()


def test_a_process_that_dies_is_told_with_its_last_words() -> None:
    found = apart(scripted.Dies())
    with pytest.raises(TargetError, match="with code 7: the driver went away"):
        found.load()
    found.close()


def test_a_process_that_the_system_killed_is_the_machines_failure() -> None:
    found = apart(scripted.Killed())
    with pytest.raises(MachineError, match="memory ran out"):
        found.load()
    found.close()


def test_files_bring_their_library_only_when_they_are_asked_for() -> None:
    found = apart(scripted.Quick(), files=FromNowhere())
    found.load()
    window = found.window("file", 0.01)
    assert window
    assert len(window["ms"]) >= 1
    found.close()


class FromNowhere:
    def __call__(self, first: int, count: int) -> np.ndarray:
        assert os.getpid() != int(os.environ.get("PYTEST_PID", "0"))
        return np.zeros((count, 1, 2, 2), np.float32)


def test_closing_leaves_no_process_behind() -> None:
    found = apart(scripted.Quick())
    found.load()
    found.close()
    assert found._process.poll() is not None
