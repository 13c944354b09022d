"""The interface for Python: signatures and docstrings of what `edgeresnet` exports, read from the source."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator

import edgeresnet
from edgeresnet.api import STAGES

from .markdown import code, fence, page

FUNCTIONS = ("run", "make", "plan", "load_run", "compare", "diagnose_int8")
INTRO = f"""
`import edgeresnet` loads nothing heavy: no torch, no ONNX, no runtime. All of it is typed.
[From Python](../how-to/python.md) shows it at work. Names that are not on this page may change without notice.

A recipe is a path, the same as a dict, or a `Recipe`. Paths in it are relative to the current folder.
Nothing is printed: a `Listener` receives what happens. Every error is an `EdgeresnetError` with a `hint`.

The stages are {", ".join(map(code, STAGES))}.
"""


def page_of_python() -> str:
    """Return the page of the names in `edgeresnet.__all__`: functions first."""
    rest = [name for name in edgeresnet.__all__ if name not in FUNCTIONS]
    return page("Python", INTRO, *map(_section, [*FUNCTIONS, *rest]))


def _node(name: str) -> tuple[ast.FunctionDef | ast.ClassDef, str]:
    """Return what defines an exported name, and the source that it stands in."""
    found = getattr(edgeresnet, name)
    source = inspect.getsource(importlib.import_module(found.__module__))
    return next(
        (node, source)
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == found.__name__
    )


def _section(name: str) -> str:
    node, source = _node(name)
    if isinstance(node, ast.FunctionDef):
        return f"## {name}\n\n{fence(_signature(node, source), 'python')}\n{_text(node)}\n"
    if name == "Recipe":
        return f"## {name}\n\n{_text(node)} [Recipe](recipe.md) lists its keys.\n"
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    head = f"class {name}({bases})" if bases else f"class {name}"
    return f"## {name}\n\n{fence(head, 'python')}\n{_text(node)}\n\n" + "\n".join(_members(node, source))


def _members(node: ast.ClassDef, source: str) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            comment = source.splitlines()[each.lineno - 1].partition("  # ")[2]
            yield f"- `{each.target.id}: {ast.unparse(each.annotation)}`" + (f": {comment}" if comment else "")
        elif isinstance(each, ast.FunctionDef) and (not each.name.startswith("_") or each.name == "__init__"):
            is_property = any(ast.unparse(one) == "property" for one in each.decorator_list)
            shown = (
                f"{each.name}: {ast.unparse(each.returns)}"
                if is_property and each.returns
                else _signature(each, source)
            )
            text = _text(each)
            shown = " ".join(shown.removeprefix("def ").split()).replace("(self, ", "(").replace("(self)", "()")
            yield f"- `{shown}`" + (f": {text}" if text else "")


def _signature(node: ast.FunctionDef, source: str) -> str:
    """Return a signature as the source has it."""
    lines = source.splitlines()[node.lineno - 1 : node.body[0].lineno]
    text = textwrap.dedent("\n".join(lines))
    end = re.search(r":(?: \.\.\.)?\s*(?:\n|$)", text.split(") ->", 1)[-1])
    assert end is not None, node.name
    return text[: len(text) - len(text.split(") ->", 1)[-1]) + end.start()]


def _text(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Return a docstring: its paragraphs are Markdown already."""
    return "\n\n".join(" ".join(part.split()) for part in (ast.get_docstring(node) or "").split("\n\n"))
