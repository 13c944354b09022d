"""edgeresnet export: a network as one FP32 ONNX file, or as a bundle for each target's device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _complete, _help, _logging, _options, _output, _stage_options

if TYPE_CHECKING:
    from ..recipe import Recipe
    from ..store import Store


@_help.command(
    "edgeresnet export net.pth --size 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --output net.onnx",
    "edgeresnet export net.onnx --target tensorrt --calibration images/calibration "
    "--evaluation images/val --output bundles",
)
@click.argument("model", shell_complete=_complete.files)
@_options.model_options
@_stage_options.int8_options
@_help.option(
    "--output",
    type=click.Path(path_type=Path),
    group=_help.OUTPUT,
    help="ONNX file to write, or with --target the folder of the bundles.",
)
@_help.option(
    "--precision",
    type=click.Choice(("int8", "fp16", "fp32")),
    group=_help.TARGET,
    show_default="int8",
    help="Precision of the network that would ship.",
)
@_help.option(
    "--where",
    type=click.Choice(("bundle", "here")),
    group=_help.TARGET,
    show_default="bundle",
    help="bundle: the device builds and measures it. here: this machine does.",
)
@_help.option(
    "--input",
    "input_type",
    type=click.Choice(("float32", "uint8")),
    group=_help.TARGET,
    show_default="float32",
    help="Number type of the network's input. uint8: raw pixels, with preprocessing inside.",
)
@_help.option(
    "--rebuilds",
    type=click.IntRange(1, 20),
    group=_help.TARGET,
    show_default="1",
    help="Number of builds of what would ship. The worst build is judged.",
)
@_options.max_drop_pp
@_logging.option
@_options.run_options
def export(
    model: str,
    about: _options.ModelOptions,
    int8: _stage_options.Int8Options,
    output: Path | None,
    precision: str | None,
    where: str | None,
    input_type: str | None,
    rebuilds: int | None,
    max_drop_pp: float | None,
    log: str | None,
    how: _options.RunOptions,
) -> int:
    """Write MODEL as one ONNX file, or as bundles for devices.

    MODEL is an ONNX file or a checkpoint. Without --target the command writes
    one FP32 ONNX file. It compares the file with MODEL on images; a plain
    folder will do. Without images it compares them on noise, with a warning.

    With --target it writes a bundle, which is built and measured on the
    device. A bundle holds the INT8 network, its baselines, the evaluation
    images and deploy.py. INT8 needs --calibration. With --precision fp16 or
    fp32 no images are needed, but accuracy is then unknown.
    """
    from . import _one_shot

    quantized = bool(about.targets) and precision in (None, "int8")
    of_targets: dict[str, object] = {"--json": how.as_json or None, "--precision": precision, "--where": where}
    of_targets |= {"--rebuilds": rebuilds, "--max-drop-pp": max_drop_pp, "--log": log}
    _refuse_idle(about, int8, precision, [name for name, value in of_targets.items() if value is not None])
    _logging.check(log)
    store = _options.open_store(how.store_root)
    about, int8 = _unlabelled(about, int8)
    promises, verify = _options.provided(max_drop_pp=max_drop_pp), _options.provided(rebuilds=rebuilds)
    delivery = _options.provided(where=where or "bundle", precision=precision, input=input_type)
    raw, taken = _one_shot.recipe_of(
        model,
        about,
        images=_images(about, int8, wanted=quantized, here=where == "here"),
        seed=int8.seed,
        sections={"promises": promises, "verify": verify, "quantize": int8.section() if quantized else {}},
        targets=dict.fromkeys(about.targets, delivery),
    )
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    wanted = _one_shot.parsed(raw, how.changes, how.save_recipe, "export")
    output = _check_output(output, bundles=bool(about.targets))
    if about.targets:
        return _export_bundles(wanted, store, output, how, log)
    return _export_onnx(wanted, store, output, how, pixels=input_type == "uint8")


def _unlabelled(
    about: _options.ModelOptions, int8: _stage_options.Int8Options
) -> tuple[_options.ModelOptions, _stage_options.Int8Options]:
    """Take a plain folder of evaluation images as images without labels: without a target no more is needed."""
    from dataclasses import replace

    if about.targets or about.labels:
        return about, int8
    folder = Path(os.path.expanduser(about.evaluation)) if about.evaluation else None
    if folder is None or not folder.is_dir() or any(each.is_dir() and each.name[0] != "." for each in folder.iterdir()):
        return about, int8
    return replace(about, evaluation=None), replace(int8, calibration=int8.calibration or about.evaluation)


def _images(
    about: _options.ModelOptions, int8: _stage_options.Int8Options, *, wanted: bool, here: bool
) -> dict[str, object]:
    """Return the images that a recipe needs: calibration images for INT8, evaluation images to measure here."""
    from . import _one_shot

    found: dict[str, object] = {"evaluation": about.evaluation} if here else {}
    if wanted or int8.calibration:
        found["calibration"] = _one_shot.counted(int8.calibration, int8.count)
    return found


def _refuse_idle(
    about: _options.ModelOptions, int8: _stage_options.Int8Options, precision: str | None, of_targets: list[str]
) -> None:
    """Refuse options that would have no effect."""
    if not about.targets:
        hint = "leave them out, or name a target: --target tensorrt"
        of_int8 = [name for name in int8.given() if name != "--calibration"]
        _refuse([*of_int8, *of_targets], "cannot be given without --target", hint)
    elif precision not in (None, "int8"):
        _refuse(
            int8.given(), f"cannot be combined with --precision {precision}", "only INT8 is calibrated: leave it out"
        )


def _refuse(idle: list[str], problem: str, hint: str) -> None:
    from ..errors import EdgeresnetError

    if idle:
        raise EdgeresnetError(", ".join(idle), problem, hint=hint)


def _check_output(output: Path | None, *, bundles: bool) -> Path:
    """Check where the export will be written, before anything is computed."""
    from ..errors import EdgeresnetError

    if output is None:
        raise EdgeresnetError(
            "--output", "is missing", hint="name a folder for bundles, or without --target an .onnx file"
        )
    if bundles and output.exists() and not output.is_dir():
        raise EdgeresnetError(str(output), "is a file", hint="name a folder: bundles are folders")
    if not bundles and (output.is_dir() or output.suffix.lower() != ".onnx"):
        hint = "without --target one .onnx file is written"
        raise EdgeresnetError(str(output), "is not an .onnx file", hint=hint)
    _output.check_folder(output)
    return output


def _export_onnx(wanted: Recipe, store: Store, output: Path, how: _options.RunOptions, *, pixels: bool) -> int:
    """Write the traced network as one ONNX file."""
    import tempfile

    from .. import pipeline
    from ..graph import deliver
    from ..pipeline.planner import TRACE
    from ..store import write_bytes
    from . import _progress

    with store.used(), _progress.listener(quiet=how.quiet, verbose=how.verbose) as listener:
        done = pipeline.make(wanted, store, "trace", listener)
    path = done.steps[str(TRACE)].path
    assert path is not None  # a network that cannot be traced is an error
    inside = wanted.preprocessing if pixels else None
    with tempfile.TemporaryDirectory() as folder:
        made = deliver.delivered(Path(path) / "model.onnx", Path(folder) / "model.onnx", halved=False, pixels=inside)
        write_bytes(output, made.read_bytes())
    _output.echo(f"wrote {output}, {output.stat().st_size / 1e6:.2f} MB")
    return 0


def _export_bundles(wanted: Recipe, store: Store, output: Path, how: _options.RunOptions, log: str | None) -> int:
    """Run it as a recipe is run, so that what devices measure has a run to belong to; write what it made."""
    from ..portable.result import Measured
    from ..report import summary
    from ..runs import StepId
    from ..stages.export import write
    from . import _running

    run = _running.run_recipe(wanted, store, log=log, quiet=how.quiet, verbose=how.verbose)
    code = _running.report_run(run, store, as_json=how.as_json, log=log)
    for target in wanted.targets:
        name = f"{Path(wanted.model.title).stem}-{target}"
        bundles = [Path(step.path) for step in run.steps if step.step == StepId("export", target) and step.path]
        result = run.results[target]
        if bundles:
            _place(bundles[0] / write.FOLDER, output, name, packed=True)
        elif isinstance(result, Measured):
            variant = summary.to_ship(result)
            folder = store.artifact_of(run, result.variants[variant].digest).path
            _place(folder, output, name, packed=False)
            _output.echo(f"{name} is the network of {variant}", err=True)
    return code


def _place(folder: Path, output: Path, name: str, *, packed: bool) -> None:
    """Copy a folder to where the user wants it. An earlier export there is replaced."""
    import shutil

    from ..errors import EdgeresnetError
    from ..portable import evaluation, manifest
    from ..stages.export import write

    output.mkdir(exist_ok=True)
    there = output / name
    if there.exists() and not (there / manifest.NAME).is_file():
        raise EdgeresnetError(str(there), "exists already, and is not an export", hint="give another --output")
    if (there / evaluation.RESULT).exists() and packed:
        raise EdgeresnetError(
            str(there),
            f"holds a {evaluation.RESULT}, which would be lost",
            hint=f"`edgeresnet collect {there / evaluation.RESULT}` first, or give another --output",
        )
    shutil.rmtree(there, ignore_errors=True)
    shutil.copytree(folder, there)
    if packed:
        write.archive(folder, name, output / f"{name}.tar.gz")
    _output.echo(f"wrote {there}/" + (f" and {there}.tar.gz" if packed else ""), err=True)
