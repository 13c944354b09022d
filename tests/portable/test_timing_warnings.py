"""What makes measured times doubtful is reported; quiet ones are left alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from edgeresnet.portable import codec, timing_warnings
from edgeresnet.portable.result import RunWarning
from edgeresnet.portable.times import ProcessTimes, Ratio

from .results import TIMED_MACHINE, latency, machine_state, process

pytestmark = pytest.mark.unit

QUIET = codec.encode(machine_state())
THROTTLED_GPU = {"sm_mhz": None, "memory_mhz": None, "temperature_c": None, "throttle": ["power cap"]}


def noise(count: int, middle: float = 1.0, width: float = 0.01, seed: int = 0) -> list[float]:
    return (middle * np.exp(width * np.random.default_rng(seed).normal(size=count))).tolist()


def timed(*windows: list[float], **about: object) -> ProcessTimes:
    return process(*windows, **{"clock_ms": 1e-6, "before": QUIET, "after": QUIET, **about})


def quiet(**about: object) -> list[ProcessTimes]:
    return [timed(noise(200, seed=2 * n), noise(200, seed=2 * n + 1), **about) for n in range(3)]


def warnings(processes: Sequence[ProcessTimes]) -> list[RunWarning]:
    return timing_warnings.of({"fp32": latency(processes)})


def text(processes: Sequence[ProcessTimes]) -> str:
    return "; ".join(map(str, warnings(processes)))


def test_quiet_values_have_no_warnings() -> None:
    assert text(quiet()) == ""
    wide = [timed(noise(500, width=0.3, seed=n), noise(500, width=0.3, seed=9 + n)) for n in range(3)]
    assert text(wide) == "", "one wide bell is not two speeds"


@pytest.mark.parametrize(
    ("processes", "code", "words"),
    [
        ([timed([1.0, 1.1, 1.2])], "few-inferences", "fp32: few inferences were timed, only 3:"),
        ([timed(noise(400))], "one-process", "fp32: timed in only one process"),
        (quiet(clock_ms=0.5), "coarse-timer", "too coarse"),
        ([timed([1.0, 2.0] * 100, [1.0, 2.0] * 100)] * 3, "coarse-timer", "too coarse"),
        ([timed([*noise(30), *noise(30, 1.2)], [*noise(30), *noise(30, 1.2)])] * 3, "two-speeds", "two groups"),
        ([*quiet()[:2], timed(noise(200), [*noise(10), -5.0])], "clock-stepped-back", "went backwards"),
        (quiet(clock_ms=-1.0), "clock-stepped-back", "went backwards"),
        (quiet(others_cpus=[0.9, 0.9]), "others-busy", "other programs used 0.9 CPUs"),
        (quiet(stolen_cpus=[0.2]), "stolen", "used 0.20 of its CPUs"),
        (quiet(cpu_work_ms=[1.0, 1.3]), "cpu-speed-changed", "the CPU's speed changed by 30 %"),
        (quiet(cpu_mhz=[3000.0, 2000.0]), "cpu-clock-changed", "between 2000 and 3000 MHz"),
        (
            quiet(machine={**TIMED_MACHINE, "power_mode": "MAXN"}, after={**QUIET, "power_mode": "15W"}),
            "mode-changed",
            "the power mode changed from MAXN to 15W during the measurement",
        ),
        (quiet(others_cpus=[None]), "load-unknown", "does not report how busy"),
        (quiet(stable=False), "not-settled", "timing did not settle in 3 of 3 processes"),
        (quiet(before={**QUIET, "throttled": 3}, after={**QUIET, "throttled": 4}), "throttled-cpu", "its temperature"),
        (
            quiet(after={**QUIET, "gpus": [THROTTLED_GPU]}),
            "throttled-gpu",
            "GPU was throttled during the measurement: power cap",
        ),
        (
            [timed(noise(200), noise(200, 1.15)) for _ in range(3)],
            "slowed-down",
            "became slower during the measurement by 15 %",
        ),
        (
            [timed(noise(200, 1 + 0.04 * n), noise(200, 1 + 0.04 * n)) for n in range(5)],
            "slowed-down",
            "became slower during the measurement by 16 %",
        ),
        (
            [timed(noise(200, 1 + 0.04 * n), noise(200, 1 + 0.04 * n)) for n in range(5)],
            "processes-differ",
            "p50 varies between processes by 16 %",
        ),
        ([timed(noise(10), noise(10, 1.2))] * 3, "slowed-down", "became slower during the measurement by 20 %"),
        (
            [timed(noise(200), noise(200, 1.3), noise(200)) for _ in range(3)],
            "windows-differ",
            "p50 varies within one process by 30 %",
        ),
        (
            [timed(noise(200, m), noise(200, m)) for m in (1, 1.2, 1, 1)],
            "processes-differ",
            "p50 varies between processes by 20 %",
        ),
        (
            [timed(noise(100, seed=n) + noise(100, 1.5, seed=9 + n)) for n in range(3)],
            "two-speeds",
            "two groups near 1 and 1.5 ms",
        ),
    ],
)
def test_warnings_have_a_code_and_a_text(processes: list[ProcessTimes], code: str, words: str) -> None:
    assert words in "; ".join(str(warning) for warning in warnings(processes) if warning.code == code)


def test_what_others_do_on_cpus_that_are_not_ours_needs_no_warning() -> None:
    """A container with two of 64 CPUs: 37 busy ones leave 27."""
    machine = {**TIMED_MACHINE, "cpus": 64, "cores": 2}
    assert text(quiet(others_cpus=[37.0], machine=machine)) == ""
    assert "used 63.0 CPUs" in text(quiet(others_cpus=[63.0], machine=machine))


def test_times_under_two_settings_are_no_times() -> None:
    """Within one process; between processes; and an older result, which knows its settings before alone."""
    slow = {**QUIET, "governor": "powersave"}
    changed = latency(quiet(machine={**TIMED_MACHINE, "governor": "performance"}, before=QUIET, after=slow))
    words = "the CPU's governor changed from performance to powersave during the measurement"
    assert timing_warnings.untimed([changed]) == timing_warnings.speedup(changed, changed) == words
    others = [timed(noise(200), machine={**TIMED_MACHINE, "power_mode": mode}) for mode in ("MAXN", "15W", "15W")]
    assert timing_warnings.untimed([latency(others)]).startswith("the power mode changed from MAXN to 15W")
    assert timing_warnings.untimed([latency(quiet(machine={**TIMED_MACHINE, "power_mode": "MAXN"}))]) == ""
    two = latency([*others[:1], *quiet(machine={**TIMED_MACHINE, "power_mode": "15W", "host": "other"})])
    assert timing_warnings.untimed([two]).startswith("times from different machines")


def test_times_of_an_emulator_are_a_warning_and_no_speed_up() -> None:
    timed = latency(quiet(machine={**TIMED_MACHINE, "emulated": True}))
    assert "emulated" in [warning.code for warning in timing_warnings.of({"int8": timed})]
    assert "an emulator ran it" in str(timing_warnings.speedup(timed, timed))
    assert "an emulator ran it" in timing_warnings.untimed([timed])


def test_one_unsteady_reading_of_the_cpu_speed_is_not_a_change() -> None:
    unsteady = timed(noise(200), cpu_work_ms=[1.0, 1.0, 1.4])
    assert text([*quiet(cpu_work_ms=[1.0] * 6), unsteady]) == ""


def test_three_processes_in_order_are_chance() -> None:
    found = [timed(noise(200, 1 + 0.04 * n), noise(200, 1 + 0.04 * n)) for n in range(3)]
    assert "slower" not in text(found)


def test_what_happens_to_the_machine_is_reported_once_for_all() -> None:
    both = {"fp32": latency(quiet(others_cpus=[0.5])), "half": latency(quiet(others_cpus=[0.7]))}
    busy = RunWarning("others-busy", "other programs used 0.6 CPUs during the measurement")
    assert timing_warnings.of(both) == [busy]
    assert timing_warnings.of_machine(both) == timing_warnings.taken_away(both) == [busy]


def test_one_code_of_several_sessions_is_one_warning() -> None:
    part = [*quiet()[:2], *quiet(stable=False)[2:]]
    found = timing_warnings.of({"fp32": latency(quiet(stable=False)), "half": latency(quiet()), "int8": latency(part)})
    words = "timing did not settle (fp32 in 3 of 3 processes, int8 in 1 of 3 processes)"
    assert found == [RunWarning("not-settled", f"{words}: the windows still differed at the time limit")]
    found = timing_warnings.of({"fp32": latency(part), "int8": latency(part)})
    words = "timing did not settle in 1 of 3 processes: the windows still differed at the time limit"
    assert found == [RunWarning("not-settled", words, "fp32, int8")]


def test_what_slows_one_kind_of_work_only_is_not_taken_away() -> None:
    changed = {"fp32": latency(quiet(cpu_work_ms=[1.0, 1.3]))}
    assert [each.code for each in timing_warnings.of_machine(changed)] == ["cpu-speed-changed"]
    assert timing_warnings.taken_away(changed) == []


def test_a_speedup_is_a_ratio_or_why_there_is_none() -> None:
    slower = latency(quiet())
    faster = latency([timed(noise(200, 0.5, seed=n), noise(200, 0.5, seed=9 + n)) for n in range(3)])
    found = timing_warnings.speedup(slower, faster)
    assert isinstance(found, Ratio)
    assert found == faster.speedup_over(slower)
    assert timing_warnings.speedup(slower, None) == "its latency was not measured"
    stopped = latency([timed([0.0] * 200)])
    assert timing_warnings.speedup(stopped, faster) == timing_warnings.untimed([stopped, faster]) != ""


def test_a_ratio_survives_json_with_and_without_an_interval() -> None:
    for ratio, high in ((Ratio(2.0, 1.9, 2.1), 2.1), (Ratio(2.0, 0.0, math.inf), None)):
        assert ratio.json_high == high
        assert Ratio.from_json(ratio.value, ratio.low, ratio.json_high) == ratio
