"""edgeresnet export: a network as one FP32 ONNX file, or as a bundle for each target's device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _complete, _options, _output

if TYPE_CHECKING:
    from ..recipe import Recipe
    from ..store import Store


@click.command()
@click.argument("model", shell_complete=_complete.files)
@_options.model_options
@_options.int8_options
@click.option(
    "--output", type=click.Path(path_type=Path), help="The folder for bundles; the ONNX file without --target."
)
@click.option("--precision", type=click.Choice(["int8", "fp16", "fp32"]), help="What would ship; int8 by default.")
@click.option(
    "--where",
    type=click.Choice(["bundle", "here"]),
    help="A bundle for the device (default), or built and measured here.",
)
@click.option(
    "--input", "taken_as", type=click.Choice(["float32", "uint8"]), help="uint8: raw pixels in, preprocessing inside."
)
@click.option("--rebuilds", type=click.IntRange(1, 20), help="Build what would ship so often; judge the worst.")
@click.option("--max-drop-pp", type=float, help="Promise: at most so many points of top-1 lost.")
@_options.run_options
def export(
    model: str,
    about: _options.ModelOptions,
    int8: _options.Int8Options,
    output: Path | None,
    precision: str | None,
    where: str | None,
    taken_as: str | None,
    rebuilds: int | None,
    max_drop_pp: float | None,
    how: _options.RunOptions,
) -> int:
    """Hand MODEL over: a bundle to build and measure on each target's device.

    MODEL is an ONNX file or a checkpoint. A bundle holds the INT8 network,
    calibrated on --calibration, its rivals, the evaluation images and
    deploy.py. Without --target it is one FP32 ONNX file.
    """
    from . import _one_shot

    quantized = bool(about.targets) and precision in (None, "int8")
    if not about.targets:
        of_targets: dict[str, Any] = {"--json": how.as_json or None, "--precision": precision, "--where": where}
        of_targets |= {"--rebuilds": rebuilds, "--max-drop-pp": max_drop_pp}
        idle = [*int8.given(), *(name for name, value in of_targets.items() if value is not None)]
        _refuse(idle, "without --target", "name one: with --target tensorrt it hands a bundle over")
    elif not quantized:
        _refuse(int8.given(), f"with --precision {precision}", "INT8 alone is calibrated")
    store = _options.open_store(how.store_root)
    sections: dict[str, Any] = {"promises": {} if max_drop_pp is None else {"max_drop_pp": max_drop_pp}}
    if rebuilds is not None:
        sections["verify"] = {"rebuilds": rebuilds}
    if quantized:
        sections["quantize"] = int8.section()
    images = {"calibration": _one_shot.counted(int8.calibration, int8.count)} if quantized else {}
    if where == "here":
        images["evaluation"] = about.evaluation
    raw, taken = _one_shot.recipe_of(model, about, images=images, seed=int8.seed, sections=sections)
    said = {"where": where or "bundle", "precision": precision, "input": taken_as}
    raw["targets"] = {name: {key: value for key, value in said.items() if value is not None} for name in about.targets}
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    wanted = _one_shot.parsed(raw, how.changes, how.save_recipe, "export")
    output = _check_output(output, bundles=bool(about.targets))
    if about.targets:
        return _handed_over(wanted, store, output, how)
    return _onnx(wanted, store, output, how, pixels=taken_as == "uint8")


def _refuse(idle: list[str], where: str, hint: str) -> None:
    """Options that would be passed over in silence."""
    from ..errors import EdgeresnetError

    if idle:
        raise EdgeresnetError(f"{', '.join(idle)} {where} says nothing", hint=hint)


def _check_output(output: Path | None, *, bundles: bool) -> Path:
    """Before anything is computed."""
    from ..errors import EdgeresnetError

    if output is None:
        raise EdgeresnetError("--output is missing", hint="a folder for bundles; an .onnx file without --target")
    if bundles and output.exists() and not output.is_dir():
        raise EdgeresnetError(f"{output} is a file", hint="bundles go into a folder")
    if not bundles and (output.is_dir() or output.suffix.lower() != ".onnx"):
        raise EdgeresnetError(f"{output} is no .onnx file", hint="with --target it would be a folder of bundles")
    if not output.parent.is_dir():
        raise EdgeresnetError(f"there is no folder {output.parent}", hint="make it, or write elsewhere")
    return output


def _onnx(wanted: Recipe, store: Store, output: Path, how: _options.RunOptions, *, pixels: bool) -> int:
    import tempfile

    from .. import pipeline
    from ..graph import deliver
    from ..store import write_bytes
    from . import _progress

    with store.used(), _progress.listener(quiet=how.quiet, verbose=how.verbose) as listener:
        done = pipeline.make(wanted, store, lambda step: step.id == "trace", listener)
    traced = Path(done["steps"]["trace"]["path"]) / "model.onnx"
    inside = wanted.preprocessing if pixels else None
    with tempfile.TemporaryDirectory() as folder:
        made = deliver.delivered(traced, Path(folder) / "model.onnx", halved=False, pixels=inside)
        write_bytes(output, made.read_bytes())
    _output.echo(f"wrote {output}, {output.stat().st_size / 1e6:.2f} MB")
    return 0


def _handed_over(wanted: Recipe, store: Store, output: Path, how: _options.RunOptions) -> int:
    """Run as a recipe is, so that what the devices bring home has a run to belong to."""
    from ..stages.export import write as deed
    from .run import ran, told

    run = ran(wanted, store, again=(), quiet=how.quiet, verbose=how.verbose)
    code = told(run, store, as_json=how.as_json)
    for target in wanted.targets:
        name = f"{Path(wanted.model.title).stem}-{target}"
        bundles = [Path(step["path"]) for step in run["steps"] if step["id"] == f"export:{target}" and step["path"]]
        if bundles:
            _lay(bundles[0] / deed.FOLDER, output, name, packed=True)
        elif "variants" in run["results"][target]:
            variant, folder = _shipping(run, target, store)
            _lay(folder, output, name, packed=False)
            _output.echo(f"{name} is the network of {variant}", err=True)
    return code


def _shipping(run: dict[str, Any], target: str, store: Store) -> tuple[str, Path]:
    """What was built here of the network to ship, with its sidecar: INT8 that is no faster than its twin is not it."""
    from ..portable import advice

    result = run["results"][target]
    found = advice.advice(result)
    variant = found.ship if found else result["candidate"]
    return variant, store.artifact_of(run, result["variants"][variant]["digest"]).path


def _lay(folder: Path, output: Path, name: str, *, packed: bool) -> None:
    """What lies there is replaced when it is of our making."""
    import shutil

    from ..errors import EdgeresnetError
    from ..portable import evaluation, manifest
    from ..stages.export import write as deed

    output.mkdir(exist_ok=True)
    there = output / name
    if there.exists() and not (there / manifest.NAME).is_file():
        raise EdgeresnetError(f"{there} is already there, and not ours", hint="give another --output")
    if (there / evaluation.RESULT).exists() and packed:
        raise EdgeresnetError(
            f"{there} holds a {evaluation.RESULT}, which would be lost",
            hint="bring it home first, or give another --output",
        )
    shutil.rmtree(there, ignore_errors=True)
    shutil.copytree(folder, there)
    if packed:
        deed.archive(folder, name, output / f"{name}.tar.gz")
    _output.echo(f"wrote {there}/" + (f" and {there}.tar.gz" if packed else ""), err=True)
