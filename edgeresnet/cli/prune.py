"""edgeresnet prune: weights in, the weights of a narrower network out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _complete, _help, _options, _output, _stage_options

if TYPE_CHECKING:
    from ..pipeline import Step
    from ..recipe import Recipe


_NARROWEST = 8  # widths are multiples of it where no target was named, as without images


@_help.command(
    "edgeresnet prune net.pth --macs 0.5 --training images/train --evaluation images/val "
    "--size 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --output pruned.safetensors",
)
@click.argument("model", shell_complete=_complete.files)
@_options.model_options
@_stage_options.prune_options
@_stage_options.recover_options
@_options.seed("every random choice", group=_help.RUN)
@_options.weights_output
@_options.run_options
def prune(
    model: str,
    about: _options.ModelOptions,
    pruning: _stage_options.PruneOptions,
    recovery: _stage_options.RecoverOptions,
    seed: int | None,
    output: Path | None,
    how: _options.RunOptions,
) -> int:
    """Remove channels from MODEL to reach one goal.

    MODEL is a checkpoint. The goal is one of --macs, --params, --ratio and
    --speedup. For --speedup, pruned networks are compiled for the target and
    timed until one is fast enough.

    With --training the pruned network is trained again, to recover accuracy.
    --evaluation shows how much accuracy is lost, and how much speed is gained
    on --target, by default on an installed CPU target. Writes a checkpoint,
    which train, prune, quantize and export accept.
    """
    from dataclasses import replace

    from .. import pipeline, report
    from .. import recipe as recipes
    from ..errors import EdgeresnetError
    from . import _progress

    output = _output.check_weights_file(output)
    store = _options.open_store(how.store_root)
    if recipes.is_onnx(model):
        raise EdgeresnetError(
            model,
            "is an ONNX file, which cannot be pruned: pruning needs the trainable network",
            hint="give the checkpoint that it was exported from, and --arch where its name is not a ResNet's",
        )
    if recovery.given() and recovery.training is None:
        raise EdgeresnetError(recovery.given()[0], "needs --training too", hint="class folders to learn from")
    wanted = _recipe(model, about, pruning, recovery, seed, how)
    goals = pruning.goals()
    with store.used(), _progress.listener(quiet=how.quiet, verbose=how.verbose) as listener:
        done = pipeline.make(wanted, store, lambda step: _is_wanted(step, goals), listener)
    found = replace(report.prune_text.of(done), file=str(output))
    _output.write_output(output, Path(found.artifact).read_bytes())
    _output.print_json(found) if how.as_json else _output.echo(report.prune_text.render(found), nl=False)
    return 0


def _recipe(
    model: str,
    about: _options.ModelOptions,
    pruning: _stage_options.PruneOptions,
    recovery: _stage_options.RecoverOptions,
    seed: int | None,
    how: _options.RunOptions,
) -> Recipe:
    """Return the recipe of these options. With images, speed is measured on some target: MACs alone mislead."""
    from . import _one_shot

    section = dict(pruning.section())
    targets: dict[str, Mapping[str, object]] = {name: {} for name in (*about.targets, *pruning.goals())}
    is_open = not any(each.startswith(("targets", "prune.speedup")) for each in how.changes)
    if about.evaluation and not targets and is_open:
        targets = {_one_shot.cpu_targets_here()[-1]: {}}
        section.setdefault("multiple", _NARROWEST)
    raw, taken = _one_shot.recipe_of(
        model,
        about,
        images={"training": recovery.training} if recovery.training else {},
        seed=seed,
        sections={"prune": section, "recover": recovery.section() if recovery.training else {}},
        targets=targets,
        training_labels=_stage_options.training_labels(recovery),
    )
    raw.setdefault("prune", {})  # --set may name the goal
    if taken and not how.quiet:
        _output.echo(taken, err=True)
    return _one_shot.parsed(raw, how.changes, how.save_recipe, "prune")


def _is_wanted(step: Step, goals: Collection[str]) -> bool:
    """Choose the weights and, with evaluation images, accuracy next to the unpruned network's, and speed.

    Speed on the targets that were named, except where it was the goal.
    """
    from ..pipeline.planner import ANSWERED, ANSWERED_PRUNED, PRUNE, RECOVER

    if step.id in (PRUNE, RECOVER, ANSWERED, ANSWERED_PRUNED):
        return True
    is_here = step.id.stage == "verify" and step.target is not None and step.stage.is_here
    return is_here and step.target not in goals
