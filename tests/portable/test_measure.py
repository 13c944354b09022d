"""Timing, with clocks and processes that tick by script, and with a few real processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeresnet.errors import MachineError, TargetError
from edgeresnet.portable import codec, machine, measure, worker
from edgeresnet.portable.measure import TimingPlan
from edgeresnet.portable.times import Latency, ProcessTimes
from edgeresnet.portable.timing_warnings import untimed

from ..conftest import hears_interrupts
from . import scripted
from .results import latency, process
from .scripted import Scripted, here, job

ROOT = Path(__file__).parents[2]


def one(session: Any, **choices: Any) -> Latency:
    choices = {"processes": 1, "seconds": 30, "window_s": 0.05, "start": here, "clock": session.clock, **choices}
    return measure.latency({"a": job(session)}, **choices)["a"]


def test_warm_up_is_found_and_not_counted() -> None:
    timed = one(Scripted(takes=[0.05] * 6 + [0.01] * 8 + [0.001]))
    (process,) = timed.processes
    assert process.first_ms == pytest.approx(50)
    assert process.warmup_ms[0] > 40
    assert process.warmup_ms[-1] == pytest.approx(1)
    assert max(timed.values()) < 1.5, "a warm-up value was counted"


def test_a_warm_up_that_never_ends_is_ended() -> None:
    timed = one(Scripted(takes=[0.4 * 0.97**n for n in range(200)]))
    assert len(timed.processes[0].warmup_ms) < 40


def test_sessions_take_turns_and_who_begins_changes() -> None:
    order: list[str] = []
    jobs = {name: job(Scripted()) for name in "ab"}

    class Logged(worker.Worker):
        def window(self, kind: str, seconds: float) -> worker.Window | None:
            if kind == "host":
                order.append(next(name for name in jobs if jobs[name] is self.job))
            return super().window(kind, seconds)

    start = partial(here, kind=Logged)
    found = list(measure.rounds(jobs, processes=2, window_s=0.2, start=start, seconds=1000))
    assert "".join(order) == "abba" + "baab"
    assert [len(process.host_ms) for each in found for process in each.values()] == [2] * 4
    assert list(found[1]) == ["a", "b"], "the caller's order is kept"


def test_a_unit_is_timed_in_turn_and_delays_no_other() -> None:
    """One that is slow would need many windows for a p99 that is not needed, and other kinds cost time."""
    quick, slow = Scripted(takes=[0.001]), Scripted(takes=[0.02])
    jobs = {"net": job(quick), "unit": job(slow, is_unit=True)}
    timed = measure.latency(
        jobs, processes=1, seconds=1000, window_s=0.2, start=here, clock=lambda: quick.now + slow.now
    )
    windows = {name: [len(window) for window in each.windows()[0]] for name, each in timed.items()}
    assert windows["unit"] == [10, 10]
    assert len(windows["net"]) == 2
    assert timed["unit"].processes[0].device_ms is None


def test_windows_go_on_until_they_agree_and_are_enough_for_a_p99_or_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure, "_STABLE", 0.03)  # its own: for other tests any two windows agree

    def windows(takes: list[float], **choices: Any) -> tuple[int, int, bool]:
        session = Scripted(takes=[0.01] * 16 + takes)
        (process,) = one(session, **{"seconds": 1000, **choices}).processes
        return len(process.host_ms), sum(map(len, process.host_ms)), process.stable

    count, values, stable = windows([0.01])
    assert (400 <= values <= 406, stable) == (True, True)
    assert windows([0.0001])[::2] == (2, True)
    assert windows([0.0001] * 520 + [0.0002])[::2] == (3, True), "two in a row must agree"
    short, values, stable = windows([0.01], seconds=2)
    assert short < count
    assert values < 400
    assert stable
    assert windows([0.01 * 1.02**n for n in range(150)], seconds=2)[2] is False


def test_even_the_smallest_budget_measures_once() -> None:
    timed = one(Scripted(takes=[0.2]), seconds=0.001, processes=3)
    assert [len(windows) for windows in timed.windows()] == [1, 1, 1]


def test_a_sweep_comes_on_top_of_the_seconds() -> None:
    """The budget is for latency: what throughput takes is not taken from the rounds after it."""
    session = Scripted(takes=[0.01])
    real = session.throughput

    def slow(batch: np.ndarray, streams: int, seconds: float) -> Any:
        session.now += 1000
        return real(batch, streams, seconds)

    session.throughput = slow  # type: ignore[method-assign]
    choices = {"processes": 3, "seconds": 60, "sweep": ((1,), (1,)), "window_s": 0.5}
    assert min(len(windows) for windows in one(session, **choices).windows()) >= 3


def test_a_round_that_is_interrupted_is_yielded_as_far_as_it_came() -> None:
    jobs = {name: job(Scripted()) for name in "ab"}
    windows: list[str] = []

    class Failing(worker.Worker):
        def window(self, kind: str, seconds: float) -> worker.Window | None:
            windows.append(kind)
            if len(windows) == 4:
                raise TargetError("the network", "failed: device lost", hint="again")
            return super().window(kind, seconds)

    start = partial(here, kind=Failing)
    found: list[measure.Round] = []
    with pytest.raises(TargetError, match="a: the network failed: device lost"):
        _taken(measure.rounds(jobs, processes=1, seconds=9, window_s=0.05, start=start), found)
    (cut,) = found
    assert {name: (each.cut, len(each.host_ms)) for name, each in cut.items()} == dict.fromkeys("ab", (True, 1))
    assert {len(each.cpu_work_ms) for each in cut.values()} == {1}


def _taken(rounds: Any, into: list[measure.Round]) -> None:
    for one in rounds:
        into.append(one)


def test_a_round_in_which_not_all_had_their_turn_is_not_yielded() -> None:
    def start(given: worker.Job) -> worker.Worker:
        raise KeyboardInterrupt

    found: list[measure.Round] = []
    with pytest.raises(KeyboardInterrupt):
        _taken(measure.rounds({"a": job(Scripted())}, processes=1, seconds=9, start=start), found)
    assert found == []


def test_a_power_mode_changed_between_two_rounds_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    modes, real = iter(["MAXN", "15W"]), machine.conditions()
    monkeypatch.setattr(machine, "conditions", lambda: replace(real, power_mode=next(modes)))
    timed = one(Scripted(), processes=2)
    assert "the power mode changed from MAXN to 15W" in untimed([timed])
    assert untimed([replace(timed, processes=timed.processes[:1])]) == ""


def test_two_equal_machines_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts, real = iter(["one", "other"]), machine.identity()
    monkeypatch.setattr(machine, "identity", lambda: real._replace(host=next(hosts)))
    assert "times from different machines" in untimed([one(Scripted(), processes=2)])


def test_ctrl_c_in_the_midst_of_a_window_leaves_no_process() -> None:
    """A real one, to the whole group as a terminal sends it."""
    code = (
        "from tests.portable import scripted\n"
        "from edgeresnet.portable import measure, worker\n"
        "import numpy as np\n"
        "job = worker.Job(scripted.Quick(), scripted.Path(), np.zeros((1, 1, 2, 2), np.float32))\n"
        "found, measure._STABLE, real = [], 1e9, worker.WorkerProcess.window\n"
        "def window(self, kind, seconds):\n"
        "    taken = real(self, kind, seconds)\n"
        "    print('window' if found else 'first', flush=True)\n"
        "    return taken\n"
        "worker.WorkerProcess.window = window\n"
        "try:\n"
        "    for one in measure.rounds({'a': job, 'b': job}, processes=2, seconds=600, window_s=0.2):\n"
        "        found.append(one)\n"
        "        measure._STABLE = -1\n"
        "except KeyboardInterrupt:\n"
        "    print(len(found), found[-1]['a'].cut, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT, preexec_fn=hears_interrupts,
    )  # fmt: skip
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    seen = list(itertools.islice((line for line in lines if line == "window\n"), 3))
    assert len(seen) == 3  # each session has a window of the second round, whose windows never agree
    os.killpg(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=30)
    assert printed.splitlines()[-1] == "2 True"
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_rounds_can_be_continued() -> None:
    session = Scripted()
    jobs = {"a": job(session)}
    more = measure.rounds(jobs, processes=5, seconds=9, first=3, window_s=0.01, start=here, clock=session.clock)
    assert len(list(more)) == 2


def test_rounds_survive_json() -> None:
    """An interrupted run stores them."""
    session = Scripted()
    session.device_times_ms = lambda batch, n: [7.0] * n  # type: ignore[method-assign]
    (process,) = one(session, sweep=((1,), (1,))).processes
    stored = json.loads(json.dumps(codec.encode(process)))
    assert codec.decode(ProcessTimes, stored) == process
    assert {"pace_ms", "device_ms", "sweep"} <= set(stored)
    assert not {"file_ms", "cut", "cpu_work_ms"} & set(stored)


def test_a_plan_is_spelled_as_ever() -> None:
    assert json.dumps(codec.encode(TimingPlan(5, 30.0))) == '{"processes": 5, "seconds": 30.0}'


def test_a_clock_that_stands_still_does_not_hang_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_IN_A_ROW", 20)
    session = Scripted()
    session.clock = lambda: 7.0  # type: ignore[method-assign]
    assert {len(window) for window in one(session).windows()[0]} == {20}


def test_a_clock_that_steps_back_measures_nothing() -> None:
    session = Scripted(takes=[0.01] * 20 + [-3600.0] + [0.01])
    with pytest.raises(TargetError, match="the clock went backwards"):
        one(session, clock=lambda: 0.0)


def test_a_step_back_between_two_inferences_is_seen_too() -> None:
    session, late = Scripted(), [0]

    def clock() -> float:
        late[0] += session.seen >= 60  # in the first window
        return session.now - 3600 * (late[0] > 1)

    session.clock = clock  # type: ignore[method-assign]
    with pytest.raises(TargetError, match="the clock went backwards"):
        one(session, clock=lambda: 0.0)


def test_what_others_use_of_the_cpu_is_kept_with_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [0]

    def times() -> machine.CpuTimes:
        asked[0] += 1
        return machine.CpuTimes(1e9 * asked[0], 0.0)

    monkeypatch.setattr(machine, "cpu_times", times)
    (process,) = one(Scripted()).processes
    assert len(process.others_cpus) == len(process.host_ms) == len(process.cpu_work_ms)
    assert min(value for value in process.others_cpus if value is not None) > 1
    assert set(process.stolen_cpus) == {0.0}


def test_kinds_never_mix() -> None:
    session = Scripted()
    session.device_times_ms = lambda batch, n: [7.0] * n  # type: ignore[method-assign]
    seen: list[tuple[int, int]] = []

    def files(first: int, count: int) -> np.ndarray:
        session.now += 0.02
        seen.append((first, count))
        return np.zeros((count, 1, 2, 2), np.float32)

    jobs = {"a": job(session, images=2, files=files)}
    timed = measure.latency(jobs, processes=1, seconds=9, window_s=0.1, start=here, clock=session.clock)["a"]
    assert set(np.round(timed.values(), 3)) == {1.0}
    assert set(timed.values("device")) == {7.0}
    assert set(np.round(timed.values("file"), 3)) == {21.0}
    assert seen[:3] == [(0, 2), (0, 2), (2, 2)], "one uncounted, then in turn"
    file = timed.percentiles("file")
    assert file
    assert file.p50 == pytest.approx(21)


def test_a_sweep_asks_for_every_batch_and_number_of_streams() -> None:
    session = Scripted()
    timed = one(session, sweep=((1, 4), (1, 2)))
    cells = timed.processes[0].sweep
    assert [(cell.batch, cell.streams) for cell in cells] == [(1, 1), (1, 2), (4, 1), (4, 2)]
    assert cells[3].images_per_s == pytest.approx(2 * 4 * 10 / 0.05)
    assert all(value == pytest.approx(1) for cell in cells for value in cell.ms)


def test_conditions_are_stored_with_the_values_and_what_is_not_there_is_not_measured() -> None:
    timed = one(Scripted())
    assert timed.windows("device") == timed.windows("file") == []
    assert timed.percentiles("device") is None
    (found,) = timed.processes
    assert found.machine == machine.timed_machine()
    assert found.before is not None
    assert found.after is not None
    assert timed.middle("peak_memory_mb")
    assert latency([process(load_ms=float(n)) for n in (1, 5, 2)]).middle("load_ms") == 2
    assert latency([process()]).middle("peak_memory_mb") is None


# Real processes


@pytest.fixture
def apart() -> Iterator[Callable[..., worker.WorkerProcess]]:
    """`apart(target)` is a worker in a process of its own. Closing it leaves no process behind."""
    opened: list[worker.WorkerProcess] = []

    def start(target: Any, **about: Any) -> worker.WorkerProcess:
        job = worker.Job(target, scripted.Path(), np.zeros((1, 1, 2, 2), np.float32), **about)
        opened.append(worker.WorkerProcess(job))
        return opened[-1]

    yield start
    for found in opened:
        found.close()
    assert None not in [found._process.poll() for found in opened]


def test_a_fresh_process_measures_as_this_one_does(apart: Any) -> None:
    found = apart(scripted.Quick())
    assert min(found.load()) >= 0
    assert found.warm_up()
    window = found.window("host", 0.02)
    assert window
    assert sum(window.ms) > 5  # about what was asked for, or more where the machine is busy
    assert found.window("device", 0.01) is None
    assert found.window("file", 0.01) is None
    assert found.sweep((1,), (1,), 0.01)[0].images_per_s == 1000


def test_a_runtime_that_prints_does_not_spoil_the_answers(apart: Any) -> None:
    assert apart(scripted.Prints()).load().load_ms >= 0


@pytest.mark.slow
def test_a_process_knows_its_own_memory_and_not_its_parents(apart: Any) -> None:
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


def test_what_a_session_raises_is_raised_here(apart: Any) -> None:
    found = apart(scripted.Raises())
    found.load()
    with pytest.raises(TargetError, match="the network failed during timing: RuntimeError: device lost"):
        found.window("host", 5)


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        (scripted.Dies(), TargetError, r"\(code 7\): the driver went away"),
        (scripted.Killed(), MachineError, "memory ran out"),  # by the system: the machine's failure
        (scripted.Hangs(), TargetError, "did not respond"),
    ],
    ids=["dies", "killed", "hangs"],
)
def test_a_process_that_is_gone_or_hangs_is_reported(
    apart: Any, monkeypatch: pytest.MonkeyPatch, target: Any, kind: Any, words: str
) -> None:
    monkeypatch.setattr(worker, "PATIENCE_S", 1.0 if "respond" in words else worker.PATIENCE_S)
    with pytest.raises(kind, match=words):
        apart(target).load()


def test_files_bring_their_library_only_when_they_are_asked_for(apart: Any) -> None:
    found = apart(scripted.Quick(), files=scripted.ReadsFiles())
    found.load()
    before = found.peak_memory_mb()
    window = found.window("file", 0.01)
    after = found.peak_memory_mb()
    assert window
    assert before
    assert after
    assert after > before + 50, "what it takes came with the first file, and not with the process"
