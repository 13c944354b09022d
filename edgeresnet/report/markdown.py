"""The run as Markdown: for a merge request, a wiki, a file next to the model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .. import text
from ..runs import Run
from . import summary

# An underscore inside a word is one, everywhere: cifar_resnet8 stays readable as it is.
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_ID = re.compile(r"[A-Za-z0-9-]+")
_BLOCK = re.compile(r"^(\d*)([#>+-]|(?<=\d)[.)])(?=[#>+-]*(\s|$))")  # a heading, a quotation, a list, a rule


def render(run: Run) -> str:
    """Return a run as Markdown."""
    seen = summary.of(run)
    parts = [
        f"# {cell(seen.title)}: {seen.verdict}",
        text.as_sentence(seen.meaning),
        *_tabled("Devices", [seen.matrix.table], seen.matrix.sentences),
        table(*seen.accuracy_table) if seen.accuracies else "",
        _items(map(cell, seen.losses)),
        table(*seen.latency_table) if seen.latencies else "",
        *_tabled("Energy and throughput", [seen.energy_table, seen.rate_table], seen.amount_sentences),
        _section("Layers in float", _items(f"**{cell(target)}** {cell(each)}" for target, each in seen.searches)),
        table(*seen.choice_table) if seen.choices else "",
        _items(cell(each.sentence) for each in seen.speedups),
        _items(f"**{cell(sentence)}**" for sentence in seen.advice),
        _items(f"**{cell(target)}** {cell(reason)}" for target, reason in seen.absent),
        _section("Promises", table(*seen.promise_table) if seen.verdicts else ""),
        *(_explained(each.title, each.words, each.table) for each in seen.sureness),
        _section("Notes", _items(map(cell, seen.notes))),
        _section("Classes", table(*seen.class_table) if seen.classes else ""),
        *(_explained("Training", each.sentence, each.epochs) for each in seen.trainings),
        *_pruning(seen.pruning),
        *(_explained("Recovery", each.sentence, each.epochs) for each in seen.recoveries),
        _section("Steps", table(*seen.step_table)),
        _section("Conditions", _items(map(cell, seen.conditions))),
        f"Run {code(run.id)}, recipe {code(run.recipe_digest[:12])}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; every cell is text."""
    head, *body = ([cell(value) for value in line] for line in (columns, *rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(columns), *body))


def code(name: str) -> str:
    """Return an id or a digest in the letters of code; anything else as text."""
    return f"`{name}`" if _ID.fullmatch(name) else cell(name)


def cell(name: str) -> str:
    """Return text as text: no name breaks a table, begins a heading or a list, shows an image, or becomes HTML."""
    one_line = text.on_one_line(name).strip()
    escaped = _MARKUP.sub(r"\\\g<0>", one_line).replace("&", "&amp;").replace("<", "&lt;")
    return _BLOCK.sub(r"\1\\\2", escaped)


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _tabled(title: str, tables: Iterable[summary.Table], sentences: Iterable[str]) -> list[str]:
    """Return tables under their title, and sentences; without a title where no table has a row."""
    shown, items = [table(*each) for each in tables if each.rows], _items(map(cell, sentences))
    return [f"## {title}", *shown, items] if shown else [items]


def _explained(title: str, sentence: str, rows: summary.Table) -> str:
    return _section(title, cell(sentence) + (f"\n\n{table(*rows)}" if rows.rows else ""))


def _pruning(found: summary.Pruning | None) -> list[str]:
    if found is None:
        return []
    searches = [_explained("Pruning", each.sentence, each.table) for each in found.searches]
    return [_explained("Pruning", found.sentence, found.table), *searches]
