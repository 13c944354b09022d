"""How `--help` looks: options in groups, examples at the end, defaults that a recipe sets. Loads Click only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from .. import targets

MODEL, IMAGES, QUANTIZATION = "Model", "Images", "Quantization"
TRAINING, PRUNING, RECOVERY = "Training", "Pruning", "Recovery"
TARGET, OUTPUT, RUN = "Target and promises", "Output", "Run"
GROUPS = (MODEL, IMAGES, QUANTIZATION, TRAINING, PRUNING, RECOVERY, TARGET, OUTPUT, RUN)  # in this order

TARGET_NAMES = click.Choice(targets.names())


class Part(click.Choice):
    """A target, or the part of a run that a device measured: `tensorrt@orin`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        target, at, device = str(value).partition("@")
        return f"{super().convert(target, param, ctx)}{at}{device}"


PART_NAMES = Part(targets.names())
_EXAMPLE = 70  # columns of a line of an example


class Option(click.Option):
    """An option that knows its group. A default in words is shown as it is."""

    def __init__(self, *arguments: Any, group: str = RUN, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.group = group

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            extra["default"] = self.show_default
        return extra


class Command(click.Command):
    """A command whose help has one section for each group of options, and examples."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and record[1]:  # what an argument is, the text above says
                records[getattr(parameter, "group", RUN)].append(record)
        for group, rows in records.items():
            if rows:
                with formatter.section(group):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            title = "Example:" if len(self.examples) == 1 else "Examples:"
            lines = [f"  {line}" for example in self.examples for line in wrapped(example)]
            formatter.write_paragraph()
            formatter.write_text("\n".join(["\b", title, *lines]))
        super().format_epilog(ctx, formatter)


def wrapped(example: str) -> list[str]:
    """Break a command line as a shell reads it, before an option."""
    lines = [""]
    for part in example.replace(" --", "\n--").splitlines():
        if len(lines[-1]) + len(part) > _EXAMPLE:
            lines[-1] += " \\"
            lines.append("  ")
        lines[-1] += part if not lines[-1].strip() else f" {part}"
    return lines


def command(*examples: str) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command with the examples that its help ends with."""
    return click.command(cls=Command, examples=examples)


def option(*names: str, group: str = RUN, **settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare an option in a group."""
    return click.option(*names, cls=Option, group=group, **settings)
