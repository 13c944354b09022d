"""edgeresnet show: a run's artifacts, or the manifest of one artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _complete, _help, _options, _output

if TYPE_CHECKING:
    from ..runs import Run
    from ..store import Artifact


@_help.command(
    "edgeresnet show",
)
@click.argument("what", required=False, shell_complete=_complete.runs)
@_options.store
@_options.as_json
def show(what: str | None, store_root: Path, as_json: bool) -> None:
    """Show the artifacts of a run, or details of one artifact.

    WHAT is a run's id, or the first digits of an artifact's digest. By default
    it is the newest run.
    """
    from ..errors import ArtifactError

    store = _options.read_store(store_root, what)
    try:
        run = store.load_run(what)
    except ArtifactError:
        if what is None or what.endswith(".json") or any(path.stem.startswith(what) for path in store.runs()):
            raise
        artifact = store.by_prefix(what)
        _output.print_json(artifact.manifest) if as_json else _show_artifact(artifact)
        return
    _output.print_json(run) if as_json else _show_run(run)


def _show_run(run: Run) -> None:
    """Print the steps of a run as a table."""
    from .. import report

    _output.echo(f"run {run.id}: {run.verdict}, {run.seconds:.1f} s, recipe {run.recipe_digest[:12]}\n")
    rows = [(s.id, s.state, (s.digest or "")[:12], s.path or s.reason) for s in run.steps]
    _output.echo(report.tables.columns(("step", "state", "digest", "lies in"), rows))


def _show_artifact(artifact: Artifact) -> None:
    """Print the manifest of an artifact."""
    from .. import text
    from ..portable import codec

    about = artifact.manifest

    def say(sentence: str) -> None:
        _output.echo(text.wrapped(sentence, 6))

    say(f"{about.stage} {about.digest}")
    say(f"lies in {artifact.path}, made in {about.seconds} s")
    sections = {"parents": about.parents, "spec": about.spec, "libraries": about.libraries}
    for title, section in {**sections, "notes": codec.encode(about.notes)}.items():
        _output.echo(f"\n{title}")
        for key, value in section.items():
            say(f"  {key}: {value}")
    _output.echo("\nfiles")
    for file in about.files:
        say(f"  {file.name}  {file.size:,} bytes  sha256 {file.sha256[:16]}")
