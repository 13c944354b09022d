"""Every command, as its `--help` shows it: made from Click's own help, whatever a command adds to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from edgeresnet import cli

from .markdown import code, fence, page, prose, sentence, table

INTRO = """
Each command prints this text with `--help`. `edgeresnet COMMAND --help` works without torch, ONNX or a runtime.
An option that may be repeated is given once per value. [Exit codes](exit-codes.md) are the same for all commands.
"""


@dataclass
class Recorder(click.HelpFormatter):
    """Receives what a command writes as its help, and keeps it in parts instead of laying it out."""

    usage: str = ""
    texts: list[str] = field(default_factory=list)
    groups: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(width=10_000)
        self.group = ""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        self.usage = f"{prog} {args}".strip().replace("[[", "[").replace("]]", "]")  # as Click has it since 8.2

    def write_text(self, text: str) -> None:
        self.texts.append(text)

    def write_dl(self, rows: Iterable[tuple[str, str]], *_: Any, **__: Any) -> None:
        self.groups.setdefault(self.group, []).extend(rows)

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        before, self.group = self.group, name
        try:
            yield
        finally:
            self.group = before


def page_of_commands() -> str:
    """Return the page of all commands."""
    context = click.Context(cli.cli, info_name="edgeresnet", **cli.cli.context_settings)
    found = []
    for name in cli.COMMANDS:
        command = cli.cli.get_command(context, name)
        assert command is not None
        found.append((name, command, _recorded(command, click.Context(command, info_name=name, parent=context))))
    rows = [(f"[`{name}`](#{name})", _first(command)) for name, command, _ in found]
    parts = [_section(name, command, help_) for name, command, help_ in found]
    return page("Commands", INTRO, table(["command", "what it does"], rows), *parts)


def _recorded(command: click.Command, context: click.Context) -> Recorder:
    recorder = Recorder()
    command.format_help(context, recorder)
    return recorder


def _first(command: click.Command) -> str:
    return prose(re.split(r"(?<=\.)\s", (command.help or "").strip(), maxsplit=1)[0])


def _section(name: str, command: click.Command, recorded: Recorder) -> str:
    parts = [f"## {name}\n", fence(recorded.usage, "text")]
    parts += [block for text in recorded.texts for block in _blocks(text)]
    parts.append(table(["argument", "values"], _arguments(command)))
    for group, rows in recorded.groups.items():
        shown = [row for row in map(_option, rows) if not row[0].endswith("`--help`")]
        title = group if group.lower() != "options" else "Options"
        parts.append(f"**{title}**\n\n" + table(["option", "value", "default", "what it is"], shown) if shown else "")
    return "\n".join(part.strip("\n") + "\n" for part in parts if part)


def _blocks(text: str) -> Iterator[str]:
    """Return the paragraphs of a help text; lines that Click keeps as they are become code."""
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if not re.match(r"\s*\x08", paragraph):
            yield prose(paragraph)
            continue
        lines = [line.rstrip() for line in paragraph.replace("\b", "").splitlines() if line.strip()]
        lead = [line for line in lines if re.match(r"\s*[A-Z][a-z]+:$", line)]
        body = [line.strip() for line in lines if line not in lead]
        yield from (f"{line.strip()}\n" for line in lead)
        body = [re.sub(r"^(edgeresnet .*?\S)(\s{2,})(?=[^\s#])", r"\1\2# ", line) for line in body]
        yield fence("\n".join(body), "sh" if body and body[0].startswith("edgeresnet ") else "text")


def _arguments(command: click.Command) -> list[tuple[str, str]]:
    """Return the arguments whose values are given: what the others are, the text says."""
    return [
        (code((each.metavar or each.name or "").upper()), ", ".join(map(code, each.type.choices)))
        for each in command.params
        if isinstance(each, click.Argument) and isinstance(each.type, click.Choice)
    ]


def _option(row: tuple[str, str]) -> tuple[str, str, str, str]:
    """Return option, value, default and meaning of a row of the help."""
    names, text = row
    spelled = re.findall(r"(?<![\w-])-{1,2}[A-Za-z][\w-]*", names)
    value = re.sub(r"^.*?(?:-{1,2}[A-Za-z][\w-]*)(?:,\s*|\s*/\s*|\s+|$)", "", names)
    while re.match(r"-{1,2}[A-Za-z]", value):
        value = re.sub(r"^-{1,2}[A-Za-z][\w-]*(?:,\s*|\s*/\s*|\s+|$)", "", value)
    default, limits, others = "", "", []
    meaning, extra = _without_extra(text)
    for part in extra:
        if part.startswith("default: "):
            default = code(part.removeprefix("default: "))
        elif part == "required":
            default = "required"
        elif re.search(r"[<>]", part):
            limits = _limits(part)
        elif part.startswith("env var: "):
            others.append(f"Environment: {code(part.removeprefix('env var: '))}.")
        else:
            others.append(sentence(part))
    shown = _value(value.strip()) + (f" {limits}" if limits else "")
    return ", ".join(map(code, spelled)) or code(names), shown, default, " ".join([sentence(meaning), *others]).strip()


def _without_extra(text: str) -> tuple[str, list[str]]:
    """Split the help of an option from what Click adds to it in brackets."""
    found = re.fullmatch(
        r"(.*?)(?:^|\s+)\[((?:default: |env var: |required|deprecated|[^\[\]]*[<>]=?).*)\]", text, re.S
    )
    return (found[1], found[2].split("; ")) if found else (text, [])


def _value(metavar: str) -> str:
    choices = re.fullmatch(r"\[([^\[\]]+)\]", metavar)
    if choices:
        return ", ".join(map(code, choices[1].split("|")))
    words = {"INTEGER": "integer", "INTEGER RANGE": "integer", "FLOAT": "number", "FLOAT RANGE": "number"}
    words |= {"TEXT": "text", "PATH": "path", "FILE": "path", "DIRECTORY": "folder"}
    return words.get(metavar, code(metavar))


def _limits(text: str) -> str:
    """Return `1<=x<=100` in words."""
    least, most = re.match(r"([\d.e+-]+)<(=?)x", text), re.search(r"x<(=?)([\d.e+-]+)", text)
    above, below = re.match(r"x>(=?)([\d.e+-]+)", text), most
    words = []
    if least:
        words.append(f"from {least[1]}" if least[2] else f"above {least[1]}")
    elif above:
        words.append(f"from {above[2]}" if above[1] else f"above {above[2]}")
    if below:
        words.append(f"to {below[2]}" if below[1] else f"below {below[2]}")
    return " ".join(words)
