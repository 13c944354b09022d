"""machine and probe, on trees and answers like those of real machines: none of them is here."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeresnet.portable import codec, machine, probe
from edgeresnet.portable.machine import (
    Conditions,
    Cpu,
    Fingerprint,
    Gpu,
    GpuModel,
    GpuState,
    MachineState,
    TimedMachine,
)

from .results import TIMED_MACHINE

pytestmark = pytest.mark.unit

CPU = "sys/devices/system/cpu"

ORIN = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005-super\0nvidia,tegra234\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n# KERNEL_VARIANT: oot\n",
    # as NVIDIA's kernels write it: a model name that is the same for every chip
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\nBogoMIPS\t: 62.50\n"
    "Features\t: fp asimd asimdhp asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd42\n",
    "sys/class/devfreq/15480000.nvdec/cur_freq": "115200000\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "1020000000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61500\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "58218\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "schedutil\n",
    f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "1728000\n",
}


def _root(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


class Tools:
    """nvidia-smi and nvpmodel by their answers: a GPU is its fields, and one unknown field fails the whole query."""

    def __init__(self, *gpus: dict[str, str], nvpmodel: str | None = None, says: str | None = None):
        self.gpus, self.nvpmodel, self.says, self.asked = gpus, nvpmodel, says, list[str]()

    def __call__(self, command: list[str]) -> str | None:
        self.asked.append(command[0])
        if command[0] == "nvpmodel":
            return self.nvpmodel if command == ["nvpmodel", "-q"] else None
        assert command[0] == "nvidia-smi"
        assert command[2:] == ["--format=csv,noheader,nounits"]
        if self.says is not None:
            return self.says
        fields = command[1].removeprefix("--query-gpu=").split(",")
        if not self.gpus or any(field not in gpu for gpu in self.gpus for field in fields):
            return None
        return "".join(", ".join(gpu[field] for field in fields) + "\n" for gpu in self.gpus)


def _card(**other: str) -> dict[str, str]:
    about = {"name": "NVIDIA GeForce RTX 4070", "driver_version": "550.54.15", "compute_cap": "8.9"}
    about |= {"memory.total": "12282", "clocks.sm": "2475", "clocks.mem": "10501", "temperature.gpu": "64"}
    return about | {"clocks_event_reasons.active": "0x0000000000000000"} | other


def _mute(**other: str) -> dict[str, str]:
    """What JetPack 6's nvidia-smi reports of an Orin."""
    return {**dict.fromkeys(_card(), "[N/A]"), "name": "Orin (nvgpu)", **other}


def _without(gpu: dict[str, str], *fields: str) -> dict[str, str]:
    return {name: value for name, value in gpu.items() if name not in fields}


NOTHING = Tools()
DESKTOP = Gpu("NVIDIA GeForce RTX 4070", "550.54.15", 8.9, 12.0)


def test_a_machine_that_tells_nothing_is_described_without_guesses(tmp_path: Path) -> None:
    about = machine.describe(tmp_path, NOTHING)
    assert (about.cpu.instructions, about.cpu.quota, about.cpu.governor) == ((), None, None)
    assert about.gpus == ()
    assert (about.memory_gb, about.load, about.board, about.l4t, about.power_mode) == (None,) * 5
    assert machine.state(tmp_path, NOTHING) == MachineState(None, None, None, None, ())
    known = codec.encode(machine.conditions(tmp_path, NOTHING))
    assert {key for key, value in known.items() if value not in (None, [])} == {"cpu", "cores", "system"}
    assert machine.cpu_times(tmp_path) is None
    assert machine.peak_memory_mb(tmp_path) is None


