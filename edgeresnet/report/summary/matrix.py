"""Devices next to one another: each device, target and variant of a run in a row, with what no other beats marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...portable import amounts
from ...portable.amounts import Amounts
from ...portable.frozen import dataclass
from ...portable.result import TOP1, Measured, Variant, Word
from ...runs import Run
from .amounts import Labelled, energy_cell, energy_sentences, rate_cell, rate_sentences, setting_sentences, short_cells
from .cells import Table, drop_cell, p50_cell, score_cell, signed, table
from .tradeoff import frontier, tradeoff_points

BEST = "yes"  # no other row is as fast and as often correct, and better in one of the two
HERE = "here"
_BEST_WORDS = "Best: no other row is as fast and as often correct, and better in one of the two"
_EMULATED_WORDS = "Emulated: an emulator ran it, so its time is not compared, and its row is never best"


@dataclass(frozen=True)
class MatrixRow:
    """One variant on one device; without a variant, a target that was not measured there."""

    result: str  # its name in the run
    device: str
    target: str
    name: str
    variant: Variant | None
    amounts: Amounts | None
    is_best: bool
    verdict: Word | None  # with what would ship


@dataclass(frozen=True)
class Matrix:
    """All rows of a run that devices measured; none of another run."""

    rows: tuple[MatrixRow, ...] = ()

    @property
    def table(self) -> Table:
        """With every interval: for a page."""
        return self._table(_WIDE)

    @property
    def tables(self) -> list[Table]:
        """The same, wider and narrower: a terminal takes the first that fits. Verdicts stand below as well."""
        return [self._table(each) for each in (_WIDE, _MIDDLE, _NARROW, _NARROW[:-1])]

    @property
    def sentences(self) -> list[str]:
        """What a reader of the table needs: settings, sensors, reasons for empty cells, and what is best."""
        known: list[Labelled] = [((each.result, each.name), each.amounts) for each in self.rows if each.amounts]
        best = [_BEST_WORDS] if any(each.is_best for each in self.rows) else []
        best += [_EMULATED_WORDS] if any(map(_is_emulated, self.rows)) else []
        return [*setting_sentences(known), *energy_sentences(known), *rate_sentences(known), *best]

    def _table(self, columns: tuple[Column, ...]) -> Table:
        score = next((row.variant.accuracy.name for row in self.rows if row.variant), TOP1).short
        heads = [name.format(score=score) for name, _ in columns]
        return table(heads, [[cell(row) for _, cell in columns] for row in self.rows])


def device_matrix(run: Run) -> Matrix:
    """Return a row for each variant on each device; none where no device measured anything."""
    if not any("@" in name for name in run.results):
        return Matrix()
    best = {(point.target, point.variant) for point in frontier(tradeoff_points(run))}
    return Matrix(tuple(row for name in run.results for row in _rows(run, name, best)))


def _rows(run: Run, name: str, best: set[tuple[str, str]]) -> Iterator[MatrixRow]:
    """Yield the rows of one result: the verdict stands with what would ship."""
    result, verdict = run.results[name], run.verdict_of(name)
    target, _, device = name.partition("@")
    where = name, device or HERE, target
    if not isinstance(result, Measured):
        yield MatrixRow(*where, "", None, None, False, verdict)
        return
    for variant, each in result.variants.items():
        known = amounts.of(each.latency) if each.latency else None
        word = verdict if variant == result.ships else None
        yield MatrixRow(*where, variant, each, known, (name, variant) in best, word)


Column = tuple[str, Callable[[MatrixRow], str]]


def _is_emulated(row: MatrixRow) -> bool:
    return bool(row.variant and row.variant.latency and row.variant.latency.is_emulated)


def _score(row: MatrixRow) -> str:
    return score_cell(row.variant.accuracy) if row.variant else ""


def _drop(row: MatrixRow) -> str:
    return drop_cell(row.variant.accuracy) if row.variant else ""


def _short_drop(row: MatrixRow) -> str:
    return signed(row.variant.accuracy.drop_pp) if row.variant and row.variant.accuracy.has_labels else ""


def _p50(row: MatrixRow) -> str:
    return p50_cell(row.variant.latency) if row.variant else ""


def _rate(row: MatrixRow) -> str:
    found = row.amounts.throughput if row.amounts else ""
    return ", ".join(map(rate_cell, found)) if isinstance(found, tuple) else ""


def _short_rate(row: MatrixRow) -> str:
    return short_cells(row.amounts)[1] if row.amounts else ""


def _energy(row: MatrixRow) -> str:
    found = row.amounts.energy if row.amounts else ""
    return "" if isinstance(found, str) else energy_cell(found)


def _short_energy(row: MatrixRow) -> str:
    return short_cells(row.amounts)[0] if row.amounts else ""


def _best(row: MatrixRow) -> str:
    return BEST if row.is_best else ""


_NAMES: tuple[Column, ...] = (
    ("device", lambda row: row.device),
    ("target", lambda row: row.target),
    ("as", lambda row: row.name),
    ("{score}", _score),
)
_END: tuple[Column, ...] = (("best", _best), ("verdict", lambda row: row.verdict or ""))
_SHORT: tuple[Column, ...] = (("p50 ms", _p50), ("images/s", _short_rate), ("mJ", _short_energy), *_END)
_WIDE: tuple[Column, ...] = (
    *_NAMES,
    ("drop pp (95 %)", _drop),
    ("p50 ms", _p50),
    ("images/s (95 %)", _rate),
    ("mJ (95 %)", _energy),
    *_END,
)
_MIDDLE: tuple[Column, ...] = (*_NAMES, ("drop pp (95 %)", _drop), *_SHORT)
_NARROW: tuple[Column, ...] = (*_NAMES, ("drop", _short_drop), *_SHORT)
