"""edgeresnet gate: a run compared with a baseline that a person reviewed, with a CI job's exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _complete, _help, _options, _output, _verdict

if TYPE_CHECKING:
    from ..runs import GateReport, Run
    from ..store import Store

_FORMATS = ["terminal", "md", "github", "junit", "json"]


@_help.command(
    "edgeresnet gate --baseline gate.json --junit gate.xml",
    "edgeresnet gate --update --max-loss-pp 1 --max-slowdown-pct 10",
)
@click.argument("run", required=False, shell_complete=_complete.runs)
@_help.option(
    "--baseline",
    default="gate.json",
    show_default=True,
    type=click.Path(path_type=Path),  # a folder is refused with all other refusals
    help="File of the baseline.",
)
@_help.option("--update", is_flag=True, help="Write RUN as the baseline. Its margins stay.")
@_help.option("--accept-broken", is_flag=True, help="With --update: also write a RUN whose verdict is BROKEN.")
@_help.option(
    "--max-loss-pp",
    group=_help.TARGET,
    help="With --update: largest loss of top-1, mIoU or mAP, in percentage points, or none.",
)
@_help.option(
    "--max-slowdown-pct",
    group=_help.TARGET,
    help="With --update: largest slowdown, in percent, or none.",
)
@_help.option(
    "--max-runtime-slowdown-pct",
    group=_help.TARGET,
    help="With --update: largest slowdown of the runtime itself, in percent, or none.",
)
@_help.option(
    "--max-growth-pct",
    group=_help.TARGET,
    help="With --update: largest growth in size, in percent, or none.",
)
@_help.option(
    "--max-energy-growth-pct",
    group=_help.TARGET,
    help="With --update: largest growth of the energy of an inference, in percent, or none.",
)
@_help.option(
    "--max-throughput-loss-pct",
    group=_help.TARGET,
    help="With --update: largest loss of images per second, in percent, or none.",
)
@_help.option("--max-age", default="1h", show_default=True, help="Largest age of the measurements: 90s, 15m, 7d.")
@_help.option("--across-recipes", is_flag=True, help="Also judge a run of another recipe or model.")
@_help.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    group=_help.OUTPUT,
    help="File to write JUnit XML to, next to the other output.",
)
@_help.option(
    "--format",
    "kind",
    type=click.Choice(_FORMATS),
    default="terminal",
    show_default=True,
    group=_help.OUTPUT,
    help="Format of the output.",
)
@_options.store
@_options.as_json
def gate(
    run: str | None,
    baseline: Path,
    update: bool,
    accept_broken: bool,
    max_loss_pp: str | None,
    max_slowdown_pct: str | None,
    max_runtime_slowdown_pct: str | None,
    max_growth_pct: str | None,
    max_energy_growth_pct: str | None,
    max_throughput_loss_pct: str | None,
    max_age: str,
    across_recipes: bool,
    junit: Path | None,
    kind: str,
    store_root: Path,
    as_json: bool,
) -> int:
    """Compare RUN with a baseline, for a CI job.

    RUN is an id or a file, by default the newest run. Accuracy is compared
    image by image with the answers in the baseline. Times are compared as
    ratios to the half-precision variant and to a yardstick. The promises of
    the recipe count too. Missing or stale values are not a pass: exit code 4.
    Nothing is measured, and no runtime is loaded.

    With --update, RUN becomes the baseline: review the file and commit it.
    The command first compares RUN with the baseline that it replaces, and
    names the margins that would have failed. It refuses a BROKEN run. In a
    GitHub workflow the command also prints annotations and a summary.
    """
    given = {"max_loss_pp": max_loss_pp, "max_growth_pct": max_growth_pct}
    given |= {"max_slowdown_pct": max_slowdown_pct, "max_runtime_slowdown_pct": max_runtime_slowdown_pct}
    given |= {"max_energy_growth_pct": max_energy_growth_pct, "max_throughput_loss_pct": max_throughput_loss_pct}
    margins = {name: value for name, value in given.items() if value is not None}
    if update:
        _refuse_with_update(kind, across_recipes, junit)
        numbers = {name: _number(name, value) for name, value in margins.items()}
        made_of = _options.read_store(store_root, run).load_run(run)
        if made_of.verdict == "BROKEN" and not accept_broken:
            return _refuse_broken(made_of)
        return _update(made_of, baseline, numbers, as_json=as_json)
    idle = [*margins, *(["accept_broken"] if accept_broken else [])]
    return _gate(
        lambda: _compare(_options.read_store(store_root, run), run, baseline, idle, max_age, across_recipes),
        baseline,
        "json" if as_json else kind,
        junit,
    )


def _compare(
    store: Store, run: str | None, baseline: Path, idle: Sequence[str], max_age: str, across_recipes: bool
) -> GateReport:
    from .. import gate as gates
    from ..errors import EdgeresnetError
    from ..store import seconds_of

    if idle:
        raise EdgeresnetError(
            ", ".join(f"--{name.replace('_', '-')}" for name in idle),
            "has no effect without --update: margins stand in the baseline, where they are reviewed",
            hint=f"edit the margins in {baseline}, or give them with --update",
        )
    found, age_s = gates.read(baseline), seconds_of(max_age)
    return gates.gate(store.load_run(run), found, path=baseline, max_age_s=age_s, across_recipes=across_recipes)


def _gate(compare: Callable[[], GateReport], baseline: Path, kind: str, junit: Path | None) -> int:
    """Report wherever a gate is read, a refusal too: an older report would stay there and pass for this run's."""
    from ..errors import EdgeresnetError
    from ..report import gate_text

    try:
        found = compare()
    except EdgeresnetError as problem:
        refused = gate_text.refusal(problem, baseline)
        _report({name: partial(str, text) for name, text in refused.items()}, kind, junit)
        raise
    texts = {name: partial(render, found) for name, render in gate_text.FORMATS.items()}
    unwritten = _report(texts, kind, junit)
    return _verdict.exit_code(found) or unwritten


