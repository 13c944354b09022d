"""All that is known of a run, in words and tables of 80 columns: what `edgeresnet report --notes` prints."""

from __future__ import annotations

from collections.abc import Sequence

from ..runs import Run
from ..text import wrapped
from . import summary
from .lines import Line, plain, spaced, verdict_lines
from .tables import columns, first_that_fits


def lines(run: Run) -> list[Line]:
    """Return a run line by line, with an empty line between its parts."""
    seen = summary.of(run)
    sentences = (
        [seen.title, *(f"train: {each.sentence}" for each in seen.trainings)],
        [f"recover: {each.sentence}" for each in seen.recoveries],
        [f"{target}: {reason}" for target, reason in seen.absent],
    )
    learned, recovered, absent = ([plain(wrapped(each)) for each in group] for group in sentences)
    parts = [
        *learned,
        *_pruning(seen.pruning),
        *recovered,
        _tabled(first_that_fits(seen.matrix.tables), seen.matrix.sentences),
        plain(columns(*seen.accuracy_table)) if seen.accuracies else [],
        plain(*map(wrapped, seen.losses)) if seen.losses else [],
        plain(*(wrapped(f"{target}: {sentence}") for target, sentence in seen.searches)),
        plain(columns(*seen.choice_table)) if seen.choices else [],
        *(plain(wrapped(each.words), columns(*each.table)) for each in seen.sureness),
        plain(columns(*seen.latency_table)) if seen.latencies else [],
        *_amounts(seen),
        plain(*(wrapped(each.sentence) for each in seen.speedups)),
        plain(*map(wrapped, seen.advice)),
        *absent,
        verdict_lines(seen.verdicts),
        plain(*(wrapped(f"note: {note}") for note in seen.notes)),
        [Line(f"{seen.verdict}: {seen.meaning}", seen.verdict, seen.verdict)],
    ]
    return spaced(parts)


def _amounts(seen: summary.Summary) -> list[list[Line]]:
    """Return what an inference takes, how many images a second are answered, and once why something is not known."""
    return [_tabled(seen.energy_table, seen.amount_sentences), _tabled(seen.rate_table)]


def _tabled(rows: summary.Table, sentences: Sequence[str] = ()) -> list[Line]:
    """Return a table with sentences under it; one of them may be empty."""
    return [*(plain(columns(*rows)) if rows.rows else []), *plain(*map(wrapped, sentences))]


def _pruning(found: summary.Pruning | None) -> list[list[Line]]:
    if found is None:
        return []
    tables = [(found.sentence, found.table), *((each.sentence, each.table) for each in found.searches)]
    parts = []
    for sentence, table in tables:
        parts.append(plain(wrapped(f"prune: {sentence}")))
        parts += [plain(columns(*table))] if table.rows else []
    return parts
