"""Energy, of sensors that are replayed: how close it comes, and what each of them cannot say."""

from __future__ import annotations

import builtins
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.portable import codec, energy, sensor_files, sensors
from edgeresnet.portable.codec import CodecError
from edgeresnet.portable.energy import Energy, Meter, ProcessEnergy
from edgeresnet.portable.sensors import Rail, Sensor
from edgeresnet.portable.times import Latency, ProcessTimes

from . import replayed
from .replayed import IDLE_W, Machine, Network, Nvml, Stepped, iio_rails, rails, rapl, timed
from .results import latency, process

pytestmark = pytest.mark.unit

ORIN = {"VDD_IN": 1.0, "VDD_CPU_GPU_CV": 0.5, "VDD_SOC": 0.3}
AGX = {"VDD_GPU_SOC": 0.45, "VDD_CPU_CV": 0.3, "VIN_SYS_5V0": 0.2, "NC": 0.0, "VDDQ_VDD2_1V8AO": 0.05}
NANO = {"POM_5V_IN": 1.0, "POM_5V_GPU": 0.5, "POM_5V_CPU": 0.2}  # JetPack 4, as are the next two
TX2 = {"VDD_SYS_GPU": 0.5, "VDD_SYS_SOC": 0.1, "VDD_4V0_WIFI": 0.0, "VDD_IN": 1.0, "VDD_SYS_CPU": 0.2}
XAVIER = {"GPU": 0.4, "CPU": 0.25, "SOC": 0.2, "CV": 0.0, "VDDRQ": 0.05, "SYS5V": 0.1}
WRITES = {
    "the rail of all": rails(**ORIN),
    "a sum of rails": rails(**AGX),
    "a counter that wraps": rapl(),
    "counters of two packages": rapl(package_0=0.6, package_1=0.3, dram=0.1),
    "the rail of all on JetPack 4": iio_rails(**NANO),
    "a sum of rails on JetPack 4": iio_rails(**XAVIER),
}


def measured(found: Latency) -> Energy:
    assert isinstance(found.energy, Energy), found.energy
    return found.energy


def why_not(found: Latency) -> str:
    assert isinstance(found.energy, str)
    return found.energy


def networks(machine: Machine) -> dict[str, Network]:
    return {"fp32": Network(machine, 18.0, 0.004), "int8": Network(machine, 11.0, 0.001)}


@pytest.mark.parametrize("seed", range(24))
def test_it_is_within_1_percent_of_the_truth(tmp_path: Path, seed: int) -> None:
    """Over 24 runs: four of each kind of sensor that is files."""
    machine = Machine(tmp_path, seed, list(WRITES.values())[seed % len(WRITES)])
    two = networks(machine)
    found = timed(Stepped(machine), two)
    for name, network in two.items():
        one = measured(found[name])
        assert one.mj == pytest.approx(network.mj, rel=0.01)
        assert one.watts == pytest.approx(network.power, rel=0.01)
        assert one.interval.low < one.mj < one.interval.high
        assert one.idle_w == pytest.approx(IDLE_W, rel=0.12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("lacks", ["", "energy"])
def test_a_card_is_within_2_percent_of_the_truth(tmp_path: Path, lacks: str, seed: int) -> None:
    """Its counter moves in steps of 50 ms, a tenth of a window; where it has none, its power is read."""
    machine = Machine(tmp_path, seed)
    two, library = networks(machine), Nvml(machine, (lacks,))
    found = timed(Stepped(machine, on_card=True, nvml=lambda: library), two)
    for name, network in two.items():
        assert measured(found[name]).mj == pytest.approx(network.mj, rel=0.02)
        assert measured(found[name]).sensor == f"the card's {'power' if lacks else 'energy'} (NVML)"


def test_the_rail_that_feeds_all_is_the_only_one_that_counts(tmp_path: Path) -> None:
    rails(**ORIN)(Machine(tmp_path))
    found = sensors.find(tmp_path)
    assert isinstance(found, Sensor)
    assert found.name == "the board's rail VDD_IN"
    assert [rail.read() for rail in found.rails] == [pytest.approx(IDLE_W)]


def test_a_board_without_one_has_the_sum_of_its_rails(tmp_path: Path) -> None:
    rails(**AGX)(Machine(tmp_path))
    found = sensors.find(tmp_path, on_card=True)
    assert isinstance(found, Sensor)
    assert found.name == "the board's rails VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0, VDDQ_VDD2_1V8AO"


def test_the_input_of_a_thor_counts_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    rails(VDD_GPU=0.5, VDD_CPU_SOC_MSS=0.3)(machine)
    machine.put("sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon7/power1_input", 41_500_000)
    found = sensors.find(tmp_path)
    assert isinstance(found, Sensor)
    assert (found.name, found.rails[0].read()) == ("the board's rail VIN", 41.5)


@pytest.mark.parametrize(
    ("rails_of", "expected"),
    [
        (NANO, "the board's rail POM_5V_IN"),
        (TX2, "the board's rail VDD_IN"),
        (XAVIER, "the board's rails GPU, CPU, SOC, CV, VDDRQ, SYS5V"),
    ],
)
def test_a_board_of_jetpack_4_has_its_rails_in_milliwatts(
    tmp_path: Path, rails_of: dict[str, float], expected: str
) -> None:
    iio_rails(**rails_of)(Machine(tmp_path))
    found = sensors.find(tmp_path, on_card=True)
    assert isinstance(found, Sensor)
    assert found.name == expected
    assert sum(rail.read() for rail in found.rails) == pytest.approx(IDLE_W, rel=0.03)
    assert sensor_files.kinds(str(tmp_path)) == ["INA3221"]


def _refuses(monkeypatch: pytest.MonkeyPatch, *ends: str) -> None:
    """Whoever opens a file with one of these ends has no permission; root has it in tests."""
    access = os.access

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, *how: Any, **more: Any) -> Any:
            if str(file).endswith(ends):
                raise PermissionError(13, "Permission denied", str(file))
            return real(file, *how, **more)

        return opened

    monkeypatch.setattr(Path, "read_text", refusing(Path.read_text))
    monkeypatch.setattr(builtins, "open", refusing(open))
    monkeypatch.setattr(os, "access", lambda file, mode: not str(file).endswith(ends) and access(file, mode))


