"""What a shell completes next to commands and options. It runs at every TAB: it reads names of files and of devices.

It never writes, not even a store that is not there yet, and never fails: what cannot be read completes to nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids of the store's runs, the newest first; a path to a run's file where it looks like one."""
    if "/" in incomplete or incomplete.startswith("."):
        return files(ctx, param, incomplete)
    taken = ctx.params.get(param.name or "") or ()
    found = sorted((path.stem for path in (_store(ctx) / "runs").glob("*.json")), reverse=True)
    return [CompletionItem(name) for name in found if name.startswith(incomplete) and name not in taken]


def runs_or_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return ids of runs, or files where none begins so."""
    return (runs(ctx, param, incomplete) if incomplete else []) or files(ctx, param, incomplete)


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Leave files to the shell, which knows them best."""
    return [CompletionItem(incomplete, type="file")]


def targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the targets by their files' names, installed or not: to find out would import them."""
    found = sorted(path.stem for path in (Path(__file__).parents[1] / "targets").glob("[!_]*.py"))
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def devices(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the devices that the command would know: of its file, of the recipe's folder, or the user's own."""
    from ..devices import book
    from ..errors import EdgeresnetError

    path = ctx.params.get("path") or book.find(Path(ctx.params.get("recipe_path") or book.NAME).parent)
    taken = ctx.params.get(param.name or "") or ()
    try:
        found = book.read(Path(path)) if path else {}
    except (EdgeresnetError, OSError):
        return []
    return [CompletionItem(name) for name in found if name.startswith(incomplete) and name not in taken]


def stages(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the stages."""
    from ..api import STAGES

    return [CompletionItem(name) for name in STAGES if name.startswith(incomplete)]


def _store(ctx: click.Context) -> Path:
    return Path(ctx.params.get("store_root") or os.environ.get("EDGERESNET_STORE") or "artifacts")
