"""Labelled images as one type, `Samples`: opened as a recipe names them, chosen by seed, and streamed, so that they
never fill the memory.

sources → what is there · choose → which of it · decode → pixels · cache → decoded once. Knows no network.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import ImagesError
from ..portable.preprocessing import Preprocessing
from ..portable.tasks.task import task_of
from ..recipe import Recipe, Source
from ..store import Store
from . import choose, decode, sources
from .files import FILES, FromFiles
from .noise import is_noise, noise
from .samples import Batch, Samples

CALIBRATION = 512  # images, where the recipe names no count

__all__ = [
    "FILES",
    "Batch",
    "FromFiles",
    "Samples",
    "check_classes",
    "check_disjoint",
    "is_noise",
    "noise",
    "open_samples",
    "read_image",
    "same_classes",
]


def open_samples(recipe: Recipe, slot: str, store: Store | None = None, classes: int | None = None) -> Samples:
    """Open the images of one slot of a recipe: training, evaluation or calibration.

    `classes` is how many the network has, where it is known and the recipe does not say it.
    """
    named: Source | None = getattr(recipe.images, slot)
    if named is None:
        raise ImagesError("the recipe", f"has no {slot} images", hint=f"add `images: {{{slot}: FOLDER}}`")
    if named.source == "training" and slot == "calibration":
        training = open_samples(recipe, "training", store, classes)
        return _counted(training.without_parts(), _count(named, slot, len(training)), recipe.seed, slot)
    names, classes = recipe.images.names, recipe.model.classes or classes or None
    task = task_of(recipe.task)
    if task.has_masks:
        ignored = recipe.images.ignore_index
        source = sources.open_masked(named, slot, store, names=names, classes=classes, ignored=ignored)
    elif task.has_boxes:
        source = sources.open_boxed(named, slot, store, names=names, classes=classes)
    else:
        source = sources.open_source(named, slot, store, names=names, classes=classes)
    samples = Samples.of(source, recipe.preprocessing, recipe.images.unreadable, store)
    return _counted(samples, _count(named, slot, len(samples)), recipe.seed, slot)


def read_image(path: Path, preprocessing: Preprocessing) -> np.ndarray:
    """Read one file by itself: HWC."""
    return decode.read(str(path), preprocessing)


def check_classes(samples: Samples, classes: int, where: str) -> None:
    """Refuse images with another number of classes than the network has."""
    if samples.classes and len(samples.classes) != classes:
        shown = ", ".join(samples.classes[:5]) + (" …" if len(samples.classes) > 5 else "")
        hint = (
            "set `model.classes` to the number of class folders; if folders are missing on purpose, list all classes "
            "in `images.names`, in the network's order"
        )
        if samples.has_masks:
            hint = "set `model.classes` to the number of classes in masks, the background counted"
        elif samples.has_boxes:
            hint = "set `model.classes` to the number of classes that the network has logits for, or list their names "
            hint += "in `images.names`, in the network's order"
        raise ImagesError(
            where, f"has {len(samples.classes)} classes ({shown}), but the model has {classes}", hint=hint
        )


def check_disjoint(one: Samples, other: Samples, names: tuple[str, str]) -> None:
    """Refuse two sets that share an image. Content is compared: copies and renamed files count, too."""
    shared = choose.shared(one, other)
    if shared:
        first = ", ".join(one.name(index) for index in shared[:3])
        raise ImagesError(
            f"{len(shared)} of the {len(one)} {names[0]} images",
            f"are also {names[1]} images: {first}",
            hint=f"use other {names[0]} images: accuracy on images that the network has seen means nothing",
        )


def same_classes(sets: Iterable[tuple[str, Samples]]) -> None:
    """Refuse sets of images whose classes differ. Sets without classes are ignored."""
    labelled = [(name, samples) for name, samples in sets if samples.classes]
    for name, samples in labelled[1:]:
        first_name, first = labelled[0]
        if samples.classes != first.classes:
            odd = sorted(set(samples.classes) ^ set(first.classes)) or ["in another order"]
            how = "" if samples.has_parts else "give both the same class folders, or "
            raise ImagesError(
                f"the {name} images",
                f"have other classes than the {first_name} images: {', '.join(odd[:5])}",
                hint=f"{how}name all classes in the network's order in `images.names`",
            )


def _count(source: Source, slot: str, there: int) -> int | None:
    """Return how many images to use. A few hundred settle the ranges: more cost time and change nothing measurable."""
    return source.count or (min(CALIBRATION, there) if slot == "calibration" else None)


def _counted(samples: Samples, count: int | None, seed: int, slot: str) -> Samples:
    if count is None or count == len(samples):
        return samples
    if count > len(samples):
        raise ImagesError(
            f"{count} {slot} images",
            f"are requested, but there are only {len(samples)}",
            hint=f"lower `images.{slot}.count`, or give more images",
        )
    return samples.subset(choose.balanced(samples, count, seed))
