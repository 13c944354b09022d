"""Which network to ship to a target, and what to do now: numbers and a verdict in, sentences out.

A network that is not faster than its half-precision variant costs accuracy for nothing. Measures nothing and promises
nothing: promises are judged in `judging`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from . import timing_warnings
from .result import Measured, Variant, Word
from .session import Layer
from .times import Ratio

_SHOWN = 5
INT8 = ("i8", "u8")  # precisions of layers
_FREE = ("Reshape", "Constant")  # move nothing


_CALLED = {"half": "half precision", "fp32": "FP32", "pruned": "the pruned FP32 network"}
_SHIPPED = {**_CALLED, "pruned": "the pruned network", "int8": "INT8", "candidate": "the candidate"}


class Advice(NamedTuple):
    ship: str  # the variant
    text: str
    layers: str = ""  # a sentence: what did not run in INT8

    @property
    def sentence(self) -> str:
        return f"{self.text} {self.layers}".rstrip()


def advice(measured: Measured) -> Advice | None:
    """Return which variant to ship, where what would ship is not shown to be faster than its baseline.

    The baseline is the half-precision variant, or FP32 where there is none. None too where times cannot be compared.
    """
    name, variants = measured.ships, measured.variants
    if name == "pruned":
        return _of_pruned(measured)
    full = _full(variants)
    baseline = "half" if "half" in variants else full
    if name not in ("int8", "candidate") or baseline not in variants:
        return None
    times = timing_warnings.ratio(measured, baseline, name)
    if times is None or times.is_faster:
        return None
    what, called, layers = _SHIPPED[name], _CALLED[baseline], _in_the_way(variants[name])
    if times.high > 1:
        return Advice(name, _undecided(measured, what, called, times), layers)
    if baseline == "half" and not _half_pays(measured):
        text = f"Ship {_CALLED[full]}: {what} is not faster than half precision ({_shown(times)})."
        return Advice(full, f"{text} Half precision is not faster than FP32 either.", layers)
    gain = "loses accuracy and gains no time" if baseline == "half" else "is only smaller: ship it where size counts"
    text = f"Ship {called}: {what} is not faster ({_shown(times)}). {_capital(what)} {gain}."
    return Advice(baseline, text, layers)


def next_step(measured: Measured, verdict: Word, decisive: str) -> str:
    """Return what to do now, in sentences. `decisive` is the promise that decides the verdict, with its reason."""
    what = _SHIPPED.get(measured.ships, measured.ships)
    if verdict == "BROKEN":
        return f"Do not ship {what}: {decisive}."
    if verdict == "NOT_MEASURED":
        return f"Do not ship {what} yet, a measurement is missing: {decisive}."
    if found := advice(measured):
        return found.text
    if verdict == "UNDECIDED":
        return f"Do not ship {what} yet: {decisive}."
    if not decisive:
        return "Add promises to the recipe: a run without promises cannot fail."
    times = None if measured.ships == "fp32" else timing_warnings.ratio(measured, "fp32", measured.ships)
    choice = " where size counts, FP32 where time counts" if times and times.is_slower else ""
    return f"Ship {what}{choice}{_gain(measured, times)}."


def no_faster_pruned(times: Ratio) -> str:
    """Return that fewer multiplications save no time; empty where that is not shown."""
    return f"the pruned FP32 network is not faster ({_shown(times)})" if times.high <= 1 else ""


def _gain(measured: Measured, times: Ratio | None) -> str:
    """Return what it brings over FP32, and what that costs in time, where it is shown."""
    full = measured.variants.get("fp32")
    if measured.ships == "fp32" or full is None:
        return ""
    gains = [f"{times.value:.2f} times as fast as FP32"] if times and times.differs else []
    part = measured.shipped.size_mb / full.size_mb if full.size_mb else 1
    whose = "its" if gains else "FP32's"
    gains += [f"{100 * part:.0f} % of {whose} size"] if part < 0.95 else []
    return f": {' and '.join(gains)}" if gains else ""


def _undecided(measured: Measured, what: str, called: str, times: Ratio) -> str:
    shown, do = _shown(times), "Measure longer"
    if not times.has_interval:
        latency = measured.shipped.latency
        processes = len(latency.processes) if latency else 0
        shown, do = f"{shown}: {timing_warnings.no_interval(processes)}", "Measure in more processes"
    return f"{_capital(what)} is not shown to be faster than {called} ({shown}). {do}, or ship {called}."


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _shown(times: Ratio) -> str:
    if not times.has_interval:
        return f"{times.value:.3f} times as fast"
    return f"{times.value:.3f} times as fast, 95 % interval {times.low:.3f} to {times.high:.3f}"


def _of_pruned(measured: Measured) -> Advice | None:
    """Warn of fewer multiplications that save no time."""
    times = timing_warnings.ratio(measured, "fp32", "pruned")
    if times is None or times.is_faster:
        return None
    if times.high > 1:
        return Advice("pruned", _undecided(measured, "the pruned network", "the unpruned network", times))
    return Advice("fp32", f"Ship the unpruned network: pruning saves no time ({_shown(times)}).")


def _full(variants: Mapping[str, Variant]) -> str:
    """Return the same network in FP32: of one that was pruned, not the one before."""
    return "pruned" if "pruned" in variants else "fp32"


def _half_pays(measured: Measured) -> bool:
    """Return whether half precision is shown to be faster than FP32, or that was not timed."""
    times = timing_warnings.ratio(measured, _full(measured.variants), "half")
    return times is None or times.is_faster


def _in_the_way(variant: Variant) -> str:
    """Name the layers that did not run in INT8, as the runtime reports them."""
    found = variant.float_layers
    if not found:
        return ""
    named = ", ".join(f"{name} ({operator}, {precision})" for name, operator, precision in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"These layers do not run in INT8: {named}{more}."


def float_layers(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return all layers that took time and did not read INT8."""
    return tuple(each for each in layers if each.precision not in (*INT8, "?") and each.operator not in _FREE)
