"""What a door hands out: lines, one JSON document, files where the user said."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..text import in_json, visible

_COLOURS = {"KEPT": "green", "BROKEN": "red", "NOT_MEASURED": "yellow", "UNDECIDED": "yellow", "DEFERRED": "cyan"}


def spell_what_streams_lack() -> None:
    """A stream of few letters, as of an old locale, gets codes for the others, and no verdict is lost on it. (Where it
    knows ASCII alone, Click writes UTF-8.)
    """
    codecs.register_error("as-in-json", _as_in_json)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="as-in-json")


def _as_in_json(problem: UnicodeError) -> tuple[str, int]:
    """So that a document that is printed stays one."""
    import json

    assert isinstance(problem, UnicodeEncodeError)
    return json.dumps(problem.object[problem.start : problem.end])[1:-1], problem.end


def check_weights_file(output: Path | None) -> Path:
    """Where weights are to be written: said before anything is computed."""
    from ..errors import EdgeresnetError

    if output is None or output.suffix.lower() != ".safetensors":
        what = "--output is missing" if output is None else f"{output} is no .safetensors file"
        raise EdgeresnetError(what, hint="weights are written as W.safetensors, which any framework reads without code")
    _check_folder(output)
    return output


def check_lines_file(path: Path | None) -> None:
    """One that lines will be appended to, hours from now: said before anything is computed."""
    from ..errors import EdgeresnetError

    try:
        if path is not None:
            open(path, "a").close()
    except OSError as problem:
        raise EdgeresnetError(
            f"{path} cannot be written: {problem.strerror}", hint="name a file in a folder of yours"
        ) from problem


def write_output(path: Path, data: str | bytes) -> None:
    """A file where the user said."""
    from ..store import write_bytes

    _check_folder(path)
    write_bytes(path, data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)
    echo(f"wrote {path}", err=True)


def _check_folder(path: Path) -> None:
    """One that is not there is a slip of the pen, not a wish."""
    from ..errors import EdgeresnetError

    try:
        is_there = path.parent.is_dir()
    except OSError as problem:  # below a folder that may not be looked into
        raise EdgeresnetError(f"{path} cannot be written: {problem.strerror}", hint="write elsewhere") from problem
    if not is_there:
        raise EdgeresnetError(f"there is no folder {path.parent}", hint="make it, or write elsewhere")


def hand_out(found: dict[str, Any], output: Path, render: Callable[[dict[str, Any]], str], *, as_json: bool) -> None:
    """The weights that a door made, and what it has to say of them."""
    write_output(output, Path(found["artifact"]).read_bytes())
    found["file"] = str(output)
    print_json(found) if as_json else echo(render(found), nl=False)


def echo(text: str, *, err: bool = False, nl: bool = True, as_it_is: bool = False) -> None:
    """Prints; a reader that has left (`| head`) takes nothing from the exit code, which is the verdict's.

    Names come from anywhere, and none may write to the terminal what it pleases; `as_it_is` is for whatever was made
    safe by its format, and for colours of our own, which leave with `NO_COLOR` and where no terminal is.
    """
    try:
        plain, safe = bool(os.environ.get("NO_COLOR")), text if as_it_is else visible(text)
        click.echo(safe.encode("utf-8", "backslashreplace").decode(), err=err, nl=nl, color=False if plain else None)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if err else sys.stdout).fileno())


def error(message: str, hint: str) -> None:
    """One line, whatever the names in it are."""
    echo(f"error: {' '.join(message.split())} ({hint})", err=True)


def print_report(text: str) -> None:
    """The verdict words in colour, where stdout is a terminal and NO_COLOR is not set."""
    for line in visible(text).removesuffix("\n").split("\n"):
        word = line.split(":")[0].split(" ")[0]
        if word in _COLOURS:
            line = click.style(word, fg=_COLOURS[word], bold=True) + line[len(word) :]
        echo(line, as_it_is=True)


def print_json(value: Any) -> None:
    import json

    echo(in_json(json.dumps(value, indent=1, ensure_ascii=False)), as_it_is=True)
