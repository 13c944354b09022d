"""edgeresnet export: a network as one FP32 ONNX file, or as a bundle for each target's device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _options

if TYPE_CHECKING:
    from ..artifact import Store
    from ..recipe import Recipe


@click.command()
@click.argument("model")
@_options.model_options
@click.option("--calibration", help="Folder of images to measure ranges on, in class folders or not.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="The folder for bundles; the ONNX file without --target."
)
@click.option("--precision", type=click.Choice(["int8", "fp32"]), help="What would ship; int8 by default.")
@click.option("--effort", help="How much is tried: fast (default), balanced, best.")
@click.option("--exclude", multiple=True, metavar="REGEX", help="Layers that stay float. May be repeated.")
@click.option("--count", type=click.IntRange(min=1), help="So many calibration images; at most 512 by default.")
@click.option("--seed", type=click.IntRange(min=0), help="Of that choice; 0 by default.")
@click.option("--max-drop-pp", type=float, help="Promise: at most so many points of top-1 lost.")
@click.option("--save-recipe", type=click.Path(dir_okay=False, path_type=Path), help="Hand the recipe over, too.")
@_options.changes
@_options.store
@_options.as_json
@_options.quiet
@_options.verbose
def export(
    model: str,
    about: _options.ModelOptions,
    calibration: str | None,
    output: Path | None,
    precision: str | None,
    effort: str | None,
    exclude: tuple[str, ...],
    count: int | None,
    seed: int | None,
    max_drop_pp: float | None,
    save_recipe: Path | None,
    changes: tuple[str, ...],
    store_root: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Hand MODEL over: a bundle to build and measure on each target's device.

    MODEL is an ONNX file, or a checkpoint with --arch. A bundle holds the
    INT8 network, calibrated on --calibration, its rivals, the evaluation
    images and deploy.py. Without --target it is one FP32 ONNX file.
    """
    from . import _one_shot

    store = _options.open_store(store_root)
    quantized = bool(about.targets) and precision != "fp32"
    choices = {"effort": effort, "exclude": list(exclude) or None} if quantized else {}
    sections: dict[str, Any] = {"promises": {} if max_drop_pp is None else {"max_drop_pp": max_drop_pp}}
    if quantized:
        sections["quantize"] = {key: value for key, value in choices.items() if value is not None} or {"effort": "fast"}
    images = {"calibration": _one_shot.counted(calibration, count)} if quantized else {}
    if about.targets:
        images["evaluation"] = about.evaluation
    raw, taken = _one_shot.recipe_of(model, about, images=images, seed=seed, sections=sections)
    raw["targets"] = {name: {"where": "bundle"} for name in about.targets}
    if taken and not quiet:
        _options.echo(taken, err=True)
    wanted = _one_shot.parsed(raw, changes, save_recipe, "export")
    output = _check_output(output, bundles=bool(about.targets))
    if about.targets:
        return _bundles(wanted, store, output, quiet=quiet, verbose=verbose, as_json=as_json)
    return _onnx(wanted, store, output, quiet=quiet, verbose=verbose)


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


def _onnx(wanted: Recipe, store: Store, output: Path, *, quiet: bool, verbose: bool) -> int:
    from .. import pipeline
    from ..artifact import write_bytes
    from . import _progress

    with store.used(), _progress.listener(quiet=quiet, verbose=verbose) as listener:
        done = pipeline.make(wanted, store, lambda step: step.id == "trace", listener)
    write_bytes(output, (Path(done["steps"]["trace"]["path"]) / "model.onnx").read_bytes())
    _options.echo(f"wrote {output}, {output.stat().st_size / 1e6:.2f} MB")
    return 0


def _bundles(wanted: Recipe, store: Store, output: Path, *, quiet: bool, verbose: bool, as_json: bool) -> int:
    """Run as a recipe is, so that what the devices bring home has a run to belong to."""
    from .run import judged

    code = judged(wanted, store, again=(), quiet=quiet, verbose=verbose, as_json=as_json)
    for target, folder in _made(store):
        name = f"{Path(wanted.model.title).stem}-{target}"
        _lay(folder, output, name)
        _options.echo(f"wrote {output / name}/ and {output / name}.tar.gz", err=True)
    return code


def _made(store: Store) -> list[tuple[str, Path]]:
    """The bundles of the newest run, by target."""
    from .. import export as deed

    steps = [step for step in store.load_run()["steps"] if step["stage"] == "export" and step["path"]]
    return [(step["id"].split(":")[1], Path(step["path"]) / deed.FOLDER) for step in steps]


def _lay(folder: Path, output: Path, name: str) -> None:
    """As a folder and packed; one that lies there is replaced when it is a bundle itself."""
    import shutil

    from .. import export as deed
    from ..artifact import write_bytes
    from ..device import bundle
    from ..errors import EdgeresnetError

    output.mkdir(exist_ok=True)
    there = output / name
    if there.exists() and not (there / bundle.ABOUT).is_file():
        raise EdgeresnetError(f"{there} is already there, and no bundle", hint="give another --output")
    shutil.rmtree(there, ignore_errors=True)
    shutil.copytree(folder, there)
    write_bytes(output / f"{name}.tar.gz", deed.archive(folder, name))
