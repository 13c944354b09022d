"""Which network to ship to a target, where INT8 was made to be faster and was not: numbers in, one sentence out.

A network that is no faster than its half-precision twin costs accuracy for nothing. Measures nothing and promises
nothing: what was promised is judged in `judge`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import timing_warnings, timings
from .intervals import ratio_interval

_SHOWN = 5
_INT8 = ("i8", "u8")
_FREE = ("Reshape", "Constant")  # move nothing


_CALLED = {"half": "its half-precision twin", "fp32": "FP32", "pruned": "the pruned network in FP32"}


class Advice(NamedTuple):
    ship: str  # the variant
    said: str
    layers: str = ""  # what stood in its way

    @property
    def sentence(self) -> str:
        return self.said + self.layers


def advice(result: Mapping[str, Any]) -> Advice | None:
    """None where the candidate is shown to be faster than its twin, or than FP32 where there is none; and where nothing
    tells.
    """
    name, variants = result.get("candidate"), result.get("variants", {})
    if name == "pruned":
        return _of_pruned(variants)
    rival = "half" if "half" in variants else _full(variants)
    if name not in ("int8", "candidate") or rival not in variants:
        return None
    before, after = variants[rival]["latency"], variants[name]["latency"]
    if timing_warnings.untimed([before, after]):
        return None
    value, (low, high) = ratio_interval(timings.windows(before), timings.windows(after))
    if low > 1:
        return None
    what = "INT8" if name == "int8" else "the candidate"
    measured, twin = _measured(value, low, high), _CALLED[rival]
    if high > 1:
        said, ship = f"{what} is not shown to be faster than {twin} ({measured}): measure longer or ship that", name
    elif rival == "half" and not _half_pays(variants):
        said = f"ship FP32: {what} is no faster than its half-precision twin ({measured}), nor is that than FP32"
        ship = _full(variants)
    elif rival == "half":
        said = f"ship the half-precision twin: {what} is no faster ({measured}), and what it loses buys nothing"
        ship = rival
    else:
        said, ship = f"ship {twin} where time counts: {what} is no faster ({measured}), only smaller", rival
    return Advice(ship, said, _in_the_way(variants[name]))


def _measured(value: float, low: float, high: float) -> str:
    if not math.isfinite(high):
        return f"{value:.3f} times as fast, in one process: no interval"
    return f"{value:.3f} times as fast, 95 % interval {low:.3f} to {high:.3f}"


def _of_pruned(variants: Mapping[str, Any]) -> Advice | None:
    """Fewer multiplications that buy no time are not worth what they cost."""
    before, after = (variants.get(name, {}).get("latency") for name in ("fp32", "pruned"))
    if timing_warnings.untimed([before, after]):
        return None
    value, (low, high) = ratio_interval(timings.windows(before), timings.windows(after))
    measured = _measured(value, low, high)
    if high <= 1:
        return Advice("fp32", f"ship the network as it was before: pruned it is no faster ({measured})")
    if low <= 1:
        return Advice("pruned", f"pruned it is not shown to be faster than before ({measured}): measure longer")
    return None


def _full(variants: Mapping[str, Any]) -> str:
    """The same network in FP32: of one that was pruned, not the one before."""
    return "pruned" if "pruned" in variants else "fp32"


def _half_pays(variants: Mapping[str, Any]) -> bool:
    """Whether the twin is shown to be faster than FP32, or nobody timed that."""
    full, half = variants.get(_full(variants), {}).get("latency"), variants["half"]["latency"]
    if timing_warnings.untimed([full, half]):
        return True
    return ratio_interval(timings.windows(full), timings.windows(half))[1].low > 1


def _in_the_way(variant: Mapping[str, Any]) -> str:
    """The layers that did not run in INT8, as the runtime tells of them."""
    found = variant.get("float_layers", ())
    if not found:
        return ""
    named = ", ".join(f"{name} ({operator}, {precision})" for name, operator, precision in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"; not in INT8: {named}{more}"


def float_layers(layers: Any) -> list[list[str]]:
    """Of what ran, all that took time and did not read INT8."""
    return [list(layer) for layer in layers if layer.precision not in (*_INT8, "?") and layer.operator not in _FREE]
