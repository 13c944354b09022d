"""edgeresnet report: a finished run again, in one of five formats."""

from __future__ import annotations

from pathlib import Path

import click

from . import _complete, _help, _options, _output


@_help.command(
    "edgeresnet report",
    "edgeresnet report --notes",
    "edgeresnet report --format md --output run.md",
)
@click.argument("run", required=False, shell_complete=_complete.runs)
@_help.option(
    "--format",
    "kind",
    type=click.Choice(["terminal", "md", "json", "html", "junit"]),
    default="terminal",
    show_default=True,
    group=_help.OUTPUT,
    help="Format of the report.",
)
@_help.option("--notes", is_flag=True, group=_help.OUTPUT, help="Print all: training, every table and every note.")
@_help.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    group=_help.OUTPUT,
    help="File to write instead of stdout.",
)
@_options.store
def report(run: str | None, kind: str, notes: bool, output: Path | None, store_root: Path) -> None:
    """Print the report of RUN again.

    RUN is an id or a file, by default the newest run. Nothing is measured.
    """
    from .. import report as reports
    from . import _running

    if notes and kind != "terminal":
        _refuse_notes(kind)
    store = _options.read_store(store_root, run)
    found = store.load_run(run)
    if kind == "terminal":
        look = reports.lines.Look() if output else _output.look()
        lines = reports.notes_text.lines(found) if notes else _running.last_screen(found, store, look)
        _output.write_output(output, reports.lines.joined(lines)) if output else _output.print_report(lines)
        return
    has_more = kind == "html" and store.is_marked
    text = reports.html.of_store(found, store) if has_more else reports.FORMATS[kind](found)
    if output:
        _output.write_output(output, text)
    else:
        _output.echo(text, nl=False, as_it_is=kind != "junit")


def _refuse_notes(kind: str) -> None:
    from ..errors import EdgeresnetError

    raise EdgeresnetError(
        "--notes", f"has no effect with --format {kind}: that format has every note", hint="leave one of the two out"
    )
