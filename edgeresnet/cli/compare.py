"""edgeresnet compare: runs next to one another, and what changed between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _complete, _help, _options, _output

if TYPE_CHECKING:
    from ..runs import Run
    from ..store import Store


@_help.command(
    "edgeresnet compare",
    "edgeresnet compare 20260101 20260102 --format md",
)
@click.argument("names", metavar="RUN_A RUN_B ...", nargs=-1, shell_complete=_complete.runs)
@_help.option(
    "--format",
    "kind",
    type=click.Choice(["terminal", "md", "json"]),
    default="terminal",
    show_default=True,
    group=_help.OUTPUT,
    help="Format of the comparison.",
)
@_help.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    group=_help.OUTPUT,
    help="File to write instead of stdout.",
)
@_options.store
def compare(names: tuple[str, ...], kind: str, output: Path | None, store_root: Path) -> None:
    """Compare runs with the first of them.

    A RUN is the beginning of its id, or its file, also from another store.
    Without any, the newest run is compared with the one before it; with one,
    the newest is compared with that one. Accuracy is compared image by image,
    if both runs evaluated the same images. Times are compared only if both
    were measured on one machine in one state. What cannot be compared is
    listed with the reason. Nothing is measured or judged: the exit code is 0.
    """
    from .. import report

    named = names if len(names) > 1 else (*names, None)
    comparison = report.compared.of(_runs(names, _options.read_store(store_root, *named)))
    text = report.compare_text.FORMATS[kind](comparison)
    if output:
        _output.write_output(output, text)
    else:
        _output.echo(text, nl=False, as_it_is=kind != "terminal")


def _runs(names: tuple[str, ...], store: Store) -> list[Run]:
    from ..errors import EdgeresnetError

    wanted: list[str | None] = [*names]
    if not wanted and len(store.runs()) == 1:
        hint = "run a recipe again, or name runs by their files: `edgeresnet compare a.json b.json`"
        raise EdgeresnetError(f"the store {store.root}", "has one run, and nothing to compare it with", hint=hint)
    if not wanted and store.runs():
        wanted = [str(store.runs()[-2])]
    runs = [store.load_run(name) for name in (wanted if len(wanted) > 1 else [*wanted, None])]
    ids = [run.id for run in runs]
    if len(set(ids)) < len(ids):
        twice = max(ids, key=ids.count)
        hint = "name two runs: `edgeresnet compare RUN_A RUN_B`"
        raise EdgeresnetError(f"run {twice}", "would be compared with itself", hint=hint)
    return runs
