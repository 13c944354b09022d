"""edgeresnet gate: a run against a baseline that a person reviewed, with a CI job's exit code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from . import _complete, _options, _output

_FORMATS = ["terminal", "md", "github", "junit", "json"]


@click.command()
@click.argument("run", required=False, shell_complete=_complete.runs)
@click.option(
    "--baseline",
    default="gate.json",
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to hold it against.",
)
@click.option("--update", is_flag=True, help="Make RUN the baseline; margins stay.")
@click.option("--max-loss-pp", help="With --update: points of top-1 that may be lost; none: not gated.")
@click.option("--max-slowdown-pct", help="With --update: so much slower it may be; none: not gated.")
@click.option("--max-runtime-slowdown-pct", help="With --update: the same of the runtime; none: not gated.")
@click.option("--max-growth-pct", help="With --update: so much larger it may be; none: not gated.")
@click.option("--max-age", default="1h", show_default=True, help="Older measurements count as none: 90s, 15m, 7d.")
@click.option("--across-recipes", is_flag=True, help="Judge a run of another recipe or model, too.")
@click.option(
    "--junit", type=click.Path(dir_okay=False, path_type=Path), help="A file of JUnit XML, beside what is printed."
)
@click.option("--format", "kind", type=click.Choice(_FORMATS), default="terminal", show_default=True)
@_options.store
@_options.as_json
def gate(
    run: str | None,
    baseline: Path,
    update: bool,
    max_loss_pp: str | None,
    max_slowdown_pct: str | None,
    max_runtime_slowdown_pct: str | None,
    max_growth_pct: str | None,
    max_age: str,
    across_recipes: bool,
    junit: Path | None,
    kind: str,
    store_root: Path,
    as_json: bool,
) -> int:
    """Hold RUN (an id or a file; the newest by default) against a baseline.

    Accuracy is compared image by image with the baseline's own answers, times
    as parts of the twin's and of a yardstick's, size as it is; the recipe's own
    promises count, too. What is missing, stale or cannot be compared is no
    pass: exit code 4. Measures nothing, and loads no runtime.

    With --update RUN becomes the baseline: look at what changed, and commit it.
    In GitHub's workflows annotations are printed and a summary is appended.
    """
    from .. import gate as gates
    from ..artifact import seconds_of
    from ..errors import EdgeresnetError
    from .run import exit_code

    said = {"max_loss_pp": max_loss_pp, "max_growth_pct": max_growth_pct}
    said |= {"max_slowdown_pct": max_slowdown_pct, "max_runtime_slowdown_pct": max_runtime_slowdown_pct}
    margins = {name: _number(name, value) for name, value in said.items() if value is not None}
    if margins and not update:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in margins)
        raise EdgeresnetError(
            f"{words} without --update says nothing: margins stand in the baseline, where they are reviewed",
            hint=f"edit the margins in {baseline}, or give them with --update",
        )
    store = _options.open_store(store_root)
    if update:
        _refuse_beside_update(kind, across_recipes, junit)
        return _updated(store.load_run(run), baseline, margins, as_json=as_json)
    held, age_s = gates.read(baseline), seconds_of(max_age)
    done = store.load_run(run)
    found = gates.gate(done, held, path=baseline, max_age_s=age_s, across_recipes=across_recipes)
    _tell(found, "json" if as_json else kind, junit)
    return exit_code(found)


def _tell(found: dict[str, Any], kind: str, junit: Path | None) -> None:
    from ..report import gate_text

    _output.echo(gate_text.FORMATS[kind](found), nl=False, as_it_is=kind == "json")
    if junit:
        _output.write_output(junit, gate_text.FORMATS["junit"](found))
    if os.environ.get("GITHUB_ACTIONS") and kind != "github":
        _output.echo(gate_text.FORMATS["github"](found), nl=False, err=kind != "terminal")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        _append(Path(summary), gate_text.FORMATS["md"](found))


def _append(path: Path, text: str) -> None:
    """What other steps wrote there stays."""
    from ..errors import EdgeresnetError, machine_error

    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        raise machine_error(problem) or EdgeresnetError(
            f"the summary {path} cannot be written: {problem.strerror}", hint="GITHUB_STEP_SUMMARY names it"
        ) from problem


def _refuse_beside_update(kind: str, across_recipes: bool, junit: Path | None) -> None:
    from ..errors import EdgeresnetError

    given = {"--format": kind != "terminal", "--across-recipes": across_recipes, "--junit": junit is not None}
    if words := [name for name, is_given in given.items() if is_given]:
        raise EdgeresnetError(
            f"{', '.join(words)} beside --update says nothing: nothing is judged",
            hint="gate once more without --update",
        )


def _updated(run: dict[str, Any], path: Path, margins: dict[str, float | None], *, as_json: bool) -> int:
    """The run as the new baseline; margins are those of the file that was there, but for what is said now."""
    from dataclasses import asdict

    from .. import gate as gates

    before = gates.margins_of(path) if path.exists() else gates.Margins()
    made = gates.of(run, gates.Margins.parse({**asdict(before), **margins}, path))
    _output.write_output(path, gates.text(made))
    if as_json:
        _output.print_json(made)
        return 0
    for sentence in gates.remarks(made):
        _output.echo(sentence)
    return 0


def _number(name: str, text: str) -> float | None:
    from ..errors import EdgeresnetError

    if text == "none":
        return None
    try:
        return float(text)
    except ValueError as problem:
        raise EdgeresnetError(
            f"--{name.replace('_', '-')} {text!r} is no number", hint="a number from 0 on, or none: not gated"
        ) from problem
