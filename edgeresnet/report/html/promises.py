"""Promises against what was found: all on one line, that of what was promised; to the left of it is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...portable import judging
from . import facts
from .element import Markup, el, name
from .figure import Origin, figure
from .first import verdict
from .scale import Scale
from .strips import Strip, bar

_DRAWN = 24
_TABLED = 200  # rows; a promise for each of a thousand classes, on several targets, is more than a page can hold


def section(run: Mapping[str, Any]) -> Markup | None:
    found = run["verdicts"]
    if not found:
        return None
    shown = found if len(found) <= _DRAWN else sorted(found, key=_badness, reverse=True)
    origins: dict[str, Origin] = {each["target"]: facts.origin(run, f"verify:{each['target']}") for each in found}
    columns = ("target", "promise", "promised", "found", "lowest (95 %)", "highest (95 %)", "verdict")
    rows = [
        (
            each["target"],
            each["promise"],
            *(_spelled(each.get(key)) for key in ("limit", "value", "low", "high")),
            each["verdict"],
        )
        for each in shown[:_TABLED]
    ]
    return figure(
        "Promises",
        "The upright line is what was promised: an interval wholly to the left of it is kept, wholly to the right is "
        f"broken, across it is undecided. Each row has a scale of its own.{_left_out(len(found))}",
        el("ul", [_row(each) for each in shown[:_DRAWN]], class_="promises"),
        origins.values(),
        (columns, rows),
        headed=False,
    )


def _left_out(count: int) -> str:
    if count <= _DRAWN:
        return ""
    cut = f"; the table has the {_TABLED} worst, `--format json` all" if count > _TABLED else ""
    return f" Drawn are the {_DRAWN} worst of {count:,}, {count - _DRAWN:,} more are not{cut}."


def _badness(each: Mapping[str, Any]) -> tuple[int, float]:
    """By its verdict, and how near to its limit, or how far beyond, it was found."""
    value = each.get("value")
    beyond = -math.inf if value is None else _beyond(each["promise"], value, each["limit"])
    return judging.WORST_LAST.index(each["verdict"]), beyond


def _row(each: Mapping[str, Any]) -> Markup:
    said = f"{each['target']} {each['promise']}: {each['verdict']}: {each['reason']}"
    text = el(
        "div",
        el("p", verdict(each["verdict"]), " ", el("b", name(each["target"])), " ", name(each["promise"])),
        el("p", name(each["reason"]), class_="quiet"),
    )
    return el("li", text, bar(_strip(each, said), Scale(-1, 1), 0))


def _strip(each: Mapping[str, Any], said: str) -> Strip:
    """Distances from the limit, as parts of the largest one; a floor is turned round, so that left is kept."""
    value, limit = each.get("value"), each["limit"]
    if value is None:
        return Strip("", said, kind="absent")
    ends = [value if each.get(key) is None else each[key] for key in ("low", "high")]
    found, low, high = (_beyond(each["promise"], number, limit) for number in (value, *ends))
    far = 1.15 * max(abs(number) for number in (found, low, high)) or 1.0
    low, high = sorted((low / far, high / far))
    if each.get("high") is None and each.get("low") is not None:  # nothing bounds it from above
        low, high = (low, 1.0) if each["promise"].startswith("max") else (-1.0, high)
    return Strip("", said, value=found / far, low=low, high=high, kind=each["verdict"])


def _beyond(promise: str, number: float, limit: float) -> float:
    """How far on the wrong side of the limit; of speed-ups and times, in times as much."""
    times = promise.startswith(("min_speedup", "max_latency")) and number > 0 and limit > 0
    beyond = math.log(number / limit) if times else number - limit
    return beyond if promise.startswith("max") else -beyond


def _spelled(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if abs(value) < 100 else f"{value:.2f}"
