"""What was cut from a network, beside what that is in milliseconds: a sentence and rows, for every format.

Multiplications are never told alone: whoever shows the sentence shows a table of times with it, or says that nobody
measured them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..portable import intervals, timing_warnings, timings

COLUMNS = ("MACs %", "params %", "whole ms", "ms", "times as fast (95 %)", "top-1 %", "")
BESIDE = ("target", "as", "MACs %", "params %", "p50 ms", "times fp32 (95 %)")

_SHIPS = {"pruned": "FP32", "half": "half precision", "int8": "INT8"}  # what is timed is what would ship


def sentence(notes: Mapping[str, Any]) -> str:
    """What was cut."""
    (macs, less), (params, fewer) = notes["macs"], notes["params"]
    return (
        f"{less / 1e6:.1f} of {macs / 1e6:.1f} million multiplications stay ({100 * less / macs:.1f} %), "
        f"{fewer / 1e6:.2f} of {params / 1e6:.2f} million weights ({100 * fewer / params:.1f} %); "
        f"{100 * notes['ratio']:.1f} % of the channels went, by {notes['importance']}, in widths of {_widths(notes)}"
    )


def _widths(notes: Mapping[str, Any]) -> str:
    multiple, finest = notes["multiple"], notes.get("finest", notes["multiple"])
    return f"{multiple}, of {finest} where layers are narrow" if finest < multiple else f"{multiple}"


def curves(notes: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Of a goal in milliseconds, target by target: what was asked and found, and the rows of what was measured."""
    found = notes.get("speedup")
    return [(_asked(found, target), _curve(notes, found, target)) for target in found["goals"]] if found else []


def _asked(found: Mapping[str, Any], target: str) -> str:
    goal = found["goals"][target]
    said = [f"{target}, {_SHIPS[found['ships'][target]]}: {goal:g} times as fast as the whole network was asked for"]
    if not found["sure"]:
        said.append("times waver too much to say that no milder cut reaches it")
    elif found["milder"] is None:
        said.append("the mildest cut there is reaches it")
    else:
        said.append(_milder(found["curve"][found["milder"]]["targets"][target], goal))
    slow = [row["part"] for row in found["curve"] if row["targets"][target]["times"] <= 1]
    if slow:
        said.append(f"no faster than the whole network, and not chosen: {_parts(slow)} of the multiplications")
    outrun = [row["part"] for number, row in enumerate(found["curve"]) if _outrun(found["curve"], number, target)]
    if outrun:
        said.append(f"no faster than a milder cut: {_parts(outrun)} of the multiplications")
    return "; ".join(said)


def _milder(row: Mapping[str, Any], goal: float) -> str:
    """Of two neighbours the faster may be the one that was lucky: their intervals tell."""
    if row["times"] >= goal:  # there is another target
        return f"the next milder cut reaches it, too, {row['times']:.3f} times as fast, but not every target's goal"
    if row["high"] is not None and row["high"] < goal:
        return "the next milder cut does not reach it, measured again in fresh processes as the chosen one was"
    return (
        f"the next milder cut was {row['times']:.3f} times as fast, measured again in fresh processes as the chosen "
        "one was: below the goal, but not beyond doubt"
    )


def _outrun(curve: Sequence[Mapping[str, Any]], number: int, target: str) -> bool:
    times = [row["targets"][target]["times"] for row in curve[: number + 1]]
    return times[-1] > 1 and times[-1] <= max(times[:-1], default=0.0)


def _parts(parts: Sequence[float]) -> str:
    return ", ".join(f"{part:.3g}" for part in parts)


def _curve(notes: Mapping[str, Any], found: Mapping[str, Any], target: str) -> list[tuple[str, ...]]:
    """The whole network first. Each cut's milliseconds stand beside those of the whole one, timed in turn with it."""
    words = {found["chosen"]: "chosen", found["milder"]: "next milder"}
    (macs, _), (params, _) = notes["macs"], notes["params"]
    rows: list[tuple[str, ...]] = [("100.0", "100.0", "", "", "", _percent(found["top1"]), "")]
    for number, row in enumerate(found["curve"]):
        each = row["targets"][target]
        rows.append(
            (
                f"{100 * row['macs'] / macs:.1f}",
                f"{100 * row['params'] / params:.1f}",
                ms(each["whole_ms"]),
                ms(each["ms"]),
                _times(each["times"], each["low"], each["high"]),
                _percent(row["top1"]),
                words.get(number, ""),
            )
        )
    return rows


def beside(notes: Mapping[str, Any], result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of one target's result: what is left of the network, beside what that is in milliseconds."""
    variants = result.get("variants", {})
    timed = {name: each["latency"] for name, each in variants.items() if each["latency"]}
    if "fp32" not in timed or timing_warnings.untimed(list(timed.values())):
        return []
    found = []
    for name, raw in timed.items():
        sizes = {size: 1.0 if name == "fp32" else notes[size][1] / notes[size][0] for size in ("macs", "params")}
        times, (low, high) = intervals.ratio_interval(timings.windows(timed["fp32"]), timings.windows(raw))
        told = {"times": times, "low": low, "high": high if math.isfinite(high) else None}
        p50 = timings.percentiles(raw)["p50"]
        found.append({"target": result["target"], "as": name, **sizes, "p50_ms": p50, **told})
    return found


def slower(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of `beside`: where fewer multiplications bought no time."""
    return [
        f"{each['target']}: pruned, in FP32, it is no faster: {100 * each['macs']:.1f} % of the multiplications, "
        f"{each['times']:.3f} times as fast, 95 % interval {each['low']:.3f} to {each['high']:.3f}"
        for each in found
        if each["as"] == "pruned" and each["high"] is not None and each["high"] <= 1
    ]


def rows(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Of `beside`, in words."""
    return [
        (
            each["target"],
            each["as"],
            f"{100 * each['macs']:.1f}",
            f"{100 * each['params']:.1f}",
            ms(each["p50_ms"]),
            "" if each["as"] == "fp32" else _times(each["times"], each["low"], each["high"]),
        )
        for each in found
    ]


def ms(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _times(times: float, low: float, high: float | None) -> str:
    return f"{times:.3f}" + (f" ({low:.3f} to {high:.3f})" if high is not None else "")


def _percent(part: float | None) -> str:
    return "" if part is None else f"{100 * part:.2f}"
