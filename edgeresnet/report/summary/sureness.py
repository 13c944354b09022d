"""What a user feels of a variant, written: how far the top probability moved, what crosses a threshold, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ...portable.probabilities import Confidence, Crossings, Estimate
from ...portable.result import Measured
from .cells import Table, percent, signed

CHANGE_COLUMNS = ("target", "as", "mean change (95 %)", "99th percentile (95 %)")
THRESHOLD_COLUMNS = ("target", "as", "threshold", "cross it", "down", "up", "share (95 %)")
CALIBRATION_COLUMNS = ("target", "as", "FP32", "now", "95 % interval of the change")
_PLACES = 4  # decimals of a probability
_REMARKABLE = 0.05  # mean change: shown to be larger, it is worth a line of the last screen
_NONE = 0.5 * 10**-_PLACES


class SurenessTable(NamedTuple):
    """One table, its title and the sentence that says what is in it."""

    title: str
    words: str
    table: Table


class SureVariant(NamedTuple):
    """What changed of one variant's probabilities on one target."""

    target: str
    variant: str
    found: Confidence


def sureness_tables(measured: Sequence[Measured]) -> list[SurenessTable]:
    """Return a table for each kind of change that is known."""
    rows = list(sure_variants(measured))
    crossed = [(row, row.found.crossings) for row in rows if row.found.crossings]
    calibrated = [(row, row.found.calibration) for row in rows if row.found.calibration]
    tables = [
        SurenessTable(
            "Top probability",
            "Change of the probability of FP32's answer, |p - p̂|, compared with the FP32 reference on the same images.",
            Table(CHANGE_COLUMNS, [_change_cells(row) for row in rows]),
        ),
        SurenessTable(
            "Threshold",
            "Images on the other side of the threshold: each network's probability of its own answer decides.",
            Table(THRESHOLD_COLUMNS, [_crossing_cells(row, found) for row, found in crossed]),
        ),
        SurenessTable(
            "Calibration",
            "Expected calibration error of 15 bins. The interval is paired, and corrected for what few images add.",
            Table(
                CALIBRATION_COLUMNS,
                [
                    (*row[:2], f"{one.before:.{_PLACES}f}", f"{one.now:.{_PLACES}f}", _span_cell(one.change))
                    for row, one in calibrated
                ],
            ),
        ),
    ]
    return [each for each in tables if each.table.rows]


def sure_variants(measured: Sequence[Measured]) -> Iterator[SureVariant]:
    """Yield what is known of each variant; of FP32 only where its compiler changed something."""
    for result in measured:
        for name, found in result.confidence.items():
            if name != "fp32" or found.mean_change.value >= _NONE:
                yield SureVariant(result.target, name, found)


def _change_cells(row: SureVariant) -> tuple[str, ...]:
    return row.target, row.variant, estimate_cell(row.found.mean_change), estimate_cell(row.found.p99_change)


def _crossing_cells(row: SureVariant, found: Crossings) -> tuple[str, ...]:
    low, high = found.interval_pct()
    share = f"{percent(found.share_pct)} ({low:.2f} to {high:.2f})"
    counts = f"{found.crossed} of {found.images:,}", str(found.fell), str(found.rose)
    return row.target, row.variant, f"{found.threshold:g}", *counts, share


def estimate_cell(found: Estimate) -> str:
    """Return a probability with its interval: "0.0131 (0.0110 to 0.0160)"."""
    high = "?" if found.high is None else f"{found.high:.{_PLACES}f}"
    return f"{found.value:.{_PLACES}f} ({found.low:.{_PLACES}f} to {high})"


def _span_cell(found: Estimate) -> str:
    """Return the interval alone: its corrected middle is not the difference of the two errors next to it."""
    high = "?" if found.high is None else signed(found.high, _PLACES)
    return f"{signed(found.low, _PLACES)} to {high}"


def sureness_sentence(result: Measured) -> str:
    """Return what changed of what would ship, in one sentence; empty where nothing is known."""
    found = result.confidence.get(result.ships)
    if found is None:
        return ""
    change = estimate_cell(found.mean_change)
    words = f"{result.target} {result.ships}: the top probability changes by {change} on average"
    if found.crossings:
        words += f"; {found.crossings.crossed} of {found.crossings.images} images cross {found.crossings.threshold:g}"
    return words


def remarkable_choices(measured: Sequence[Measured]) -> tuple[str, ...]:
    """Return a line on the target that changes most, from the most words to the fewest.

    With a threshold it counts what crosses that. Without one it is empty where no change is shown to be large.
    """
    known = [(result, found) for result in measured if (found := result.confidence.get(result.ships))]
    crossed = [(result, found.crossings) for result, found in known if found.crossings]
    if crossed:
        return _threshold_choices(*max(crossed, key=lambda one: one[1].share_pct))
    large = [(result, found.mean_change) for result, found in known if found.mean_change.low > _REMARKABLE]
    if not large:
        return ()
    result, change = max(large, key=lambda one: one[1].value)
    words = f"Top probability of {result.ships} on {result.target} changes by {change.value:.2f} on average"
    return f"{words}: see the notes.", f"{words}."


def _threshold_choices(result: Measured, found: Crossings) -> tuple[str, ...]:
    low, high = found.interval_pct()
    where = f"Threshold {found.threshold:g}, {result.target} {result.ships}"
    count = f"{found.crossed} of {found.images:,} images cross it"
    ways = f"{found.fell} down, {found.rose} up"
    return (
        f"{where}: {count} ({ways}; {low:.2f} to {high:.2f} %).",
        f"{where}: {count} ({ways}).",
        f"Threshold {found.threshold:g}: {count} ({ways}).",
    )
