"""What this machine is, what on it can be changed, and what state it is in: all that decides how to read a latency.

Reads the operating system, and starts nvidia-smi and nvpmodel where they are. What it cannot learn is None or empty,
never a guess. Readers compare these values, so that times of two machines, or under two conditions, are never mixed.
"""

from __future__ import annotations

import functools
import math
import os
import platform
from dataclasses import field
from pathlib import Path
from typing import NamedTuple

from . import limits, probe
from .frozen import OMIT, dataclass
from .probe import Ask
from .probe import Gpu as Gpu
from .probe import GpuState as GpuState
from .probe import ask as _ask

# The instructions that decide how INT8 and BF16 run; the rest of /proc/cpuinfo's flags does not matter here.
_X86 = ("avx2", "avx512f", "avx_vnni", "avx_vnni_int8", "avx512_vnni", "amx_int8", "avx512_bf16", "amx_bf16")
_ARM = ("asimddp", "i8mm", "bf16")
INSTRUCTIONS = (*_X86, *_ARM)
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
_INT8 = {"avx_vnni", "avx_vnni_int8", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}  # products of INT8 added in 32 bits
_limits: list[int] = []  # of the cores to count in this process
_CPUS = "sys/devices/system/cpu"
_FAMILIES = {"x86": ("x86_64", "amd64", "i386", "i586", "i686"), "arm": ("aarch64", "arm64", "armv7l", "armv8l")}


@dataclass(frozen=True)
class GpuModel:
    """Which GPU it is, for what is compiled on it."""

    name: str | None
    compute_capability: float | None


@dataclass(frozen=True)
class Fingerprint:
    """What of a machine a compiled network belongs to."""

    cpu: str
    instructions: tuple[str, ...]
    cores: int
    system: str
    board: str | None
    gpus: tuple[GpuModel, ...]

    def check_read(self) -> None:
        limits.check(self, 1, limits.MANY, "cores")


@dataclass(frozen=True)
class Conditions(Fingerprint):
    """A fingerprint with what a person can change that changes speed: what a measurement belongs to."""

    governor: str | None
    power_mode: str | None
    gpu_driver: str | None
    l4t: str | None


@dataclass(frozen=True)
class TimedMachine(Conditions):
    """Conditions with which machine of its kind it is, and since when it runs: two equal computers are two machines."""

    host: str
    boot: str | None
    cpus: int  # of the machine, whatever part of them may be used
    emulated: bool = field(default=False, metadata=OMIT)  # its CPU is a program: times are not those of any CPU

    def check_read(self) -> None:
        super().check_read()
        limits.check(self, 1, limits.MANY, "cpus")


@dataclass(frozen=True)
class MachineState:
    """What changes while one measures."""

    load: float | None
    cpu_mhz: float | None
    throttled: int | None
    temperature_c: float | None
    gpus: tuple[GpuState, ...] = ()
    governor: str | None = field(default=None, metadata=OMIT)  # these two a person may change meanwhile
    power_mode: str | None = field(default=None, metadata=OMIT)

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "load", "cpu_mhz", "throttled")
        limits.check(self, -273, 1000, "temperature_c")


@dataclass(frozen=True)
class Cpu:
    """A CPU, and as much of it as may be used here."""

    model: str
    instructions: tuple[str, ...]
    cores: int
    quota: float | None
    governor: str | None

    def check_read(self) -> None:
        limits.check(self, 1, limits.MANY, "cores")


@dataclass(frozen=True)
class Machine:
    """All that is known of a machine, for a person and for the record."""

    cpu: Cpu
    memory_gb: float | None
    load: float | None
    board: str | None
    l4t: str | None
    power_mode: str | None
    gpus: tuple[Gpu, ...]
    system: str
    python: str

    def check_read(self) -> None:
        limits.check(self, 0, limits.MANY, "memory_gb", "load")


class Identity(NamedTuple):
    """Which machine of its kind it is, and since when it runs."""

    host: str
    boot: str | None
    cpus: int


class CpuTimes(NamedTuple):
    """CPU seconds since the machine started."""

    others_s: float  # used by all other programs
    stolen_s: float  # wanted here and given to another guest by the hypervisor


def cores(root: Path = Path("/")) -> int:
    """Return how many CPUs this process may really use: its affinity, limited to the container's quota.

    OpenVINO and onnxruntime count the host's CPUs instead and then fight for the quota (openvino#37838).
    """
    quota = cpu_quota(root)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = min([allowed, *_limits])
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def use_at_most(count: int | None) -> None:
    """Let this process count no more cores than these: other processes of one work need the others. None: no limit."""
    _limits[:] = [] if count is None else [count]


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many CPUs' time the tightest control group above this process grants, or None without a limit."""
    limits = [*_quotas_v2(root), *_quotas_v1(root)]
    return min(limits) if limits else None


