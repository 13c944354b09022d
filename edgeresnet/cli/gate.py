"""edgeresnet gate: a run against a baseline that a person reviewed, with a CI job's exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _complete, _options, _output

if TYPE_CHECKING:
    from ..store import Store

_FORMATS = ["terminal", "md", "github", "junit", "json"]


@click.command()
@click.argument("run", required=False, shell_complete=_complete.runs)
@click.option(
    "--baseline",
    default="gate.json",
    show_default=True,
    type=click.Path(path_type=Path),  # a folder is refused where every refusal is told
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
    said = {"max_loss_pp": max_loss_pp, "max_growth_pct": max_growth_pct}
    said |= {"max_slowdown_pct": max_slowdown_pct, "max_runtime_slowdown_pct": max_runtime_slowdown_pct}
    margins = {name: value for name, value in said.items() if value is not None}
    if update:
        _refuse_beside_update(kind, across_recipes, junit)
        numbers = {name: _number(name, value) for name, value in margins.items()}
        return _updated(_options.read_store(store_root, run).load_run(run), baseline, numbers, as_json=as_json)
    return _gated(
        lambda: _held(_options.read_store(store_root, run), run, baseline, list(margins), max_age, across_recipes),
        baseline,
        "json" if as_json else kind,
        junit,
    )


def _held(
    store: Store, run: str | None, baseline: Path, margins: list[str], max_age: str, across_recipes: bool
) -> dict[str, Any]:
    from .. import gate as gates
    from ..errors import EdgeresnetError
    from ..store import seconds_of

    if margins:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in margins)
        raise EdgeresnetError(
            f"{words} without --update says nothing: margins stand in the baseline, where they are reviewed",
            hint=f"edit the margins in {baseline}, or give them with --update",
        )
    held, age_s = gates.read(baseline), seconds_of(max_age)
    return gates.gate(store.load_run(run), held, path=baseline, max_age_s=age_s, across_recipes=across_recipes)


def _gated(held: Callable[[], dict[str, Any]], baseline: Path, kind: str, junit: Path | None) -> int:
    """Told wherever a gate is read, a refusal too: an older report would stay there and pass for this run's."""
    from ..errors import EdgeresnetError
    from ..report import gate_text
    from .run import exit_code

    try:
        found = held()
    except EdgeresnetError as problem:
        _tell(gate_text.refusal(problem, baseline), kind, junit)
        raise
    unwritten = _tell({name: text(found) for name, text in gate_text.FORMATS.items()}, kind, junit)
    return exit_code(found) or unwritten


def _tell(said: Mapping[str, str], kind: str, junit: Path | None) -> int:
    """0, or the code of the first report that could not be written: the others are written all the same."""
    from ..errors import EdgeresnetError

    if kind in said:
        _output.echo(said[kind], nl=False, as_it_is=kind == "json")
    if os.environ.get("GITHUB_ACTIONS") and kind != "github":
        _output.echo(said["github"], nl=False, err=kind != "terminal")
    summary, code = os.environ.get("GITHUB_STEP_SUMMARY"), 0
    for path, write, text in ((junit, _output.write_output, said["junit"]), (summary, _append, said["md"])):
        try:
            if path:
                write(Path(path), text)
        except EdgeresnetError as problem:
            _output.error(problem.message, problem.hint)
            code = code or problem.exit_code
    return code


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
