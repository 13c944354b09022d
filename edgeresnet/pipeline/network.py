"""The network that a recipe begins with: what its files hold, compared with the images and preprocessing.

Reads names, shapes and graphs; loads no weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import models, tasks
from ..errors import ModelError, RecipeError
from ..graph import joining, lint
from ..models import conventions, hub, names, recognise, shapes, sharded, unwrap
from ..models.recognised import Recognised
from ..portable import machine, manifest, onnx_file
from ..portable.frozen import dataclass
from ..portable.onnx_file import OnnxFile
from ..portable.result import RunWarning
from ..portable.tasks.task import task_of
from ..portable.tasks.two_stage import AnyDetector
from ..recipe import Recipe, is_onnx, module_of_factory
from ..recipe.base import Arguments
from ..stages.specs import Architecture, NetworkFile
from ..store import Given
from ..tasks.probabilities import PROBABILITIES
from . import choice, detecting
from .choice import Choice, ImageSets

GIVEN_WEIGHTS = "given-weights"  # the code of a warning about them
DETECTOR_SIZE = "detector-size"
_SIDE = 32  # pixels: torchvision's detectors fill images up to a multiple


@dataclass(frozen=True)
class Network:
    """What a recipe's `model` names. Where its weights fit several networks, `architecture` is the likeliest."""

    architecture: Architecture
    warnings: tuple[RunWarning, ...]  # about the given weights
    weights: NetworkFile | None
    candidate: NetworkFile | None
    candidate_answers_probabilities: bool
    choice: Choice | None = None  # what labelled images decide: which architecture it is

    @property
    def detector(self) -> AnyDetector | None:
        """How answers become boxes, in detection."""
        return self.architecture.detector


def opened(recipe: Recipe, samples: ImageSets) -> Network:
    """Open the files of `model`, each once, and check them as far as is possible without running them."""
    timed = (recipe.prune and recipe.prune.speedup) or {}  # targets that need no images: nothing is judged on them
    if not samples and recipe.prune and not (recipe.model.checkpoint and recipe.targets.keys() <= timed.keys()):
        raise RecipeError(
            "the recipe",
            "has no images",
            hint="give at least calibration images: the export is checked with real images",
        )
    model, batch = recipe.model, None if recipe.trace.batch == "dynamic" else recipe.trace.batch
    onnx = _read(model.checkpoint, "checkpoint") if is_onnx(model.checkpoint) else None
    architecture, chosen, warnings = _architecture(recipe, samples, onnx)
    if onnx:
        batch = lint.reference(onnx, recipe.preprocessing, architecture.classes, batch, architecture.learned)
        weights: NetworkFile | None = Given(onnx.digest, onnx.path)
    else:
        weights = _weights(recipe)
        _check_order(recipe, samples)
    if not model.candidate:
        return Network(architecture, warnings, weights, None, candidate_answers_probabilities=False, choice=chosen)
    other = _read(model.candidate, "candidate")
    lint.candidate(other, recipe.preprocessing, architecture.classes, batch, architecture.learned)
    candidate: NetworkFile = Given(other.digest, other.path)
    return Network(architecture, warnings, weights, candidate, other.last in PROBABILITIES, chosen)


def classes_of_weights(recipe: Recipe) -> int | None:
    """Return how many classes the given weights or the ONNX file answer; None where that is open. Reads shapes only."""
    if recipe.train and recipe.train.head == "new":
        return None
    if is_onnx(recipe.model.checkpoint):
        return _shown_classes(recipe, _read(recipe.model.checkpoint, "checkpoint"))
    found, _ = _recognised(recipe)
    return found.classes if found else None


def _shown_classes(recipe: Recipe, onnx: OnnxFile | None) -> int | None:
    """Return how many classes the outputs of an ONNX file show."""
    outputs = onnx.outputs if onnx else ()
    if task_of(recipe.task).has_boxes:
        return joining.classes_in(outputs, detecting.cell_anchors(recipe))
    return tasks.of(recipe.task).classes_in(outputs[0].shape) if outputs and outputs[0].shape else None


