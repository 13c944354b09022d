"""What a command prints and writes: lines, one JSON document, files where the user wants them."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import fitted
from ..text import WIDTH, in_json, visible

if TYPE_CHECKING:
    from ..report.lines import Line, Look

_NARROWEST, _WIDEST = 60, 120  # columns of a report
_LONGEST_ERROR, _LONGEST_HINT = 300, 200  # characters of a line, and of the hint in it
# Letters of ours that an old code page may lack. The bars of a training's history become digits from 1 to 8.
_SPELLED = {
    "→": "->", "×": "x", "·": "-", "…": "...", "✓": "KEPT", "✗": "BROKEN", "─": "-", "│": "|", "╭": "+", "╮": "+",
    "╰": "+", "╯": "+",
}  # fmt: skip
_BARS = dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True))
_COLOURS = {"KEPT": "green", "BROKEN": "red", "NOT_MEASURED": "yellow", "UNDECIDED": "yellow", "DEFERRED": "cyan"}


def make_streams_lossless() -> None:
    """Make a stream of few letters, as of an old locale, print codes for the others: no verdict is lost.

    (Where a stream knows ASCII alone, Click writes UTF-8.)
    """
    codecs.register_error("as-in-json", _as_in_json)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="as-in-json")


def _as_in_json(problem: UnicodeError) -> tuple[str, int]:
    """Spell letters as JSON does, so that a document that is printed stays valid."""
    import json

    assert isinstance(problem, UnicodeEncodeError)
    return json.dumps(problem.object[problem.start : problem.end])[1:-1], problem.end


def check_weights_file(output: Path | None) -> Path:
    """Check where weights will be written, before anything is computed."""
    from ..errors import EdgeresnetError

    hint = "weights are written as W.safetensors, which any framework reads without code"
    if output is None:
        raise EdgeresnetError("--output", "is missing", hint=hint)
    if output.suffix.lower() != ".safetensors":
        raise EdgeresnetError(str(output), "is not a .safetensors file", hint=hint)
    check_folder(output)
    return output


def check_lines_file(path: Path | None) -> None:
    """Check a file that lines will be appended to, hours from now, before anything is computed."""
    from ..errors import EdgeresnetError

    try:
        if path is not None:
            open(path, "a").close()
    except OSError as problem:
        raise EdgeresnetError(
            str(path), f"cannot be written: {problem.strerror}", hint="name a file in a folder of yours"
        ) from problem


def write_output(path: Path, data: str | bytes) -> None:
    """Write a file where the user wants it, and report that."""
    from ..store import write_bytes

    check_folder(path)
    write_bytes(path, data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)
    echo(f"wrote {path}", err=True)


def check_folder(path: Path) -> None:
    """Refuse a file in a folder that does not exist: that is a typing mistake."""
    from ..errors import EdgeresnetError

    try:
        is_there = path.parent.is_dir()
    except OSError as problem:  # below a folder that may not be looked into
        hint = "write to another folder"
        raise EdgeresnetError(str(path), f"cannot be written: {problem.strerror}", hint=hint) from problem
    if not is_there:
        raise EdgeresnetError(f"the folder {path.parent}", "does not exist", hint="make it, or write to another folder")


def echo(text: str, *, err: bool = False, nl: bool = True, as_it_is: bool = False) -> None:
    """Print. A reader that closes the pipe early (`| head`) does not change the exit code, which is the verdict's.

    Names come from anywhere, and their control characters are shown as codes. `as_it_is` is for text whose format
    made it safe, and for our own colours, which are left out with `NO_COLOR` and where there is no terminal.
    """
    try:
        plain, safe = bool(os.environ.get("NO_COLOR")), text if as_it_is else visible(text)
        shown = safe if as_it_is else readable(safe, sys.stderr if err else sys.stdout)
        click.echo(shown.encode("utf-8", "backslashreplace").decode(), err=err, nl=nl, color=False if plain else None)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if err else sys.stdout).fileno())


def error(message: str, hint: str) -> None:
    """Print an error on one line that a person can read, whatever the names in it are."""
    todo = fitted(visible(hint), _LONGEST_HINT)
    room = _LONGEST_ERROR - len(f"error:  ({todo})")
    echo(f"error: {fitted(visible(' '.join(message.splitlines())), room)} ({todo})", err=True)


def problem(text: str) -> None:
    """Print one of several problems that an error counts, on a line of its own."""
    echo(f"  {fitted(visible(text), _LONGEST_ERROR - 2)}", err=True)


def look() -> Look:
    """Return what stdout can show: symbols and frames where it knows the letters, and its width up to 120 columns."""
    from ..report.lines import Look

    letters = "".join(_SPELLED)
    ascii_only = readable(letters, sys.stdout) != letters
    width = min(_terminal_columns(), _WIDEST) if sys.stdout.isatty() else WIDTH
    return Look(symbols=not os.environ.get("NO_COLOR"), ascii_only=ascii_only, width=width)


def print_report(lines: Iterable[Line]) -> None:
    """Print a report's lines, each verdict's mark in its colour."""
    for line in lines:
        text = readable(visible(line.text), sys.stdout)
        if line.verdict:
            mark = line.mark or line.verdict
            text = text.replace(mark, click.style(mark, fg=_COLOURS[line.verdict], bold=True), 1)
        echo(text, as_it_is=True)


def readable(text: str, stream: object) -> str:
    """Spell our own letters in ASCII for a stream that does not have them; a code stands for any other."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding, "surrogatepass" if encoding.lower() == "utf-8" else "strict")
    except (UnicodeError, LookupError):
        return "".join(_spelled(letter, encoding) for letter in text)
    return text


def _spelled(letter: str, encoding: str) -> str:
    if letter in _BARS:  # all of them: some code pages have a few
        return _BARS[letter]
    try:
        letter.encode(encoding)
    except (UnicodeError, LookupError):
        return _SPELLED.get(letter, letter)
    return letter


def _terminal_columns() -> int:
    """Return how many columns the terminal has, but no fewer than a table needs."""
    import shutil

    return max(shutil.get_terminal_size((WIDTH, 24)).columns, _NARROWEST)


def print_json(value: object) -> None:
    """Print a value (dataclasses, dicts, tuples, scalars) as one JSON document."""
    import json

    from ..portable import codec

    echo(in_json(json.dumps(codec.encode(value), indent=1, ensure_ascii=False, allow_nan=False)), as_it_is=True)
