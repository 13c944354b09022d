"""Energy and throughput in every report: cells, tables, and once under them what measured it or why nothing did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ...portable.amounts import Amounts, EnergyAmount, RateAmount
from ...portable.times import NO_RATE
from ...text import as_sentence
from .cells import Table, ms, short_number, table

ENERGY_COLUMNS = ("mJ (95 %)", "W", "idle W")
RATE_COLUMNS = ("images/s (95 %)", "streams", "batch")
Row = tuple[tuple[str, ...], Amounts]  # the cells that name a network, and what is known of it
Label = tuple[str, str]  # a group of networks, such as a target, and one in it
Labelled = tuple[Label, Amounts]


def energy_cells(found: EnergyAmount) -> tuple[str, ...]:
    """Return the cells under ENERGY_COLUMNS."""
    return energy_cell(found), short_number(found.watts), short_number(found.idle_w)


def energy_cell(found: EnergyAmount) -> str:
    """Return millijoules per inference with their interval: "12.3 (12.1 to 12.5)"."""
    high = None if found.high_mj is None else ms(found.high_mj)
    return _with_interval(ms(found.mj), ms(found.low_mj), high)


def rate_cells(found: RateAmount) -> tuple[str, ...]:
    """Return the cells under RATE_COLUMNS."""
    return rate_cell(found), str(found.streams), str(found.batch)


def rate_cell(found: RateAmount) -> str:
    """Return images per second with their interval: "1,205 (1,190 to 1,220)"."""
    high = None if found.high is None else _images(found.high)
    return _with_interval(_images(found.images_per_s), _images(found.low), high)


def short_cells(found: Amounts) -> tuple[str, str]:
    """Return millijoules and images per second without an interval; empty for what was not measured."""
    energy, rates = found.energy, found.throughput
    one = rates[0] if isinstance(rates, tuple) and len(rates) == 1 else None
    return "" if isinstance(energy, str) else ms(energy.mj), _images(one.images_per_s) if one else ""


def setting(found: RateAmount) -> str:
    """Return with how many requests at once: "4 streams × batch 8"."""
    return f"{found.streams} stream{'' if found.streams == 1 else 's'} × batch {found.batch}"


def energy_table(names: Sequence[str], rows: Iterable[Row]) -> Table:
    """Return the networks whose energy was measured; `names` are the columns that name them."""
    return table(
        (*names, *ENERGY_COLUMNS),
        [(*each, *energy_cells(found.energy)) for each, found in rows if not isinstance(found.energy, str)],
    )


def rate_table(names: Sequence[str], rows: Iterable[Row]) -> Table:
    """Return a row for each setting with which the throughput of a network was measured."""
    return table(
        (*names, *RATE_COLUMNS),
        [(*each, *rate_cells(rate)) for each, found in rows for rate in _rates(found)],
    )


def energy_sentences(labelled: Iterable[Labelled]) -> list[str]:
    """Return which sensor measured energy, or why none did: each once, with the networks that it is true of."""
    return _grouped((label, _energy_words(found)) for label, found in labelled)


def rate_sentences(labelled: Iterable[Labelled]) -> list[str]:
    """Return why throughput was not measured where a recipe wanted it: each reason once."""
    return _grouped((label, _rate_words(found)) for label, found in labelled)


def setting_sentences(labelled: Iterable[Labelled]) -> list[str]:
    """Return with how many streams and images throughput was measured, for a table that has no column for it."""
    return _grouped((label, _setting_words(found)) for label, found in labelled)


def _energy_words(found: Amounts) -> str:
    if isinstance(found.energy, str):
        return f"Energy was not measured: {found.energy}"
    return f"Energy by {found.energy.sensor}"


def _rate_words(found: Amounts) -> str:
    """Return why throughput was not measured; empty where it was, or was not wanted."""
    if not isinstance(found.throughput, str) or found.throughput == NO_RATE:
        return ""
    return as_sentence(found.throughput).rstrip(".")


def _setting_words(found: Amounts) -> str:
    return ", ".join(f"Images/s with {setting(rate)}" for rate in _rates(found))


def _grouped(words: Iterable[tuple[Label, str]]) -> list[str]:
    """Return each sentence once, with what it is true of in front of it; without that where it is true of all."""
    found: dict[str, dict[str, list[str]]] = {}
    every: dict[str, list[str]] = {}
    for (group, member), sentence in words:
        every.setdefault(group, []).append(member)
        found.setdefault(sentence, {}).setdefault(group, []).append(member)
    return [_with_names(sentence, groups, every) for sentence, groups in found.items() if sentence]


def _with_names(sentence: str, groups: Mapping[str, list[str]], every: Mapping[str, list[str]]) -> str:
    if groups == every:
        return sentence
    names = [
        name
        for group, members in groups.items()
        for name in ([group] if members == every[group] else [f"{group} {member}" for member in members])
    ]
    return f"{', '.join(names)}: {sentence[:1].lower()}{sentence[1:]}"


def _rates(found: Amounts) -> Iterator[RateAmount]:
    if isinstance(found.throughput, tuple):
        yield from found.throughput


def _images(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or not value else ms(value)


def _with_interval(value: str, low: str, high: str | None) -> str:
    return f"{value} (no interval)" if high is None else f"{value} ({low} to {high})"