def test_a_machine_that_tells_nonsense_is_no_worse(tmp_path: Path) -> None:
    every = [*ORIN, *(f"proc/{name}" for name in ("stat", "loadavg", "meminfo", "self/status", "self/cgroup"))]
    every += [f"{CPU}/cpu0/thermal_throttle/core_throttle_count", "sys/fs/cgroup/cpu.max"]
    every += [f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us" for name in ("quota", "period")]
    for nonsense in ("", ":", "cpu  a b c d e f g h\nMemTotal: much kB\nVmHWM: much kB\n0::\n", "nan nan", "\0", "1 0"):
        _root(tmp_path, dict.fromkeys(every, nonsense))
        (tmp_path / "sys/class/thermal/thermal_zone0/temp").write_bytes(b"\xff\xfe")
        tools = Tools(says=nonsense, nvpmodel=nonsense)
        codec.encode(machine.describe(tmp_path, tools))
        codec.encode(machine.conditions(tmp_path, tools))
        assert machine.state(tmp_path, tools).gpus == ()
        assert machine.cpu_times(tmp_path) is None
        assert machine.peak_memory_mb(tmp_path) is None


def test_this_machine_survives_json() -> None:
    for about in (
        machine.describe(),
        machine.fingerprint(),
        machine.conditions(),
        machine.timed_machine(),
        machine.state(),
    ):
        assert codec.decode(type(about), json.loads(json.dumps(codec.encode(about), allow_nan=False))) == about
    whole = vars(machine.timed_machine())
    assert vars(machine.fingerprint()).items() <= vars(machine.conditions()).items() <= whole.items()
    assert {name: whole[name] for name in ("host", "boot", "cpus")} == machine.identity()._asdict()


# --- what enters keys


def test_what_enters_keys_is_spelled_as_ever(tmp_path: Path) -> None:
    """Another spelling would make every artifact of every user again."""
    root, tools = _root(tmp_path, ORIN), Tools(_mute(driver_version="540.4.0"), nvpmodel="NV Power Mode: 15W\n0\n")
    fingerprint = {
        "cpu": "Cortex-A78AE",
        "instructions": ["asimddp"],
        "cores": machine.cores(root),
        "system": machine.describe(root, tools).system,
        "board": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "gpus": [{"name": "Orin", "compute_capability": 8.7}],
    }
    found = machine.fingerprint(root, tools)
    assert type(found) is Fingerprint
    assert json.dumps(codec.encode(found)) == json.dumps(fingerprint)
    conditions = {
        **fingerprint,
        "governor": "schedutil",
        "power_mode": "15W",
        "gpu_driver": "540.4.0",
        "l4t": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic",
    }
    assert json.dumps(codec.encode(machine.conditions(root, tools))) == json.dumps(conditions)


def test_what_results_hold_is_spelled_as_ever(tmp_path: Path) -> None:
    root, tools = _root(tmp_path, {**ORIN, "proc/loadavg": "0.50 0.80 0.50 2/345 6789\n"}), Tools(_mute())
    about = {
        "cpu": {
            "model": "Cortex-A78AE",
            "instructions": ["asimddp"],
            "cores": machine.cores(root),
            "quota": None,
            "governor": "schedutil",
        },
        "memory_gb": None,
        "load": 0.5,
        "board": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        "l4t": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic",
        "power_mode": None,
        "gpus": [{"name": "Orin", "driver": None, "compute_capability": 8.7, "memory_gb": None}],
        "system": machine.describe(root, tools).system,
        "python": machine.describe(root, tools).python,
    }
    assert json.dumps(codec.encode(machine.describe(root, tools))) == json.dumps(about)
    gpu: dict[str, object] = {"sm_mhz": 1020.0, "memory_mhz": None, "temperature_c": 58.218, "throttle": []}
    state = {"load": 0.5, "cpu_mhz": 1728.0, "throttled": None, "temperature_c": 61.5, "gpus": [gpu]}
    assert json.dumps(codec.encode(machine.state(root, tools))) == json.dumps({**state, "governor": "schedutil"})
    tools = Tools(_mute(), nvpmodel="NV Power Mode: 15W\n0\n")
    assert codec.encode(machine.state(root, tools)) == {**state, "governor": "schedutil", "power_mode": "15W"}


def test_a_timed_machine_is_spelled_as_ever() -> None:
    conditions = codec.encode(machine.conditions())
    assert list(codec.encode(machine.timed_machine())) == [*conditions, "host", "boot", "cpus"]
    assert codec.decode(TimedMachine, TIMED_MACHINE) == TimedMachine(
        cpu="Some CPU",
        instructions=("avx2", "avx512_vnni"),
        cores=2,
        system="Linux x86_64",
        board=None,
        gpus=(GpuModel("Orin", 8.7),),
        governor="performance",
        power_mode="15W",
        gpu_driver="540.4.0",
        l4t=None,
        host="box",
        boot="b0",
        cpus=2,
    )


# --- emulators, and Arm

X86 = {"proc/cpuinfo": "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: avx2 avx512_vnni avx512_bf16\n"}
CORTEX_A72 = {"proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd crc32\nCPU implementer\t: 0x41\n"}
X86_KERNEL = {f"{CPU}/modalias": "cpu:type:x86,ven0002fam0019mod0011:feature:,0000,0001\n"}
ARM_KERNEL = {f"{CPU}/modalias": "cpu:type:aarch64:feature:,0000,0001\n"}


@pytest.mark.parametrize(
    ("program", "files", "emulated"),
    [
        ("x86_64", X86, False),
        ("x86_64", {}, False),  # not known
        ("aarch64", X86, True),  # QEMU shows the file of the real machine
        ("aarch64", {**CORTEX_A72, **X86_KERNEL}, True),  # and an Arm one where its root has that file
        ("aarch64", {**CORTEX_A72, **ARM_KERNEL}, False),
        ("arm64", ORIN, False),
        ("armv7l", {**CORTEX_A72, **ARM_KERNEL}, False),
        ("AMD64", X86, False),
        ("x86_64", {**CORTEX_A72, **ARM_KERNEL}, True),
        ("riscv64", {"proc/cpuinfo": "processor\t: 0\nisa\t: rv64imafdc\n"}, False),
    ],
)
def test_an_emulator_is_a_program_of_another_family_than_the_kernels(
    program: str, files: dict[str, str], emulated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: program)
    assert machine.emulated(_root(tmp_path, files)) is emulated


@pytest.mark.parametrize(
    ("program", "files", "int8", "dot", "bf16"),
    [
        ("x86_64", X86, True, True, True),
        ("x86_64", {"proc/cpuinfo": "vendor_id\t: GenuineIntel\nflags\t: avx2\n"}, False, False, False),
        ("aarch64", CORTEX_A72, True, False, False),  # slow, and exact
        ("aarch64", ORIN, True, True, False),
        ("aarch64", X86, True, False, False),  # the instructions of the machine under an emulator are not its own
        ("arm64", {}, True, False, False),
    ],
)
def test_what_a_cpu_does_with_int8(
    program: str,
    files: dict[str, str],
    int8: bool,
    dot: bool,
    bf16: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = _root(tmp_path, files)
    monkeypatch.setattr("platform.machine", lambda: program)
    assert (machine.has_int8(root), machine.has_dot_product(root), machine.has_bf16(root)) == (int8, dot, bf16)


def test_a_machine_that_is_emulated_is_stored_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "emulated", lambda: True)
    found = machine.timed_machine()
    assert found.emulated
    assert codec.decode(TimedMachine, codec.encode(found)) == found


# --- GPUs


def test_a_desktop_gpu(tmp_path: Path) -> None:
    tools = Tools(_card(**{"clocks_event_reasons.active": "0x0000000000000024"}))
    assert machine.describe(tmp_path, tools).gpus == (DESKTOP,)
    throttle = ("software power cap", "software thermal slowdown")
    assert machine.state(tmp_path, tools).gpus == (GpuState(2475, 10501, 64, throttle),)
    about = machine.conditions(tmp_path, tools)
    assert about.gpus == (GpuModel("NVIDIA GeForce RTX 4070", 8.9),)
    assert about.gpu_driver == "550.54.15"


def test_two_gpus_stand_in_their_order(tmp_path: Path) -> None:
    second = _card(**{"name": "NVIDIA T400 4GB", "compute_cap": "7.5", "clocks.sm": "420"})
    tools = Tools(_card(), second)
    for _ in range(2):
        found = machine.describe(tmp_path, tools).gpus
        assert [gpu.name for gpu in found] == [_card()["name"], "NVIDIA T400 4GB"]
    assert [gpu.sm_mhz for gpu in machine.state(tmp_path, tools).gpus] == [2475, 420]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("0x0000000000000000", []),
        ("0x0000000000000001", []),  # idle
        ("0x0000000000000103", []),  # idle, application and display clocks: somebody's choice
        ("0x0000000000000048", ["hardware slowdown", "hardware thermal slowdown"]),
        ("0x0000000000000091", ["sync boost", "power brake"]),
        ("0x0000000000000204", ["software power cap", "unknown 0x200"]),
        ("[N/A]", []),
        ("Not Supported", None),
    ],
)
def test_idle_and_chosen_clocks_are_not_throttling(tmp_path: Path, mask: str, words: list[str] | None) -> None:
    found = machine.state(tmp_path, Tools(_card(**{"clocks_event_reasons.active": mask}))).gpus
    assert [gpu.throttle for gpu in found] == ([] if words is None else [tuple(words)])


