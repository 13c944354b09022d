"""How each kind of number is written, in every report: in a cell of a table or in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...portable.intervals import Interval, median
from ...portable.result import TOP1, AnyAccuracy, Measured, ScoreName
from ...portable.times import Latency, Ratio

LATENCY_COLUMNS = ("p50 ms", "p90", "p99", "device", "file", "load", "first", "peak MB")


class Table(NamedTuple):
    """What `tables.columns(*table)` and `markdown.table(*table)` print."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table without the columns that are empty in every row: what was not measured takes no room."""
    filled = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    return Table([columns[index] for index in filled], [[row[index] for index in filled] for row in rows])


def ms(value: float | None) -> str:
    """Return milliseconds (or any number of that size): three decimals below ten, one above; empty for None."""
    return "" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def signed(value: float, places: int = 2) -> str:
    """Return a number with its sign and two decimals, or `places`: "+0.50"; zero has no sign."""
    text = f"{value:+.{places}f}"
    return text[1:] if math.isclose(float(text), 0) else text


def percent(value: float | None) -> str:
    """Return a number that is in percent: "92.00 %"; empty for None."""
    return "" if value is None else f"{value:.2f} %"


def short_number(value: float | None) -> str:
    """Return a number with four digits, or two decimals from a hundred on; empty for None."""
    return "" if value is None else f"{value:.4g}" if abs(value) < 100 else f"{value:.2f}"


def sqnr(decibels: float | None) -> str:
    """Return an SQNR: "27.5 dB", or "no difference" for None."""
    return "no difference" if decibels is None else f"{decibels:.1f} dB"


def sqnr_cell(accuracy: AnyAccuracy) -> str:
    """Return the SQNR of answers; "not known" for those that hold classes and no logits."""
    return sqnr(accuracy.sqnr_db) if accuracy.has_sqnr else "not known"


def span(interval: Interval) -> str:
    """Return the two ends of an interval in points, with signs: "-0.29 to +1.39"."""
    return f"{signed(interval.low)} to {signed(interval.high)}"


def score_name(measured: Sequence[Measured]) -> ScoreName:
    """Return what the metric of some results is called; they are of one task."""
    return next((result.shipped.accuracy.name for result in measured), TOP1)


def accuracy_columns(name: ScoreName) -> tuple[str, ...]:
    """Return the heads over `accuracy_cells`."""
    return name.short, "drop pp (95 %)", "agree", "lost/won", "MB"


def score_cell(accuracy: AnyAccuracy) -> str:
    """Return top-1, or another task's metric: "92.00 %", or "not known" without labels."""
    return percent(accuracy.score_pct) if accuracy.has_labels else "not known"


def drop_cell(accuracy: AnyAccuracy) -> str:
    """Return the points lost with their 95 % interval: "+0.50 (-0.29 to +1.39)", or "no labels"."""
    if not accuracy.has_labels:
        return "no labels"
    return f"{signed(accuracy.drop_pp)} ({span(accuracy.drop_interval_pp())})"


def points(drop: float) -> str:
    """Return a drop in words: "1.11 points lost", or "0.07 points gained"."""
    shown = f"{abs(drop):.2f}"
    return f"{shown} points {'gained' if drop < 0 and float(shown) else 'lost'}"


def agree_cell(accuracy: AnyAccuracy) -> str:
    """Return how many answers are the reference's: "99.00 %", or "not known" where there is none to compare."""
    return "not known" if accuracy.uncompared else percent(accuracy.agree_pct)


def same_answers(accuracy: AnyAccuracy, flipped: str) -> str:
    """Return the same in words: "99.00 % same boxes", or why no answer is compared."""
    return accuracy.uncompared or f"{percent(accuracy.agree_pct)} same {flipped}"


def flips_cell(accuracy: AnyAccuracy) -> str:
    """Return how many images were lost and won: "10/5"; empty without labels."""
    return f"{accuracy.lost}/{accuracy.won}" if accuracy.has_labels else ""


def accuracy_cells(accuracy: AnyAccuracy, size_mb: float) -> tuple[str, ...]:
    """Return the cells under `accuracy_columns`."""
    agree = agree_cell(accuracy)
    return score_cell(accuracy), drop_cell(accuracy), agree, flips_cell(accuracy), f"{size_mb:.2f}"


def ratio_cell(ratio: Ratio, places: int = 3) -> str:
    """Return how many times as fast: "2.500 (2.400 to 2.600)"."""
    value, low, high = (f"{each:.{places}f}" for each in ratio)
    return f"{value} ({low} to {high})" if ratio.has_interval else f"{value} (no interval)"


def latency_cells(latency: Latency) -> tuple[str, ...]:
    """Return the cells under LATENCY_COLUMNS: from and to the host's memory, the p50 of other kinds, and the median
    over processes of what each measures once.
    """
    host = latency.host
    others = (found and found.p50 for found in map(latency.percentiles, ("device", "file")))
    once = (latency.middle("load_ms"), latency.middle("first_ms"), latency.middle("peak_memory_mb"))
    return (
        p50_cell(latency),
        *map(ms, host[1:] if host else (None, None)),
        *map(ms, others),
        *map(ms, once),
    )


def p50_cell(latency: Latency | None) -> str:
    """Return p50 from and to the host's memory, marked where an emulator ran it."""
    shown = ms(latency.p50 if latency else None)
    return f"{shown} emulated" if latency and latency.is_emulated and shown else shown


def p50_words(latency: Latency) -> str:
    """Return p50 with its unit, marked where an emulator ran it."""
    return f"{ms(latency.p50)} ms{' emulated' if latency.is_emulated else ''}"


def process_p50s(latency: Latency) -> list[float]:
    """Return the median of each process that was timed."""
    return [median(np.concatenate(windows)) for windows in latency.windows()]
