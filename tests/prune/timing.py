"""Times by script, in the form in which `device.measure` keeps them."""

from __future__ import annotations

from typing import Any


def raw(ms: float, processes: int = 3) -> dict[str, Any]:
    """As one network of so many milliseconds would be measured: a little apart from process to process."""
    each = [ms * (1 + 0.001 * number) for number in range(processes)]
    return {"batch": 1, "processes": [{"host_ms": [[one] * 5] * 2, "machine": {}, "clock_ms": 0.0} for one in each]}
