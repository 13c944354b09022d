"""edgeresnet train: weights and images in, better weights for these images out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import _complete, _help, _options, _output, _stage_options

if TYPE_CHECKING:
    from ..pipeline import Step
    from ..recipe import Recipe
    from ..store import Store


@_help.command(
    "edgeresnet train resnet18 --classes 10 --training images/train --evaluation images/val "
    "--size 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --epochs 30 --output net.safetensors",
)
@click.argument("model", shell_complete=_complete.files)
@_options.untargeted_options
@_stage_options.learn_options
@_options.seed("the order of images and of new weights", group=_help.TRAINING)
@_options.weights_output
@_help.option(
    "--metrics",
    type=click.Path(dir_okay=False, path_type=Path),
    group=_help.OUTPUT,
    help="File that gets one line of JSON per epoch.",
)
@_options.run_options
def train(
    model: str,
    about: _options.ModelOptions,
    learn: _stage_options.LearnOptions,
    seed: int | None,
    output: Path | None,
    metrics: Path | None,
    how: _options.RunOptions,
) -> int:
    """Train MODEL, a checkpoint or an architecture, on images.

    Architectures are cifar_resnet20, resnet18, my.module:make and others.
    One tenth of the training images is set aside to choose the best epoch.
    --evaluation measures the result on images that were not trained on. An
    interrupted training continues where it stopped. Writes a checkpoint.

    With several GPUs or processes, start it with torchrun:

    \b
    torchrun --nproc-per-node 2 -m edgeresnet train MODEL …
    """
    from dataclasses import replace

    from .. import pipeline, report
    from ..training import process_group
    from . import _progress

    output = _output.check_weights_file(output)
    _output.check_lines_file(metrics)
    store = _options.open_store(how.store_root)
    with process_group.entered() as mine, store.used():
        wanted = _recipe(model, about, learn, seed, how, leads=mine.leads)
        if not mine.leads:
            _follow(wanted, store)
            return 0
        with _progress.listener(quiet=how.quiet, verbose=how.verbose, metrics=metrics) as listener:
            done = pipeline.make(wanted, store, _is_wanted, listener)
        mine.dismiss()
    found = replace(report.train_text.of(done), file=str(output))
    _output.write_output(output, Path(found.artifact).read_bytes())
    _output.print_json(found) if how.as_json else _output.echo(report.train_text.render(found), nl=False)
    return 0


def _recipe(
    model: str,
    about: _options.ModelOptions,
    learn: _stage_options.LearnOptions,
    seed: int | None,
    how: _options.RunOptions,
    *,
    leads: bool,
) -> Recipe:
    """Return the recipe of these options. One process of a group reports and writes."""
    from dataclasses import replace

    from . import _one_shot

    is_file = Path(os.path.expanduser(model)).exists() or about.arch is not None or _is_file_name(model)
    about = about if is_file else replace(about, arch=model)
    _one_shot.refuse_missing({"--epochs": learn.epochs}, model, "how often every image is learned from")
    raw, taken = _one_shot.recipe_of(
        model if is_file else None,
        about,
        images={"training": learn.training},
        seed=seed,
        sections={"train": learn.section()},
        targets={},
        training_labels=_stage_options.training_labels(learn),
    )
    if taken and leads and not how.quiet:
        _output.echo(taken, err=True)
    return _one_shot.parsed(raw, how.changes, how.save_recipe if leads else None, "train")


def _is_file_name(model: str) -> bool:
    """Tell a mistyped file from an unknown architecture."""
    from ..inspect import CHECKPOINTS
    from ..recipe import module_of_factory

    named_so = model.lower().endswith((*CHECKPOINTS, ".onnx")) or "/" in model
    return named_so and module_of_factory(model) is None


def _is_wanted(step: Step) -> bool:
    """Choose the weights and, where there are evaluation images, how good they are in the reference runtime."""
    from ..pipeline.planner import ANSWERED, TRAIN

    return step.id in (TRAIN, ANSWERED)


def _follow(wanted: Recipe, store: Store) -> None:
    """Train as one process of a group that another process leads."""
    import tempfile

    from .. import pipeline
    from ..context import Context
    from ..pipeline.planner import TRAIN
    from ..stages.specs import TrainInputs, TrainSpec
    from ..stages.train import follow
    from ..store import Given

    step = next(step for step in pipeline.planned(wanted, store) if step.id == TRAIN)
    parents = {name: parent for name, parent in step.parents.items() if isinstance(parent, Given)}
    assert isinstance(step.spec, TrainSpec)
    with tempfile.TemporaryDirectory() as scratch:
        follow(TrainInputs.from_parents(parents), step.spec, Context(step.spec.seed, Path(scratch)))
