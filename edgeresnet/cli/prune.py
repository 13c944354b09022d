"""edgeresnet prune: weights in, the weights of a narrower network out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _complete, _options, _output

if TYPE_CHECKING:
    from ..pipeline import Step


_NARROWEST = 8  # as without images: nobody said where it is to run


@click.command()
@click.argument("model", shell_complete=_complete.files)
@_options.model_options
@_options.cut_options
@_options.recover_options
@click.option("--seed", type=click.IntRange(min=0), help="Of choices and of images' order; 0 by default.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The weights: W.safetensors.")
@_options.run_options
def prune(
    model: str,
    about: _options.ModelOptions,
    cut: _options.CutOptions,
    again: _options.RecoverOptions,
    seed: int | None,
    output: Path | None,
    how: _options.RunOptions,
) -> int:
    """Cut whole channels out of MODEL, a checkpoint, until one goal is reached:
    --macs, --params, --ratio or --speedup, which measures cuts, compiled for
    its target, until one is so many times as fast as MODEL.

    With --training, what was lost is learned again, from the images and from
    the network as it was. --evaluation tells what both are worth. What is
    written is an ordinary checkpoint: train, prune, quantize, export take it.
    Where --evaluation is given, how much faster it is is measured, too: on
    --target, or on a CPU target that is here.
    """
    from .. import pipeline, report
    from .. import recipe as recipes
    from ..errors import EdgeresnetError
    from . import _one_shot, _progress

    output = _output.check_weights_file(output)
    store = _options.open_store(how.store_root)
    if recipes.is_onnx(model):
        raise EdgeresnetError(
            f"{model} is an ONNX file, which is not cut: pruning needs the trainable network",
            hint="give the checkpoint that it was exported from, and --arch where that is no ResNet by name",
        )
    if again.given() and again.training is None:
        raise EdgeresnetError(f"{again.given()[0]} needs --training too", hint="class folders to learn from")
    sections = {"prune": cut.section(), **({"recover": again.section()} if again.training else {})}
    images = {"training": again.training} if again.training else {}
    raw, taken = _one_shot.recipe_of(model, about, images=images, seed=seed, sections=sections, targeted=False)
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    raw.setdefault("prune", {})
    goals = raw["prune"].get("speedup", {})
    for name in goals:
        raw["targets"].setdefault(name, {})
    told = any(each.startswith(("targets", "prune.speedup")) for each in how.changes)
    if about.evaluation and not raw["targets"] and not told:  # multiplications are not told without milliseconds
        raw["targets"] = {_one_shot.cpu_targets_here()[-1]: {}}
        raw["prune"].setdefault("multiple", _NARROWEST)
    wanted = _one_shot.parsed(raw, how.changes, how.save_recipe, "prune")
    with store.used(), _progress.listener(quiet=how.quiet, verbose=how.verbose) as listener:
        done = pipeline.make(wanted, store, lambda step: _is_wanted(step, goals), listener)
    found = report.pruned.of(done)
    _output.hand_out(found, output, report.pruned.render, as_json=how.as_json)
    return 0


def _is_wanted(step: Step, goals: Mapping[str, float]) -> bool:
    """The weights and, where there are evaluation images, how good they are beside the whole network; how fast, on the
    targets that were named, but for those on which that was the goal.
    """
    here = step.stage.name == "verify" and step.target is not None and bool(step.stage.function)
    scored = step.id in ("prune", "recover", "verify:reference", "verify:reference:pruned")
    return scored or (here and step.target not in goals)
