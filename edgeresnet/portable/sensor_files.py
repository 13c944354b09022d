"""Where a machine shows its energy: the files of a board's rails and of a CPU's counters, as each driver writes them.

`sensors` measures with them. The agent that looks at a device is sent together with this file: it needs the standard
library alone, and has syntax that Python 3.6 reads.
"""

import glob
import os
from typing import Dict, List, NamedTuple, Tuple

from . import machine_files

_I2C = "/sys/bus/i2c/drivers"
_HWMON = _I2C + "/ina3221*/*/hwmon/hwmon*"  # a Jetson's kernels 5 and 6
_IIO = _I2C + "/ina3221x/*/iio:device*"  # kernel 4.9, of JetPack 4
_THOR = _I2C + "/ina238/*/hwmon/hwmon*"  # all that the board takes
_ZONES = "/sys/class/powercap/intel-rapl:*"
_CARDS = "/proc/driver/nvidia/gpus/*"
_UNUSED = "NC"  # how a device tree labels a channel that measures nothing


class Channel(NamedTuple):
    """One rail or counter. Its number is the product of those in its files, divided by `per`: watts, or joules."""

    kind: str  # of its sensor
    name: str
    files: Tuple[str, ...]
    per: float
    pattern: str  # of all such files: what must be readable


def rails(root: str = "/") -> List[Channel]:
    """List the channels of a board's power monitors that are connected."""
    found = []
    for folder in _found(root, _HWMON):
        for number in (1, 2, 3):  # the others are shunt voltages, and sums of them
            label, files = os.path.join(folder, f"in{number}_label"), _of_hwmon(folder, number)
            found += _labelled(label, Channel("INA3221", "", files, 1e6, _HWMON + "/*_{label,input}"))
    for folder in _found(root, _IIO):
        for number in (0, 1, 2):
            label = os.path.join(folder, f"rail_name_{number}")
            files = (os.path.join(folder, f"in_power{number}_input"),)  # milliwatts
            found += _labelled(label, Channel("INA3221", "", files, 1e3, _IIO + "/{rail_name_*,in_power*_input}"))
    for folder in _found(root, _THOR):
        found.append(Channel("INA238", "VIN", _of_hwmon(folder, 1), 1e6, _THOR + "/*_input"))
    return found


def counters(root: str = "/") -> List[Channel]:
    """List the counters of a CPU's packages and of their memory.

    A package counts its cores, too; `psys` is the complete machine, and counts packages again.
    """
    wanted = [(name, zone) for name, zone in zones(root) if name.startswith("package") or name == "dram"]
    pattern = _ZONES + "/energy_uj"
    return [Channel("RAPL", name, (os.path.join(zone, "energy_uj"),), 1e6, pattern) for name, zone in wanted]


def zones(root: str = "/") -> List[Tuple[str, str]]:
    """List the name and the folder of each part of a machine that has a counter; a container hides the names."""
    return [(machine_files.text(os.path.join(zone, "name")), zone) for zone in _found(root, _ZONES)]


def kinds(root: str = "/") -> List[str]:
    """List what could measure energy here, and whether this user may read it."""
    found: Dict[str, bool] = {}
    for channel in rails(root) + counters(root):
        found[channel.kind] = found.get(channel.kind, True) and all(os.access(file, os.R_OK) for file in channel.files)
    listed = [kind if readable else f"{kind} (may not be read)" for kind, readable in found.items()]
    return listed + (["NVML"] if _found(root, _CARDS) else [])


def _of_hwmon(folder: str, number: int) -> Tuple[str, ...]:
    """Return the files of a channel: microwatts, or millivolts and milliamperes."""
    direct = os.path.join(folder, f"power{number}_input")
    if os.path.exists(direct):
        return (direct,)
    return tuple(os.path.join(folder, f"{what}{number}_input") for what in ("in", "curr"))


def _labelled(label: str, channel: Channel) -> List[Channel]:
    """Return a channel under its label; none where it has no label, or is not connected.

    Where the label may not be read, the label is the channel's file: whoever reads it learns why.
    """
    try:
        name = machine_files.read(label)
    except PermissionError:
        return [channel._replace(name=os.path.basename(label), files=(label,))]
    except OSError:
        return []
    return [] if name in ("", _UNUSED) else [channel._replace(name=name)]


def _found(root: str, pattern: str) -> List[str]:
    return sorted(glob.glob(glob.escape(root.rstrip("/")) + pattern))