def test_older_drivers_have_other_words_and_do_not_know_their_compute_capability(tmp_path: Path) -> None:
    """Before 535, and before the first that knew `compute_cap`."""
    old = _without(_card(), "clocks_event_reasons.active") | {"clocks_throttle_reasons.active": "0x0000000000000004"}
    assert machine.state(tmp_path, Tools(old)).gpus[0].throttle == ("software power cap",)
    found = machine.describe(tmp_path, Tools(_without(_card(), "compute_cap"))).gpus
    assert found == (replace(DESKTOP, compute_capability=None),)


@pytest.mark.parametrize(
    "says",
    [
        *("", ",,,\n", "No devices were found\n", "<html>,<b>,</b>,</html>", "550.54.15, 12282\n", "\x00\x01\x02"),
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver, or so, it, says.\n",
        'Field "clocks_event_reasons.active" is not a valid field to query.\n\n',
    ],
)
def test_a_complaint_is_not_a_gpu(tmp_path: Path, says: str) -> None:
    tools = Tools(says=says)
    assert machine.describe(tmp_path, tools).gpus == machine.state(tmp_path, tools).gpus == ()


def test_fields_that_a_gpu_lacks_are_none(tmp_path: Path) -> None:
    card = _card(**{"memory.total": "[Not Supported]", "clocks.mem": "N/A", "temperature.gpu": "[Unknown Error]"})
    assert machine.describe(tmp_path, Tools(card)).gpus == (replace(DESKTOP, memory_gb=None),)
    assert machine.state(tmp_path, Tools(card)).gpus == (GpuState(2475, None, None),)


