"""edgeresnet completion: the lines that make a shell complete commands, options, runs and targets."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from . import _output

_NAME = "edgeresnet"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the lines that make SHELL complete commands.

    \b
    bash: in ~/.bashrc   eval "$(edgeresnet completion bash)"
    zsh:  in ~/.zshrc    eval "$(edgeresnet completion zsh)"
    fish: once           edgeresnet completion fish \\
                           > ~/.config/fish/completions/edgeresnet.fish

    Commands, options, files, the ids of runs and the names of targets are
    completed. bash must be 4.4 or newer; in zsh compinit comes first.
    """
    from . import cli

    kind = get_completion_class(shell)
    assert kind is not None  # each choice has one
    _output.echo(kind(cli, {}, _NAME, f"_{_NAME.upper()}_COMPLETE").source(), as_it_is=True)
