"""edgeresnet bench: how fast, and how many times as fast, in fresh processes in turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _complete, _help, _options, _output

if TYPE_CHECKING:
    from ..bench import Lineup
    from ..store import Store


@_help.command(
    "edgeresnet bench fp32.onnx int8.onnx --target openvino",
)
@click.argument("what", nargs=-1, shell_complete=_complete.runs_or_files)
@_help.option(
    "--target",
    "wanted",
    multiple=True,
    type=_help.PART_NAMES,
    group=_help.TARGET,
    show_default="those of the run, or all installed ones",
    help="Target to time on. Repeatable.",
)
@_help.option(
    "--processes",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="Number of fresh processes per network.",
)
@_help.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Time limit of the latency measurement, in seconds. Throughput takes longer.",
)
@_help.option(
    "--batch",
    show_default="the networks' own, or 1",
    help="Batch sizes, as in 1,8,32. Latency is measured at the first, throughput at all.",
)
@_help.option("--streams", help="Numbers of parallel requests to measure throughput with, as in 1,2,4.")
@_options.quiet
@_options.store
@_options.as_json
def bench(
    what: tuple[str, ...],
    wanted: tuple[str, ...],
    processes: int,
    seconds: float,
    batch: str | None,
    streams: str | None,
    quiet: bool,
    store_root: Path,
    as_json: bool,
) -> int:
    """Time networks in turn, in fresh processes.

    WHAT is a run (by default the newest) or ONNX files, which are compiled
    first. Every network is compared with the first one. The result is a ratio
    with its interval over processes. Energy is measured where there is a
    sensor. Raw values are written to the store.
    """
    import json
    import tempfile

    from .. import bench as benching
    from .. import report
    from ..errors import EdgeresnetError, TargetError
    from ..portable import codec
    from ..store import write_text

    if not math.isfinite(seconds):  # a limit that no clock reaches, and that JSON cannot hold
        raise EdgeresnetError(f"--seconds {seconds}", "is not a time", hint="write 30")
    plan = benching.BenchPlan(processes, seconds, _counts(batch, "--batch"), _counts(streams, "--streams"))
    store = _options.open_store(store_root)
    with store.used(), tempfile.TemporaryDirectory() as folder:
        lineup = _lineup(what, wanted, store, Path(folder))
        done = benching.bench(lineup, plan, on_round=_silent if quiet else _progress_of(seconds))
    path, document = store.root / "bench" / f"{done.id}.json", codec.encode(done)
    write_text(path, json.dumps(document, ensure_ascii=False, allow_nan=False))
    if as_json:
        _output.print_json(document)
    else:
        _output.echo(report.bench_text.render(done), nl=False)
        _output.echo(f"\nraw values: {path}")
    if done.problem:
        return done.problem.exit_code
    return TargetError.exit_code if done.absent else 0


def _lineup(what: tuple[str, ...], wanted: tuple[str, ...], store: Store, folder: Path) -> Lineup:
    from .. import bench as benching
    from .. import recipe, targets
    from ..errors import EdgeresnetError

    wanted = tuple(dict.fromkeys(wanted))
    files = [Path(word) for word in what if recipe.is_onnx(word)]
    if files and len(files) == len(what):
        if there := [name for name in wanted if "@" in name]:
            problem, hint = "is a part of a run, and files are timed on this machine", "name the target alone"
            raise EdgeresnetError(f"--target {there[0]}", problem, hint=hint)
        names = wanted or [name for name, target in targets.discover().items() if target.available().ok]
        return benching.lineup_of_files(files, names, folder)
    if len(what) > 1 or files:
        raise EdgeresnetError(", ".join(what), "are neither one run nor ONNX files", hint="give a run's id, or files")
    return benching.lineup_of_run(store, store.load_run(what[0] if what else None), wanted)


def _silent(count: int, total: int) -> None: ...


def _progress_of(seconds: float) -> Callable[[int, int], None]:
    """Return a function that prints how far the measurement is."""
    import time

    from . import _progress

    began = time.monotonic()

    def show(count: int, total: int) -> None:
        left = (time.monotonic() - began) / max(count, 1) * (total - count)
        line = f"timing in {total} processes, about {_progress.span(seconds)}"
        if count:
            line = f"timing: {count} of {total} processes" + (f", {_progress.span(left)} left" if count < total else "")
        _output.echo(line, err=True)

    return show


def _counts(text: str | None, option: str) -> tuple[int, ...]:
    """Return the numbers of an option like 1,8,32, each once."""
    from ..errors import EdgeresnetError

    try:
        found = [int(part) for part in text.split(",")] if text is not None else []
    except ValueError:
        found = [0]
    if any(not 1 <= count <= 4096 for count in found):
        raise EdgeresnetError(f"{option} {text!r}", "is not a list of counts", hint="write 1,8,32")
    return tuple(dict.fromkeys(found))
