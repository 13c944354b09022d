"""Stored results → something a person or a program reads. Never measures, never judges, reads nothing but the run.

HTML alone also looks at what still lies beside it: its images, and other runs of its model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import (
    bench_text,
    compare_text,
    compared,
    explain_text,
    gate_text,
    html,
    inspect_text,
    json_report,
    junit,
    markdown,
    pruned,
    quantized,
    terminal,
    trained,
    view,
)

__all__ = [
    "FORMATS",
    "bench_text",
    "compare_text",
    "compared",
    "explain_text",
    "gate_text",
    "html",
    "inspect_text",
    "pruned",
    "quantized",
    "terminal",
    "trained",
    "view",
]

FORMATS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "terminal": terminal.render,
    "md": markdown.render,
    "json": json_report.render,
    "html": html.render,
    "junit": junit.render,
}
