"""The run as Markdown: for a merge request, a wiki, a file beside the model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .. import text
from . import curve, view

# An underscore inside a word is one, everywhere: cifar_resnet8 stays readable as it is.
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
_ID = re.compile(r"[A-Za-z0-9-]+")
_BLOCK = re.compile(r"^(\d*)([#>+-]|(?<=\d)[.)])(?=[#>+-]*(\s|$))")  # a heading, a quotation, a list, a rule


def render(run: Mapping[str, Any]) -> str:
    seen = view.of(run)
    parts = [
        f"# {cell(seen.title)}: {seen.verdict}",
        f"{seen.meaning[:1].upper()}{seen.meaning[1:]}.",
        table(seen.columns, seen.rows) if seen.rows else "",
        "\n".join(f"- {cell(sentence)}" for sentence in seen.losses),
        table(*view.filled(view.LATENCY_COLUMNS, seen.latencies)) if seen.latencies else "",
        "\n".join(f"- {cell(sentence)}" for sentence in seen.speedups),
        "\n".join(f"- **{cell(sentence)}**" for sentence in seen.advice),
        "\n".join(f"- **{cell(target)}** {cell(reason)}" for target, reason in seen.absent),
        _section("Promises", table(("verdict", "target", "promise", "why"), seen.verdicts) if seen.verdicts else ""),
        _section("Notes", "\n".join(f"- {cell(note)}" for note in seen.notes)),
        _section("Classes", table(view.CLASS_COLUMNS, seen.classes) if seen.classes else ""),
        *(
            _section("Training", f"{cell(sentence)}\n\n{table(curve.COLUMNS, rows)}")
            for sentence, rows in seen.trainings
        ),
        *(
            _section("Pruning", "\n\n".join([cell(sentence), *([table(*view.filled(head, rows))] if rows else [])]))
            for sentence, head, rows in seen.cuts
        ),
        *(
            _section("Recovery", cell(sentence) + (f"\n\n{table(curve.COLUMNS, rows)}" if rows else ""))
            for sentence, rows in seen.recoveries
        ),
        _section("Steps", table(("step", "state", "time", "digest"), seen.steps)),
        _section("Conditions", "\n".join(f"- {cell(line)}" for line in seen.conditions)),
        f"Run {code(run['id'])}, recipe {code(run['recipe_digest'][:12])}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head, *body = ([cell(value) for value in line] for line in (columns, *rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(columns), *body))


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def code(name: str) -> str:
    """An id or a digest, in the letters of code; whatever else stands there is text."""
    return f"`{name}`" if _ID.fullmatch(name) else cell(name)


def cell(name: str) -> str:
    """Text as text: no name breaks a table, begins a heading or a list, shows an image, or becomes HTML."""
    one_line = text.on_one_line(name).strip()
    escaped = _MARKUP.sub(r"\\\g<0>", one_line).replace("&", "&amp;").replace("<", "&lt;")
    return _BLOCK.sub(r"\1\\\2", escaped)
