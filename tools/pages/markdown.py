"""Markdown of the generated pages: tables, code, links; and what comments say of a class's fields."""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
MADE = "<!-- Made by tools/reference.py from the code: change the code, then run `make docs`. -->\n"


def page(title: str, *parts: str) -> str:
    """Join the parts of a page below its title."""
    return "\n".join([MADE, f"# {title}\n", *(part.strip("\n") + "\n" for part in parts if part)])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, without the columns that are empty in each row; empty without rows."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    shown = [index for index in range(len(head)) if index == 0 or any(row[index] for row in cells)]
    lines = [[head[index] for index in shown], ["---"] * len(shown), *([row[i] for i in shown] for row in cells)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def code(text: object) -> str:
    """Return inline code; empty for nothing."""
    return f"`{text}`" if str(text) else ""


def fence(text: str, language: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def prose(text: str) -> str:
    """Return a plain sentence as Markdown: options as code, and no character that Markdown would take for its own."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def sentence(text: str) -> str:
    """Return a text that begins with a capital letter and ends with a full stop."""
    text = prose(text).strip()
    if not text:
        return ""
    begin = text[0].upper() + text[1:] if re.match(r"[a-z]+[ ,.:]|[a-z]+$", text) else text
    return begin if begin[-1] in ".!?" else f"{begin}."


def comments(kind: type) -> dict[str, str]:
    """Return what the source says of each field: the comment on its line, or the lines of comment above it."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):
            continue
        found |= _comments(source)
    return found


def _comments(source: str) -> dict[str, str]:
    lines = source.splitlines()
    by_line = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and "noqa" not in token.string
    }
    found = {}
    (tree,) = ast.parse(source).body
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above: list[str] = []
            line = node.lineno - 1
            while line in by_line and lines[line - 1].lstrip().startswith("#"):
                above.insert(0, by_line[line])
                line -= 1
            text = by_line.get(node.end_lineno or node.lineno) or " ".join(above)
            if text:
                found[node.target.id] = text
    return found


def _plain(text: str) -> str:
    text = re.sub(r"(?<![\w-])(--[a-z][\w-]*)", r"`\1`", text)
    return re.sub(r"([*<\[\]])", r"\\\1", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
