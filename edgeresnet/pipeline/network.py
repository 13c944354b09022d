"""The network that a recipe begins with: what its files hold, compared with the images and preprocessing.

Reads names, shapes and graphs; loads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .. import models
from ..errors import ModelError, RecipeError
from ..graph import lint
from ..images import Samples
from ..models import recognise, shapes, unwrap
from ..portable import machine, manifest, onnx_file
from ..portable.result import RunWarning
from ..recipe import Recipe, is_onnx, module_of_factory
from ..stages.specs import Architecture, NetworkFile
from ..store import Given

ImageSets = Mapping[str, Given[Samples]]  # slot → its images


def architecture(recipe: Recipe, samples: ImageSets) -> tuple[Architecture, tuple[RunWarning, ...]]:
    """Return which network the stages build, and warnings about the given weights."""
    timed = (recipe.prune and recipe.prune.speedup) or {}  # targets that need no images: nothing is judged on them
    if not samples and not (recipe.prune and recipe.model.checkpoint and recipe.targets.keys() <= timed.keys()):
        raise RecipeError(
            "the recipe", "names no images", hint="tracing compares the network's answers on real images: give some"
        )
    found, warnings = _recognised(recipe)
    arch = recipe.model.arch or (found.archs[0] if found else None)
    classes, channels = recipe.model.classes or _classes(recipe, samples, found), recipe.preprocessing.channels
    if arch is None:  # an ONNX file holds its own
        return Architecture(None, classes, channels), ()
    new_head = recipe.train is not None and recipe.train.head == "new"
    if found and recipe.model.arch is None and classes != found.classes and not new_head:
        raise ModelError(
            str(recipe.model.checkpoint),
            f"has {found.classes} classes, and there are {classes}",
            hint="give the images or the weights of the others, or train a new head: `train: {head: new}`, --head new",
        )
    models.check_arch(arch)
    libraries = machine.versions("timm") if arch in models.TIMM else {}  # another timm may build it differently
    sources = models.sources_of(arch)  # user code: another text may be another network
    return Architecture(arch, classes, channels, libraries, tuple(map(manifest.sha256_of, sources))), tuple(warnings)


def answers_probabilities(onnx: str) -> bool:
    """Return whether an ONNX file ends in a softmax."""
    return onnx_file.read(_path(onnx)).last in lint.PROBABILITIES


def _recognised(recipe: Recipe) -> tuple[recognise.Recognised | None, list[RunWarning]]:
    """Return what the weights are recognised as, and warnings about them."""
    given, model = recipe.model.checkpoint, recipe.model
    if given is None or is_onnx(given):
        return None, []
    held = shapes.look(_path(given))
    if (model.weights or unwrap.MODEL) not in held.networks:
        raise ModelError(given, "has no average of its weights", hint="leave out `model.weights`")
    warnings = []
    if model.weights is None and unwrap.AVERAGE in held.networks:
        both = "the file has its weights and an average of them: the weights are used; `model.weights: ema` uses that"
        warnings.append(_warning(given, both))
    found = recognise.recognise(held.networks[model.weights or unwrap.MODEL], held.arch)
    if found and found.around and not module_of_factory(model.arch or ""):
        warnings.append(_warning(given, found.around))
    if model.arch is not None:  # still, they show how many classes there are
        return found if found and found.classes else None, warnings
    found = _checked(given, found, recipe.preprocessing.channels)
    if len(found.archs) > 1:
        first, *others = found.archs
        fits = f"taken for {first}; its tensors would fit {', '.join(others)} as well: name `model.arch` if it is that"
        warnings.append(_warning(given, fits))
    return found, warnings


def _warning(checkpoint: str, text: str) -> RunWarning:
    return RunWarning("given-weights", text, subject=checkpoint)


def _checked(given: str, found: recognise.Recognised | None, channels: int) -> recognise.Recognised:
    name = "name it: `model.arch` or --arch, a known name or my.module:make, a function that returns it"
    if found is None:
        raise ModelError(given, "has no network that is recognised by its tensors", hint=name)
    if not found.archs:
        raise ModelError(given, f"holds {found.words}", hint=name)
    if found.channels != channels:
        many = "1 channel" if found.channels == 1 else f"{found.channels} channels"
        raise ModelError(
            given, f"takes {many}, and preprocessing makes {channels}", hint="one mean and one std for each channel"
        )
    return found


def _classes(recipe: Recipe, samples: ImageSets, found: recognise.Recognised | None) -> int:
    """Return the number of classes: by the images, or by the weights or the ONNX file where these have no labels."""
    known = [len(given.value.classes) for given in samples.values() if given.value.classes]
    if known:
        return known[0]
    if found:
        return found.classes
    logits = onnx_file.read(_path(recipe.model.checkpoint)).outputs if is_onnx(recipe.model.checkpoint) else []
    last = logits[0].shape[-1] if logits and logits[0].shape else None
    if last is None:
        raise RecipeError("the number of classes", "is not known", hint="give `model.classes`, or class folders")
    return last


def files(recipe: Recipe, classes: int) -> tuple[NetworkFile | None, NetworkFile | None]:
    """Return the checkpoint and the candidate. An ONNX file is checked as far as is possible without running it."""
    network: NetworkFile | None = None
    candidate: NetworkFile | None = None
    batch = None if recipe.trace.batch == "dynamic" else recipe.trace.batch
    if is_onnx(recipe.model.checkpoint):
        file = onnx_file.read(_path(recipe.model.checkpoint))
        batch = lint.reference(file, recipe.preprocessing, classes, batch)
        network = Given(file.digest, file.path)
    elif recipe.model.checkpoint:
        path, which = _path(recipe.model.checkpoint), recipe.model.weights
        network = Given(manifest.sha256_of(path), path)
        if which:  # the same file holds another network too
            network = Given(manifest.digest_of([network.digest, which]), models.Weights(path, which))
    if recipe.model.candidate:
        file = onnx_file.read(_path(recipe.model.candidate))
        lint.candidate(file, recipe.preprocessing, classes, batch)
        candidate = Given(file.digest, file.path)
    return network, candidate


def _path(given: str | None) -> Path:
    path = Path(given or "").expanduser()
    if not path.is_file():
        raise ModelError(
            f"the checkpoint {path}", "does not exist", hint="`model` names files from the current folder on"
        )
    return path
