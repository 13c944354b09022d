"""The network that a recipe begins with: what its files say of themselves, held against the images and preprocessing.

Reads names, shapes and graphs; loads no weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import models
from ..errors import ModelError, RecipeError
from ..graph import lint
from ..models import recognise, shapes, unwrap
from ..portable import machine, manifest, onnx_file
from ..recipe import Recipe, is_onnx, module_of_factory
from ..store import Given


def about(recipe: Recipe, samples: dict[str, Given]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return architecture, classes and channels for the steps that need them, and warnings about the given weights.

    A warning is a sentence: it is reported with a step and never enters a step's key.
    """
    timed = (recipe.prune and recipe.prune.speedup) or {}  # targets that need no images: nothing is judged on them
    if not samples and not (recipe.prune and recipe.model.checkpoint and recipe.targets.keys() <= timed.keys()):
        raise RecipeError("the recipe names no images", hint="tracing compares its answers on real images: give some")
    found, warnings = _recognised(recipe)
    arch = recipe.model.arch or (found.archs[0] if found else None)
    about: dict[str, Any] = {
        "arch": arch,
        "classes": recipe.model.classes or _classes(recipe, samples, found),
        "channels": recipe.preprocessing.channels,
    }
    if arch is None:  # an ONNX file is its own
        return about, ()
    anew = recipe.train is not None and recipe.train.head == "new"
    if found and recipe.model.arch is None and about["classes"] != found.classes and not anew:
        raise ModelError(
            f"{recipe.model.checkpoint} knows {found.classes} classes, and there are {about['classes']}",
            hint="give the images or the weights of the others, or train a new head: `train: {head: new}`, --head new",
        )
    models.check_arch(arch)
    if arch in models.TIMM:  # another timm may build it otherwise
        about["libraries"] = machine.versions("timm")
    sources = models.sources_of(arch)
    if sources:  # user code: another text may be another network
        about["sources_sha256"] = [manifest.sha256_of(source) for source in sources]
    return about, tuple(warnings)


def answers_probabilities(onnx: str) -> bool:
    return onnx_file.read(_path(onnx)).last in lint.PROBABILITIES


def _recognised(recipe: Recipe) -> tuple[recognise.Recognised | None, list[str]]:
    """Return what the weights are recognised as, and warnings about them."""
    given, model = recipe.model.checkpoint, recipe.model
    if given is None or is_onnx(given):
        return None, []
    held = shapes.look(_path(given))
    if (model.weights or unwrap.MODEL) not in held.networks:
        raise ModelError(f"{given} holds no average of its weights", hint="leave out `model.weights`")
    warnings = []
    if model.weights is None and unwrap.AVERAGE in held.networks:
        warnings.append(
            f"{given} holds its weights and an average of them: the weights are taken; `model.weights: ema` takes that"
        )
    found = recognise.recognise(held.networks[model.weights or unwrap.MODEL], held.arch)
    if found and found.around and not module_of_factory(model.arch or ""):
        warnings.append(f"{given}: {found.around}")
    if model.arch is not None:  # still, they tell how many classes there are
        return found if found and found.classes else None, warnings
    _check_recognised(given, found, recipe.preprocessing.channels)
    assert found is not None
    if len(found.archs) > 1:
        first, *others = found.archs
        warnings.append(
            f"taken for {first}; its tensors would fit {', '.join(others)} as well: name `model.arch` if it is that"
        )
    return found, warnings


def _check_recognised(given: str, found: recognise.Recognised | None, channels: int) -> None:
    name = "name it: `model.arch` or --arch, by a word of ours or as my.module:make, a function that returns it"
    if found is None:
        raise ModelError(f"{given} holds no network that is recognised by its tensors", hint=name)
    if not found.archs:
        raise ModelError(f"{given} holds {found.words}", hint=name)
    if found.channels != channels:
        many = "1 channel" if found.channels == 1 else f"{found.channels} channels"
        raise ModelError(
            f"{given} takes {many}, and preprocessing makes {channels}",
            hint="one mean and one std for each channel",
        )


def _classes(recipe: Recipe, samples: dict[str, Given], found: recognise.Recognised | None) -> int:
    """By the images; by the weights or an ONNX file itself where these have no labels."""
    known = [len(given.value.classes) for given in samples.values() if given.value.classes]
    if known or found:
        return known[0] if known else found.classes  # type: ignore[union-attr]
    logits = onnx_file.read(_path(recipe.model.checkpoint)).outputs if is_onnx(recipe.model.checkpoint) else []
    last = logits[0].shape[-1] if logits and logits[0].shape else None
    if last is None:
        raise RecipeError("nothing says how many classes there are", hint="give `model.classes`, or class folders")
    return last


def files(recipe: Recipe, classes: int) -> tuple[Given | None, Given | None]:
    """The checkpoint and the candidate. Of an ONNX file all is said that can be said against it without running it."""
    network = candidate = None
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
        raise ModelError(f"there is no checkpoint {path}", hint="`model` names files from the current folder on")
    return path
