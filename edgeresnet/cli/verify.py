"""edgeresnet verify: may this very network ship? A checkpoint, an ONNX file, or an INT8 file against its original."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import _complete, _options, _output

if TYPE_CHECKING:
    from ..store import Store


@click.command()
@click.argument("model", required=False, shell_complete=_complete.files)
@_options.model_options
@click.option(
    "--reference", shell_complete=_complete.files, help="The FP32 original of MODEL, an ONNX file or a checkpoint."
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="So many of the images, balanced over the classes; with --explain 100 by default, and others to confirm.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Of that choice; 0 by default.")
@click.option("--max-drop-pp", type=float, help="Promise: at most so many points of top-1 lost.")
@click.option(
    "--from", "brought", type=click.Path(dir_okay=False, path_type=Path), help="A device's result.json, brought home."
)
@click.option("--explain", "asks_why", is_flag=True, help="Accuracy surprises: what would explain it?")
@_options.run_options
def verify(
    model: str | None,
    about: _options.ModelOptions,
    reference: str | None,
    count: int | None,
    seed: int | None,
    max_drop_pp: float | None,
    brought: Path | None,
    asks_why: bool,
    how: _options.RunOptions,
) -> int:
    """Measure MODEL on each --target (every CPU target that is here, by default).

    Its promises are judged. MODEL is an ONNX file or a checkpoint. With
    --reference it is a network made from that one (INT8, pruned, half
    precision), judged as it is. Without MODEL the networks of the newest run
    are measured anew. With --from, what a bundle's deploy.py measured on
    its device is judged.

    With --explain nothing is judged: BGR, other means, pixels to 255, other
    resizing and another order of the classes are tried in onnxruntime on a
    hundred images, and what is best is confirmed on three hundred others, or
    not.
    --mean and --std may be left out then. Exit code 0 whatever it finds.
    """
    from . import _one_shot
    from .run import ran, told

    store = _options.open_store(how.store_root)
    promises = {} if max_drop_pp is None else {"max_drop_pp": max_drop_pp}
    others = {"--reference": reference, "--count": count, "--seed": seed}
    said = about.given() + [name for name, value in others.items() if value is not None]
    if asks_why:
        idle: dict[str, Any] = {"--reference": reference, "--target": about.targets or None, "--from": brought}
        idle |= {"--max-drop-pp": max_drop_pp, "--save-recipe": how.save_recipe}
        _refuse_beside_explain([name for name, value in idle.items() if value is not None])
        return _explained(model, about, store, how, count, seed)
    if brought is not None:
        _refuse_beside_from([*said, *(["MODEL"] if model else []), *(["--save-recipe"] if how.save_recipe else [])])
        return told(_of_device(brought, store, promises, how.changes), store, as_json=how.as_json)
    if model is None:
        _refuse_without_model(said)
        raw, taken = _newest(store, promises), ""
    else:
        images = {"evaluation": _one_shot.counted(about.evaluation, count)}
        sections = {"promises": promises}
        raw, taken = _one_shot.recipe_of(model, about, reference=reference, images=images, seed=seed, sections=sections)
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    wanted = _one_shot.parsed(raw, how.changes, how.save_recipe, "verify")
    again = ("verify",) if model is None else ()
    return told(ran(wanted, store, again=again, quiet=how.quiet, verbose=how.verbose), store, as_json=how.as_json)


def _refuse_without_model(options: list[str]) -> None:
    from ..errors import EdgeresnetError

    if options:
        raise EdgeresnetError(
            f"{', '.join(options)} without a MODEL says nothing",
            hint="name the network first; without one the newest run is measured anew, as its recipe says",
        )


def _refuse_beside_from(told: list[str]) -> None:
    from ..errors import EdgeresnetError

    if told:
        raise EdgeresnetError(
            f"{', '.join(told)} beside --from says nothing",
            hint="the bundle that was measured holds its network and images",
        )


def _refuse_beside_explain(told: list[str]) -> None:
    from ..errors import EdgeresnetError

    if told:
        raise EdgeresnetError(
            f"{', '.join(told)} beside --explain says nothing",
            hint="MODEL is asked in onnxruntime; preprocessing is that of the FP32 original: name that one",
        )


def _explained(
    model: str | None,
    about: _options.ModelOptions,
    store: Store,
    how: _options.RunOptions,
    count: int | None,
    seed: int | None,
) -> int:
    from . import _diagnose, _one_shot

    if model is None:
        _refuse_without_model(about.given())
        raw = _diagnose.of_run(_newest(store, {}), how.changes)
        made = _one_shot.parsed(deepcopy(raw), (), None, "verify")
        asked = _one_shot.parsed(raw, how.changes, None, "verify")
        return _diagnose.explained(made, asked, store, how, said=True, count=count, seed=seed)
    raw, taken, mean_is_said = _diagnose.of_model(model, about, how.changes)
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    made = _one_shot.parsed(raw, (), None, "verify")
    return _diagnose.explained(made, made, store, how, said=mean_is_said, count=count, seed=seed)


def _of_device(path: Path, store: Store, promises: dict[str, Any], changes: tuple[str, ...]) -> dict[str, Any]:
    from .. import pipeline

    asked = [f"promises.{name}={value}" for name, value in promises.items()]
    with store.used():
        return pipeline.bring_home(path, store, (*asked, *changes))


def _newest(store: Store, promises: dict[str, Any]) -> dict[str, Any]:
    """The newest run's recipe, with other promises where some are given."""
    from ..errors import EdgeresnetError

    if not store.runs():
        raise EdgeresnetError(
            f"there is no run in {store.root} yet whose networks could be measured anew",
            hint="give a network and images: `edgeresnet verify net.onnx --evaluation DIR`",
        )
    raw = store.load_run()["recipe"]
    raw["promises"] |= promises
    return raw