def test_nvidia_smi_is_not_asked_again_for_what_it_does_not_know(tmp_path: Path) -> None:
    for tools, each in ((Tools(), 0), (Tools(_card()), 1)):
        machine.state(tmp_path, tools)
        machine.fingerprint(tmp_path, tools)
        before = tools.asked.count("nvidia-smi")
        machine.state(tmp_path, tools)
        assert tools.asked.count("nvidia-smi") - before == each
        machine.fingerprint(tmp_path, tools)
        assert tools.asked.count("nvidia-smi") - before == each


# --- Jetsons


def test_an_orin_without_nvidia_smi(tmp_path: Path) -> None:
    root, tools = _root(tmp_path, ORIN), Tools(nvpmodel="NV Power Mode: MAXN_SUPER\n2\n")
    about = machine.describe(root, tools)
    assert about.board == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert about.l4t == "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic"
    assert about.power_mode == "MAXN_SUPER"
    assert about.gpus == (Gpu("Orin", None, 8.7, None),)
    assert about.cpu == Cpu("Cortex-A78AE", ("asimddp",), machine.cores(root), None, "schedutil")
    now = machine.state(root, tools)
    assert (now.cpu_mhz, now.temperature_c, now.throttled) == (1728, 61.5, None)
    assert now.gpus == (GpuState(1020, None, 58.218),)