def _architecture(
    recipe: Recipe, samples: ImageSets, onnx: OnnxFile | None
) -> tuple[Architecture, Choice | None, tuple[RunWarning, ...]]:
    """Return which network the stages build, what is still to be chosen, and warnings about the given weights."""
    found, warnings = _recognised(recipe)
    arch = recipe.model.arch or (found.archs[0] if found else None)
    classes = recipe.model.classes or _classes(recipe, samples, found, onnx)
    channels = recipe.preprocessing.channels
    if arch in names.TWO_STAGE:
        _check_two_stages(recipe, arch)
    if arch in (*names.TORCHVISION_DETECTORS, *names.TWO_STAGE):
        warnings += _about_size(recipe)
    detector = detecting.detector(recipe, arch, classes, onnx)
    if arch is None:  # an ONNX file holds its own
        return Architecture(None, classes, channels, task=recipe.task, detector=detector), None, ()
    new_head = recipe.train is not None and recipe.train.head == "new"
    if found and recipe.model.arch is None and classes != found.classes and not new_head:
        raise ModelError(
            str(recipe.model.checkpoint),
            f"has {found.classes} classes, but the images or the recipe have {classes}",
            hint="give images and weights of the same classes, or train a new head: `train: {head: new}`, --head new",
        )
    _check_task(recipe, arch)
    built = _built(arch, classes, channels, recipe.model.arch_args)
    architecture, chosen = replace(built, task=recipe.task, detector=detector), None
    if found and recipe.model.arch is None:
        others = found.archs[1:]
        images = None if new_head else choice.images(samples, classes, recipe.seed)  # labels of other classes
        there = [name for name in others if not names.missing_library(name)]
        if images:  # also for one network: it must be better than chance
            chosen = Choice((architecture, *(_built(name, classes, channels) for name in there)), images)
        warnings += _about_others(recipe, arch, others, chosen)
    return architecture, chosen, tuple(warnings)


def _check_task(recipe: Recipe, arch: str) -> None:
    own = names.task_of(arch)
    if own not in (None, recipe.task):
        hint = f"write `task: {own}`, or name a network for {recipe.task}"
        raise ModelError(arch, f"is a network for {own}, but the recipe's task is {recipe.task}", hint=hint)


def _check_two_stages(recipe: Recipe, arch: str) -> None:
    """Refuse what is not possible with a detector of two stages: its second stage stays outside of the network."""
    outside = "its second stage is outside of the network"
    refused = (
        (recipe.train, f"cannot be trained here: {outside}", "train it with torchvision, then give its weights"),
        (recipe.prune, f"cannot be pruned here: {outside}", "leave out `prune`, or prune a RetinaNet"),
        (recipe.model.anchors, "has torchvision's anchors", "leave out `model.anchors`"),
        (
            recipe.quantize and recipe.quantize.is_searched,
            "is not searched for layers that stay in float: the first stage's answers do not show what a layer costs",
            "name layers or patterns in `quantize.exclude` instead of auto",
        ),
    )
    for given, problem, hint in refused:
        if given:
            raise ModelError(arch, problem, hint=hint)


