"""The commands. Click lives here and nowhere else; each command is one light file that opens, calls and prints.

Importing this package, and every `--help`, loads Click and nothing that measures, reads or computes.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

from .._version import __version__
from ..errors import EdgeresnetError, ModelError, RecipeError, closed, machine_error
from . import _output

# In the order in which a newcomer meets them; each name is a module of this package with a command of that name.
GROUPS = {
    "Start": ("init", "check", "plan", "run", "sweep"),
    "Stages": ("train", "prune", "quantize", "export", "verify", "collect"),
    "Explain": ("diagnose", "inspect", "predict", "bench"),
    "Results": ("report", "compare", "gate", "show", "card"),
    "Tools": ("targets", "devices", "schema", "completion", "clean"),
}
COMMANDS = tuple(name for names in GROUPS.values() for name in names)
INTERRUPTED, OUR_BUG = 130, 1
_AGAIN = "run it again: finished stages are stored"


class Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f".{name}", __name__), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        longest = max(map(len, COMMANDS))
        for group, names in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(f"{name:{longest}}", self._first_line(ctx, name)) for name in names])

    def _first_line(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        assert command is not None
        return (command.help or "").strip().partition("\n")[0]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {near[0]}?" if near else "`edgeresnet --help` lists all commands"
            raise EdgeresnetError(f"the command {args[0]!r}", "does not exist", hint=hint)
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Decide whether a trained ResNet may ship to a device.

    The ResNet may be a classifier, or the body of a network that segments
    images or finds objects in them. A recipe names the network, the images,
    the targets and the promises. A run measures the network on each target,
    and ends with a verdict.

    \b
    edgeresnet init              write a recipe to start from
    edgeresnet run recipe.yaml   measure, judge, print the verdict
    edgeresnet report            print the newest report again

    Exit codes: 0 kept; 1 a bug of edgeresnet; 2 wrong usage, recipe or input;
    3 a promise is broken; 4 not measured; 5 the machine failed (disk, memory);
    130 interrupted.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run a command, and exit with its result or with one line and a hint. A traceback is a bug of ours."""
    _output.make_streams_lossless()
    # torch's threads sleep while they wait. By default they spin: three to eight times as slow on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except (click.exceptions.Abort, KeyboardInterrupt) as problem:
        _output.error("interrupted", _to_go_on(problem))
        _leave(INTERRUPTED)
    except click.ClickException as problem:
        command = getattr(getattr(problem, "ctx", None), "command_path", "edgeresnet")
        _output.error(problem.format_message().rstrip("."), f"`{command} --help` lists its arguments and options")
        sys.exit(2)
    except Exception as problem:  # noqa: BLE001 - the last place: sorted into ours and theirs
        _exit_for(problem)


def _to_go_on(problem: BaseException) -> str:
    """Return how to go on after an interrupt: what the command says, or to run it again."""
    known = [each for each in (problem, problem.__cause__) if isinstance(each, KeyboardInterrupt) and each.args]
    return str(known[0]) if known else _AGAIN


def _exit_for(problem: Exception) -> None:
    """Report a problem and exit with its code."""
    known = problem if isinstance(problem, EdgeresnetError) else machine_error(problem) or closed(problem)
    if known is None:
        from . import _blame

        known = _blame.of_named_file(problem)
        if known is not None and os.environ.get("EDGERESNET_DEBUG"):
            traceback.print_exc()
    if known is None:
        traceback.print_exc()
        _output.error("this is a bug of edgeresnet", "please report it with the lines above")
        sys.exit(OUR_BUG)
    if isinstance(known, RecipeError):
        for line in known.problems:
            _output.problem(line)
    _output.error(known.message, known.hint)
    if isinstance(known, ModelError):
        for line in known.lines:
            _output.echo(line, err=True)
    sys.exit(known.exit_code)


def _leave(code: int) -> None:
    """Leave at once: a runtime's threads may still be busy and would hold the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
