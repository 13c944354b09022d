"""The run as Markdown: for a merge request, a wiki, a file beside the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import curve, view


def render(run: Mapping[str, Any]) -> str:
    seen = view.of(run)
    parts = [
        f"# {_cell(seen.title)}: {seen.verdict}",
        f"{seen.meaning[:1].upper()}{seen.meaning[1:]}.",
        table(seen.columns, seen.rows) if seen.rows else "",
        "\n".join(f"- {_cell(sentence)}" for sentence in seen.losses),
        table(*view.filled(view.LATENCY_COLUMNS, seen.latencies)) if seen.latencies else "",
        "\n".join(f"- {_cell(sentence)}" for sentence in seen.speedups),
        "\n".join(f"- **{_cell(sentence)}**" for sentence in seen.advice),
        "\n".join(f"- **{_cell(target)}** {_cell(reason)}" for target, reason in seen.absent),
        _section("Promises", table(("verdict", "target", "promise", "why"), seen.verdicts) if seen.verdicts else ""),
        _section("Notes", "\n".join(f"- {_cell(note)}" for note in seen.notes)),
        _section("Classes", table(view.CLASS_COLUMNS, seen.classes) if seen.classes else ""),
        *(
            _section("Training", f"{_cell(sentence)}\n\n{table(curve.COLUMNS, rows)}")
            for sentence, rows in seen.trainings
        ),
        *(
            _section("Recovery", _cell(sentence) + (f"\n\n{table(curve.COLUMNS, rows)}" if rows else ""))
            for sentence, rows in seen.recoveries
        ),
        _section("Steps", table(("step", "state", "time", "digest"), seen.steps)),
        _section("Conditions", "\n".join(f"- {_cell(line)}" for line in seen.conditions)),
        f"Run `{run['id']}`, recipe `{run['recipe_digest'][:12]}`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _cell(text: str) -> str:
    """A name with a pipe, a bracket or a line break must not break the table or become markup."""
    for raw, safe in (("|", "\\|"), ("<", "&lt;"), ("\n", " "), ("`", "'")):
        text = text.replace(raw, safe)
    return text