def _about_size(recipe: Recipe) -> list[RunWarning]:
    """Return a warning about a size at which torchvision finds other boxes with the given weights."""
    size = recipe.preprocessing.size
    if size % _SIDE == 0 or not recipe.model.checkpoint or recipe.train:
        return []
    near = " or ".join(str(each) for each in (size // _SIDE * _SIDE, -(-size // _SIDE) * _SIDE) if each)
    text = f"32 does not divide the size {size}: torchvision fills such images up, and its boxes differ; use {near}"
    return [RunWarning(DETECTOR_SIZE, text, subject=recipe.model.checkpoint)]


def _built(arch: str, classes: int, channels: int, arguments: Arguments | None = None) -> Architecture:
    models.check_arch(arch)
    libraries = machine.versions("timm") if arch in models.TIMM else {}  # another timm may build it differently
    sources = models.sources_of(arch)  # user code: another text may be another network
    return Architecture(arch, classes, channels, libraries, tuple(map(manifest.sha256_of, sources)), arguments or {})


def _about_others(recipe: Recipe, arch: str, others: Sequence[str], chosen: Choice | None) -> list[RunWarning]:
    """Return a warning about networks that fit the weights too, and that nothing is going to compare."""
    compared = [each.arch for each in chosen.candidates] if chosen else []
    left = [name for name in others if name not in compared]
    if not left:
        return []
    what = f"recognised as {arch}; its tensors" if chosen is None else "its tensors"
    need = " (they need timm: pip install 'edgeresnet[timm]')" if chosen else ""
    shown = ", ".join(names.unlike(arch, name) for name in left)
    unnamed = any(name not in shown for name in left)
    where = " (`edgeresnet inspect` has their names)" if unnamed else ""
    text = f"{what} also match {shown}{need}: set `model.arch` if it is one of these{where}"
    return [_warning(str(recipe.model.checkpoint), text)]


def _recognised(recipe: Recipe) -> tuple[Recognised | None, list[RunWarning]]:
    """Return what the weights are recognised as, and warnings about them."""
    given, model = recipe.model.checkpoint, recipe.model
    if given is None or is_onnx(given):
        return None, []
    held = shapes.look(_path(given, "checkpoint"))
    if (model.weights or unwrap.MODEL) not in held.networks:
        raise ModelError(given, "does not hold averaged weights (EMA)", hint="leave out `model.weights`")
    warnings = []
    if model.weights is None and unwrap.AVERAGE in held.networks:
        both = (
            "the file has weights and averaged weights (EMA): the first are used; `model.weights: ema` uses the second"
        )
        warnings.append(_warning(given, both))
    found = recognise.recognise(held.networks[model.weights or unwrap.MODEL], held.arch)
    found = conventions.decided(found, held.convention)
    if found and found.around and not module_of_factory(model.arch or ""):
        warnings.append(_warning(given, found.around))
    if model.arch is not None:  # still, they show how many classes there are
        return found if found and found.classes else None, warnings
    return _checked(given, found, recipe.preprocessing.channels), warnings


def _warning(checkpoint: str, text: str) -> RunWarning:
    return RunWarning(GIVEN_WEIGHTS, text, subject=checkpoint)


def _checked(given: str, found: Recognised | None, channels: int) -> Recognised:
    name = "give `--arch` or `model.arch`: a known name, or my.module:make, a function that returns the network"
    if found is None:
        raise ModelError(given, "has tensors that match no known architecture", hint=name)
    if not found.archs:
        raise ModelError(given, f"holds {found.words}", hint=found.hint or name)
    if found.channels != channels:
        many = "1 channel" if found.channels == 1 else f"{found.channels} channels"
        raise ModelError(
            given, f"takes {many}, but the preprocessing makes {channels}", hint="give one mean and one std per channel"
        )
    return found


def _classes(recipe: Recipe, samples: ImageSets, found: Recognised | None, onnx: OnnxFile | None) -> int:
    """Return the number of classes: by the images, or by the weights or the ONNX file where these have no labels.

    A calibration folder may hold only some of the class folders, so it is asked last.
    """
    known = {slot: len(given.value.classes) for slot, given in samples.items() if given.value.classes}
    labelled = [count for slot, count in known.items() if slot != "calibration"]
    if labelled:
        return labelled[0]
    if found:
        return found.classes
    last = _shown_classes(recipe, onnx) or known.get("calibration")
    if last is None:
        raise RecipeError(
            "the number of classes", "is unknown", hint="give `model.classes`, or images in one folder per class"
        )
    return last


def _check_order(recipe: Recipe, samples: ImageSets) -> None:
    """Refuse labelled images whose classes the weights' folder, or the file itself, names in another order."""
    new_head = recipe.train is not None and recipe.train.head == "new"
    if recipe.model.checkpoint is None or recipe.images.names or new_head:
        return
    path = _path(recipe.model.checkpoint, "checkpoint")
    hint = "write its classes into a file, one per line in its order, and set `images.names`, --names, to that"
    for slot, given in samples.items():
        if slot != "calibration" and given.value.classes:
            hub.check_order(path, given.value.classes)
            hub.refuse_order(_own_labels(path), given.value.classes, str(path), hint)


def _own_labels(path: Path) -> list[str]:
    """Return the classes that a file of weights of edgeresnet names, in its order; none of another file."""
    try:
        found = json.loads(shapes.metadata(path).get("labels", "[]"))
    except ValueError:
        return []
    return found if isinstance(found, list) and all(isinstance(each, str) for each in found) else []


def _weights(recipe: Recipe) -> NetworkFile | None:
    """Return the checkpoint, or the one network of it that the recipe names."""
    given, which = recipe.model.checkpoint, recipe.model.weights
    if given is None:
        return None
    path = _path(given, "checkpoint")
    digest = sharded.digest_of(path)
    return Given(manifest.digest_of([digest, which]), models.Weights(path, which)) if which else Given(digest, path)


def _read(given: str | None, word: str) -> OnnxFile:
    return onnx_file.read(_path(given, word))


def _path(given: str | None, word: str) -> Path:
    path = Path(os.path.expanduser(given or ""))  # of another user that is not known, it stays as it is
    path = hub.weights_of(path) if word == "checkpoint" else path
    if not os.path.isfile(path):
        raise ModelError(
            f"the {word} {path}", "does not exist", hint="check the path: relative paths start in the current folder"
        )
    return path
