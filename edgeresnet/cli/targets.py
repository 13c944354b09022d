"""edgeresnet targets: which targets this machine can compile for, and what this machine is."""

from __future__ import annotations

from . import _help, _options, _output


@_help.command(
    "edgeresnet targets",
)
@_options.as_json
def targets(as_json: bool) -> None:
    """List the targets, and which of them are installed.

    Shows the version of each target, or what to install. Also shows what is
    known of this machine. `edgeresnet export` writes a bundle for a target
    that is on another machine.
    """
    from .. import report, text
    from .. import targets as known
    from ..portable import machine

    found = {name: target.available() for name, target in known.discover().items()}
    about = machine.describe()
    if as_json:
        _output.print_json({"targets": found, "machine": about})
        return
    for name, state in found.items():
        versions = ", ".join(f"{library} {version}" for library, version in state.versions.items())
        word = "ready" if state.ok else "builds only" if state.builds else "not here"
        about_it = ", ".join(filter(None, [versions, state.reason]))
        _output.echo(text.wrapped(f"{name:14} {word}: {about_it}", 15))
        if not state.ok:
            _output.echo(text.wrapped(f"{'':14} {state.hint}", 15))
    _output.echo("\nthis machine")
    for line in [*report.summary.machine_lines(about), f"Python {about.python}"]:
        _output.echo(text.wrapped(f"  {line}"))
