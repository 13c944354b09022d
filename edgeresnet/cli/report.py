"""edgeresnet report: a finished run again, in one of five formats."""

from __future__ import annotations

from pathlib import Path

import click

from . import _complete, _options, _output


@click.command()
@click.argument("run", required=False, shell_complete=_complete.runs)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["terminal", "md", "json", "html", "junit"]),
    default="terminal",
    show_default=True,
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write a file instead of stdout.")
@_options.store
def report(run: str | None, kind: str, output: Path | None, store_root: Path) -> None:
    """Print RUN (an id or a file; the newest by default). Measures nothing."""
    from .. import report as reports

    store = _options.read_store(store_root, run)
    found = store.load_run(run)
    if kind == "terminal" and not output:
        _output.print_report(reports.terminal.lines(found))
        return
    has_more = kind == "html" and store.is_marked
    text = reports.html.of_store(found, store) if has_more else reports.FORMATS[kind](found)
    if output:
        _output.write_output(output, text)
    else:
        _output.echo(text, nl=False, as_it_is=kind != "junit")