@pytest.mark.parametrize("known", [{}, {"compute_cap": "8.7", "driver_version": "540.4.0"}, {"driver_version": "N/A"}])
def test_an_orin_whose_nvidia_smi_is_nearly_mute(tmp_path: Path, known: dict[str, str]) -> None:
    root, tools = _root(tmp_path, ORIN), Tools(_mute(**known))
    driver = known.get("driver_version", "N/A").replace("N/A", "") or None
    assert machine.describe(root, tools).gpus == (Gpu("Orin", driver, 8.7, None),)
    assert machine.conditions(root, tools).gpu_driver == driver
    assert [gpu.sm_mhz for gpu in machine.state(root, tools).gpus] == [1020]


def test_a_card_next_to_a_boards_own_gpu_keeps_its_name(tmp_path: Path) -> None:
    card = _card(name="NVIDIA RTX 6000 Ada Generation", **{"memory.total": "[N/A]"})
    found = machine.describe(_root(tmp_path, ORIN), Tools(card)).gpus
    assert [(gpu.name, gpu.compute_capability) for gpu in found] == [("NVIDIA RTX 6000 Ada Generation", 8.9)]


@pytest.mark.parametrize(
    ("files", "name", "capability"),
    [
        ({"proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0"}, "Thor", 11.0),
        ({"proc/device-tree/model": "NVIDIA Jetson Xavier NX Developer Kit\0"}, "Xavier", 7.2),
        ({"proc/device-tree/model": "NVIDIA IGX Orin Development Kit\0"}, "Orin", 8.7),
        ({"proc/device-tree/compatible": "seeed,some-board\0nvidia,tegra234\0"}, "Orin", 8.7),
        # in a container, where there is no device tree
        ({"sys/class/devfreq/17000000.ga10b/cur_freq": "306000000"}, "Orin", 8.7),
        ({"proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0"}, "NVIDIA Jetson Nano Developer Kit", None),
    ],
)
def test_the_board_names_its_gpu(tmp_path: Path, files: dict[str, str], name: str, capability: float | None) -> None:
    found = machine.describe(_root(tmp_path, files), NOTHING).gpus
    assert [(gpu.name, gpu.compute_capability) for gpu in found] == [(name, capability)]


@pytest.mark.parametrize("model", ["Raspberry Pi 5 Model B Rev 1.0", "AYN Thor", "Orinoco", "Xavier's board"])
def test_other_boards_have_no_gpu_that_counts(tmp_path: Path, model: str) -> None:
    root = _root(tmp_path, {"proc/device-tree/model": model, "sys/class/devfreq/fb000000.gpu/cur_freq": "300000000"})
    assert machine.describe(root, NOTHING).board == model
    assert machine.describe(root, NOTHING).gpus == machine.state(root, NOTHING).gpus == ()


def test_of_thors_two_clocks_the_video_engines_is_not_taken(tmp_path: Path) -> None:
    files = {f"sys/class/devfreq/{name}-0/cur_freq": mhz for name, mhz in (("gpu-nvd", "1692000000"), ("gpu-gpc", "0"))}
    root = _root(tmp_path, {"proc/device-tree/compatible": "nvidia,tegra264\0", **files})
    assert [gpu.sm_mhz for gpu in machine.state(root, NOTHING).gpus] == [0]


@pytest.mark.parametrize(
    ("says", "mode"),
    [
        ("NV Power Mode: 15W\n0\n", "15W"),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_15W_6CORE\n2\n", "MODE_15W_6CORE"),
        ("NV Fan Mode:quiet\nNV Power Mode: MODE 30W\n", "MODE 30W"),
        ("NV Power Mode: \n3\n", None),
        ("NVPM ERROR: Error opening /var/lib/nvpmodel/status: 13\n", None),
        (None, None),
    ],
)
def test_the_power_mode_is_its_name(tmp_path: Path, says: str | None, mode: str | None) -> None:
    assert machine.describe(tmp_path, Tools(nvpmodel=says)).power_mode == mode


# --- what a measurement belongs to


