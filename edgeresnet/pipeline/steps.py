"""A recipe as steps, parents first. Lists and hashes what the user gave; decodes, trains and measures nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import images, models, targets
from ..artifact import Given, Store
from ..device import manifest
from ..errors import ModelError, RecipeError
from ..images import choose
from ..recipe import Recipe
from .stages import STAGES, Step

REFERENCE = "onnxruntime"  # the runtime whose FP32 answers all others are held against
SLOTS = ("training", "evaluation", "calibration")
_PARITY_IMAGES = 16

Parents = dict[str, str | Given]


def steps(recipe: Recipe, store: Store) -> list[Step]:
    """Refuses whatever can be known to be wrong before anything runs."""
    arch, network, samples = _arch(recipe), _checkpoint(recipe), _samples(recipe, store)
    found: list[Step] = []
    if recipe.train:
        spec = {**arch, "train": recipe.train.model_dump(mode="json"), "seed": recipe.seed}
        parents: Parents = {"training": samples["training"]}
        if network:
            parents["checkpoint"] = network
        found.append(Step("train", STAGES["train"], spec, parents))
    found.append(_trace_step(recipe, arch, "train" if recipe.train else network, samples))
    if recipe.targets:
        found += _target_steps(recipe, samples["evaluation"])
    return found


def samples_of(found: Sequence[Step]) -> dict[str, images.Samples]:
    """The image sets that these steps read, by slot."""
    given = {name: parent for step in found for name, parent in step.parents.items()}
    return {name: given[name].value for name in SLOTS if isinstance(given.get(name), Given)}  # type: ignore[union-attr]


def _arch(recipe: Recipe) -> dict[str, Any]:
    models.check_arch(recipe.model.arch)
    about: dict[str, Any] = {
        "arch": recipe.model.arch,
        "classes": recipe.model.classes,
        "channels": recipe.preprocessing.channels,
    }
    sources = models.sources_of(recipe.model.arch)
    if sources:  # user code: another text may be another network
        about["sources_sha256"] = [manifest.sha256_of(source) for source in sources]
    return about


def _checkpoint(recipe: Recipe) -> Given | None:
    if not recipe.model.checkpoint:
        return None
    path = Path(recipe.model.checkpoint).expanduser()
    if not path.is_file():
        raise ModelError(f"there is no checkpoint {path}", hint="`model.checkpoint` is read from the current folder")
    return Given(manifest.sha256_of(path), path)


def _samples(recipe: Recipe, store: Store) -> dict[str, Given]:
    found = {slot: images.open_samples(recipe, slot, store) for slot in SLOTS if getattr(recipe.images, slot)}
    for slot, samples in found.items():
        images.check_classes(samples, recipe.model.classes, f"the {slot} set")
    if found:
        images.same_classes(found.items())
    _check_promised_classes(recipe, found)
    for slot in ("training", "calibration"):
        if slot in found and "evaluation" in found:
            images.check_disjoint(found[slot], found["evaluation"], (slot, "evaluation"))
    return {slot: Given(samples.digest, samples) for slot, samples in found.items()}


def _check_promised_classes(recipe: Recipe, found: dict[str, images.Samples]) -> None:
    for label in recipe.promises.min_recall_pct or {}:
        known = found["evaluation"].classes
        if label not in known:
            near = difflib.get_close_matches(label, known, 1)
            raise RecipeError(
                f"promises.min_recall_pct names {label!r}, which is no class of the evaluation images",
                hint=f"did you mean {near[0]}?" if near else f"classes are {', '.join(known[:10])}",
            )


def _trace_step(recipe: Recipe, arch: dict[str, Any], network: str | Given | None, samples: dict[str, Given]) -> Step:
    seen = samples.get("evaluation") or samples.get("training")
    if seen is None:
        raise RecipeError("the recipe names no images", hint="tracing compares its answers on real images: give some")
    assert network is not None  # the recipe has a checkpoint or a training
    chosen = choose.balanced(seen.value, min(_PARITY_IMAGES, len(seen.value)), recipe.seed)
    few = seen.value.subset(chosen)
    spec = {**arch, "trace": recipe.trace.model_dump(mode="json")}
    return Step("trace", STAGES["trace"], spec, {"network": network, "images": Given(few.digest, few)})


def _target_steps(recipe: Recipe, evaluation: Given) -> Iterator[Step]:
    reference = targets.get(REFERENCE)
    plain = reference.options()
    yield _compile_step("compile:reference", reference, plain, None)
    spec: dict[str, Any] = {"target": REFERENCE, "latency": None, "candidate": "fp32"}
    yield Step("verify:reference", STAGES["verify"], spec, {"fp32": "compile:reference", "evaluation": evaluation})
    for name in recipe.targets:
        target, options = targets.get(name), recipe.target_options(name)
        compiled: Parents = {}
        for variant, choice in (("fp32", options), ("half", target.half(options))):
            if target is reference and choice == plain:
                compiled[variant] = "compile:reference"
            elif choice is not None:
                step = f"compile:{name}:{variant}"
                compiled[variant] = step
                yield _compile_step(step, target, choice, name)
        spec = {"target": name, "latency": recipe.verify.model_dump(mode="json"), "candidate": "fp32"}
        parents: Parents = {**compiled, "evaluation": evaluation, "reference": "verify:reference"}
        yield Step(f"verify:{name}", STAGES["verify"], spec, parents, name)


def _compile_step(step: str, target: targets.Target, options: Any, blamed: str | None) -> Step:
    spec = {"target": target.name, "options": asdict(options)}
    return Step(step, STAGES["compile"], spec, {"network": "trace"}, blamed)
