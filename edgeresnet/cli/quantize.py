"""edgeresnet quantize: a network and images in, INT8 out, one ONNX file per target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _complete, _help, _options, _output, _stage_options, _workers
from ._stage_options import Section

if TYPE_CHECKING:
    from ..pipeline import Step
    from ..report.quantize_text import Quantized


@_help.command(
    "edgeresnet quantize net.pth --calibration images/calibration "
    "--size 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --target openvino --output int8.onnx",
)
@click.argument("model", shell_complete=_complete.files)
@_options.model_options
@_stage_options.int8_options
@_options.max_drop_pp
@_help.option(
    "--output",
    type=click.Path(path_type=Path),
    group=_help.OUTPUT,
    help="INT8 file to write (.onnx), or a folder if there are several targets.",
)
@_workers.options
@_options.run_options
def quantize(
    model: str,
    about: _options.ModelOptions,
    int8: _stage_options.Int8Options,
    max_drop_pp: float | None,
    output: Path | None,
    scale: _workers.ScaleOptions,
    how: _options.RunOptions,
) -> int:
    """Write MODEL as INT8, calibrated on images.

    MODEL is an ONNX file or a checkpoint. INT8 needs --calibration: ranges are
    measured, never guessed. Writes one ONNX file per --target, in the dialect
    of that target; by default one for each installed CPU target. With --exclude
    auto it leaves layers in float until --max-drop-pp is forecast to be kept.
    """
    from .. import pipeline, report
    from . import _one_shot, _progress

    store = scale.open_store(how.store_root)
    images = {"calibration": _one_shot.counted(int8.calibration, int8.count)}
    sections: dict[str, Section] = {"quantize": int8.section()}
    sections |= {} if max_drop_pp is None else {"promises": {"max_drop_pp": max_drop_pp}}
    raw, taken = _one_shot.recipe_of(model, about, images=images, seed=int8.seed, sections=sections)
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    wanted = _one_shot.parsed(raw, how.changes, how.save_recipe, "quantize")
    output = _check_output(output, list(wanted.targets))
    workers = scale.start(quiet=how.quiet)
    with store.used(), _progress.listener(quiet=how.quiet, verbose=how.verbose) as listener:
        done = pipeline.make(wanted, store, _is_wanted, listener, workers=workers)
    found = _write(report.quantize_text.of(done), output)
    if how.as_json:
        _output.print_json(found)
    else:
        _output.echo(report.quantize_text.render(found))
    return 0


def _is_wanted(step: Step) -> bool:
    """Choose what writes INT8 and, with evaluation images, its accuracy before any compiler."""
    stage, target, variant = step.id.stage, step.id.target, step.id.variant
    return stage == "quantize" or ((stage, target) == ("verify", "reference") and variant != "")


def _check_output(output: Path | None, targets: list[str]) -> Path:
    """Check where INT8 will be written, before anything is computed."""
    from ..errors import EdgeresnetError

    if output is None:
        raise EdgeresnetError("--output", "is missing", hint="a file for one target, a folder for more")
    if len(targets) == 1 and (output.is_dir() or output.suffix.lower() != ".onnx"):
        hint = "one target gives one file: --output int8.onnx"
        raise EdgeresnetError(str(output), "is not an .onnx file", hint=hint)
    if len(targets) > 1 and (output.suffix.lower() == ".onnx" or output.is_file()):
        hint = f"{len(targets)} targets give {len(targets)} files: --output DIR"
        raise EdgeresnetError(str(output), "is not a folder", hint=hint)
    _output.check_folder(output)
    return output


def _write(found: Quantized, output: Path) -> Quantized:
    """Write each target's network; return the document with the files' names."""
    from dataclasses import replace

    from ..store import write_bytes

    written = {}
    for target, about in found.targets.items():
        name = Path(found.name).name.replace(":", "-")  # a factory's, in a file's name
        path = output if len(found.targets) == 1 else output / f"{name}-{target}-int8.onnx"
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, Path(about.artifact).read_bytes())
        written[target] = replace(about, file=str(path))
    return replace(found, targets=written)