def _changed(tmp_path: Path, change: Callable[[dict[str, str], dict[str, str]], Any]) -> set[str]:
    """Names of the conditions that differ after a change to a machine's files and tools."""
    found: list[Conditions] = []
    for number, alter in enumerate((lambda files, tools: None, change)):
        files, tools = dict(ORIN), {"mode": "15W", **_mute(driver_version="540.4.0")}
        alter(files, tools)
        root = _root(tmp_path / str(number), files)
        found.append(machine.conditions(root, Tools(tools, nvpmodel=f"NV Power Mode: {tools['mode']}\n")))
    one, other = map(vars, found)
    return {name for name in one if one[name] != other[name]}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda files, tools: tools.update(mode="25W"), {"power_mode"}),
        (lambda files, tools: tools.update(driver_version="540.5.0"), {"gpu_driver"}),
        (lambda files, tools: files.update({f"{CPU}/cpu0/cpufreq/scaling_governor": "performance"}), {"governor"}),
        (lambda files, tools: files.update({"etc/nv_tegra_release": "# R36 (release), REVISION: 5.0"}), {"l4t"}),
        (lambda files, tools: files.update({"proc/device-tree/model": "NVIDIA Jetson AGX Orin"}), {"board"}),
        (lambda files, tools: files.update({"sys/class/thermal/thermal_zone0/temp": "90000"}), set()),
        (lambda files, tools: files.update({"sys/class/devfreq/17000000.gpu/cur_freq": "306000000"}), set()),
    ],
)
def test_conditions_are_what_a_person_can_change(tmp_path: Path, change: Any, names: set[str]) -> None:
    assert _changed(tmp_path, change) == names


def test_a_changed_power_mode_is_seen_by_the_same_process(tmp_path: Path) -> None:
    tools = Tools(nvpmodel="NV Power Mode: 15W\n0\n")
    assert machine.conditions(tmp_path, tools).power_mode == "15W"
    tools.nvpmodel = "NV Power Mode: MAXN\n0\n"
    assert machine.conditions(tmp_path, tools).power_mode == "MAXN"


# --- what moves


def test_clocks_and_throttling_of_all_cpus(tmp_path: Path) -> None:
    clocks = (1_000_000, 3_000_000, "<unknown>")
    files = {f"{CPU}/cpu{n}/cpufreq/scaling_cur_freq": f"{khz}\n" for n, khz in enumerate(clocks)}
    files |= {f"{CPU}/cpu{n}/thermal_throttle/core_throttle_count": f"{n}\n" for n in (0, 1, 12)}
    files[f"{CPU}/cpu0/thermal_throttle/package_throttle_count"] = "7\n"
    files["proc/loadavg"] = "1.25 0.80 0.50 2/345 6789\n"
    # neither a CPU nor in use: folders next to theirs
    files |= {f"{CPU}/cpufreq/scaling_cur_freq": "9000000\n", "proc/cpuinfo": "cpu MHz\t\t: 2100.000\n"}
    now = machine.state(_root(tmp_path, files), NOTHING)
    assert (now.cpu_mhz, now.throttled, now.load) == (3000, 20, 1.25)


def test_zones_that_fail_or_talk_nonsense_are_left_out(tmp_path: Path) -> None:
    readings = ["45000", "-274000", "0", "", "broken", "900000", "62500", "nan"]
    zone = "sys/class/thermal/thermal_zone"
    files = {f"{zone}{n}/temp": text for n, text in enumerate(readings)}
    root = _root(tmp_path, {**files, f"{zone}22/type": "PMIC-Die\n", f"{zone}22/temp": "100000\n"})
    (root / f"{zone}20/temp").mkdir(parents=True)  # reading it raises
    (root / f"{zone}21").mkdir()
    assert machine.state(root, NOTHING).temperature_c == 62.5


def test_stolen_time_is_not_the_others(tmp_path: Path) -> None:
    root = _root(tmp_path, {"proc/stat": "cpu  1000 200 300 9999 88 10 20 500 0 0\ncpu0 1 1\n"})
    tick, mine = os.sysconf("SC_CLK_TCK"), os.times()
    found = machine.cpu_times(root)
    assert found is not None
    assert found.stolen_s == 500 / tick
    assert found.others_s == pytest.approx(1530 / tick - mine.user - mine.system, abs=0.5)
    (root / "proc/stat").write_text("cpu  1000 200 300 9999\n")
    assert machine.cpu_times(root) is None, "not 0: how busy it is remains unknown"


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc/stat here")
def test_this_machines_cpu_times_move() -> None:
    before = machine.cpu_times()
    assert before is not None
    assert before.others_s > 0
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    after = machine.cpu_times()
    assert after is not None
    assert after.stolen_s >= before.stolen_s


