"""The exit codes, as errors, verdicts and the command line have them."""

from __future__ import annotations

import typing

from edgeresnet import cli, errors
from edgeresnet.cli import _verdict
from edgeresnet.portable.result import Word

from .markdown import code, page, sentence, table

INTRO = """
Every command ends with one of these codes. A CI job can act on the code alone.
"""
# What a code means, and what to do.
MEANINGS = {
    0: ("Kept, or deferred to a device; or undecided under `undecided: warn`.", "Nothing."),
    cli.OUR_BUG: ("A bug of edgeresnet.", "Report it with the lines that it printed."),
    2: ("The command, the recipe, or an input is wrong.", "Read the last line: it ends with what to do."),
    3: ("A promise is broken.", "Read the report: it says which promise, by how much, and what to try."),
    4: (
        "Something was not measured, a target failed or is not installed, or undecided under `undecided: fail`.",
        "Read the reason of the target; `edgeresnet targets` says what is installed.",
    ),
    5: (
        "The machine failed: the disk is full, or memory ran out.",
        "Free disk space or memory, and run again. Finished stages are stored.",
    ),
    cli.INTERRUPTED: ("Interrupted, by Ctrl-C.", "Run again. Finished stages are stored."),
}


def page_of_exit_codes() -> str:
    """Return the page of the exit codes; fail where the code knows one that has no meaning here."""
    kinds: list[type[errors.EdgeresnetError]] = [errors.EdgeresnetError, *errors.EdgeresnetError.__subclasses__()]
    by_verdict = {word: _verdict._CODES.get(word, 0) for word in typing.get_args(Word)}
    used = {0, cli.OUR_BUG, cli.INTERRUPTED, *(kind.exit_code for kind in kinds), *by_verdict.values()}
    assert used == set(MEANINGS), f"exit codes without a meaning, or the other way round: {used ^ set(MEANINGS)}"
    meanings = [(code(number), *MEANINGS[number]) for number in sorted(MEANINGS)]
    failing = {"UNDECIDED": ", or `4` under `undecided: fail`"}
    verdicts = [(code(word), code(number) + failing.get(word, "")) for word, number in by_verdict.items()]
    raised = [(code(kind.__name__), code(kind.exit_code), sentence(_first(kind))) for kind in kinds]
    return page(
        "Exit codes",
        INTRO,
        table(("code", "meaning", "what to do"), meanings),
        "## Of verdicts\n\nA run, and a gate, end with the code of their verdict.\n\n"
        + table(("verdict", "code"), verdicts),
        "## Of errors\n\nFrom Python, each error is an `EdgeresnetError` with `message`, `hint` and `exit_code`.\n\n"
        + table(("error", "code", "about"), raised),
    )


def _first(kind: type) -> str:
    return (kind.__doc__ or "").strip().split("\n\n")[0]
