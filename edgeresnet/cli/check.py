"""edgeresnet check: everything that can be known about a recipe before it runs."""

from __future__ import annotations

from pathlib import Path

import click

from . import _options, _output


@click.command()
@_options.recipe
@_options.store
@_options.changes
@click.option("--decode", is_flag=True, help="Decode every image too, as the run will; it finds them decoded.")
def check(recipe_path: Path, store_root: Path, changes: tuple[str, ...], decode: bool) -> int:
    """Hold RECIPE against its images, classes and this machine. Runs nothing.

    Says which targets are not here (exit code 4) and which promises so few
    images cannot decide. Whether the weights fit is seen when it runs.
    """
    import numpy as np

    from .. import pipeline, recipe, report, targets
    from ..portable import judging, machine
    from . import _progress

    def say(sentence: str) -> None:
        _output.echo(report.terminal.wrapped(sentence))

    wanted = recipe.load(recipe_path, changes)
    steps = pipeline.steps(wanted, _options.open_store(store_root))
    classes = next(step.spec["classes"] for step in steps if "classes" in step.spec)
    say(f"{recipe_path}: {len(steps)} stages, {wanted.model.title}, {classes} classes")
    if decode:
        with _progress.counted("decode") as progress:
            pipeline.look_at(pipeline.samples_of(steps), progress)
    for slot, samples in pipeline.samples_of(steps).items():
        known = f"{len(samples.classes)} classes" if samples.classes else "not sorted into classes"
        say(f"{slot}: {len(samples)} images, {known}")
    evaluation = pipeline.samples_of(steps).get("evaluation")
    if evaluation is not None:
        finest = 100 * judging.finest_drop(len(evaluation))
        say(f"the smallest drop that {len(evaluation)} images can rule out is {finest:.2f} points")
        counts = dict(
            zip(evaluation.classes, np.bincount(evaluation.labels, minlength=len(evaluation.classes)), strict=True)
        )
        for sentence in judging.out_of_reach(wanted.promises.limits(), counts, wanted.verify.processes):
            say(f"warning: {sentence}, so it can only end UNDECIDED or BROKEN")
    absent = 0
    for name in wanted.targets:
        target = targets.get(name)
        found = machine.versions(*target.libraries)
        here = len(found) == len(target.libraries)
        absent += not here
        words = ", ".join(f"{library} {version}" for library, version in found.items())
        say(f"target {name}: {words if here else 'not here: pip install ' + ' '.join(target.libraries)}")
    return 4 if absent else 0
