"""What keeps measured times from being trusted is told; quiet ones are left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeresnet.portable.timing_warnings import troubles

pytestmark = pytest.mark.unit


def noise(count: int, middle: float = 1.0, width: float = 0.01, seed: int = 0) -> list[float]:
    return (middle * np.exp(width * np.random.default_rng(seed).normal(size=count))).tolist()


def state(**about: Any) -> dict[str, Any]:
    return {"load": 0.1, "cpu_mhz": None, "throttled": None, "temperature_c": None, "gpus": [], **about}


def process(*windows: list[float], **about: Any) -> dict[str, Any]:
    around: dict[str, Any] = {"clock_ms": 1e-6, "others_cpus": [0.0], "stolen_cpus": [0.0], "pace_ms": [1.0]}
    return {"host_ms": list(windows), **around, "before": state(), "after": state(), **about}


def quiet(**about: Any) -> list[dict[str, Any]]:
    return [process(noise(200, seed=2 * n), noise(200, seed=2 * n + 1), **about) for n in range(3)]


def told(processes: list[dict[str, Any]]) -> str:
    return "; ".join(troubles({"fp32": {"processes": processes}}))


def test_quiet_values_have_no_troubles() -> None:
    assert told(quiet()) == ""
    wide = [process(noise(500, width=0.3, seed=n), noise(500, width=0.3, seed=9 + n)) for n in range(3)]
    assert told(wide) == "", "one wide bell is not two speeds"


@pytest.mark.parametrize(
    ("processes", "words"),
    [
        ([process([1.0, 1.1, 1.2])], "fp32: only 3 inferences"),
        ([process(noise(400))], "one process only"),
        (quiet(clock_ms=0.5), "too coarse"),
        ([process([1.0, 2.0] * 100, [1.0, 2.0] * 100)] * 3, "too coarse"),
        ([process([*noise(30), *noise(30, 1.2)], [*noise(30), *noise(30, 1.2)])] * 3, "two speeds"),
        ([*quiet()[:2], process(noise(200), [*noise(10), -5.0])], "stepped back"),
        (quiet(clock_ms=-1.0), "stepped back"),
        (quiet(others_cpus=[0.9, 0.9]), "other programs kept 0.9 CPUs busy"),
        (quiet(stolen_cpus=[0.2]), "host took 0.20 CPUs away"),
        (quiet(pace_ms=[1.0, 1.3]), "pace changed by 30 %"),
        (quiet(cpu_mhz=[3000.0, 2000.0]), "from 2000 to 3000 MHz"),
        (quiet(others_cpus=[None]), "cannot be seen on this system"),
        (quiet(stable=False), "had not come to agree when the time was over, in 3 of 3 processes"),
        (quiet(before=state(throttled=3), after=state(throttled=4)), "throttled for its temperature"),
        (quiet(after=state(gpus=[{"throttle": ["power cap"]}])), "GPU was slowed down meanwhile: power cap"),
        ([process(noise(200), noise(200, 1.15)) for _ in range(3)], "slowed down by 15 %"),
        ([process(noise(200, 1 + 0.04 * n), noise(200, 1 + 0.04 * n)) for n in range(5)], "slowed down by 16 %"),
        ([process(noise(200, 1 + 0.04 * n), noise(200, 1 + 0.04 * n)) for n in range(5)], "processes differ by 16 %"),
        ([process(noise(10), noise(10, 1.2))] * 3, "slowed down by 20 %"),
        ([process(noise(200), noise(200, 1.3), noise(200)) for _ in range(3)], "differ by 30 %: unstable"),
        ([process(noise(200, m), noise(200, m)) for m in (1, 1.2, 1, 1)], "processes differ by 20 %"),
        ([process(noise(100, seed=n) + noise(100, 1.5, seed=9 + n)) for n in range(3)], "two speeds, 1 and 1.5 ms"),
    ],
)
def test_troubles_are_told(processes: list[dict[str, Any]], words: str) -> None:
    assert words in told(processes)


def test_what_others_do_on_cpus_that_are_not_ours_is_no_trouble() -> None:
    """A container with two of 64 CPUs: 37 busy ones leave 27."""
    assert told(quiet(others_cpus=[37.0], machine={"cpus": 64, "cores": 2})) == ""
    assert "kept 63.0 CPUs busy" in told(quiet(others_cpus=[63.0], machine={"cpus": 64, "cores": 2}))


def test_one_unsteady_reading_of_the_pace_is_no_change() -> None:
    assert told([*quiet(pace_ms=[1.0] * 6), process(noise(200), pace_ms=[1.0, 1.0, 1.4])]) == ""


def test_three_processes_in_order_are_chance() -> None:
    found = [process(noise(200, 1 + 0.04 * n), noise(200, 1 + 0.04 * n)) for n in range(3)]
    assert "slowed down" not in told(found)


def test_what_befalls_the_machine_is_told_once_for_all() -> None:
    both = {"fp32": {"processes": quiet(others_cpus=[0.5])}, "half": {"processes": quiet(others_cpus=[0.7])}}
    assert troubles(both) == ["other programs kept 0.6 CPUs busy meanwhile"]
