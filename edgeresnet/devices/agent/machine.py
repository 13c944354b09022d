"""What is known of a device without a bundle: which one it is, what it has, and in which state it is."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

from ...portable import machine_files, sensor_files

_TIMEOUT_S = 10
_IDENTITIES = ("/proc/device-tree/serial-number", "/etc/machine-id", "/var/lib/dbus/machine-id")
_CPUS = "/sys/devices/system/cpu"


def look(folder: str, libraries: List[str]) -> Dict[str, Any]:
    """Return what a person wants to know before a device measures in this folder."""
    there = folder
    while not os.path.isdir(there):
        there = os.path.dirname(there) or "/"
    disk = os.statvfs(there)
    found = {
        "identity": identity(),
        "host": os.uname().nodename,
        "system": "{} {}".format(os.uname().sysname, os.uname().machine),
        "board": machine_files.board() or machine_files.text("/sys/class/dmi/id/product_name"),
        "python": "{}.{}.{}".format(*sys.version_info[:3]),
        "versions": {name: _version(name) for name in libraries},
        "free_mb": round(disk.f_bavail * disk.f_frsize / 1e6, 1),
        "writable": os.access(there, os.W_OK),
        "clock": time.time(),
        "logins": sorted({line.split()[0] for line in _printed(["who"]).splitlines() if line.split()}),
        "load": os.getloadavg()[0],
        "temperature_c": max(machine_files.temperatures_c(), default=None),
        "cpu_mhz": _mhz(),
        "sensors": sensor_files.kinds(),
    }
    found.update(mode())
    return found


def identity() -> str:
    """Return what stays the same of this machine: made of its serial number, else of its machine id."""
    for path in _IDENTITIES:
        found = machine_files.text(path)
        if found:
            return hashlib.sha256(f"edgeresnet {found}".encode()).hexdigest()[:16]
    return ""


def mode() -> Dict[str, str]:
    """Return what a person can change that changes speed."""
    return {"power_mode": _power_mode(), "governor": machine_files.text(_CPUS + "/cpu0/cpufreq/scaling_governor")}


def read(path: str) -> Any:
    """Return the value of a JSON file; None where there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def write(path: str, value: Any) -> None:
    """Write a JSON file completely or not at all."""
    part = f"{path}.{os.getpid()}.part"
    with open(part, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.rename(part, path)


def _power_mode() -> str:
    program = shutil.which("nvpmodel", path=os.environ.get("PATH", "") + ":/usr/sbin")
    return machine_files.power_mode(_printed([program, "-q"])) if program else ""


def _printed(command: List[str]) -> str:
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, stdin=quiet, stdout=subprocess.PIPE, stderr=quiet, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _version(name: str) -> str:
    """Return a library's version: what pip knows, else what the library itself reports."""
    from importlib import metadata  # a Python that lacks it is refused before

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
    code = "import importlib,sys; print(importlib.import_module(sys.argv[1]).__version__)"
    module = re.split(r"-cu\d", name)[0].replace("-", "_")
    return _printed([sys.executable, "-c", code, module]).strip()


def _mhz() -> Optional[float]:
    found = machine_files.numbers(_CPUS, "cpu[0-9]*/cpufreq/scaling_cur_freq")
    return max(found) / 1000 if found else None