@pytest.mark.parametrize("ends", [("_input",), ("rail_name_0", "rail_name_1", "rail_name_2")])
def test_a_rail_that_may_not_be_read_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: tuple[str, ...]
) -> None:
    """JetPack 4 lets only root read them, and without labels no one knows which rail feeds the others."""
    iio_rails(**NANO)(Machine(tmp_path))
    _refuses(monkeypatch, *ends)
    found = str(sensors.find(tmp_path, on_card=True))
    assert found.startswith(str(tmp_path / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/"))
    assert found.endswith(
        " may not be read: run as root, or allow it until the next start with `sudo chmod a+r "
        "/sys/bus/i2c/drivers/ina3221x/*/iio:device*/{rail_name_*,in_power*_input}`"
    )
    assert sensor_files.kinds(str(tmp_path)) == ["INA3221 (may not be read)"]


def test_the_kinds_of_sensors_are_those_that_measure(tmp_path: Path) -> None:
    assert sensor_files.kinds(str(tmp_path)) == []
    machine = Machine(tmp_path)
    rapl(psys=2.0)(machine)
    assert sensor_files.kinds(str(tmp_path)) == [], "it is not added, so it measures nothing"
    rapl()(machine)
    machine.put("sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon7/power1_input", 41_500_000)
    machine.put("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: some card")
    assert sensor_files.kinds(str(tmp_path)) == ["INA238", "RAPL", "NVML"]


def test_a_missing_rail_makes_no_smaller_sum(tmp_path: Path) -> None:
    rails(**AGX)(Machine(tmp_path))
    gone = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon0/curr2_input"
    gone.unlink()
    assert sensors.find(tmp_path) == f"VDD_CPU_CV of the board's rails cannot be measured: {gone} does not exist"


def test_a_missing_rail_does_not_matter_where_another_counts_all(tmp_path: Path) -> None:
    rails(**ORIN)(Machine(tmp_path))
    (tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon0/curr2_input").write_text("nothing")
    assert isinstance(sensors.find(tmp_path), Sensor)
    (tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon0/curr1_input").write_text("nothing")
    assert "VDD_IN of the board's rails cannot be measured" in str(sensors.find(tmp_path))


def test_a_counter_that_may_not_be_read_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rapl()(Machine(tmp_path))
    path = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    _refuses(monkeypatch, str(path))
    assert sensors.find(tmp_path) == (
        f"{path} may not be read: run as root, or allow it until the next start with "
        "`sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj`"
    )


def test_the_counter_of_the_whole_machine_is_not_added(tmp_path: Path) -> None:
    rapl(psys=2.0, package_0=1.0, core=0.5)(Machine(tmp_path))
    found = sensors.find(tmp_path)
    assert isinstance(found, Sensor)
    assert [rail.name for rail in found.rails] == ["package-0"]


def test_a_container_that_hides_the_counters_is_named(tmp_path: Path) -> None:
    (tmp_path / "sys/class/powercap/intel-rapl:0").mkdir(parents=True)
    assert "a container hides" in str(sensors.find(tmp_path))


def test_a_machine_without_a_sensor_says_so(tmp_path: Path) -> None:
    assert sensors.find(tmp_path) == "no energy sensor here (INA3221, INA238, RAPL)"
    assert "NVML" in str(sensors.find(tmp_path, on_card=True, nvml=_no_library))
    machine = Machine(tmp_path)
    found = timed("this machine has none", networks(machine), processes=1)
    assert why_not(found["int8"]) == "this machine has none"


def _no_library() -> Any:
    raise OSError("libnvidia-ml.so.1: cannot open shared object file")


@pytest.mark.parametrize(
    ("library", "visible", "says"),
    [
        (Nvml(lacks=("energy", "power")), "", "NVML reports its total energy: Not Supported, its power: Not Supported"),
        (Nvml(cards=2), "", "there are 2 cards"),
        (Nvml(cards=2), "1", "there are 2 cards"),
        (Nvml(cards=2), "GPU-2", "the GPU GPU-2: Invalid Argument"),
        (Nvml(), "MIG-1", "a part of a card (MIG) has no meter of its own"),
        (Nvml(cards=0), "", "there are 0 cards"),
    ],
)
def test_a_card_that_cannot_say_is_never_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Nvml, visible: str, says: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = sensors.find(tmp_path, on_card=True, nvml=lambda: library)
    assert isinstance(found, str)
    assert says in found


def test_of_two_cards_the_named_one_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    assert isinstance(sensors.find(tmp_path, on_card=True, nvml=lambda: Nvml(cards=2)), Sensor)


def test_a_card_that_counts_nothing_is_not_zero_joules(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    found = timed(Stepped(machine, on_card=True, nvml=Nvml), networks(machine), processes=1)
    assert why_not(found["int8"]) == "the card's energy did not count while the network ran"


def _stops(write: Callable[[Machine], None], at: float, end: Callable[[Machine], None]) -> Callable[[Machine], None]:
    """What a sensor shows until it stops, and what becomes of it then."""

    def stopping(machine: Machine) -> None:
        write(machine) if machine.now < at else end(machine)

    return stopping


def _remove(machine: Machine) -> None:
    for path in machine.root.rglob("*_input"):
        path.unlink()


@pytest.mark.parametrize("at", [3.0, 0.6])
@pytest.mark.parametrize(
    ("write", "end", "says"),
    [
        (rails(**ORIN), _remove, "VDD_IN stopped responding during the measurement: "),
        (rapl(), lambda machine: None, "package-0 did not count while the network ran"),
        (rapl(package_0=0.6, dram=0.4), lambda machine: None, "package-0 did not count while the network ran"),
        (rails(**ORIN), lambda machine: rails(VDD_IN=0.0)(machine), "reported 0 W while the network ran"),
    ],
)
def test_a_rail_that_stops_is_reported(tmp_path: Path, at: float, write: Any, end: Any, says: str) -> None:
    machine = Machine(tmp_path, write=_stops(write, at, end))
    found = timed(Stepped(machine), networks(machine))
    assert says in why_not(found["int8"])


def test_a_rail_that_shows_one_number_for_ever_is_reported(tmp_path: Path) -> None:
    machine = Machine(tmp_path, write=_stops(rails(**ORIN), 0.1, lambda machine: None))
    found = timed(Stepped(machine), networks(machine))
    assert "W idle and working: it does not follow the load" in why_not(found["int8"])


def _scripted(values: list[float], wraps_at: float | None) -> Meter:
    """A meter of a counter with these values, one each 50 ms."""
    given, times = iter(values), iter([0.05 * (each // 2) for each in range(2, 99)])
    return Meter(Sensor("a counter", (Rail("a counter", lambda: next(given), wraps_at),), True), lambda: next(times))


@pytest.mark.parametrize(
    ("values", "wraps_at", "says"),
    [
        ([96.0, 97.0, 98.0, 99.0, 0.0, 1.0, 2.0, 3.0], 100.0, 20.0),
        ([6.0, 7.0, 8.0, 9.0, 0.0, 1.0, 2.0, 3.0], None, "a counter went backwards during the measurement"),
    ],
)
def test_a_counter_wraps_where_it_says_and_never_goes_backwards(
    values: list[float], wraps_at: float | None, says: float | str
) -> None:
    meter = _scripted(values, wraps_at)
    for _ in range(7):
        meter.read()
    found = meter.watts((0.05, 0.4))
    assert found == (says if isinstance(says, str) else pytest.approx(says))


def test_a_counter_that_ticks_by_the_second_is_too_slow(tmp_path: Path) -> None:
    def by_second(machine: Machine) -> None:
        machine.put("sys/class/powercap/intel-rapl:0/name", "package-0")
        machine.put("sys/class/powercap/intel-rapl:0/energy_uj", int(1e6 * (1 + int(machine.now))))

    machine = Machine(tmp_path, write=by_second)
    assert "package-0" in why_not(timed(Stepped(machine), networks(machine))["int8"])


def test_a_process_that_could_not_be_measured_is_the_answer() -> None:
    good = ProcessEnergy("a sensor", (10.0,), (0.5,), 4.0)
    assert isinstance(energy.of([(good, 100)]), Energy)
    assert energy.of([(good, 100), ("VDD_IN stopped", 100)]) == "VDD_IN stopped"
    assert energy.of([(good, 100), (None, 100)]) == energy.OLD


@pytest.mark.parametrize("change", [{"watts": (0.0,)}, {"watts": (-1.0,)}, {"seconds": (0.0,)}, {"watts": ()}])
def test_no_energy_at_all_is_not_an_answer(change: dict[str, Any]) -> None:
    found = energy.of([(replace(ProcessEnergy("a sensor", (10.0,), (0.5,)), **change), 100)])
    assert found == "a sensor reported no energy while the network ran"


def test_one_process_gives_no_interval() -> None:
    found = energy.of([(ProcessEnergy("a sensor", (10.0, 12.0), (0.5, 0.5), 4.0), 100)])
    assert isinstance(found, Energy)
    assert (found.mj, found.watts) == (pytest.approx(110), pytest.approx(11))
    assert found.interval.is_open


def test_it_is_stored_and_read(tmp_path: Path) -> None:
    machine = Machine(tmp_path, write=rails(**ORIN))
    found = timed(Stepped(machine), networks(machine), processes=2)["int8"]
    again = codec.decode(Latency, codec.encode(found))
    assert again.energy == found.energy
    reason = replace(found.processes[0], energy="no sensor")
    assert codec.decode(ProcessTimes, codec.encode(reason)) == reason


def test_what_an_older_edgeresnet_stored_has_none() -> None:
    assert "energy" not in codec.encode(process([1.0]))
    assert latency([process([1.0])]).energy == energy.OLD


@pytest.mark.parametrize(
    "damage",
    [{"watts": [1.0, 2.0]}, {"watts": [-1.0]}, {"idle_w": -4.0}, {"watts": [1e9]}, {"watts": [1.0], "seconds": []}],
)
def test_what_cannot_have_been_measured_is_not_read(damage: dict[str, Any]) -> None:
    times = replace(process([1.0]), energy=ProcessEnergy("a sensor", (1.0,), (0.5,)))
    written = codec.encode(times)
    written["energy"] |= damage
    with pytest.raises(CodecError):
        codec.decode(ProcessTimes, written)


def test_a_thread_reads_while_windows_are_timed() -> None:
    enough, count = threading.Event(), [0.0]

    def read() -> float:
        count[0] += 1
        if count[0] >= 5:
            enough.set()
        return count[0]

    meter = Meter(Sensor("a counter", (Rail("a counter", read),), is_counter=True))
    with meter.sampling():
        assert enough.wait(60)
    ended = count[0]
    assert not [each for each in threading.enumerate() if getattr(each, "_target", None) == meter._poll]
    assert count[0] == ended


def test_the_scripts_own_truth_is_what_it_says(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.run(10.0, 5.0) == pytest.approx(50, rel=0.03)
    assert replayed.IDLE_W == IDLE_W
