"""Which network to ship to a target, where INT8 was made to be faster and is not: numbers in, one sentence out.

A network that is not faster than its half-precision variant costs accuracy for nothing. Measures nothing and promises
nothing: promises are judged in `judging`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from . import timing_warnings
from .result import Latency, Measured, Ratio, Variant
from .session import Layer

_SHOWN = 5
_INT8 = ("i8", "u8")
_FREE = ("Reshape", "Constant")  # move nothing


_CALLED = {"half": "its half-precision variant", "fp32": "FP32", "pruned": "the pruned network in FP32"}


class Advice(NamedTuple):
    ship: str  # the variant
    text: str
    layers: str = ""  # what did not run in INT8

    @property
    def sentence(self) -> str:
        return self.text + self.layers


def advice(measured: Measured) -> Advice | None:
    """Return which variant to ship, where what would ship is not shown to be faster than its baseline.

    The baseline is the half-precision variant, or FP32 where there is none. None too where times cannot be compared.
    """
    name, variants = measured.ships, measured.variants
    if name == "pruned":
        return _of_pruned(variants)
    baseline = "half" if "half" in variants else _full(variants)
    if name not in ("int8", "candidate") or baseline not in variants:
        return None
    times = _speedup(variants, baseline, name)
    if times is None or times.is_faster:
        return None
    what = "INT8" if name == "int8" else "the candidate"
    shown, called = _shown(times), _CALLED[baseline]
    if times.high > 1:
        text, ship = f"{what} is not shown to be faster than {called} ({shown}): measure longer or ship that", name
    elif baseline == "half" and not _half_pays(variants):
        text = f"ship FP32: {what} is no faster than its half-precision variant ({shown}), nor is that than FP32"
        ship = _full(variants)
    elif baseline == "half":
        text = f"ship the half-precision variant: {what} is no faster ({shown}), and what it loses buys nothing"
        ship = baseline
    else:
        text, ship = f"ship {called} where time counts: {what} is no faster ({shown}), only smaller", baseline
    return Advice(ship, text, _in_the_way(variants[name]))


def _speedup(variants: Mapping[str, Variant], slower: str, faster: str) -> Ratio | None:
    """Return how many times as fast one variant is as another; None where that cannot be compared."""
    before, after = _latency(variants, slower), _latency(variants, faster)
    if before is None or after is None or timing_warnings.untimed([before, after]):
        return None
    return after.speedup_over(before)


def _latency(variants: Mapping[str, Variant], name: str) -> Latency | None:
    return variants[name].latency if name in variants else None


def _shown(times: Ratio) -> str:
    if not times.has_interval:
        return f"{times.value:.3f} times as fast, in one process: no interval"
    return f"{times.value:.3f} times as fast, 95 % interval {times.low:.3f} to {times.high:.3f}"


def _of_pruned(variants: Mapping[str, Variant]) -> Advice | None:
    """Warn of fewer multiplications that save no time."""
    times = _speedup(variants, "fp32", "pruned")
    if times is None or times.is_faster:
        return None
    if times.high <= 1:
        return Advice("fp32", f"ship the network as it was before: pruned it is no faster ({_shown(times)})")
    return Advice("pruned", f"pruned it is not shown to be faster than before ({_shown(times)}): measure longer")


def _full(variants: Mapping[str, Variant]) -> str:
    """Return the same network in FP32: of one that was pruned, not the one before."""
    return "pruned" if "pruned" in variants else "fp32"


def _half_pays(variants: Mapping[str, Variant]) -> bool:
    """Return whether half precision is shown to be faster than FP32, or that was not timed."""
    times = _speedup(variants, _full(variants), "half")
    return times is None or times.is_faster


def _in_the_way(variant: Variant) -> str:
    """Name the layers that did not run in INT8, as the runtime reports them."""
    found = variant.float_layers
    if not found:
        return ""
    named = ", ".join(f"{name} ({operator}, {precision})" for name, operator, precision in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"; not in INT8: {named}{more}"


def float_layers(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return all layers that took time and did not read INT8."""
    return tuple(each for each in layers if each.precision not in (*_INT8, "?") and each.operator not in _FREE)
