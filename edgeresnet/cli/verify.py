"""edgeresnet verify: may this very network ship? A checkpoint, an ONNX file, or an INT8 file against its original."""

from __future__ import annotations

from pathlib import Path

import click

from . import _complete, _help, _logging, _options, _output, _running, _workers


@_help.command(
    "edgeresnet verify net.onnx --evaluation images/val --max-drop-pp 1",
    "edgeresnet verify int8.onnx --reference net.onnx --evaluation images/val --target openvino",
)
@click.argument("model", required=False, shell_complete=_complete.files)
@_options.model_options
@_help.option(
    "--reference",
    group=_help.MODEL,
    shell_complete=_complete.files,
    help="FP32 original of MODEL: an ONNX file or a checkpoint.",
)
@_help.option(
    "--count",
    type=click.IntRange(min=1),
    group=_help.IMAGES,
    show_default="all",
    help="Number of evaluation images, the same from each class.",
)
@_options.seed("the choice of evaluation images")
@_options.max_drop_pp
@_options.threshold
@click.option("--from", "result", type=click.Path(dir_okay=False, path_type=Path), hidden=True)
@click.option("--explain", is_flag=True, hidden=True)
@_logging.option
@_workers.options
@_options.run_options
def verify(
    model: str | None,
    about: _options.ModelOptions,
    reference: str | None,
    count: int | None,
    seed: int | None,
    max_drop_pp: float | None,
    threshold: float | None,
    result: Path | None,
    explain: bool,
    log: str | None,
    scale: _workers.ScaleOptions,
    how: _options.RunOptions,
) -> int:
    """Measure MODEL on each target, and judge its promises.

    MODEL is an ONNX file or a checkpoint; --evaluation has the images. The
    targets are by default the installed CPU targets. With --reference, MODEL
    was made from that network (INT8, pruned, half precision) and is compared
    with it. Without MODEL the newest run is measured again.
    """
    from . import _newest, _one_shot

    options = {"--reference": reference, "--count": count, "--seed": seed, "--max-drop-pp": max_drop_pp}
    given = [name for name, value in (*options.items(), ("--threshold", threshold)) if value is not None]
    given += ["--save-recipe"] if how.save_recipe else []
    if explain:
        given += [*scale.given(), *(["--log"] if log else [])]
        return _diagnose(model, about, count, seed, how, [*given, *(["--from"] if result else [])])
    if result is not None:
        given += scale.given()
        return _collect(result, max_drop_pp, how, log, [*about.given(), *given, *(["MODEL"] if model else [])])
    _logging.check(log)
    store = scale.open_store(how.store_root)
    promises = {} if max_drop_pp is None else {"max_drop_pp": max_drop_pp}
    if model is None:
        _newest.refuse_without_model([*about.given(), *(each for each in given if each not in _FOR_THE_NEWEST)])
        raw, taken = _newest.recipe_of(store, "measured again", promises), ""
    else:
        images, sections = {"evaluation": _one_shot.counted(about.evaluation, count)}, {"promises": promises}
        raw, taken = _one_shot.recipe_of(model, about, reference=reference, images=images, seed=seed, sections=sections)
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    wanted = _one_shot.parsed(raw, (*_counting(threshold), *how.changes), how.save_recipe, "verify")
    again = ("verify",) if model is None else ()
    workers = scale.start(quiet=how.quiet)
    run = _running.run_recipe(
        wanted, store, again=again, workers=workers, log=log, quiet=how.quiet, verbose=how.verbose
    )
    return _running.report_run(run, store, as_json=how.as_json, log=log)


def _counting(threshold: float | None) -> list[str]:
    """Return what a threshold changes in a recipe."""
    return [] if threshold is None else [f"verify.threshold={threshold}"]


_FOR_THE_NEWEST = ("--max-drop-pp", "--threshold", "--save-recipe")


def _collect(
    result: Path, max_drop_pp: float | None, how: _options.RunOptions, log: str | None, given: list[str]
) -> int:
    """Collect a device's result under the name that this had before `edgeresnet collect`."""
    from . import collect

    _output.echo(f"`edgeresnet collect {result}` is the command for this", err=True)
    _refuse([name for name in given if name != "--max-drop-pp"], "--from", collect.HINT)
    return collect.collect_result(result, max_drop_pp, how.changes, how.store_root, as_json=how.as_json, log=log)


def _diagnose(
    model: str | None,
    about: _options.ModelOptions,
    count: int | None,
    seed: int | None,
    how: _options.RunOptions,
    given: list[str],
) -> int:
    """Explain an accuracy under the name that this had before `edgeresnet diagnose`."""
    from . import diagnose

    _output.echo(f"`edgeresnet diagnose{f' {model}' if model else ''}` is the command for this", err=True)
    others = [name for name in given if name not in ("--count", "--seed")]
    _refuse([*others, *(["--target"] if about.targets else [])], "--explain", diagnose.HINT)
    return diagnose.diagnose_network(model, about, count, seed, how)


def _refuse(options: list[str], mode: str, hint: str) -> None:
    """Refuse options that would have no effect."""
    from ..errors import EdgeresnetError

    if options:
        raise EdgeresnetError(", ".join(options), f"cannot be combined with {mode}", hint=hint)