def _report(texts: Mapping[str, Callable[[], str]], kind: str, junit: Path | None) -> int:
    """Return 0, or the code of the first report that could not be written: the others are written all the same."""
    from ..errors import EdgeresnetError

    if kind in texts:
        _output.echo(texts[kind](), nl=False, as_it_is=kind == "json")
    if os.environ.get("GITHUB_ACTIONS") and kind != "github":
        _output.echo(texts["github"](), nl=False, err=kind != "terminal")
    summary, code = os.environ.get("GITHUB_STEP_SUMMARY"), 0
    for path, write, text in ((junit, _output.write_output, texts["junit"]), (summary, _append, texts["md"])):
        try:
            if path:
                write(Path(path), text())
        except EdgeresnetError as problem:
            _output.error(problem.message, problem.hint)
            code = code or problem.exit_code
    return code


def _append(path: Path, text: str) -> None:
    """Append to a file: what other steps wrote there stays."""
    from ..errors import EdgeresnetError, machine_error

    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        raise machine_error(problem) or EdgeresnetError(
            f"the summary {path}", f"cannot be written: {problem.strerror}", hint="GITHUB_STEP_SUMMARY names it"
        ) from problem


def _refuse_with_update(kind: str, across_recipes: bool, junit: Path | None) -> None:
    from ..errors import EdgeresnetError

    given = {"--format": kind != "terminal", "--across-recipes": across_recipes, "--junit": junit is not None}
    if words := [name for name, is_given in given.items() if is_given]:
        raise EdgeresnetError(
            ", ".join(words),
            "has no effect with --update: nothing is judged",
            hint="gate once more without --update",
        )


def _refuse_broken(run: Run) -> int:
    """Say which promises are broken, and return the verdict's exit code."""
    broken = "; ".join(f"{v.target} {v.promise.name}: {v.reason}" for v in run.verdicts if v.verdict == run.verdict)
    _output.error(
        f"the run {run.id} is BROKEN, so it is not recorded as the baseline: {broken}",
        "run the network that may ship, or record this one with --accept-broken",
    )
    return _verdict.exit_code(run)


def _update(run: Run, path: Path, margins: Mapping[str, float | None], *, as_json: bool) -> int:
    """Write a run as the new baseline. Margins are those of the file that was there, unless options change them."""
    from dataclasses import asdict

    from .. import gate as gates

    is_there = path.exists()
    before = gates.margins_of(path) if is_there else gates.Margins()
    made = gates.of(run, gates.parse_margins({**asdict(before), **margins}, path))
    if is_there:
        _output.echo(_replaced(run, path), err=as_json)
    _output.write_output(path, gates.text(made))
    if run.verdict != "KEPT":
        _output.echo(f"The run's verdict is {run.verdict}, and it is the baseline now.", err=as_json)
    if as_json:
        _output.print_json(made)
        return 0
    for sentence in gates.remarks(made):
        _output.echo(sentence)
    return 0


def _replaced(run: Run, path: Path) -> str:
    """Return a run compared with the baseline that it replaces, or why they cannot be compared."""
    from .. import gate as gates
    from ..errors import EdgeresnetError
    from ..report import gate_text
    from ..text import wrapped

    try:
        found = gates.gate(run, gates.read(path), path=path, max_age_s=float("inf"), across_recipes=True)
    except EdgeresnetError as problem:
        return wrapped(f"The old baseline cannot be compared with this run: {problem.message}") + "\n"
    return gate_text.for_update(found)


def _number(name: str, text: str) -> float | None:
    from ..errors import EdgeresnetError

    if text == "none":
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        option = f"--{name.replace('_', '-')} {text!r}"
        raise EdgeresnetError(option, "is not a number from 0 on", hint="a number, or none: not gated")
    return number
