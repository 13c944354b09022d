"""What this machine is: CPU, its INT8 and BF16 instructions, cores it may use, memory, load, versions.

Reads the operating system; starts nothing. What it cannot read is None, never a guess.
"""

from __future__ import annotations

import math
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

# The instructions that decide how INT8 and BF16 run; the rest of /proc/cpuinfo's flags says nothing here.
INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "avx512_bf16", "amx_bf16", "asimddp", "bf16")
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


def cores(root: Path = Path("/")) -> int:
    """CPUs this process may really use: its affinity, cut to the container's quota.

    OpenVINO and onnxruntime count the host's CPUs instead and then fight for the quota (openvino#37838).
    """
    quota = cpu_quota(root)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs' worth of time that the tightest control group above this process grants, or None without a limit."""
    limits = [*_quotas_v2(root), *_quotas_v1(root)]
    return min(limits) if limits else None


def has_bf16() -> bool:
    return bool(_BF16 & set(describe()["cpu"]["instructions"]))


def fingerprint() -> dict[str, Any]:
    """The part that lasts: what a compiled artifact or a measurement belongs to."""
    about = describe()
    return {
        "cpu": about["cpu"]["model"],
        "instructions": about["cpu"]["instructions"],
        "cores": about["cpu"]["cores"],
        "system": about["system"],
    }


def describe(root: Path = Path("/")) -> dict[str, Any]:
    info = _cpuinfo(root)
    flags = set((info.get("flags") or info.get("Features") or "").split())
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": {
            "model": info.get("model name") or platform.processor() or platform.machine(),
            "instructions": [name for name in INSTRUCTIONS if name in flags],
            "cores": cores(root),
            "quota": cpu_quota(root),
            "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        },
        "memory_gb": _memory_gb(root),
        "load": load,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions(*distributions: str) -> dict[str, str]:
    """Installed versions by distribution name, without importing anything; absent ones are left out."""
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def others_cpu_s(root: Path = Path("/")) -> float:
    """CPU seconds that all other programs of this machine have used so far; 0 where that cannot be read."""
    fields = next((line.split()[1:] for line in _lines(root / "proc/stat") if line.startswith("cpu ")), [])
    if len(fields) < 8:
        return 0.0
    user, nice, system, _, _, irq, softirq, _ = map(int, fields[:8])
    mine = os.times()
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - (mine.user + mine.system)


def _quotas_v2(root: Path) -> list[float]:
    group = next((line[3:] for line in _lines(root / "proc/self/cgroup") if line.startswith("0::")), "/")
    found, here = [], root / "sys/fs/cgroup"
    for part in ["", *Path(group).parts[1:]]:
        here = here / part
        fields = (_text(here / "cpu.max") or "").split()
        if len(fields) == 2 and fields[0] != "max":
            found.append(int(fields[0]) / int(fields[1]))
    return found


def _quotas_v1(root: Path) -> list[float]:
    folder = root / "sys/fs/cgroup/cpu"
    quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    return [int(quota) / int(period)] if quota and period and int(quota) > 0 else []


def _cpuinfo(root: Path) -> dict[str, str]:
    info: dict[str, str] = {}
    for line in _lines(root / "proc/cpuinfo"):
        key, colon, value = line.partition(":")
        if colon:
            info.setdefault(key.strip(), value.strip())
    return info


def _memory_gb(root: Path) -> float | None:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) / 1024**2, 1)
    return None


def _lines(path: Path) -> list[str]:
    return (_text(path) or "").splitlines()


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return None
