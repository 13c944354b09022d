"""What a machine shows of itself in small files, and in what nvpmodel prints: texts, numbers, temperatures.

`probe` asks the rest. The agent that looks at a device is sent together with this file: it needs the standard library
alone, and has syntax that Python 3.6 reads. Roots and paths may be of any kind.
"""

import glob
import math
import os
import re
from typing import Any, List, Optional

_MODEL = "proc/device-tree/model"
_ZONES = "sys/class/thermal/thermal_zone*"


def read(path: Any) -> str:
    """Return a small file's text; device trees end or separate theirs with NUL bytes."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().replace("\0", " ").strip()


def text(path: Any) -> str:
    """Return the same; empty where it cannot be read."""
    try:
        return read(path)
    except OSError:
        return ""


def number(words: Optional[str]) -> Optional[float]:
    """Return the finite number that a text is; None for any other text."""
    try:
        found = float(words or "")
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def numbers(folder: Any, pattern: str) -> List[float]:
    """Return the numbers in all matching files that hold one."""
    found = [number(text(path)) for path in matching(folder, pattern)]
    return [value for value in found if value is not None]


def matching(folder: Any, pattern: str) -> List[str]:
    """Return the paths in a folder that match, sorted."""
    return sorted(glob.glob(os.path.join(glob.escape(str(folder)), pattern)))


def board(root: Any = "/") -> str:
    """Return the model that a board's device tree names."""
    return text(os.path.join(str(root), _MODEL))


def power_mode(printed: str) -> str:
    """Return the mode's name in what `nvpmodel -q` prints: the number below it means another mode on each board."""
    found = re.search(r"NV Power Mode:[ \t]*(\S.*)", printed)
    return found.group(1).strip() if found else ""


def temperatures_c(root: Any = "/", kind: str = "") -> List[float]:
    """Return the temperatures that a working chip can have, of thermal zones with this word in their name."""
    found = []
    for zone in matching(root, _ZONES):
        name, value = text(os.path.join(zone, "type")).lower(), number(text(os.path.join(zone, "temp")))
        # PMIC-Die on Jetsons up to Xavier is a constant 50 or 100 °C: a limit, not a sensor.
        if value is not None and 0 < value < 150000 and kind in name and "pmic" not in name:
            found.append(value / 1000)
    return found