def is_arm() -> bool:
    """Return whether this program runs as one for 64-bit Arm."""
    return platform.machine().lower() in ("aarch64", "arm64")


def emulated(root: Path = Path("/")) -> bool:
    """Return whether an emulator runs this program: the kernel's CPU is of another family than the program's.

    QEMU's user mode answers `uname` as the emulated machine does, and shows the files of the real one.
    """
    kernel, program = _family(root), platform.machine().lower()
    return kernel is not None and any(program in known for name, known in _FAMILIES.items() if name != kernel)


def has_bf16(root: Path = Path("/")) -> bool:
    return _has(_BF16, root)


def has_int8(root: Path = Path("/")) -> bool:
    """Return whether INT8 products are added without saturating.

    Without these instructions x86 adds two products in 16 bits with saturation. On Arm two of weights from -127 on
    fit into 16 bits, so nothing saturates with or without the dot product.
    """
    return is_arm() or _has(_INT8, root)


def has_dot_product(root: Path = Path("/")) -> bool:
    """Return whether the CPU adds INT8 products in 32 bits in one instruction: INT8 is slow without it."""
    return _has(_INT8, root)


def has(instructions: str, root: Path = Path("/")) -> bool:
    """Return whether the CPU has these instructions, one of INSTRUCTIONS."""
    return _has({instructions}, root)


def _has(wanted: set[str], root: Path) -> bool:
    return not emulated(root) and bool(wanted & set(_instructions(_cpuinfo(root))))


def describe(root: Path = Path("/"), ask: Ask = _ask) -> Machine:
    """Return all that is known of this machine, for a person and for the record."""
    info = _cpuinfo(root)
    return Machine(
        cpu=Cpu(_cpu_model(root, info), _instructions(info), cores(root), cpu_quota(root), _governor(root)),
        memory_gb=_memory_gb(root),
        load=_load(root),
        board=probe.board(root),
        l4t=probe.l4t(root),
        power_mode=probe.power_mode(ask),
        gpus=probe.gpus(root, ask),
        system=_system(),
        python=platform.python_version(),
    )


def fingerprint(root: Path = Path("/"), ask: Ask = _ask) -> Fingerprint:
    """Return the part that lasts: what a compiled artifact belongs to."""
    info = _cpuinfo(root)
    return Fingerprint(
        cpu=_cpu_model(root, info),
        instructions=_instructions(info),
        cores=cores(root),
        system=_system(),
        board=probe.board(root),
        gpus=tuple(GpuModel(gpu.name, gpu.compute_capability) for gpu in probe.gpus(root, ask)),
    )


def conditions(root: Path = Path("/"), ask: Ask = _ask) -> Conditions:
    """Return what a measurement belongs to: the fingerprint, and what a person can change that changes the speed.

    Read again each time, but for the driver, which stays while a program uses it.
    """
    return Conditions(
        **vars(fingerprint(root, ask)),
        governor=_governor(root),
        power_mode=probe.power_mode(ask),
        gpu_driver=next((gpu.driver for gpu in probe.gpus(root, ask)), None),
        l4t=probe.l4t(root),
    )


def identity(root: Path = Path("/")) -> Identity:
    """Return which machine of its kind this is."""
    boot = probe.text(root / "proc/sys/kernel/random/boot_id")
    return Identity(platform.node(), boot, os.cpu_count() or 1)


def timed_machine() -> TimedMachine:
    """Return the conditions with which machine of its kind this is: times are compared only where these are equal."""
    return TimedMachine(**vars(conditions()), **identity()._asdict(), emulated=emulated())


def state(root: Path = Path("/"), ask: Ask = _ask) -> MachineState:
    """Return what changes during a measurement, to be taken before and after.

    The counter `throttled` only grows, and threads of a core and cores of a package each count the same event: that it
    grew matters, not by how much.
    """
    throttled = probe.numbers(root / _CPUS, "cpu[0-9]*/thermal_throttle/core_throttle_count")
    throttled += probe.numbers(root / _CPUS, "cpu[0-9]*/thermal_throttle/package_throttle_count")
    return MachineState(
        load=_load(root),
        cpu_mhz=cpu_mhz(root),
        throttled=int(sum(throttled)) if throttled else None,
        temperature_c=max(probe.temperatures_c(root), default=None),
        gpus=probe.gpu_states(root, ask),
        governor=_governor(root),
        power_mode=probe.power_mode(ask),
    )


