"""Promises and what was measured: all on one line, that of the promise. An interval on its left keeps the promise."""

from __future__ import annotations

import math

from ...portable import judging
from ...portable.readings import KINDS, Kind
from ...portable.result import Verdict
from ..summary import Summary, short_number
from .element import Markup, el, name
from .figure import Origin, figure, verify_origin
from .first import verdict
from .scale import Scale
from .strips import Strip, bar

_DRAWN = 24
_TABLED = 200  # rows; a promise for each of a thousand classes, on several targets, is more than a page can hold


def section(seen: Summary) -> Markup | None:
    found = seen.verdicts
    if not found:
        return None
    shown = found if len(found) <= _DRAWN else sorted(found, key=_badness, reverse=True)
    origins: dict[str, Origin] = {each.target: verify_origin(seen.run, each.target) for each in found}
    columns = ("target", "promise", "promised", "found", "lowest (95 %)", "highest (95 %)", "verdict")
    rows = [
        (
            each.target,
            each.promise.name,
            *map(short_number, (each.promise.limit, each.value, each.low, each.high)),
            each.verdict,
        )
        for each in shown[:_TABLED]
    ]
    return figure(
        "Promises",
        "The vertical line is the promise. An interval on its left keeps the promise, and one on its right breaks it. "
        f"An interval across the line is undecided. Each row has its own scale.{_left_out(len(found))}",
        el("ul", [_row(each) for each in shown[:_DRAWN]], class_="promises"),
        origins.values(),
        (columns, rows),
        headed=False,
    )


def _left_out(count: int) -> str:
    if count <= _DRAWN:
        return ""
    more = f" The table has the {_TABLED} worst, and `--format json` has all." if count > _TABLED else ""
    return f" The chart shows the {_DRAWN} worst of {count:,}.{more}"


def _badness(each: Verdict) -> tuple[int, float]:
    """Order by verdict, then by how near to its limit, or how far beyond, the value is."""
    kind = KINDS.get(each.promise.kind)
    beyond = -math.inf if each.value is None or kind is None else _beyond(kind, each.promise.limit, each.value)
    return judging.WORST_LAST.index(each.verdict), beyond


def _row(each: Verdict) -> Markup:
    words = f"{each.target} {each.promise.name}: {each.verdict}: {each.reason}"
    text = el(
        "div",
        el("p", verdict(each.verdict), " ", el("b", name(each.target)), " ", name(each.promise.name)),
        el("p", name(each.reason), class_="quiet"),
    )
    return el("li", text, bar(_strip(each, words), Scale(-1, 1), 0))


def _strip(each: Verdict, words: str) -> Strip:
    """Place distances from the limit, as parts of the largest one; a floor is turned round, so that left is kept."""
    kind = KINDS.get(each.promise.kind)
    if each.value is None or kind is None:  # a later version may promise what this one cannot draw
        return Strip("", words, kind="absent")
    ends = [each.value if end is None else end for end in (each.low, each.high)]
    middle, *sides = (_beyond(kind, each.promise.limit, number) for number in (each.value, *ends))
    far = 1.15 * max(map(abs, (middle, *sides))) or 1.0
    low, high = sorted(side / far for side in sides)
    if each.high is None and each.low is not None:  # nothing bounds it from above
        low, high = (low, 1.0) if kind.ceiling else (-1.0, high)
    return Strip("", words, value=middle / far, low=low, high=high, kind=each.verdict)


def _beyond(kind: Kind, limit: float, number: float) -> float:
    """Return how far on the wrong side of the limit a number is; of speed-ups and times, as a factor."""
    is_factor = kind.is_factor and number > 0 and limit > 0
    beyond = math.log(number / limit) if is_factor else number - limit
    return beyond if kind.ceiling else -beyond