def test_peak_memory_is_in_millions_of_bytes(tmp_path: Path) -> None:
    _root(tmp_path, {"proc/self/status": "Name:\tpython\nVmPeak:\t  999999 kB\nVmHWM:\t  125000 kB\n"})
    assert machine.peak_memory_mb(tmp_path) == 128.0


# --- the CPU


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("model name : Some CPU\nflags : fpu\n", "Some CPU"),
        ("CPU implementer : 0x41\nCPU part : 0xd08\n" * 4, "Cortex-A72"),
        ("CPU implementer : 0x4e\nCPU part : 0x004\nmodel name : ARMv8 Processor rev 0 (v8l)\n", "Carmel"),
        # RK3588: the slow cores come first, and the name must not be theirs alone
        ("CPU implementer : 0x41\nCPU part : 0xd05\n" * 4 + "CPU part : 0xd0b\n" * 4, "Cortex-A55 + Cortex-A76"),
        ("CPU implementer : 0x61\nCPU part : 0x022\n", "ARM 0x61 part 0x022"),
        ("CPU implementer : 0x61\nCPU part : 0xd42\n", "ARM 0x61 part 0xd42"),
    ],
)
def test_the_cpus_name(tmp_path: Path, cpuinfo: str, name: str) -> None:
    root = _root(tmp_path, {"proc/cpuinfo": cpuinfo})
    assert machine.describe(root, NOTHING).cpu.model == machine.fingerprint(root, NOTHING).cpu == name


def test_int8_and_bf16_instructions_are_read(tmp_path: Path) -> None:
    root = _root(tmp_path, {"proc/cpuinfo": "model name : Some CPU\nflags : fpu avx2 avx512_vnni amx_bf16\n"})
    assert machine.describe(root, NOTHING).cpu.instructions == ("avx2", "avx512_vnni", "amx_bf16")


def test_threads_come_from_the_quota(tmp_path: Path) -> None:
    files = dict.fromkeys(("sys/fs/cgroup/cpu.max", "sys/fs/cgroup/box/inner/cpu.max"), "max 100000")
    files |= {"sys/fs/cgroup/box/cpu.max": "150000 100000", "proc/self/cgroup": "0::/box/inner\n"}
    root = _root(tmp_path, files)
    assert machine.cpu_quota(root) == 1.5
    assert machine.cores(root) <= 2
    (root / "sys/fs/cgroup/box/inner/cpu.max").write_text("50000 100000")
    assert machine.cores(root) == 1


def test_the_older_control_groups_are_read_too(tmp_path: Path) -> None:
    root = _root(tmp_path, {f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us": "100000" for name in ("quota", "period")})
    assert machine.cpu_quota(root) == 1.0
    (root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("-1")
    assert machine.cpu_quota(root) is None


def test_absent_libraries_have_no_version() -> None:
    assert set(machine.versions("numpy", "no-such-thing")) == {"numpy"}


# --- programs


def test_what_a_program_prints_is_its_answer_and_no_answer_is_none(tmp_path: Path) -> None:
    assert probe.ask([sys.executable, "-c", "print('yes')"]) == "yes\n"
    assert probe.ask([sys.executable, "-c", r"import sys; sys.stdout.buffer.write(b'\xff')"]) == "\ufffd"
    assert probe.ask(["no-such-program-anywhere"]) is None
    assert probe.ask([sys.executable, "-c", "print('half'); raise SystemExit(9)"]) is None
    (tmp_path / "empty").write_text("")
    (tmp_path / "empty").chmod(0o755)
    assert probe.ask([str(tmp_path / "empty")]) is None  # not a program, though it may be run


def test_a_program_that_hangs_is_left_alone_after_a_while() -> None:
    began = time.monotonic()
    assert probe.ask([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], 0.2) is None
    assert time.monotonic() - began < 10
