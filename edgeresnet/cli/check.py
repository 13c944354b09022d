"""edgeresnet check: everything that can be known about a recipe before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import _help, _options, _output

if TYPE_CHECKING:
    from ..images import Samples
    from ..images.contents import Contents
    from ..pipeline import ResolvedTarget
    from ..recipe import Recipe


@_help.command(
    "edgeresnet check recipe.yaml --decode",
)
@_options.recipe
@_options.store
@_options.changes
@_options.on
@_help.option(
    "--decode", is_flag=True, group=_help.IMAGES, help="Also decode every image. A run then uses the stored pixels."
)
def check(recipe_path: Path, store_root: Path, changes: tuple[str, ...], on: tuple[str, ...], decode: bool) -> int:
    """Check RECIPE against its images and this machine.

    No stage runs. Lists the targets that are not installed (exit code 4), and
    the promises that the images are too few to decide. Names the
    architectures that the weights match, where there are several. Warns where
    the calibration images are few, of one class, or unlike the evaluation
    images. Whether the weights fit the architecture that the recipe names is
    known only when it runs. Devices are looked up in devices.yaml, and are not
    reached: `edgeresnet devices` does that.
    """
    from .. import pipeline, recipe
    from ..images import contents
    from ..pipeline import lookup
    from . import _progress

    wanted, _ = lookup.found_for(recipe.load(recipe_path, changes), recipe_path.parent, str(recipe_path), on)
    resolved = pipeline.resolve(wanted, _options.open_store(store_root))
    samples = {slot: given.value for slot, given in resolved.samples.items()}
    steps = pipeline.plan(resolved)
    _print(f"{recipe_path}: {len(steps)} stages, {wanted.model.title}, {resolved.network.architecture.classes} classes")
    for warning in (*resolved.network.warnings, *pipeline.warnings_of(resolved)):
        _print(f"warning: {warning}")
    if choice := resolved.network.choice:
        names = ", ".join(str(each.arch) for each in choice.candidates)
        _print(f"the weights match {names}: a run compares them on {len(choice.images.value)} labelled images")
    if decode:
        with _progress.counted("decode") as progress:
            pipeline.look_at(samples, progress)
    held: dict[str, Contents | None] = {}
    for slot, images in samples.items():
        classes = f"{len(images.classes)} classes" if images.classes else "not sorted into classes"
        _print(f"{slot}: {len(images)} images, {classes}")
        held[slot] = contents.of(images)
        if inside := held[slot]:
            _print(f"{slot}: {inside.words}")
    if "evaluation" in samples:
        _print_reach(wanted, samples["evaluation"], held["evaluation"])
    complete = [_print_target(target) for target in resolved.targets.values()]
    return 0 if all(complete) else 4


def _print(sentence: str) -> None:
    from .. import text

    _output.echo(text.wrapped(sentence))


def _print_reach(wanted: Recipe, images: Samples, held: Contents | None) -> None:
    """Print what these images can decide, and which promises they cannot."""
    import numpy as np

    from ..portable import judging
    from ..portable.tasks.task import task_of

    task, count = task_of(wanted.task), len(images)
    _print(f"the smallest drop that {count} images can rule out is {100 * task.finest(count):.2f} points")
    numbers = np.bincount(images.labels, minlength=len(images.classes)).tolist()
    counts = held.images if held else dict(zip(images.classes, numbers, strict=True))
    for sentence in judging.out_of_reach(wanted.promises.promises(), count, counts, wanted.verify.processes, task):
        _print(f"warning: {sentence}, so it can only end UNDECIDED or BROKEN")


def _print_target(resolved: ResolvedTarget) -> bool:
    """Print whether a target is installed; return whether all that this machine needs of it is here."""
    from ..portable import machine

    target = resolved.target
    if resolved.is_bundle:
        where = ", ".join(resolved.delivery.devices) or "its device"
        _print(f"target {target.name}: a bundle, built and measured on {where}")
        return True
    # of its libraries one is enough; pip does not know one that an archive or JetPack brought: the target does
    found = machine.versions(*target.libraries) or target.available().versions
    words = ", ".join(f"{library} {version}" for library, version in found.items())
    _print(f"target {target.name}: {words or f'not here: {target.install}'}")
    return bool(found)
