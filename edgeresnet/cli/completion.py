"""edgeresnet completion: the lines that make a shell complete commands, options, runs and targets."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from . import _help, _output

_NAME = "edgeresnet"


@_help.command(
    "edgeresnet completion bash",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete commands.

    \b
    bash: in ~/.bashrc   eval "$(edgeresnet completion bash)"
    zsh:  in ~/.zshrc    eval "$(edgeresnet completion zsh)"
    fish: once           edgeresnet completion fish \\
                           > ~/.config/fish/completions/edgeresnet.fish

    It completes commands, options, files, ids of runs and names of targets.
    bash must be 4.4 or newer. In zsh, call compinit first.
    """
    from . import cli

    kind = get_completion_class(shell)
    assert kind is not None  # each choice has one
    _output.echo(kind(cli, {}, _NAME, f"_{_NAME.upper()}_COMPLETE").source(), as_it_is=True)