def cpu_mhz(root: Path = Path("/")) -> float | None:
    """Return the fastest CPU's clock now: while one thread works and others wait, the mean would show the waiting."""
    # /proc/cpuinfo has clocks too, but in a virtual machine they are a constant
    khz = probe.numbers(root / _CPUS, "cpu[0-9]*/cpufreq/scaling_cur_freq")
    return max(khz) / 1000 if khz else None


def cpu_times(root: Path = Path("/")) -> CpuTimes | None:
    """Return the CPU seconds that others used and that were stolen so far; None where they cannot be read."""
    fields = next((line.split()[1:] for line in probe.lines(root / "proc/stat") if line.startswith("cpu ")), [])
    ticks = [value for value in map(probe.number, fields[:8]) if value is not None]
    if len(ticks) < 8:
        return None
    user, nice, system, _, _, irq, softirq, steal = (value / os.sysconf("SC_CLK_TCK") for value in ticks)
    mine = os.times()
    return CpuTimes(user + nice + system + irq + softirq - (mine.user + mine.system), steal)


def peak_memory_mb(root: Path = Path("/")) -> float | None:
    """Return the most memory that this process ever held.

    Not getrusage's maximum: fork and exec hand that down, and a small child of a large parent would show the parent's.
    """
    for line in probe.lines(root / "proc/self/status"):
        key, _, value = line.partition(":")
        kib = probe.number(value.removesuffix("kB"))
        if key == "VmHWM" and kib is not None:
            return kib * 1024 / 1e6
    return None


def versions(*distributions: str) -> dict[str, str]:
    """Return installed versions by distribution name, without importing anything; absent ones are left out."""
    found = {name: _version(name) for name in distributions}
    return {name: version for name, version in found.items() if version is not None}


@functools.cache  # each step of a plan asks, mostly for the same
def _version(distribution: str) -> str | None:
    from importlib import metadata  # brings the parser of mails along

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _quotas_v2(root: Path) -> list[float]:
    group = next((line[3:] for line in probe.lines(root / "proc/self/cgroup") if line.startswith("0::")), "/")
    found, here = [], root / "sys/fs/cgroup"
    for part in ["", *Path(group).parts[1:]]:
        here = here / part
        fields = (probe.text(here / "cpu.max") or "").split()
        quota, period = map(probe.number, fields) if len(fields) == 2 else (None, None)
        if quota and period:
            found.append(quota / period)
    return found


def _quotas_v1(root: Path) -> list[float]:
    folder = root / "sys/fs/cgroup/cpu"
    quota, period = (probe.number(probe.text(folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
    return [quota / period] if quota and period and quota > 0 else []


def _cpuinfo(root: Path) -> dict[str, str]:
    info: dict[str, str] = {}
    for line in probe.lines(root / "proc/cpuinfo"):
        key, colon, value = line.partition(":")
        if colon:
            info.setdefault(key.strip(), value.strip())
    return info


def _family(root: Path) -> str | None:
    """Return the family of the CPU that the kernel runs on; None where it is another, or not known."""
    _, _, kind = (probe.text(root / _CPUS / "modalias") or "").partition("cpu:type:")
    info = _cpuinfo(root)
    if kind.startswith("x86") or "vendor_id" in info:
        return "x86"
    return "arm" if kind.startswith(("aarch64", "arm")) or "CPU implementer" in info else None


def _cpu_model(root: Path, info: dict[str, str]) -> str:
    # ARM first: where a Jetson's kernel has a model name, it is "ARMv8 Processor rev 1 (v8l)" for every chip
    return probe.arm_cpu(root) or info.get("model name") or platform.processor() or platform.machine()


def _instructions(info: dict[str, str]) -> tuple[str, ...]:
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return tuple(name for name in INSTRUCTIONS if name in flags)


def _system() -> str:
    return f"{platform.system()} {platform.machine()}"


def _governor(root: Path) -> str | None:
    return probe.text(root / _CPUS / "cpu0/cpufreq/scaling_governor")


def _load(root: Path) -> float | None:
    return probe.number(next(iter((probe.text(root / "proc/loadavg") or "").split()), None))


def _memory_gb(root: Path) -> float | None:
    for line in probe.lines(root / "proc/meminfo"):
        if line.startswith("MemTotal:"):
            kib = probe.number(line.partition(":")[2].removesuffix("kB"))
            return None if kib is None else round(kib / 1024**2, 1)
    return None
